// SPDX-License-Identifier: Apache-2.0
// The elements of a tensor as numbers, whatever its dtype.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "inflight/tensor.h"

namespace inflight::vision {

bool is_floating(DType dtype);

// Element `index` as a double, whatever the dtype (f16 and bf16 exactly). Requires memory of the host, and
// index < elements.
double element(const TensorView& view, std::size_t index);

// All elements as floats: the tensor's own memory where it is f32, else `memory`, filled with them. Requires
// memory of the host. What it returns lives as long as both.
std::span<const float> as_floats(const TensorView& view, std::vector<float>& memory);

}  // namespace inflight::vision
