// SPDX-License-Identifier: Apache-2.0
// The boxes of an AVIF, HEIF or JPEG XL file, as far as they say how its picture is turned and where it ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "media/orientation.h"

namespace inflight {

// What `irot` and `imir` make of the file's primary item, in the order in which the file applies them.
// Nothing where there are none, or the boxes are broken.
//   source   ISO/IEC 14496-12 (boxes, meta, pitm), ISO/IEC 23008-12 (iprp, ipco, ipma, irot, imir)
Orientation boxes_orientation(std::span<const std::uint8_t> file);

// How many bytes the boxes have that the file begins with, up to the first that is not whole.
std::size_t whole_boxes_bytes(std::span<const std::uint8_t> file);

}  // namespace inflight
