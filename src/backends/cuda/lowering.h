// SPDX-License-Identifier: Apache-2.0
// From a network to the steps of a GPU.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <openvino/core/model.hpp>
#include <string>
#include <vector>

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

// What a network needs of the GPU, operator by operator.
struct Coverage {
  std::map<std::string, int> covered;  // nodes of each type, after folding
  std::map<std::string, int> missing;
  std::vector<std::string> missing_nodes;  // "name (Type)", in order
};
//   errors   as lower(), but for operators that are not covered
Result<Coverage> coverage(const std::shared_ptr<const ov::Model>& network);

// The maker of kernels, for tests that put another in its place.
struct KernelMaker {
  std::function<KernelKind(const ov::Node&)> kind;
  std::function<Result<BuiltKernel>(const ov::Output<ov::Node>&, const Placed&, const Placement&)> build;
};
Result<GpuGraph> lower_with(const std::shared_ptr<const ov::Model>& network, const LoweringOptions& options,
                            const KernelMaker& maker);
Result<Coverage> coverage_with(const std::shared_ptr<const ov::Model>& network, const KernelMaker& maker);

}  // namespace inflight::cuda
