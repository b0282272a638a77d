// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/cudnn_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "backends/cuda/runtime/step_plan.h"
#include "inflight/internal/mutex.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // cudnn-frontend finds every function of cuDNN through it
}

namespace inflight::cuda {

using internal::Mutex;
using internal::MutexLock;

Status frontend_status(fe::error_t error, std::string_view call) {
  if (error.is_good()) return Status();
  std::string text = error.get_message();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return Status(StatusCode::kUnsupported, fmt::format("cuDNN: {}: {}", call, text));
}

Status open_cudnn() {
  static const Status opened = [] {
    INFLIGHT_TRY_ASSIGN(fe::cudnn_dlhandle, cudnn_library());
    return Status();
  }();
  return opened;
}

fe::DataType_t frontend_type(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return fe::DataType_t::HALF;
    case DType::kBF16:
      return fe::DataType_t::BFLOAT16;
    default:
      return fe::DataType_t::FLOAT;
  }
}

GpuTensor shape_of(const GpuGraph& graph, TensorId id) {
  GpuTensor shape;
  if (id == kNoTensor) return shape;
  const GpuTensor& one = graph.tensors[static_cast<std::size_t>(id)];
  shape.dtype = one.dtype;
  shape.extents = one.extents;
  shape.strides = one.strides;
  return shape;
}

std::shared_ptr<fe::graph::Tensor_attributes> add_tensor(fe::graph::Graph& graph, const GpuTensor& tensor,
                                                         std::int64_t uid) {
  return graph.tensor(fe::graph::Tensor_attributes()
                          .set_name(fmt::format("t{}", uid))
                          .set_uid(uid)
                          .set_data_type(frontend_type(tensor.dtype))
                          .set_dim(tensor.extents)
                          .set_stride(tensor.strides));
}

// Handles of one device.
class CudnnHandles {
 public:
  Result<cudnnHandle_t> take() {
    {
      const MutexLock lock(mutex_);
      if (!idle_.empty()) {
        const cudnnHandle_t handle = idle_.back();
        idle_.pop_back();
        return handle;
      }
    }
    cudnnHandle_t handle = nullptr;
    const cudnnStatus_t created = fe::detail::create_handle(&handle);
    if (created == CUDNN_STATUS_SUCCESS) return handle;
    return Status(StatusCode::kDeviceError,
                  fmt::format("cudnnCreate: {}", fe::detail::get_error_string(created)));
  }
  void give_back(cudnnHandle_t handle) {
    const MutexLock lock(mutex_);
    idle_.push_back(handle);
  }

 private:
  Mutex mutex_;
  std::vector<cudnnHandle_t> idle_ INFLIGHT_GUARDED_BY(mutex_);
};

namespace {

// Kept for the life of the process: cuDNN's handles belong to the primary context of their device.
CudnnHandles& handles_of(int device) {
  static Mutex mutex;
  static std::unordered_map<int, std::unique_ptr<CudnnHandles>>& all =
      *new std::unordered_map<int, std::unique_ptr<CudnnHandles>>;
  const MutexLock lock(mutex);
  std::unique_ptr<CudnnHandles>& one = all[device];
  if (one == nullptr) one = std::make_unique<CudnnHandles>();
  return *one;
}

}  // namespace

Result<BorrowedHandle> BorrowedHandle::take(GpuDevice& device) {
  INFLIGHT_TRY(open_cudnn());
  INFLIGHT_TRY(device.make_current());
  CudnnHandles& handles = handles_of(device.index());
  INFLIGHT_TRY_ASSIGN(cudnnHandle_t const handle, handles.take());
  return BorrowedHandle(handles, handle);
}

BorrowedHandle::BorrowedHandle(BorrowedHandle&& other) noexcept
    : handles_(other.handles_), handle_(std::exchange(other.handle_, nullptr)) {}

BorrowedHandle::~BorrowedHandle() {
  if (handle_ != nullptr) handles_->give_back(handle_);
}

std::string CudnnGraph::name(std::size_t plan) const {
  std::string text;
  return graph_.get_plan_name_at_index(static_cast<std::int64_t>(plan), text).is_good() ? text : "?";
}

Status CudnnGraph::describe(cudnnHandle_t handle, bool exact) {
  INFLIGHT_TRY(build_graph(graph_));
  INFLIGHT_TRY(frontend_status(graph_.build_operation_graph(handle), "operation graph"));
  INFLIGHT_TRY(
      frontend_status(graph_.create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}), "plans"));
  // A tensor core would round the operands to TF32.
  if (exact) {
    graph_.deselect_numeric_notes(
        {fe::NumericalNote_t::TENSOR_CORE, fe::NumericalNote_t::DOWN_CONVERT_INPUTS});
  }
  const auto count = static_cast<std::size_t>(graph_.get_execution_plan_count());
  built_.assign(count, false);
  workspaces_.assign(count, 0);
  if (count == 0) return Status(StatusCode::kUnsupported, "cuDNN: no plan");
  return Status();
}

Status CudnnGraph::build(cudnnHandle_t handle, std::size_t plan) {
  if (built_[plan]) return Status();
  const auto index = static_cast<std::int64_t>(plan);
  INFLIGHT_TRY(frontend_status(graph_.build_plan_at_index(handle, index), "plan"));
  const std::int64_t bytes = graph_.get_workspace_size_plan_at_index(index);
  if (bytes > static_cast<std::int64_t>(kWorkspaceBytesMax)) {
    return Status(
        StatusCode::kUnsupported,
        fmt::format("cuDNN: the plan wants {} bytes of workspace, at most {}", bytes, kWorkspaceBytesMax));
  }
  workspaces_[plan] = static_cast<std::size_t>(std::max<std::int64_t>(0, bytes));
  built_[plan] = true;
  return Status();
}

Status CudnnGraph::execute(cudnnHandle_t handle, std::size_t plan, Uids& uids, CUdeviceptr workspace) {
  return frontend_status(
      graph_.execute_plan_at_index(handle, uids, pointer_of(workspace), static_cast<std::int64_t>(plan)),
      "execute");
}

}  // namespace inflight::cuda
