// SPDX-License-Identifier: Apache-2.0
// Convolutions by cuDNN's graph API. Nothing else includes cudnn-frontend, which is slow to compile.
#include <cudnn_frontend.h>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/step_plan.h"
#include "backends/cuda/runtime/step_sources.h"
#include "base/user_code.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // cudnn-frontend finds every function of cuDNN through it
}

namespace inflight::cuda {
namespace {

namespace fe = cudnn_frontend;
using internal::Mutex;
using internal::MutexLock;
using Uids = std::unordered_map<std::int64_t, void*>;

enum Uid : std::int64_t { kX = 1, kW, kBias, kResidual, kY };

Status frontend_status(fe::error_t error, std::string_view call) {
  if (error.is_good()) return Status();
  std::string text = error.get_message();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return Status(StatusCode::kUnsupported, fmt::format("cuDNN: {}: {}", call, text));
}

// Handles of one device. Building plans takes one for each thread; running them needs any.
class Handles {
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
Handles& handles_of(int device) {
  static Mutex mutex;
  static std::unordered_map<int, std::unique_ptr<Handles>>& all =
      *new std::unordered_map<int, std::unique_ptr<Handles>>;
  const MutexLock lock(mutex);
  std::unique_ptr<Handles>& one = all[device];
  if (one == nullptr) one = std::make_unique<Handles>();
  return *one;
}

class BorrowedHandle {
 public:
  static Result<BorrowedHandle> take(GpuDevice& device) {
    INFLIGHT_TRY(device.make_current());
    Handles& handles = handles_of(device.index());
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
  BorrowedHandle(Handles& handles, cudnnHandle_t handle) : handles_(&handles), handle_(handle) {}
  Handles* handles_;
  cudnnHandle_t handle_;
};

fe::DataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return fe::DataType_t::HALF;
    case DType::kBF16:
      return fe::DataType_t::BFLOAT16;
    default:
      return fe::DataType_t::FLOAT;
  }
}

std::shared_ptr<fe::graph::Tensor_attributes> add_tensor(fe::graph::Graph& graph, const GpuTensor& tensor,
                                                         Uid uid) {
  return graph.tensor(fe::graph::Tensor_attributes()
                          .set_name(fmt::format("t{}", static_cast<int>(uid)))
                          .set_uid(uid)
                          .set_data_type(data_type(tensor.dtype))
                          .set_dim(tensor.extents)
                          .set_stride(tensor.strides));
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

struct ConvolutionTensors {
  GpuTensor x, w, bias, residual, y;  // without constants
};

GpuTensor shape_of(const GpuGraph& graph, TensorId id) {
  GpuTensor shape;
  if (id == kNoTensor) return shape;
  const GpuTensor& one = graph.tensors[static_cast<std::size_t>(id)];
  shape.dtype = one.dtype;
  shape.extents = one.extents;
  shape.strides = one.strides;
  return shape;
}

// One cuDNN graph: the convolution, and all that follows it if `fused`.
class CudnnConvolution {
 public:
  CudnnConvolution(const ConvolutionStep& step, const ConvolutionTensors& tensors, bool fused)
      : step_(step), tensors_(tensors), fused_(fused) {}

  // Asks for the candidates. Throws what cudnn-frontend throws.
  Status describe(cudnnHandle_t handle);
  std::size_t count() const { return count_; }
  std::string name(std::size_t plan) const {
    std::string text;
    return graph_.get_plan_name_at_index(static_cast<std::int64_t>(plan), text).is_good() ? text : "?";
  }
  Status build(cudnnHandle_t handle, std::size_t plan);
  std::size_t workspace(std::size_t plan) const { return workspaces_[plan]; }
  Status execute(cudnnHandle_t handle, std::size_t plan, const Operands& operands, CUdeviceptr workspace);

 private:
  Status build_graph();

  const ConvolutionStep step_;
  const ConvolutionTensors tensors_;
  const bool fused_;
  fe::graph::Graph graph_;
  std::size_t count_ = 0;
  std::vector<bool> built_;
  std::vector<std::size_t> workspaces_;
};

Status CudnnConvolution::build_graph() {
  graph_.set_io_data_type(data_type(tensors_.y.dtype))
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  const auto x = add_tensor(graph_, tensors_.x, kX);
  const auto w = add_tensor(graph_, tensors_.w, kW);
  auto y = graph_.conv_fprop(x, w,
                             fe::graph::Conv_fprop_attributes()
                                 .set_pre_padding(step_.pads_begin)
                                 .set_post_padding(step_.pads_end)
                                 .set_stride(step_.strides)
                                 .set_dilation(step_.dilations));
  const auto add = [&](const GpuTensor& what, Uid uid) {
    y = graph_.pointwise(y, add_tensor(graph_, what, uid),
                         fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::ADD));
  };
  if (fused_ && step_.bias != kNoTensor) {
    GpuTensor bias = tensors_.bias;
    const std::int64_t channels = tensors_.y.extents[1];
    bias.extents = {1, channels, 1, 1};
    bias.strides = {channels, 1, channels, channels};
    add(bias, kBias);
  }
  if (fused_ && step_.residual != kNoTensor) add(tensors_.residual, kResidual);
  if (fused_ && step_.activation != Activation::kNone)
    y = graph_.pointwise(y, activation_attributes(step_.activation));
  y->set_output(true)
      .set_uid(kY)
      .set_data_type(data_type(tensors_.y.dtype))
      .set_dim(tensors_.y.extents)
      .set_stride(tensors_.y.strides);
  return frontend_status(graph_.validate(), "validate");
}

Status CudnnConvolution::describe(cudnnHandle_t handle) {
  INFLIGHT_TRY(build_graph());
  INFLIGHT_TRY(frontend_status(graph_.build_operation_graph(handle), "operation graph"));
  INFLIGHT_TRY(
      frontend_status(graph_.create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK}), "plans"));
  // In f32 a tensor core would round the operands to TF32.
  if (tensors_.x.dtype == DType::kF32) {
    graph_.deselect_numeric_notes(
        {fe::NumericalNote_t::TENSOR_CORE, fe::NumericalNote_t::DOWN_CONVERT_INPUTS});
  }
  count_ = static_cast<std::size_t>(graph_.get_execution_plan_count());
  built_.assign(count_, false);
  workspaces_.assign(count_, 0);
  if (count_ == 0) return Status(StatusCode::kUnsupported, "cuDNN: no plan");
  return Status();
}

