// SPDX-License-Identifier: Apache-2.0
//   prepare      folds, and gives patterns one form
//   fuse_steps   convolutions and matmuls with what follows them
//   values_to_store, channels_last_values
//   StepBuilder  steps, tensors, memory
#include "backends/cuda/lowering.h"

#include <fmt/format.h>

#include <exception>
#include <openvino/op/util/op_types.hpp>
#include <utility>

#include "backends/cuda/prepare.h"
#include "backends/cuda/schedule.h"
#include "backends/cuda/step_builder.h"
#include "model/openvino_error.h"

namespace inflight::cuda {
namespace {

DType real_type(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return DType::kF32;
    case Precision::kBF16:
      return DType::kBF16;
    case Precision::kAuto:
    case Precision::kF16:
      break;
  }
  return DType::kF16;
}

bool computes(const ov::Node& node) {
  return !ov::op::util::is_parameter(&node) && !ov::op::util::is_constant(&node) &&
         !ov::op::util::is_output(&node);
}

bool has_kernel(const KernelMaker& maker, const ov::Node& node) {
  return maker.kind(node) != KernelKind::kNone;
}

bool is_covered(const KernelMaker& maker, const ov::Node& node) {
  return has_kernel(maker, node) || is_convolution_step(node, false) || is_matmul_step(node, false);
}

// The steps of a network may take in nodes that have no kernel of their own.
Status check_covered(const ov::Model& network, const Fusion& fusion, const KernelMaker& maker) {
  std::string missing;
  int more = 0;
  for (const auto& node : network.get_ordered_ops()) {
    if (!computes(*node) || fusion.contains(*node) || has_kernel(maker, *node)) continue;
    if (missing.empty())
      missing = fmt::format("node \"{}\" ({})", node->get_friendly_name(), node->get_type_name());
    else
      ++more;
  }
  if (missing.empty()) return {};
  const std::string others = more == 0 ? "" : fmt::format(", and {} more", more);
  return {StatusCode::kUnsupported,
          fmt::format("{}{}: the operator is not covered on a GPU", missing, others)};
}

}  // namespace

Result<GpuGraph> lower_with(const std::shared_ptr<const ov::Model>& network, const LoweringOptions& options,
                            const KernelMaker& maker) {
  INFLIGHT_TRY_ASSIGN(const std::shared_ptr<ov::Model> prepared, prepare(*network));
  try {
    Division division;
    division.fusion =
        fuse_steps(*prepared, [&maker](const ov::Node& node) { return has_kernel(maker, node); });
    INFLIGHT_TRY(check_covered(*prepared, division.fusion, maker));
    division.stored = values_to_store(*prepared, division.fusion, maker.kind);
    division.channels_last = channels_last_values(*prepared, division.fusion);
    return StepBuilder(*prepared, division, maker, real_type(options.precision), options.concat_in_place)
        .build();
  } catch (const std::exception& error) {
    return Status(StatusCode::kUnsupported, internal::distil_openvino_error(error.what()));
  }
}

Result<Coverage> coverage_with(const std::shared_ptr<const ov::Model>& network, const KernelMaker& maker) {
  INFLIGHT_TRY_ASSIGN(const std::shared_ptr<ov::Model> prepared, prepare(*network));
  Coverage found;
  for (const auto& node : prepared->get_ordered_ops()) {
    if (!computes(*node)) continue;
    if (is_covered(maker, *node)) {
      ++found.covered[node->get_type_name()];
      continue;
    }
    ++found.missing[node->get_type_name()];
    found.missing_nodes.push_back(fmt::format("{} ({})", node->get_friendly_name(), node->get_type_name()));
  }
  return found;
}

}  // namespace inflight::cuda
