// SPDX-License-Identifier: Apache-2.0
// From the file of a picture to a decoded frame, whole or not at all.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "inflight/status.h"
#include "media/ffmpeg.h"
#include "media/orientation.h"
#include "media/picture_format.h"

namespace inflight {

struct DecodedPicture {
  ffmpeg::Frame frame;      // as coded
  Orientation orientation;  // how it wants to be shown
};

// See read_picture(). Messages do not name the file.
Result<DecodedPicture> decode_picture(const std::string& path);
// The same of a file that has been read.
//   name   for its ending, where the content does not say
//   file   is changed
Result<DecodedPicture> decode_picture(const std::string& name, const ffmpeg::Packet& file);

// Whether no other picture follows the first one in a file of this format.
bool is_still_picture(const PictureFormat& format, std::span<const std::uint8_t> file);

}  // namespace inflight
