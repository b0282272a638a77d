// SPDX-License-Identifier: Apache-2.0
// What plans by cuDNN's graph API share. Only convolution.cc, attention.cc and cudnn_graph.cc include cudnn-frontend,
// which is slow to compile.
#pragma once

#include <cudnn_frontend.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/runtime/device.h"

namespace inflight::cuda {

namespace fe = cudnn_frontend;

Status frontend_status(fe::error_t error, std::string_view call);
fe::DataType_t frontend_type(DType dtype);
// cuDNN's library, for cudnn-frontend: before its first call.
Status open_cudnn();
// The tensor without its bytes; empty for kNoTensor.
GpuTensor shape_of(const GpuGraph& graph, TensorId id);
std::shared_ptr<fe::graph::Tensor_attributes> add_tensor(fe::graph::Graph& graph, const GpuTensor& tensor,
                                                         std::int64_t uid);

// A handle of cuDNN. Building plans takes one for each thread; running them needs any.
class BorrowedHandle {
 public:
  static Result<BorrowedHandle> take(GpuDevice& device);
  BorrowedHandle(BorrowedHandle&& other) noexcept;
  BorrowedHandle(const BorrowedHandle&) = delete;
  BorrowedHandle& operator=(const BorrowedHandle&) = delete;
  BorrowedHandle& operator=(BorrowedHandle&&) = delete;
  ~BorrowedHandle();
  cudnnHandle_t get() const noexcept { return handle_; }

 private:
  BorrowedHandle(class CudnnHandles& handles, cudnnHandle_t handle) : handles_(&handles), handle_(handle) {}
  CudnnHandles* handles_;
  cudnnHandle_t handle_;
};

// One graph and the plans for it. Every call may throw what cudnn-frontend throws.
class CudnnGraph {
 public:
  virtual ~CudnnGraph() = default;
  // Asks for the plans.
  //   exact   f32 operands are not rounded to TF32
  Status describe(cudnnHandle_t handle, bool exact);
  std::size_t count() const { return built_.size(); }
  std::string name(std::size_t plan) const;
  Status build(cudnnHandle_t handle, std::size_t plan);
  std::size_t workspace(std::size_t plan) const { return workspaces_[plan]; }

 protected:
  using Uids = std::unordered_map<std::int64_t, void*>;
  // Makes the nodes of `graph`, validated.
  virtual Status build_graph(fe::graph::Graph& graph) = 0;
  Status execute(cudnnHandle_t handle, std::size_t plan, Uids& uids, CUdeviceptr workspace);

 private:
  fe::graph::Graph graph_;
  std::vector<bool> built_;
  std::vector<std::size_t> workspaces_;
};

}  // namespace inflight::cuda
