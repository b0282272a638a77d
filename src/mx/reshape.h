// SPDX-License-Identifier: Apache-2.0
// Rules of shapes that operators and arrays share.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight::mx::detail {

// What MXNet's Reshape makes of a shape: 0 keeps an extent, -1 is what is left, -2 keeps all that follow, -3
// merges two, -4 splits one into the two that follow it.
//   reverse   reads both from the last axis on
//   errors    kInvalidArgument: it does not fit; the message names the attribute shape
Result<std::vector<std::int64_t>> reshape_by_codes(std::vector<std::int64_t> from,
                                                   std::vector<std::int64_t> codes, bool reverse);

// The elements of one axis that a slice takes: `count` of them, from `first` on in steps of `step`.
struct AxisSlice {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t step = 1;
};
using OptionalInts = std::vector<std::optional<std::int64_t>>;
// What a slice takes of each axis, by the rules of MXNet's slice: negative ends count from the end, what is
// missing is all of the axis.
//   errors   kInvalidArgument: lists of different lengths, longer than the rank, a step of 0, or nothing left
Result<std::vector<AxisSlice>> slice_axes(const std::vector<std::int64_t>& from, const OptionalInts& begin,
                                          const OptionalInts& end, const OptionalInts& step);

}  // namespace inflight::mx::detail
