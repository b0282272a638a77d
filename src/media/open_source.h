// SPDX-License-Identifier: Apache-2.0
// From what a user writes to a source of frames.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "media/source.h"

namespace inflight {

struct SourceOptions {
  std::uint64_t seed = 1;  // of the synthetic source
  bool rotate = true;      // turn frames as their file asks (display matrix, EXIF orientation)
};

// Opens `synthetic`, a video or picture file, a directory of pictures, or a capture device (/dev/video0).
// A file that happens to be called "synthetic" is reached as "./synthetic".
//   thread   any; may block while a file or a device is opened
//   errors   those of open_synthetic, open_video, open_picture, open_directory and open_camera
Result<std::unique_ptr<FrameSource>> open_source(std::string_view text, const SourceOptions& options = {});

}  // namespace inflight
