// SPDX-License-Identifier: Apache-2.0
// Element types by OpenVINO's names and by ours: the one table of both.
#pragma once

#include <openvino/core/type/element_type.hpp>
#include <optional>

#include "inflight/tensor.h"

namespace inflight {

// What we call the element type of a network; nothing where its elements are no whole bytes (u4, string).
std::optional<DType> dtype_of_element(const ov::element::Type& type);
// The same the other way. Requires a DType of the enum.
ov::element::Type element_type(DType dtype);

}  // namespace inflight
