// SPDX-License-Identifier: Apache-2.0
#include "media/open_source.h"

#include <sys/stat.h>

#include <string>

#include "media/directory.h"
#include "media/picture.h"
#include "media/synthetic.h"
#include "media/video.h"

namespace inflight {

Result<std::unique_ptr<FrameSource>> open_source(std::string_view text, const SourceOptions& options) {
  if (text.empty()) {
    return Status(StatusCode::kInvalidArgument,
                  "source: got \"\", want synthetic, a file, a directory or a device");
  }
  if (text == "synthetic") {
    SyntheticOptions synthetic;
    synthetic.seed = options.seed;
    return open_synthetic(synthetic);
  }
  const std::string path(text);
  struct stat found {};
  const bool exists = stat(path.c_str(), &found) == 0;
  if (exists && S_ISDIR(found.st_mode)) return open_directory(path, options.rotate);
  if (exists && S_ISREG(found.st_mode) && is_still_picture(path)) {
    return open_picture(path, options.rotate);
  }
  // A camera that is not plugged in has no file; its name still says what was meant.
  if ((exists && S_ISCHR(found.st_mode)) || (!exists && text.starts_with("/dev/"))) return open_camera(path);
  return open_video(path);
}

}  // namespace inflight
