// SPDX-License-Identifier: Apache-2.0
// Copies of elements between a part of an array and memory without gaps.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "inflight/tensor.h"
#include "mx/reshape.h"

namespace inflight::mx::detail {

// Copies the elements that `slices` take of an array of `shape` to `packed`.
void gather_slices(const std::byte* array, const Shape& shape, std::span<const AxisSlice> slices,
                   std::size_t item, std::byte* packed);
// The other way. With `repeat`, `packed` is one element, which goes to all places.
void scatter_slices(std::byte* array, const Shape& shape, std::span<const AxisSlice> slices, std::size_t item,
                    const std::byte* packed, bool repeat);
// `value` to all elements, converted to their type.
void fill_elements(const MutableTensorView& out, double value);
// One element of `value`, in at most eight bytes.
void store_element(DType dtype, double value, std::byte* to);

}  // namespace inflight::mx::detail
