// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/prepare.h"

#include <fmt/format.h>

#include <array>
#include <exception>
#include <openvino/pass/constant_folding.hpp>
#include <sstream>

#include "backends/cuda/rewrite.h"
#include "model/openvino_error.h"

namespace inflight::cuda {
namespace {

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
  const std::optional<Value> open = internal::open_output(network);
  if (!open) return {};
  std::ostringstream shape;
  shape << open->get_partial_shape();
  return {StatusCode::kUnsupported,
          fmt::format("node \"{}\" ({}): got the shape {}, want one that is known before run time",
                      open->get_node()->get_friendly_name(), open->get_node()->get_type_name(), shape.str())};
}

}  // namespace

Result<std::shared_ptr<ov::Model>> prepare(const ov::Model& network) {
  try {
    std::shared_ptr<ov::Model> clone = network.clone();
    ov::pass::ConstantFolding().run_on_model(clone);
    clone->validate_nodes_and_infer_types();
    INFLIGHT_TRY(check_static(*clone));
    for (int round = 0; round < internal::kRewritesMax && internal::rewrite_once(*clone, kRewrites);
         ++round) {
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
