// SPDX-License-Identifier: Apache-2.0
// Attention in one step: cuDNN's kernels for it, and our own.
#include <fmt/format.h>

#include "backends/cuda/runtime/attention_sources.h"
#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/cudnn_graph.h"
#include "backends/cuda/runtime/step_plan.h"

namespace inflight::cuda {
namespace {

constexpr int kTensorCoreCapability = 80;  // of attention_tile_source()

// Candidates: cuDNN's plans and our kernels on tensor cores, then the kernel that runs everywhere.
class AttentionPlan final : public StepPlan {
 public:
  AttentionPlan(std::shared_ptr<GpuDevice> device, const GpuGraph& graph, const AttentionStep& step,
                const DiskCache& cache)
      : StepPlan(signature_of(graph, step), bytes_of(graph, step)),
        device_(std::move(device)),
        masked_(step.mask != kNoTensor) {
    if (device_->compute_capability() >= kTensorCoreCapability) tiles_ = attention_tiles(graph, step);
    for (const AttentionTile& tile : tiles_) sources_.push_back(attention_tile_source(graph, step, tile));
    sources_.push_back(attention_source(graph, step));
    for (std::size_t i = 0; i < sources_.size(); ++i)
      own_.push_back(std::make_unique<OwnKernels>(device_, cache));
  }

  Status describe(const GpuGraph& graph, const AttentionStep& step) {
    INFLIGHT_TRY_ASSIGN(cudnn_, CudnnGraph::of(device_, graph, step));
    return Status();
  }

  std::size_t candidates() const override { return cudnn_->count() + sources_.size(); }
  int candidate_rank(std::size_t candidate) const override { return candidate + 1 < candidates() ? 0 : 2; }
  std::string candidate_name(std::size_t candidate) const override {
    if (candidate < cudnn_->count()) return fmt::format("fused {} {}", candidate, cudnn_->name(candidate));
    const std::size_t own = candidate - cudnn_->count();
    return own == tiles_.size() ? "direct"
                                : fmt::format("tile {} rows {} warps", tiles_[own].rows, tiles_[own].warps);
  }
  Ahead ahead(std::size_t candidate) const override {
    return candidate < cudnn_->count() ? Ahead::kExpectsEnd : Ahead::kWaits;
  }
  Status prepare(std::size_t candidate) override {
    if (candidate >= cudnn_->count()) {
      const std::size_t own = candidate - cudnn_->count();
      return own_[own]->prepare_direct(sources_[own]);
    }
    return cudnn_->build(candidate);
  }
  std::size_t workspace_bytes(std::size_t candidate) const override {
    return candidate < cudnn_->count() ? cudnn_->workspace_bytes(candidate) : 0;
  }
  Status enqueue(std::size_t candidate, CUstream stream, const Operands& operands,
                 CUdeviceptr workspace) override {
    if (candidate >= cudnn_->count()) {
      std::vector<CUdeviceptr> addresses{operands.a, operands.b, operands.c};
      if (masked_) addresses.push_back(operands.bias);
      addresses.push_back(operands.out);
      return own_[candidate - cudnn_->count()]->enqueue_direct(stream, std::move(addresses),
                                                               operands.next_is_early);
    }
    return cudnn_->enqueue(candidate, stream, operands, workspace);
  }

 private:
  const std::shared_ptr<GpuDevice> device_;
  const bool masked_;
  std::unique_ptr<CudnnGraph> cudnn_;
  std::vector<AttentionTile> tiles_;
  std::vector<StepSource> sources_;               // of the tiles, then of the kernel that runs everywhere
  std::vector<std::unique_ptr<OwnKernels>> own_;  // of each source
};

Status check_attention(const GpuGraph& graph, const AttentionStep& step) {
  const auto extents = [&](TensorId id) { return graph.tensor(id).extents; };
  const Extents q = extents(step.q);
  const Extents k = extents(step.k);
  const Extents v = extents(step.v);
  const Extents out = extents(step.out);
  const auto dtype = graph.tensor(step.q).dtype;
  if (q.size() == 4 && k.size() == 4 && v.size() == 4 && out == Extents{q[0], q[1], q[2], v[3]} &&
      k == Extents{q[0], q[1], v[2], q[3]} && v[0] == q[0] && v[1] == q[1] &&
      (dtype == DType::kF16 || dtype == DType::kBF16) &&
      (step.mask == kNoTensor || extents(step.mask).size() == 4))
    return Status();
  return Status(StatusCode::kInvalidModel,
                fmt::format("\"{}\": an attention whose operands do not fit each other, or not of 16 bits",
                            step.label));
}

}  // namespace

Result<std::shared_ptr<StepPlan>> plan_attention(const std::shared_ptr<GpuDevice>& device,
                                                 const GpuGraph& graph, const AttentionStep& step,
                                                 const DiskCache& cache) {
  INFLIGHT_TRY(check_attention(graph, step));
  auto plan = std::make_shared<AttentionPlan>(device, graph, step, cache);
  INFLIGHT_TRY(plan->describe(graph, step));
  return std::shared_ptr<StepPlan>(std::move(plan));
}

}  // namespace inflight::cuda