Status CudnnConvolution::build(cudnnHandle_t handle, std::size_t plan) {
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

Status CudnnConvolution::execute(cudnnHandle_t handle, std::size_t plan, const Operands& operands,
                                 CUdeviceptr workspace) {
  const auto pointer = [](CUdeviceptr address) { return pointer_of(address); };
  Uids uids{{kX, pointer(operands.a)}, {kW, pointer(operands.b)}, {kY, pointer(operands.out)}};
  if (fused_ && step_.bias != kNoTensor) uids[kBias] = pointer(operands.bias);
  if (fused_ && step_.residual != kNoTensor) uids[kResidual] = pointer(operands.residual);
  return frontend_status(
      graph_.execute_plan_at_index(handle, uids, pointer(workspace), static_cast<std::int64_t>(plan)),
      "execute");
}

// Candidates: fused plans, then plans of the bare convolution with a kernel after it, then our own kernel.
class ConvolutionPlan final : public StepPlan {
 public:
  ConvolutionPlan(std::shared_ptr<GpuDevice> device, const GpuGraph& graph, const ConvolutionStep& step,
                  const DiskCache& cache)
      : StepPlan(signature_of(graph, step), bytes_of(graph, step)),
        device_(std::move(device)),
        tensors_{shape_of(graph, step.x), shape_of(graph, step.w), shape_of(graph, step.bias),
                 shape_of(graph, step.residual), shape_of(graph, step.y)},
        needs_epilogue_(step.bias != kNoTensor || step.residual != kNoTensor ||
                        step.activation != Activation::kNone),
        epilogue_(epilogue_of(graph, step)),
        direct_(convolution_source(graph, step)),
        fused_(step, tensors_, true),
        bare_(step, tensors_, false),
        own_(device_, cache) {}

  // A pattern that cuDNN does not take is no error: its candidates are left out.
  Status describe() {
    INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
    refused_ = internal::call_user([&] { return fused_.describe(handle.get()); });
    fused_count_ = refused_.ok() ? fused_.count() : 0;
    if (!needs_epilogue_) return Status();
    const Status bare = internal::call_user([&] { return bare_.describe(handle.get()); });
    bare_count_ = bare.ok() ? bare_.count() : 0;
    return Status();
  }

  std::size_t candidates() const override { return fused_count_ + bare_count_ + 1; }
  int candidate_rank(std::size_t candidate) const override {
    return candidate < fused_count_ ? 0 : candidate < fused_count_ + bare_count_ ? 1 : 2;
  }
  std::string candidate_name(std::size_t candidate) const override {
    switch (candidate_rank(candidate)) {
      case 0:
        return fmt::format("fused {} {}", candidate, fused_.name(candidate));
      case 1:
        return fmt::format("split {} {}", candidate, bare_.name(candidate - fused_count_));
      default:
        return "direct";
    }
  }
  Status prepare(std::size_t candidate) override {
    if (candidate_rank(candidate) == 2) return own_.prepare_direct(direct_);
    INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
    return internal::call_user([&]() -> Status {
      if (candidate < fused_count_) return fused_.build(handle.get(), candidate);
      INFLIGHT_TRY(bare_.build(handle.get(), candidate - fused_count_));
      return own_.prepare_epilogue(epilogue_);
    });
  }
  std::size_t workspace_bytes(std::size_t candidate) const override {
    if (candidate_rank(candidate) == 2) return 0;
    return candidate < fused_count_ ? fused_.workspace(candidate) : bare_.workspace(candidate - fused_count_);
  }
  Status enqueue(std::size_t candidate, CUstream stream, const Operands& operands,
                 CUdeviceptr workspace) override {
    if (candidate_rank(candidate) == 2) return own_.enqueue_direct(stream, operands);
    INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
    return internal::call_user([&]() -> Status {
      if (fe::detail::set_stream(handle.get(), stream) != CUDNN_STATUS_SUCCESS)
        return Status(StatusCode::kDeviceError, "cudnnSetStream failed");
      if (candidate < fused_count_) return fused_.execute(handle.get(), candidate, operands, workspace);
      INFLIGHT_TRY(bare_.execute(handle.get(), candidate - fused_count_, operands, workspace));
      return own_.enqueue_epilogue(stream, operands);
    });
  }

 private:
  const std::shared_ptr<GpuDevice> device_;
  const ConvolutionTensors tensors_;
  const bool needs_epilogue_;
  const EpilogueShape epilogue_;
  const StepSource direct_;
  CudnnConvolution fused_;
  CudnnConvolution bare_;
  OwnKernels own_;
  Status refused_;  // why there is no fused candidate
  std::size_t fused_count_ = 0;
  std::size_t bare_count_ = 0;
};

Status check_convolution(const GpuGraph& graph, const ConvolutionStep& step) {
  const auto rank = [&](TensorId id) { return graph.tensors[static_cast<std::size_t>(id)].extents.size(); };
  if (rank(step.x) == 4 && rank(step.w) == 4 && rank(step.y) == 4 && step.strides.size() == 2 &&
      step.dilations.size() == 2 && step.pads_begin.size() == 2 && step.pads_end.size() == 2) {
    return Status();
  }
  return Status(StatusCode::kInvalidModel,
                fmt::format("\"{}\": a convolution of rank {}, want 4", step.label, rank(step.x)));
}

}  // namespace

Result<std::shared_ptr<StepPlan>> plan_convolution(const std::shared_ptr<GpuDevice>& device,
                                                   const GpuGraph& graph, const ConvolutionStep& step,
                                                   const DiskCache& cache) {
  INFLIGHT_TRY(check_convolution(graph, step));
  INFLIGHT_TRY_ASSIGN(void* const library, cudnn_library());
  fe::cudnn_dlhandle = library;
  auto plan = std::make_shared<ConvolutionPlan>(device, graph, step, cache);
  INFLIGHT_TRY(plan->describe());
  return std::shared_ptr<StepPlan>(std::move(plan));
}

std::string library_versions() {
  std::string text = "no cuDNN";
  if (const auto library = cudnn_library(); library.ok()) {
    fe::cudnn_dlhandle = *library;
    const auto version = fe::detail::get_backend_version();
    text = fmt::format("cuDNN {}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
  }
  if (const auto api = cublaslt_api(); api.ok())
    text += fmt::format(", cuBLASLt {}", (*api)->cublasLtGetVersion());
  return text;
}

}  // namespace inflight::cuda
