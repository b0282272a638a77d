// SPDX-License-Identifier: Apache-2.0
// TIFF, through libtiff: FFmpeg's decoder makes black or wrong pictures of many kinds and does not say so.
#pragma once

#include <cstdint>
#include <span>

#include "inflight/status.h"
#include "media/picture_decoder.h"

namespace inflight {

// Whether a file begins as a TIFF or BigTIFF does.
bool is_tiff(std::span<const std::uint8_t> head);

// Decodes a whole file: its first picture that is not a smaller version of another one. Samples of 16 bits
// are rounded to 8. Transparency is left out, as it is of other formats. Messages do not name the file.
//   errors   kInvalidMedia: damaged or cut short; kUnsupported: a kind that libtiff does not turn to RGB
//            (floating point, signed and 32 bit samples, rare compressions), or a camera's raw picture
Result<DecodedPicture> decode_tiff(std::span<const std::uint8_t> file);

}  // namespace inflight
