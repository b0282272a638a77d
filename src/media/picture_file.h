// SPDX-License-Identifier: Apache-2.0
// What stands around the pixels in the file of a picture: its orientation, hints, and where it ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "inflight/status.h"
#include "media/ffmpeg.h"
#include "media/orientation.h"

namespace inflight {

using PictureBytes = std::span<const std::uint8_t>;

// How the file asks to be turned: the EXIF orientation of JPEG, PNG and WebP, and `irot` and `imir` of an
// AVIF or HEIF picture's primary item. Anything that is missing, broken or out of range changes nothing.
//   codec    of the pixels, AV_CODEC_ID_AV1 for AVIF
Orientation picture_orientation(AVCodecID codec, PictureBytes file);

// Removes from a file what is no pixel and may be wrong without harm, because decoders that are strict about
// pixels are strict about all of it: application segments of JPEG, ancillary chunks of PNG, EXIF of WebP, and
// what follows the end. Works in place.
//   returns  how many bytes are left
std::size_t keep_pixels(AVCodecID codec, std::span<std::uint8_t> file);

// Finds in the file what FFmpeg's decoder of this codec does not report.
//   errors   kInvalidMedia: the file is cut short; kUnsupported: it is an animated WebP
Status check_picture(AVCodecID codec, PictureBytes file);

// Whether a decoder of this codec may take what is missing at the end of the file for something and not
// complain: a whole picture does then not depend on the bytes that follow it.
bool may_read_past_end(AVCodecID codec, PictureBytes file);

}  // namespace inflight
