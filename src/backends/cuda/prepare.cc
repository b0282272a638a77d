// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/prepare.h"

#include <fmt/format.h>

#include <array>
#include <exception>
#include <openvino/op/util/op_types.hpp>
#include <openvino/pass/constant_folding.hpp>
#include <sstream>

#include "backends/cuda/rewrite.h"
#include "model/openvino_error.h"

namespace inflight::cuda {
namespace {

constexpr int kRoundsMax = 64;  // each round goes over all nodes; a chain of n folds takes at most n rounds

constexpr std::array<Rewrite, 19> kRewrites{
    internal::fold_constant,
    internal::remove_identity,
    split_attention,
    split_group_norm,
    internal::split_batch_norm,
    widen_vector_matmul,
    fuse_layer_norm,
    fuse_gelu,
    fuse_swish,
    fuse_clamp,
    internal::normalise_affine,
    internal::fold_scale,
    internal::raise_scale,
    pad_explicitly,
    normalise_group_convolution,
    join_reshapes,
    straighten_transpose,
    lower_reshape,
    cut_patches,
};

Status check_static(const ov::Model& network) {
  for (const auto& node : network.get_ordered_ops()) {
    for (const auto& output : node->outputs()) {
      if (output.get_partial_shape().is_static()) continue;
      std::ostringstream shape;
      shape << output.get_partial_shape();
      return {StatusCode::kUnsupported,
              fmt::format("node \"{}\" ({}): got the shape {}, want one that is known before run time",
                          node->get_friendly_name(), node->get_type_name(), shape.str())};
    }
  }
  return {};
}

bool rewrite_once(const ov::Model& network) {
  bool changed = false;
  for (const auto& node : network.get_ordered_ops()) {
    if (ov::op::util::is_parameter(node) || ov::op::util::is_output(node) || ov::op::util::is_constant(node))
      continue;
    for (const Rewrite rewrite : kRewrites) {
      if (!rewrite(node)) continue;
      changed = true;
      break;
    }
  }
  return changed;
}

}  // namespace

Result<std::shared_ptr<ov::Model>> prepare(const ov::Model& network) {
  try {
    std::shared_ptr<ov::Model> clone = network.clone();
    ov::pass::ConstantFolding().run_on_model(clone);
    clone->validate_nodes_and_infer_types();
    INFLIGHT_TRY(check_static(*clone));
    for (int round = 0; round < kRoundsMax && rewrite_once(*clone); ++round) {
      ov::pass::ConstantFolding().run_on_model(clone);
    }
    clone->validate_nodes_and_infer_types();
    INFLIGHT_TRY(check_static(*clone));
    return clone;
  } catch (const std::exception& error) {
    return Status(StatusCode::kUnsupported, internal::distil_openvino_error(error.what()));
  }
}

}  // namespace inflight::cuda
