// SPDX-License-Identifier: Apache-2.0
// The boxes of an AVIF or HEIF file, as far as they say how its picture is turned.
#pragma once

#include <cstdint>
#include <span>

#include "media/orientation.h"

namespace inflight {

// What `irot` and `imir` make of the file's primary item, in the order in which the file applies them. Nothing where
// there are none, or the boxes are broken.
//   source   ISO/IEC 14496-12 (boxes, meta, pitm), ISO/IEC 23008-12 (iprp, ipco, ipma, irot, imir)
Orientation boxes_orientation(std::span<const std::uint8_t> file);

}  // namespace inflight
