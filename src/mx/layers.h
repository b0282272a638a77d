// SPDX-License-Identifier: Apache-2.0
// What layers that move a window over an image share.
#pragma once

#include "mx/build.h"

namespace inflight::mx::detail {

Ints list(const std::optional<Shape>& shape);
// [1, C, 1, 1] of a vector of C.
Value along_channels(const Value& vector, std::int64_t axes);
ov::Strides strides(const Ints& values);
ov::Shape extents(const Ints& values);
ov::CoordinateDiff padding(const Ints& values);

// What the attributes of a convolution or a pooling say of each spatial axis.
struct Windows {
  Ints kernel;
  Ints stride;
  Ints dilate;
  Ints pad;
};
//   errors   kInvalidArgument: not as many numbers as the kernel has, or too small ones
Result<Windows> read_windows(const Params& params);
//   errors   kUnsupported: channels are not the second axis
Status check_layout(const Params& params);
//   errors   kInvalidArgument: the data has not two axes more than there are spatial ones
Status check_rank(const Ints& data, std::size_t spatial);

}  // namespace inflight::mx::detail
