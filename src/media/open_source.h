// SPDX-License-Identifier: Apache-2.0
// From what a user writes to a source of frames.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include "inflight/clock.h"
#include "media/source.h"

namespace inflight {

struct SourceOptions {
  std::uint64_t seed = 1;  // of the synthetic source
  bool rotate = true;      // turn frames as their file asks (display matrix, EXIF orientation)
  Duration stall_timeout =
      std::chrono::seconds(5);  // of what is live: a connection that gives nothing is lost
};

// Whether open_source() would open a live source: a camera or a live address.
bool is_live(std::string_view text);

// Opens what a user names:
//   synthetic          the generator
//   0                  the camera /dev/video0, and so on; also by its name
//   -                  standard input: a video or a picture
//   rtsp://host/cam    an address: rtsp, http, https, udp, rtp, file, and what else FFmpeg has
//   a path             a video or picture file, a directory of pictures, or a capture device
// A file that happens to be called "synthetic", "0" or "-" is reached as "./0".
//   thread   any; may block while a file, a stream or a device is opened
//   errors   those of open_synthetic, open_media, open_video, open_picture, open_directory, open_camera and
//            parse_address
Result<std::unique_ptr<FrameSource>> open_source(std::string_view text, const SourceOptions& options = {});

}  // namespace inflight
