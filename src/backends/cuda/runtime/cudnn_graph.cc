// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/cudnn_graph.h"

#include <cudnn_frontend.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/user_code.h"
#include "inflight/internal/mutex.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // cudnn-frontend finds every function of cuDNN through it
}

namespace inflight::cuda {
namespace {

namespace fe = cudnn_frontend;
using internal::Mutex;
using internal::MutexLock;

// Of the tensors, named as in Operands.
enum Uid : std::int64_t { kA = 1, kB, kC, kBias, kResidual, kOut };

Status frontend_status(fe::error_t error, std::string_view call) {
  if (error.is_good()) return Status();
  std::string text = error.get_message();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return Status(StatusCode::kUnsupported, fmt::format("cuDNN: {}: {}", call, text));
}

// cuDNN's library, for cudnn-frontend: before its first call.
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

fe::graph::Pointwise_attributes activation_attributes(Activation activation) {
  fe::graph::Pointwise_attributes attributes;
  switch (activation) {
    case Activation::kNone:
      break;
    case Activation::kRelu:
      attributes.set_mode(fe::PointwiseMode_t::RELU_FWD);
      break;
    case Activation::kRelu6:
      attributes.set_mode(fe::PointwiseMode_t::RELU_FWD).set_relu_lower_clip(0.0F).set_relu_upper_clip(6.0F);
      break;
    case Activation::kSigmoid:
      attributes.set_mode(fe::PointwiseMode_t::SIGMOID_FWD);
      break;
    case Activation::kTanh:
      attributes.set_mode(fe::PointwiseMode_t::TANH_FWD);
      break;
    case Activation::kSilu:
      attributes.set_mode(fe::PointwiseMode_t::SWISH_FWD);
      break;
    case Activation::kGelu:
      attributes.set_mode(fe::PointwiseMode_t::GELU_FWD);
      break;
  }
  return attributes;
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

// A handle of cuDNN. Building plans takes one for each thread; running them needs any.
class BorrowedHandle {
 public:
  static Result<BorrowedHandle> take(GpuDevice& device) {
    INFLIGHT_TRY(open_cudnn());
    INFLIGHT_TRY(device.make_current());
    CudnnHandles& handles = handles_of(device.index());
    INFLIGHT_TRY_ASSIGN(cudnnHandle_t const handle, handles.take());
    return BorrowedHandle(handles, handle);
  }
  BorrowedHandle(BorrowedHandle&& other) noexcept
      : handles_(other.handles_), handle_(std::exchange(other.handle_, nullptr)) {}
  BorrowedHandle(const BorrowedHandle&) = delete;
  BorrowedHandle& operator=(const BorrowedHandle&) = delete;
  BorrowedHandle& operator=(BorrowedHandle&&) = delete;
  ~BorrowedHandle() {
    if (handle_ != nullptr) handles_->give_back(handle_);
  }
  cudnnHandle_t get() const noexcept { return handle_; }

 private:
  BorrowedHandle(CudnnHandles& handles, cudnnHandle_t handle) : handles_(&handles), handle_(handle) {}
  CudnnHandles* handles_;
  cudnnHandle_t handle_;
};

}  // namespace

struct CudnnGraph::Nodes {
  fe::graph::Graph graph;
  std::vector<Uid> uids;

  void set_types(DType io) {
    graph.set_io_data_type(frontend_type(io))
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }
  std::shared_ptr<fe::graph::Tensor_attributes> add(Uid uid, DType dtype, const Extents& extents,
                                                    const Extents& strides) {
    uids.push_back(uid);
    return graph.tensor(fe::graph::Tensor_attributes()
                            .set_name(fmt::format("t{}", static_cast<int>(uid)))
                            .set_uid(uid)
                            .set_data_type(frontend_type(dtype))
                            .set_dim(extents)
                            .set_stride(strides));
  }
  std::shared_ptr<fe::graph::Tensor_attributes> add(Uid uid, const GpuTensor& tensor) {
    return add(uid, tensor.dtype, tensor.extents, tensor.strides);
  }
  void set_out(const std::shared_ptr<fe::graph::Tensor_attributes>& out, const GpuTensor& tensor) {
    uids.push_back(kOut);
    out->set_output(true)
        .set_uid(kOut)
        .set_data_type(frontend_type(tensor.dtype))
        .set_dim(tensor.extents)
        .set_stride(tensor.strides);
  }
};

CudnnGraph::CudnnGraph(std::shared_ptr<GpuDevice> device, std::unique_ptr<Nodes> nodes)
    : device_(std::move(device)), nodes_(std::move(nodes)) {}
CudnnGraph::~CudnnGraph() = default;

// Makes the graph and asks for its plans.
//   exact   f32 operands are not rounded to TF32
template <typename AddNodes>
Result<std::unique_ptr<CudnnGraph>> CudnnGraph::describe(std::shared_ptr<GpuDevice> device, bool exact,
                                                         const AddNodes& add_nodes) {
  INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device));
  std::unique_ptr<CudnnGraph> one(new CudnnGraph(std::move(device), std::make_unique<Nodes>()));
  fe::graph::Graph& graph = one->nodes_->graph;
  const Status described = internal::call_user([&]() -> Status {
    add_nodes(*one->nodes_);
    INFLIGHT_TRY(frontend_status(graph.validate(), "validate"));
    INFLIGHT_TRY(frontend_status(graph.build_operation_graph(handle.get()), "operation graph"));
    INFLIGHT_TRY(frontend_status(graph.create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}),
                                 "plans"));
    // A tensor core would round the operands to TF32.
    if (exact) {
      graph.deselect_numeric_notes(
          {fe::NumericalNote_t::TENSOR_CORE, fe::NumericalNote_t::DOWN_CONVERT_INPUTS});
    }
    return Status();
  });
  const std::size_t count =
      described.ok() ? static_cast<std::size_t>(std::max<std::int64_t>(0, graph.get_execution_plan_count()))
                     : 0;
  one->built_.assign(count, false);
  one->workspaces_.assign(count, 0);
  return one;
}

