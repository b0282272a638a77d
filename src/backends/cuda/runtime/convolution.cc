// SPDX-License-Identifier: Apache-2.0
// Convolutions by cuDNN's graph API.
#include <fmt/format.h>

#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/cudnn_graph.h"
#include "backends/cuda/runtime/step_plan.h"
#include "backends/cuda/runtime/step_sources.h"
#include "backends/cuda/runtime/tile_kernels.h"
#include "base/user_code.h"

namespace inflight::cuda {
namespace {

enum Uid : std::int64_t { kX = 1, kW, kBias, kResidual, kY };

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

// The convolution, and all that follows it if `fused`.
class CudnnConvolution final : public CudnnGraph {
 public:
  CudnnConvolution(const ConvolutionStep& step, const ConvolutionTensors& tensors, bool fused)
      : step_(step), tensors_(tensors), fused_(fused) {}
  Status run(cudnnHandle_t handle, std::size_t plan, const Operands& operands, CUdeviceptr workspace);

 private:
  Status build_graph(fe::graph::Graph& graph) override;

  const ConvolutionStep step_;
  const ConvolutionTensors tensors_;
  const bool fused_;
};

Status CudnnConvolution::build_graph(fe::graph::Graph& graph) {
  graph.set_io_data_type(frontend_type(tensors_.y.dtype))
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  const auto x = add_tensor(graph, tensors_.x, kX);
  const auto w = add_tensor(graph, tensors_.w, kW);
  auto y = graph.conv_fprop(x, w,
                            fe::graph::Conv_fprop_attributes()
                                .set_pre_padding(step_.pads_begin)
                                .set_post_padding(step_.pads_end)
                                .set_stride(step_.strides)
                                .set_dilation(step_.dilations));
  const auto add = [&](const GpuTensor& what, Uid uid) {
    y = graph.pointwise(y, add_tensor(graph, what, uid),
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
    y = graph.pointwise(y, activation_attributes(step_.activation));
  y->set_output(true)
      .set_uid(kY)
      .set_data_type(frontend_type(tensors_.y.dtype))
      .set_dim(tensors_.y.extents)
      .set_stride(tensors_.y.strides);
  return frontend_status(graph.validate(), "validate");
}

Status CudnnConvolution::run(cudnnHandle_t handle, std::size_t plan, const Operands& operands,
                             CUdeviceptr workspace) {
  Uids uids{{kX, pointer_of(operands.a)}, {kW, pointer_of(operands.b)}, {kY, pointer_of(operands.out)}};
  if (fused_ && step_.bias != kNoTensor) uids[kBias] = pointer_of(operands.bias);
  if (fused_ && step_.residual != kNoTensor) uids[kResidual] = pointer_of(operands.residual);
  return execute(handle, plan, uids, workspace);
}

// Candidates: fused plans of cuDNN and our tiles, then plans of the bare convolution with a kernel after it, then the
// kernel that runs everywhere.
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
        tiles_(device_, product_shape(graph, step), cache),
        own_(device_, cache) {}

  // A pattern that cuDNN does not take is no error: its candidates are left out.
  Status describe() {
    INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
    const bool exact = tensors_.x.dtype == DType::kF32;
    const Status fused = internal::call_user([&] { return fused_.describe(handle.get(), exact); });
    std::size_t bare_count = 0;
    if (needs_epilogue_) {
      const Status bare = internal::call_user([&] { return bare_.describe(handle.get(), exact); });
      if (bare.ok()) bare_count = bare_.count();
    }
    ways_ = Ways(fused.ok() ? fused_.count() : 0, tiles_.count(), bare_count);
    return Status();
  }

  std::size_t candidates() const override { return ways_.count(); }
  int candidate_rank(std::size_t candidate) const override { return ways_.at(candidate).rank; }
  std::string candidate_name(std::size_t candidate) const override {
    const Ways::Way way = ways_.at(candidate);
    switch (way.kind) {
      case Ways::Kind::kFused:
        return fmt::format("fused {} {}", way.index, fused_.name(way.index));
      case Ways::Kind::kTile:
        return tiles_.name(way.index);
      case Ways::Kind::kSplit:
        return fmt::format("split {} {}", way.index, bare_.name(way.index));
      case Ways::Kind::kDirect:
        break;
    }
    return "direct";
  }
  Ahead ahead(std::size_t candidate) const override {
    return ways_.at(candidate).is_own() ? Ahead::kWaits : Ahead::kExpectsEnd;
  }
  Status prepare(std::size_t candidate) override {
    const Ways::Way way = ways_.at(candidate);
    if (way.kind == Ways::Kind::kDirect) return own_.prepare_direct(direct_);
    if (way.kind == Ways::Kind::kTile) return tiles_.prepare(way.index);
    INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
    return internal::call_user([&]() -> Status {
      if (way.kind == Ways::Kind::kFused) return fused_.build(handle.get(), way.index);
      INFLIGHT_TRY(bare_.build(handle.get(), way.index));
      return own_.prepare_epilogue(epilogue_);
    });
  }
  std::size_t workspace_bytes(std::size_t candidate) const override {
    const Ways::Way way = ways_.at(candidate);
    if (way.kind == Ways::Kind::kFused) return fused_.workspace(way.index);
    return way.kind == Ways::Kind::kSplit ? bare_.workspace(way.index) : 0;
  }
  Status enqueue(std::size_t candidate, CUstream stream, const Operands& operands,
                 CUdeviceptr workspace) override {
    const Ways::Way way = ways_.at(candidate);
    if (way.kind == Ways::Kind::kDirect) return own_.enqueue_direct(stream, operands);
    if (way.kind == Ways::Kind::kTile) return tiles_.enqueue(way.index, stream, operands);
    INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
    return internal::call_user([&]() -> Status {
      if (fe::detail::set_stream(handle.get(), stream) != CUDNN_STATUS_SUCCESS)
        return Status(StatusCode::kDeviceError, "cudnnSetStream failed");
      if (way.kind == Ways::Kind::kFused) return fused_.run(handle.get(), way.index, operands, workspace);
      INFLIGHT_TRY(bare_.run(handle.get(), way.index, operands, workspace));
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
  TileKernels tiles_;
  OwnKernels own_;
  Ways ways_;
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
  auto plan = std::make_shared<ConvolutionPlan>(device, graph, step, cache);
  INFLIGHT_TRY(plan->describe());
  return std::shared_ptr<StepPlan>(std::move(plan));
}

std::string library_versions() {
  std::string text = "no cuDNN";
  if (open_cudnn().ok()) {
    const auto version = fe::detail::get_backend_version();
    text = fmt::format("cuDNN {}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
  }
  if (const auto api = cublaslt_api(); api.ok())
    text += fmt::format(", cuBLASLt {}", (*api)->cublasLtGetVersion());
  return text;
}

}  // namespace inflight::cuda
