// SPDX-License-Identifier: Apache-2.0
#include "model/fold_weights.h"

#include <algorithm>
#include <array>
#include <openvino/core/model.hpp>

#include "model/rewrite.h"

namespace inflight::internal {
namespace {

constexpr int kRoundsMax = 64;  // a chain of n nodes is folded in at most n rounds
constexpr std::array<Rewrite, 2> kRewrites{split_batch_norm, fold_scale};

bool is_static(const ov::Model& network) {
  const auto nodes = network.get_ops();
  return std::all_of(nodes.begin(), nodes.end(), [](const NodePtr& node) {
    const auto outputs = node->outputs();
    return std::all_of(outputs.begin(), outputs.end(),
                       [](const Value& output) { return output.get_partial_shape().is_static(); });
  });
}

// What computes in f32, as OpenVINO folds: in f16 a product would be rounded once more.
bool rewrite_once(const ov::Model& network) {
  bool changed = false;
  for (const NodePtr& node : network.get_ordered_ops()) {
    if (node->get_output_size() != 1 || node->get_output_element_type(0) != ov::element::f32) continue;
    changed |=
        std::any_of(kRewrites.begin(), kRewrites.end(), [&](const Rewrite rewrite) { return rewrite(node); });
  }
  return changed;
}

}  // namespace

std::shared_ptr<const ov::Model> fold_weights(const std::shared_ptr<const ov::Model>& network) {
  if (!is_static(*network)) return network;
  const std::shared_ptr<ov::Model> clone = network->clone();
  bool changed = false;
  for (int round = 0; round < kRoundsMax && rewrite_once(*clone); ++round) changed = true;
  if (!changed) return network;
  clone->validate_nodes_and_infer_types();
  return clone;
}

}  // namespace inflight::internal
