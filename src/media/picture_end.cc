// SPDX-License-Identifier: Apache-2.0
#include "media/picture_end.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

extern "C" {
#include <libavutil/intreadwrite.h>
}

namespace inflight {
namespace {

PictureEnd png_end(PictureBytes file) {
  constexpr std::uint32_t kLast = 0x49454E44;  // IEND
  std::size_t at = 8;
  while (at + 12 <= file.size()) {
    const std::size_t end = at + 12 + AV_RB32(file.data() + at);
    if (AV_RB32(file.data() + at + 4) == kLast) return {true, end};
    at = end;
  }
  return {true, at + 12};
}

PictureEnd jpeg_end(PictureBytes file) {
  std::size_t at = 2;
  while (at + 4 <= file.size()) {
    const unsigned marker = file[at + 1];
    // In coded pixels a marker is what follows 0xFF and is not zero.
    if (file[at] != 0xFF || marker == 0 || marker == 0xFF || (marker >= 0xD0 && marker <= 0xD7)) {
      ++at;
      continue;
    }
    if (marker == 0xD9) return {true, at + 2};
    constexpr unsigned kApplication2 = 0xE2;
    const bool several =
        marker == kApplication2 && at + 8 <= file.size() && std::memcmp(&file[at + 4], "MPF", 4) == 0;
    if (several) return {};  // the others belong to it
    at += 2 + std::size_t{AV_RB16(file.data() + at + 2)};
  }
  return {true, at + 4};
}

// P4, P5 and P6: a head of two or three numbers, then the pixels.
PictureEnd pnm_end(PictureBytes file) {
  const auto is_space = [](std::uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  if (file.size() < 2 || file[1] < '4' || file[1] > '6') return {};
  const char kind = static_cast<char>(file[1]);
  std::array<std::size_t, 3> numbers = {0, 0, 1};
  std::size_t at = 2;
  for (std::size_t i = 0; i < (kind == '4' ? 2U : 3U); ++i) {
    while (at < file.size() && (is_space(file[at]) || file[at] == '#')) {
      if (file[at] == '#')
        at = static_cast<std::size_t>(
            std::find(file.begin() + static_cast<std::ptrdiff_t>(at), file.end(), '\n') - file.begin());
      if (at < file.size()) ++at;
    }
    std::size_t number = 0;
    for (; at < file.size() && file[at] >= '0' && file[at] <= '9'; ++at) {
      number = number * 10 + (file[at] - '0');
      if (number > 1'000'000) return {};
    }
    numbers.at(i) = number;
  }
  if (at >= file.size()) return {true, file.size() + 1};
  const auto [width, height, most] = numbers;
  const std::size_t sample = most > 255 ? 2 : 1;
  const std::size_t row = kind == '4' ? (width + 7) / 8 : width * sample * (kind == '6' ? 3 : 1);
  return {true, at + 1 + row * height};
}

}  // namespace

PictureEnd picture_end(AVCodecID codec, PictureBytes so_far) {
  constexpr std::size_t kLeast = 8;
  if (so_far.size() < kLeast) return {true, kLeast};
  switch (codec) {
    case AV_CODEC_ID_PNG:
      return png_end(so_far);
    case AV_CODEC_ID_MJPEG:
      return jpeg_end(so_far);
    case AV_CODEC_ID_PBM:
    case AV_CODEC_ID_PGM:
    case AV_CODEC_ID_PPM:
      return pnm_end(so_far);
    case AV_CODEC_ID_BMP:
      if (so_far[0] != 'B') return {};  // an ICO
      return {true, AV_RL32(so_far.data() + 2)};
    case AV_CODEC_ID_WEBP:
      return {true, std::size_t{AV_RL32(so_far.data() + 4)} + 8};
    default:
      return {};
  }
}

bool starts_as(AVCodecID codec, PictureBytes first, PictureBytes next) {
  const bool short_mark = codec == AV_CODEC_ID_BMP || codec == AV_CODEC_ID_PBM || codec == AV_CODEC_ID_PGM ||
                          codec == AV_CODEC_ID_PPM;
  return std::memcmp(first.data(), next.data(), short_mark ? 2 : 3) == 0;
}

}  // namespace inflight
