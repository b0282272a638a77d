// SPDX-License-Identifier: Apache-2.0
// CudnnGraph: what cuDNN's graph API offers for one step. Only cudnn_graph.cc includes cudnn-frontend, which is slow to
// compile.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/runtime/device.h"
#include "backends/cuda/runtime/step_plan.h"

namespace inflight::cuda {

// "9.19.0".
//   errors   kNoSuchDevice: the library is missing
Result<std::string> cudnn_version();

// A graph and the plans for it.
//   thread   one at a time for one graph; of() and build() of others may run meanwhile
class CudnnGraph {
 public:
  // The convolution, and all that follows it if `fused`. A graph that cuDNN does not take has no plans.
  //   errors   kNoSuchDevice: the library is missing; kDeviceError
  static Result<std::unique_ptr<CudnnGraph>> of(std::shared_ptr<GpuDevice> device, const GpuGraph& graph,
                                                const ConvolutionStep& step, bool fused);
  static Result<std::unique_ptr<CudnnGraph>> of(std::shared_ptr<GpuDevice> device, const GpuGraph& graph,
                                                const AttentionStep& step);
  CudnnGraph(const CudnnGraph&) = delete;
  CudnnGraph& operator=(const CudnnGraph&) = delete;
  ~CudnnGraph();

  std::size_t count() const noexcept { return workspaces_.size(); }
  std::string name(std::size_t plan) const;
  // Ok at once if it is built.
  //   errors   kUnsupported: cuDNN refuses it, or it wants too much workspace
  Status build(std::size_t plan);
  std::size_t workspace_bytes(std::size_t plan) const { return workspaces_[plan]; }
  // Requires build(plan) to have been ok.
  Status enqueue(std::size_t plan, CUstream stream, const Operands& operands, CUdeviceptr workspace);

 private:
  struct Nodes;
  CudnnGraph(std::shared_ptr<GpuDevice> device, std::unique_ptr<Nodes> nodes);
  template <typename AddNodes>
  static Result<std::unique_ptr<CudnnGraph>> describe(std::shared_ptr<GpuDevice> device, bool exact,
                                                      const AddNodes& add_nodes);

  const std::shared_ptr<GpuDevice> device_;
  const std::unique_ptr<Nodes> nodes_;
  std::vector<bool> built_;
  std::vector<std::size_t> workspaces_;
};

}  // namespace inflight::cuda
