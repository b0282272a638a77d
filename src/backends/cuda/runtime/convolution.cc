// SPDX-License-Identifier: Apache-2.0
// Convolutions: plans of cuDNN, our tiles, and the kernel that runs everywhere.
#include <fmt/format.h>

#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/cudnn_graph.h"
#include "backends/cuda/runtime/step_plan.h"
#include "backends/cuda/runtime/step_sources.h"
#include "backends/cuda/runtime/tile_kernels.h"

namespace inflight::cuda {
namespace {

// Candidates: fused plans of cuDNN and our tiles, then plans of the bare convolution with a kernel after it, then the
// kernel that runs everywhere.
class ConvolutionPlan final : public StepPlan {
 public:
  ConvolutionPlan(std::shared_ptr<GpuDevice> device, const GpuGraph& graph, const ConvolutionStep& step,
                  const DiskCache& cache)
      : StepPlan(signature_of(graph, step), bytes_of(graph, step)),
        device_(std::move(device)),
        needs_epilogue_(step.bias != kNoTensor || step.residual != kNoTensor ||
                        step.activation != Activation::kNone),
        epilogue_(epilogue_of(graph, step)),
        direct_(convolution_source(graph, step)),
        tiles_(device_, product_shape(graph, step), cache),
        own_(device_, cache) {}

  Status describe(const GpuGraph& graph, const ConvolutionStep& step) {
    INFLIGHT_TRY_ASSIGN(fused_, CudnnGraph::of(device_, graph, step, true));
    if (needs_epilogue_) {
      INFLIGHT_TRY_ASSIGN(bare_, CudnnGraph::of(device_, graph, step, false));
    }
    ways_ = Ways(fused_->count(), tiles_.count(), bare_ == nullptr ? 0 : bare_->count());
    return Status();
  }

  std::size_t candidates() const override { return ways_.count(); }
  int candidate_rank(std::size_t candidate) const override { return ways_.at(candidate).rank; }
  std::string candidate_name(std::size_t candidate) const override {
    const Ways::Way way = ways_.at(candidate);
    switch (way.kind) {
      case Ways::Kind::kFused:
        return fmt::format("fused {} {}", way.index, fused_->name(way.index));
      case Ways::Kind::kTile:
        return tiles_.name(way.index);
      case Ways::Kind::kSplit:
        return fmt::format("split {} {}", way.index, bare_->name(way.index));
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
    if (way.kind == Ways::Kind::kFused) return fused_->build(way.index);
    INFLIGHT_TRY(bare_->build(way.index));
    return own_.prepare_epilogue(epilogue_);
  }
  std::size_t workspace_bytes(std::size_t candidate) const override {
    const Ways::Way way = ways_.at(candidate);
    if (way.kind == Ways::Kind::kFused) return fused_->workspace_bytes(way.index);
    return way.kind == Ways::Kind::kSplit ? bare_->workspace_bytes(way.index) : 0;
  }
  Status enqueue(std::size_t candidate, CUstream stream, const Operands& operands,
                 CUdeviceptr workspace) override {
    const Ways::Way way = ways_.at(candidate);
    if (way.kind == Ways::Kind::kDirect) return own_.enqueue_direct(stream, operands);
    if (way.kind == Ways::Kind::kTile) return tiles_.enqueue(way.index, stream, operands);
    if (way.kind == Ways::Kind::kFused) return fused_->enqueue(way.index, stream, operands, workspace);
    INFLIGHT_TRY(bare_->enqueue(way.index, stream, operands, workspace));
    return own_.enqueue_epilogue(stream, operands);
  }

 private:
  const std::shared_ptr<GpuDevice> device_;
  const bool needs_epilogue_;
  const EpilogueShape epilogue_;
  const StepSource direct_;
  std::unique_ptr<CudnnGraph> fused_;
  std::unique_ptr<CudnnGraph> bare_;  // null: nothing follows the convolution
  TileKernels tiles_;
  OwnKernels own_;
  Ways ways_;
};

Status check_convolution(const GpuGraph& graph, const ConvolutionStep& step) {
  const auto rank = [&](TensorId id) { return graph.tensor(id).extents.size(); };
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
  INFLIGHT_TRY(plan->describe(graph, step));
  return std::shared_ptr<StepPlan>(std::move(plan));
}

std::string library_versions() {
  const auto cudnn = cudnn_version();
  std::string text = cudnn.ok() ? "cuDNN " + *cudnn : "no cuDNN";
  if (const auto api = cublaslt_api(); api.ok())
    text += fmt::format(", cuBLASLt {}", (*api)->cublasLtGetVersion());
  return text;
}

}  // namespace inflight::cuda
