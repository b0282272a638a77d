// SPDX-License-Identifier: Apache-2.0
// Finds attention in a network: softmax(scale * q k^T + mask) v.
#pragma once

#include <optional>
#include <vector>

#include "backends/cuda/fusion.h"

namespace inflight::cuda {

// The attention that ends in `last`, a MatMul by the values, if an AttentionStep can compute it.
//   nodes   gets those that it takes in
std::optional<FusedStep> match_attention(ov::Node& last, std::vector<const ov::Node*>& nodes);

}  // namespace inflight::cuda
