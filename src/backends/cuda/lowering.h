// SPDX-License-Identifier: Apache-2.0
// From a network to the steps of a GPU.
#pragma once

#include <functional>
#include <memory>
#include <openvino/core/model.hpp>
#include <span>
#include <string_view>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/kernel_builder.h"
#include "inflight/backend.h"
#include "inflight/status.h"

namespace inflight::cuda {

struct LoweringOptions {
  // How floating-point values between input and output are stored: kAuto is kF16. Arithmetic is in f32.
  Precision precision = Precision::kAuto;
  // Convolutions whose channels are joined write to their part of the whole, where every input of the Concat is
  // one: y then has the strides of the whole. Saves a kernel a Concat where the library takes such strides.
  bool concat_in_place = false;
};

// The steps that compute a network.
//   network  of static shapes; not changed
//   thread   any, while no thread changes `network`
//   errors   kUnsupported: an operator, element type or shape that is not covered, with its node
Result<GpuGraph> lower(const std::shared_ptr<const ov::Model>& network, const LoweringOptions& options = {});

// What a GPU can compute of a network, operator by operator, once it is folded. Where nothing is missing, the network
// has been lowered as a trial.
//   errors   as lower(), but for operators that are not covered
Result<Coverage> coverage(const std::shared_ptr<const ov::Model>& network);
// All operators that a GPU can compute.
Coverage known_operators();

// The operators that are covered beside covered_operators(), named likewise: those that steps of a library compute
// (fusion.cc), and those that the lowering replaces (rewrite.h) or folds.
std::span<const std::string_view> step_operators();
std::span<const std::string_view> replaced_operators();

// The maker of kernels, for tests that put another in its place.
struct KernelMaker {
  std::function<KernelKind(const ov::Node&)> kind;
  std::function<Result<BuiltKernel>(const ov::Output<ov::Node>&, const Placed&, const Placement&)> build;
};
Result<GpuGraph> lower_with(const std::shared_ptr<const ov::Model>& network, const LoweringOptions& options,
                            const KernelMaker& maker);
Result<Coverage> coverage_with(const std::shared_ptr<const ov::Model>& network, const KernelMaker& maker);

}  // namespace inflight::cuda
