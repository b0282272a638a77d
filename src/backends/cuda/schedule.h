// SPDX-License-Identifier: Apache-2.0
// Which values are stored in memory. What is not is computed again inside of every kernel that reads it.
#pragma once

#include <functional>
#include <openvino/core/model.hpp>
#include <set>

#include "backends/cuda/fusion.h"
#include "backends/cuda/kernel_builder.h"

namespace inflight::cuda {

using KernelKindOf = std::function<KernelKind(const ov::Node&)>;

// The values to store: what steps read (or what that is a view of), what kernels of their own compute, what is
// read too often to be computed each time, and what would make a kernel too large.
//   fusion   the steps; what they compute is stored and not in the result
//   channels_last   the values that lie so
std::set<Value> values_to_store(const ov::Model& network, const Fusion& fusion, const KernelKindOf& kind,
                                const std::set<Value>& channels_last);

}  // namespace inflight::cuda
