// SPDX-License-Identifier: Apache-2.0
#include "media/open_source.h"

#include <sys/stat.h>

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
    // A file that is redirected there can be looked at first; what comes through a pipe cannot.
    const std::string input = "/dev/stdin";
    struct stat redirected {};
    if (stat(input.c_str(), &redirected) == 0 && S_ISREG(redirected.st_mode) && is_still_picture(input)) {
      return open_picture(input, options.rotate);
    }
    return open_media(standard_input(), options.rotate);
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
    return open_media(address, options.rotate);
  }
  // A camera that is not plugged in has no file; its name still says what was meant.
  if ((exists && S_ISCHR(found.st_mode)) || (!exists && text.starts_with("/dev/"))) {
    return open_camera(path, options.rotate, options.stall_timeout);
  }
  return open_video(path, options.rotate);
}

}  // namespace inflight
