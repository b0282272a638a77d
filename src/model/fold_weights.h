// SPDX-License-Identifier: Apache-2.0
// Batch norm as part of the weights before it, once for all that compile a network.
#pragma once

#include <memory>

namespace ov {
class Model;
}

namespace inflight::internal {

// The network with its scales and offsets, among them those of batch norm, in the constant weights that they follow, where they
// can be. OpenVINO does the same in each compile, with new weights each time; what is folded before is shared. The network
// itself where there is nothing in f32 to fold, or where a shape is open.
std::shared_ptr<const ov::Model> fold_weights(const std::shared_ptr<const ov::Model>& network);

}  // namespace inflight::internal
