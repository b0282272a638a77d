// SPDX-License-Identifier: Apache-2.0
// Any names and any files in a folder: names are in a strict order, every picture has its frame, and nothing else.
#include "media/directory.h"

#include "support.h"

namespace {

using namespace inflight;

void check_order(const std::string& a, const std::string& b, const std::string& c) {
  fuzz::must(!natural_less(a, a), "no name is before itself", a);
  fuzz::must((a == b) == (!natural_less(a, b) && !natural_less(b, a)), "two names have an order",
             a + "|" + b);
  fuzz::must(!(natural_less(a, b) && natural_less(b, a)), "two names have one order", a + "|" + b);
  const bool chain = natural_less(a, b) && natural_less(b, c);
  fuzz::must(!chain || natural_less(a, c), "the order of three is one", a + "|" + b + "|" + c);
}

// A name that a file system takes.
std::string as_name(std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  if (name.empty() || name == "." || name == "..") name = "x";
  return name.substr(0, 200);
}

void check_folder(const std::string& path) {
  const Result<std::unique_ptr<FrameSource>> opened = open_directory(path);
  if (!opened.ok()) {
    return fuzz::check_failure(opened.status(), {StatusCode::kNotFound, StatusCode::kInvalidMedia,
                                                 StatusCode::kUnsupported, StatusCode::kOutOfMemory});
  }
  FrameSource& source = **opened;
  fuzz::must(source.height() > 0 && source.width() > 0, "the first readable picture has a size");
  std::string last;
  for (std::int64_t index = 0;; ++index) {
    Result<std::optional<VideoFrame>> got = source.next();
    fuzz::must(got.ok(), "a folder does not fail");
    if (!*got) break;
    const VideoFrame& frame = **got;
    fuzz::must(frame.index == index && frame.file != nullptr, "every frame has its number and its file");
    fuzz::must(index == 0 || natural_less(last, *frame.file), "frames come in the order of their names");
    const std::size_t bytes =
        static_cast<std::size_t>(frame.height) * static_cast<std::size_t>(frame.width) * 3;
    fuzz::must(frame.damage.ok() ? bytes > 0 && frame.pixels.size() == bytes : bytes == 0 && !frame.pixels,
               "a frame has pixels, or damage");
    last = *frame.file;
  }
  static_cast<void>(source.losses());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  fuzz::Bytes bytes(data, size);
  const bool files = bytes.below(2) != 0;
  std::string names[3];
  for (std::string& name : names) name = bytes.text();
  check_order(names[0], names[1], names[2]);
  check_order(names[2], names[0], names[1]);
  if (!files) return 0;
  std::vector<std::string> written;
  const auto content = bytes.rest();
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t third = content.size() / 3;
    written.push_back(folder.write(as_name(names[i]), content.subspan(i * third, third)));
  }
  check_folder(folder.path().string());
  for (const std::string& path : written) folder.remove(path);
  return 0;
}
