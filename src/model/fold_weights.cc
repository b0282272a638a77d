// SPDX-License-Identifier: Apache-2.0
#include "model/fold_weights.h"

#include <array>
#include <openvino/core/model.hpp>

#include "model/rewrite.h"

namespace inflight::internal {
namespace {

// As OpenVINO folds: in f16 a product would be rounded once more.
template <Rewrite kRewrite>
bool in_f32(const NodePtr& node) {
  return node->get_output_size() == 1 && node->get_output_element_type(0) == ov::element::f32 &&
         kRewrite(node);
}

constexpr std::array<Rewrite, 2> kRewrites{in_f32<split_batch_norm>, in_f32<fold_scale>};

}  // namespace

std::shared_ptr<const ov::Model> fold_weights(const std::shared_ptr<const ov::Model>& network) {
  if (open_output(*network)) return network;
  const std::shared_ptr<ov::Model> clone = network->clone();
  bool changed = false;
  for (int round = 0; round < kRewritesMax && rewrite_once(*clone, kRewrites); ++round) changed = true;
  if (!changed) return network;
  clone->validate_nodes_and_infer_types();
  return clone;
}

}  // namespace inflight::internal
