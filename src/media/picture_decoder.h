// SPDX-License-Identifier: Apache-2.0
// From the file of a picture to a decoded frame, whole or not at all.
#pragma once

#include <string>

#include "inflight/status.h"
#include "media/ffmpeg.h"
#include "media/orientation.h"

namespace inflight {

struct DecodedPicture {
  ffmpeg::Frame frame;      // as coded
  Orientation orientation;  // how it wants to be shown
};

// See read_picture(). Messages do not name the file.
Result<DecodedPicture> decode_picture(const std::string& path);

}  // namespace inflight
