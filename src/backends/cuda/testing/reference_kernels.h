// SPDX-License-Identifier: Apache-2.0
// Kernels that OpenVINO computes instead of a GPU, to test how a network is divided apart from how kernels are
// written.
#pragma once

#include <map>
#include <memory>
#include <openvino/runtime/core.hpp>
#include <string>

#include "backends/cuda/lowering.h"
#include "backends/cuda/testing/graph_interpreter.h"

namespace inflight::cuda::testing {

class ReferenceKernels {
 public:
  ReferenceKernels();
  ~ReferenceKernels();
  ReferenceKernels(const ReferenceKernels&) = delete;
  ReferenceKernels& operator=(const ReferenceKernels&) = delete;

  // Covers every operator. Valid as long as this.
  //   kind   which kernel each node needs
  KernelMaker maker();
  // Runs the kernels that maker() made.
  KernelRunner runner();

 private:
  struct Kernel;
  Result<BuiltKernel> build(const ov::Output<ov::Node>& value, const Placed& to, const Placement& placement);
  Status run(const KernelStep& step, const std::vector<std::byte*>& parameters);

  ov::Core core_;
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;  // by the text that stands for their source
};

// As kernel_kind(), by type, of every operator.
KernelKind reference_kind(const ov::Node& node);

}  // namespace inflight::cuda::testing
