// SPDX-License-Identifier: Apache-2.0
// Attention in one step: cuDNN's kernels for it, and our own.
#include <fmt/format.h>

#include "backends/cuda/runtime/attention_sources.h"
#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/cudnn_graph.h"
#include "backends/cuda/runtime/step_plan.h"
#include "base/user_code.h"

namespace inflight::cuda {
namespace {

constexpr int kTensorCoreCapability = 80;  // of attention_tile_source()

enum Uid : std::int64_t { kQ = 1, kK, kV, kMask, kOut };

struct AttentionTensors {
  GpuTensor q, k, v, mask, out;
};

class CudnnAttention final : public CudnnGraph {
 public:
  CudnnAttention(const AttentionStep& step, AttentionTensors tensors)
      : step_(step), tensors_(std::move(tensors)) {}

  Status run(cudnnHandle_t handle, std::size_t plan, const Operands& operands, CUdeviceptr workspace) {
    Uids uids{{kQ, pointer_of(operands.a)},
              {kK, pointer_of(operands.b)},
              {kV, pointer_of(operands.c)},
              {kOut, pointer_of(operands.out)}};
    if (step_.mask != kNoTensor) uids[kMask] = pointer_of(operands.bias);
    return execute(handle, plan, uids, workspace);
  }

 private:
  Status build_graph(fe::graph::Graph& graph) override {
    graph.set_io_data_type(frontend_type(tensors_.q.dtype))
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    auto attributes = fe::graph::SDPA_attributes()
                          .set_name("attention")
                          .set_generate_stats(false)
                          .set_attn_scale(static_cast<float>(step_.scale));
    if (step_.mask != kNoTensor) attributes.set_bias(add_tensor(graph, tensors_.mask, kMask));
    const auto [out, stats] = graph.sdpa(add_tensor(graph, tensors_.q, kQ), add_tensor(graph, tensors_.k, kK),
                                         add_tensor(graph, tensors_.v, kV), attributes);
    out->set_output(true).set_uid(kOut).set_dim(tensors_.out.extents).set_stride(tensors_.out.strides);
    return frontend_status(graph.validate(), "validate");
  }

  const AttentionStep step_;
  const AttentionTensors tensors_;
};

// Candidates: cuDNN's plans; where none of them works, our kernels on tensor cores; then the one that runs everywhere.
class AttentionPlan final : public StepPlan {
 public:
  AttentionPlan(std::shared_ptr<GpuDevice> device, const GpuGraph& graph, const AttentionStep& step,
                const DiskCache& cache)
      : StepPlan(signature_of(graph, step), bytes_of(graph, step)),
        device_(std::move(device)),
        masked_(step.mask != kNoTensor),
        cudnn_(step, {shape_of(graph, step.q), shape_of(graph, step.k), shape_of(graph, step.v),
                      shape_of(graph, step.mask), shape_of(graph, step.out)}) {
    if (device_->compute_capability() >= kTensorCoreCapability) tiles_ = attention_tiles(graph, step);
    for (const AttentionTile& tile : tiles_) sources_.push_back(attention_tile_source(graph, step, tile));
    sources_.push_back(attention_source(graph, step));
    for (std::size_t i = 0; i < sources_.size(); ++i)
      own_.push_back(std::make_unique<OwnKernels>(device_, cache));
  }

  // A pattern that cuDNN does not take is no error: its candidates are left out.
  Status describe() {
    INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
    const Status described = internal::call_user([&] { return cudnn_.describe(handle.get(), false); });
    cudnn_count_ = described.ok() ? cudnn_.count() : 0;
    return Status();
  }

  std::size_t candidates() const override { return cudnn_count_ + sources_.size(); }
  // On an H200 cuDNN's plans were faster than our tiles at 197 rows, alone and with eight together.
  int candidate_rank(std::size_t candidate) const override {
    return candidate < cudnn_count_ ? 0 : candidate + 1 < candidates() ? 1 : 2;
  }
  std::string candidate_name(std::size_t candidate) const override {
    if (candidate < cudnn_count_) return fmt::format("fused {} {}", candidate, cudnn_.name(candidate));
    const std::size_t own = candidate - cudnn_count_;
    return own == tiles_.size() ? "direct"
                                : fmt::format("tile {} rows {} warps", tiles_[own].rows, tiles_[own].warps);
  }
  Ahead ahead(std::size_t candidate) const override {
    return candidate < cudnn_count_ ? Ahead::kExpectsEnd : Ahead::kWaits;
  }
  Status prepare(std::size_t candidate) override {
    if (candidate >= cudnn_count_) {
      const std::size_t own = candidate - cudnn_count_;
      return own_[own]->prepare_direct(sources_[own]);
    }
    INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
    return internal::call_user([&] { return cudnn_.build(handle.get(), candidate); });
  }
  std::size_t workspace_bytes(std::size_t candidate) const override {
    return candidate < cudnn_count_ ? cudnn_.workspace(candidate) : 0;
  }
  Status enqueue(std::size_t candidate, CUstream stream, const Operands& operands,
                 CUdeviceptr workspace) override {
    if (candidate >= cudnn_count_) {
      std::vector<CUdeviceptr> addresses{operands.a, operands.b, operands.c};
      if (masked_) addresses.push_back(operands.bias);
      addresses.push_back(operands.out);
      return own_[candidate - cudnn_count_]->enqueue_direct(stream, std::move(addresses),
                                                            operands.next_is_early);
    }
    INFLIGHT_TRY_ASSIGN(const BorrowedHandle handle, BorrowedHandle::take(*device_));
    return internal::call_user([&]() -> Status {
      if (fe::detail::set_stream(handle.get(), stream) != CUDNN_STATUS_SUCCESS)
        return Status(StatusCode::kDeviceError, "cudnnSetStream failed");
      return cudnn_.run(handle.get(), candidate, operands, workspace);
    });
  }

 private:
  const std::shared_ptr<GpuDevice> device_;
  const bool masked_;
  CudnnAttention cudnn_;
  std::vector<AttentionTile> tiles_;
  std::vector<StepSource> sources_;               // of the tiles, then of the kernel that runs everywhere
  std::vector<std::unique_ptr<OwnKernels>> own_;  // of each source
  std::size_t cudnn_count_ = 0;
};

Status check_attention(const GpuGraph& graph, const AttentionStep& step) {
  const auto extents = [&](TensorId id) { return graph.tensors[static_cast<std::size_t>(id)].extents; };
  const Extents q = extents(step.q);
  const Extents k = extents(step.k);
  const Extents v = extents(step.v);
  const Extents out = extents(step.out);
  const auto dtype = graph.tensors[static_cast<std::size_t>(step.q)].dtype;
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
  INFLIGHT_TRY(plan->describe());
  return std::shared_ptr<StepPlan>(std::move(plan));
}

}  // namespace inflight::cuda