Result<std::unique_ptr<CudnnGraph>> CudnnGraph::of(std::shared_ptr<GpuDevice> device, const GpuGraph& graph,
                                                   const ConvolutionStep& step, bool fused) {
  const bool exact = graph.tensor(step.x).dtype == DType::kF32;
  return describe(std::move(device), exact, [&](Nodes& nodes) {
    nodes.set_types(graph.tensor(step.y).dtype);
    auto y = nodes.graph.conv_fprop(nodes.add(kA, graph.tensor(step.x)), nodes.add(kB, graph.tensor(step.w)),
                                    fe::graph::Conv_fprop_attributes()
                                        .set_pre_padding(step.pads_begin)
                                        .set_post_padding(step.pads_end)
                                        .set_stride(step.strides)
                                        .set_dilation(step.dilations));
    const auto plus = [&](const std::shared_ptr<fe::graph::Tensor_attributes>& what) {
      y = nodes.graph.pointwise(y, what,
                                fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::ADD));
    };
    if (fused && step.bias != kNoTensor) {
      const std::int64_t channels = graph.tensor(step.y).extents[1];
      plus(nodes.add(kBias, graph.tensor(step.bias).dtype, {1, channels, 1, 1},
                     {channels, 1, channels, channels}));
    }
    if (fused && step.residual != kNoTensor) plus(nodes.add(kResidual, graph.tensor(step.residual)));
    if (fused && step.activation != Activation::kNone)
      y = nodes.graph.pointwise(y, activation_attributes(step.activation));
    nodes.set_out(y, graph.tensor(step.y));
  });
}

Result<std::unique_ptr<CudnnGraph>> CudnnGraph::of(std::shared_ptr<GpuDevice> device, const GpuGraph& graph,
                                                   const AttentionStep& step) {
  return describe(std::move(device), false, [&](Nodes& nodes) {
    nodes.set_types(graph.tensor(step.q).dtype);
    auto attributes = fe::graph::SDPA_attributes()
                          .set_name("attention")
                          .set_generate_stats(false)
                          .set_attn_scale(static_cast<float>(step.scale));
    if (step.mask != kNoTensor) attributes.set_bias(nodes.add(kBias, graph.tensor(step.mask)));
    const auto [out, stats] =
        nodes.graph.sdpa(nodes.add(kA, graph.tensor(step.q)), nodes.add(kB, graph.tensor(step.k)),
                         nodes.add(kC, graph.tensor(step.v)), attributes);
    nodes.set_out(out, graph.tensor(step.out));
  });
}

std::string CudnnGraph::name(std::size_t plan) const {
  std::string text;
  return nodes_->graph.get_plan_name_at_index(static_cast<std::int64_t>(plan), text).is_good() ? text : "?";
}

Status CudnnGraph::build(std::size_t plan) {
  if (built_[plan]) return Status();
  INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
  return internal::call_user([&]() -> Status {
    const auto index = static_cast<std::int64_t>(plan);
    INFLIGHT_TRY(frontend_status(nodes_->graph.build_plan_at_index(handle.get(), index), "plan"));
    const std::int64_t bytes = nodes_->graph.get_workspace_size_plan_at_index(index);
    if (bytes > static_cast<std::int64_t>(kWorkspaceBytesMax)) {
      return Status(
          StatusCode::kUnsupported,
          fmt::format("cuDNN: the plan wants {} bytes of workspace, at most {}", bytes, kWorkspaceBytesMax));
    }
    workspaces_[plan] = static_cast<std::size_t>(std::max<std::int64_t>(0, bytes));
    built_[plan] = true;
    return Status();
  });
}

Status CudnnGraph::enqueue(std::size_t plan, CUstream stream, const Operands& operands,
                           CUdeviceptr workspace) {
  INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
  return internal::call_user([&]() -> Status {
    if (fe::detail::set_stream(handle.get(), stream) != CUDNN_STATUS_SUCCESS)
      return Status(StatusCode::kDeviceError, "cudnnSetStream failed");
    const CUdeviceptr addresses[] = {operands.a,    operands.b,        operands.c,
                                     operands.bias, operands.residual, operands.out};
    std::unordered_map<std::int64_t, void*> by_uid;
    for (const Uid uid : nodes_->uids) by_uid[uid] = pointer_of(addresses[uid - kA]);
    return frontend_status(nodes_->graph.execute_plan_at_index(handle.get(), by_uid, pointer_of(workspace),
                                                               static_cast<std::int64_t>(plan)),
                           "execute");
  });
}

Result<std::string> cudnn_version() {
  INFLIGHT_TRY(open_cudnn());
  const auto version = fe::detail::get_backend_version();
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

}  // namespace inflight::cuda
