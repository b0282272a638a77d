// SPDX-License-Identifier: Apache-2.0
// Writes synthetic frames to stdout for models/train_shapes.py: per frame one byte of label, then u8[H,W,3].
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "media/synthetic.h"

namespace {

bool parse(const char* text, std::uint64_t& value) {
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  return error == std::errc() && stop == end && value <= std::numeric_limits<std::int64_t>::max();
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t step = 1;
  if (argc != 5 || !parse(argv[1], seed) || !parse(argv[2], first) || !parse(argv[3], count) ||
      !parse(argv[4], step)) {
    std::fputs("usage: dump_synthetic SEED FIRST COUNT STEP > FRAMES   (frames FIRST, FIRST + STEP, ...)\n",
               stderr);
    return 2;
  }
  inflight::SyntheticOptions options;
  options.seed = seed;
  const auto renderer = inflight::SyntheticRenderer::make(options);
  if (!renderer.ok()) {
    std::fprintf(stderr, "%s\n", renderer.status().to_string().c_str());
    return 1;
  }
  std::vector<std::byte> pixels((*renderer)->frame_bytes());
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto index = static_cast<std::int64_t>(first + i * step);
    (*renderer)->render(index, pixels);
    if (std::fputc((*renderer)->label(index), stdout) == EOF ||
        std::fwrite(pixels.data(), 1, pixels.size(), stdout) != pixels.size()) {
      return 1;  // the reader has gone
    }
  }
  return std::fflush(stdout) == 0 ? 0 : 1;
}
