// SPDX-License-Identifier: Apache-2.0
#include "media/open_source.h"

#include <sys/stat.h>

#include <algorithm>
#include <string>

#include "media/address.h"
#include "media/directory.h"
#include "media/picture.h"
#include "media/synthetic.h"
#include "media/video.h"

namespace inflight {

namespace {

// One JPEG after another is a video by its name only: its content is that of a picture with bytes after it.
bool is_motion_jpeg(std::string_view path) {
  return path.ends_with(".mjpeg") || path.ends_with(".mjpg") || path.ends_with(".MJPEG") ||
         path.ends_with(".MJPG");
}

// The part of an address that is like a file's path.
std::string path_in(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t host = scheme == std::string::npos ? url.find(':') + 1 : scheme + 3;
  const std::size_t begin = scheme == std::string::npos ? host : std::min(url.find('/', host), url.size());
  return url.substr(begin, url.find_first_of("?#", begin) - begin);
}

// What comes through a pipe or from elsewhere: a picture is read whole, a video as it comes.
Result<std::unique_ptr<FrameSource>> open_stream(MediaAddress address, bool rotate) {
  address.opened = PeekedStream::open(address.url);
  if (address.opened == nullptr) return open_media(address, rotate);
  const std::string name = path_in(address.url);
  if (is_motion_jpeg(name)) return open_media(address, rotate);
  const Result<bool> picture = address.opened->holds_picture(name);
  if (!picture.ok()) return picture.status().with_context(address.name());
  if (*picture) return open_picture(address.text, name, address.opened->bytes(), rotate);
  return open_media(address, rotate);
}

}  // namespace

Result<std::unique_ptr<FrameSource>> open_source(std::string_view text, const SourceOptions& options) {
  if (text.empty()) {
    return Status(StatusCode::kInvalidArgument,
                  "source: got \"\", want synthetic, a file, a directory, an address or a device");
  }
  if (text == "synthetic") {
    SyntheticOptions synthetic;
    synthetic.seed = options.seed;
    return open_synthetic(synthetic);
  }
  if (text == "-") {
    // A file that is redirected there has a place in the file system.
    const std::string input = "/dev/stdin";
    struct stat redirected {};
    if (stat(input.c_str(), &redirected) == 0 && S_ISREG(redirected.st_mode) && is_still_picture(input)) {
      return open_picture(input, options.rotate);
    }
    return open_stream(standard_input(), options.rotate);
  }
  if (const auto camera = camera_of_index(text))
    return open_camera(*camera, options.rotate, options.stall_timeout);
  const std::string path = file_of_address(text).value_or(std::string(text));
  struct stat found {};
  const bool exists = stat(path.c_str(), &found) == 0;
  if (exists && S_ISDIR(found.st_mode)) return open_directory(path, options.rotate);
  if (exists && S_ISREG(found.st_mode) && !is_motion_jpeg(path) && is_still_picture(path)) {
    return open_picture(path, options.rotate);
  }
  if (!exists && is_address(path)) {
    INFLIGHT_TRY_ASSIGN(const MediaAddress address, parse_address(path, options.stall_timeout));
    return address.live ? open_media(address, options.rotate) : open_stream(address, options.rotate);
  }
  if (exists && S_ISFIFO(found.st_mode)) {
    MediaAddress pipe;
    pipe.url = "file:" + path;
    pipe.text = path;
    return open_stream(pipe, options.rotate);
  }
  // A camera that is not plugged in has no file; its name still says what was meant.
  if ((exists && S_ISCHR(found.st_mode)) || (!exists && text.starts_with("/dev/"))) {
    return open_camera(path, options.rotate, options.stall_timeout);
  }
  return open_video(path, options.rotate);
}

}  // namespace inflight
