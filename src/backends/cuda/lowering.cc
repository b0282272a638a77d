// SPDX-License-Identifier: Apache-2.0
//   prepare      folds, and gives patterns one form
//   fuse_steps   convolutions and matmuls with what follows them
//   values_to_store, channels_last_values
//   StepBuilder  steps, tensors, memory
#include "backends/cuda/lowering.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "backends/coverage_counter.h"
#include "backends/cuda/emitter.h"
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

bool has_kernel(const KernelMaker& maker, const ov::Node& node) {
  return maker.kind(node) != KernelKind::kNone;
}

bool is_covered(const KernelMaker& maker, const ov::Node& node) {
  return has_kernel(maker, node) || is_convolution_step(node, false) || is_matmul_step(node, false);
}

// Of a node without a kernel: whether its type is unknown, or what it asks for.
std::string_view why_missing(const ov::Node& node) {
  const std::string name = rule_key(node.get_type_info());
  const auto has = [&name](const auto& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has(covered_operators()) || has(step_operators()) || has(replaced_operators()))
    return "the operator is covered, but not with these attributes, element types and shapes";
  return "no kernel computes this operator";
}

// The steps of a network may take in nodes that have no kernel of their own.
Status check_covered(const ov::Model& network, const Fusion& fusion, const KernelMaker& maker) {
  std::string missing;
  int more = 0;
  for (const auto& node : network.get_ordered_ops()) {
    if (!CoverageCounter::counts(*node) || fusion.contains(*node) || has_kernel(maker, *node)) continue;
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
    const DType real = real_type(options.precision);
    division.fusion = fuse_steps(
        *prepared, [&maker](const ov::Node& node) { return has_kernel(maker, node); }, real != DType::kF32);
    INFLIGHT_TRY(check_covered(*prepared, division.fusion, maker));
    division.channels_last = channels_last_values(*prepared, division.fusion);
    division.stored = values_to_store(*prepared, division.fusion, maker.kind, division.channels_last);
    return StepBuilder(*prepared, division, maker, real, options.concat_in_place).build();
  } catch (const std::exception& error) {
    return Status(StatusCode::kUnsupported, internal::distil_openvino_error(error.what()));
  }
}

Result<Coverage> coverage_with(const std::shared_ptr<const ov::Model>& network, const KernelMaker& maker) {
  INFLIGHT_TRY_ASSIGN(const std::shared_ptr<ov::Model> prepared, prepare(*network));
  CoverageCounter counter;
  for (const auto& node : prepared->get_ordered_ops()) {
    if (!CoverageCounter::counts(*node)) continue;
    if (is_covered(maker, *node))
      counter.add_covered(*node);
    else
      counter.add_missing(*node, why_missing(*node));
  }
  Coverage found = counter.take();
  // Operators that are covered one by one may still not be so together, or with these shapes.
  if (found.complete()) INFLIGHT_TRY(lower_with(network, {}, maker).status());
  return found;
}

}  // namespace inflight::cuda
