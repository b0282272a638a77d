// SPDX-License-Identifier: Apache-2.0
// Where a picture ends in a stream of bytes, so that the next one of its kind is found.
#pragma once

#include <cstddef>

#include "media/picture_file.h"

namespace inflight {

struct PictureEnd {
  bool known = false;     // false: of this kind it cannot be told
  std::size_t bytes = 0;  // it ends here, where so many have been given; else it has so many at least
};

inline constexpr std::size_t kPictureStartBytes = 3;

//   so_far   the picture's first bytes
PictureEnd picture_end(AVCodecID codec, PictureBytes so_far);

// Whether `next` begins as `first` does. Requires kPictureStartBytes of each.
bool starts_as(AVCodecID codec, PictureBytes first, PictureBytes next);

}  // namespace inflight
