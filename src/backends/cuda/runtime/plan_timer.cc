// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/plan_timer.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "backends/cuda/runtime/graph_timer.h"

namespace inflight::cuda {
namespace {

class DeviceTimer final : public PlanTimer {
 public:
  explicit DeviceTimer(std::shared_ptr<GpuDevice> device)
      : device_(std::move(device)),
        versions_(fmt::format("{}, driver {}, {}", device_->name(),
                              cuda_version_text(device_->driver_version()), library_versions())),
        timer_(device_) {}

  const std::string& versions() const noexcept override { return versions_; }
  Status enter() override { return device_->make_current(); }
  Status status() override { return device_->status(); }
  Status begin(StepPlan& plan, std::span<const std::size_t> candidates) override;
  Result<float> time(StepPlan& plan, std::size_t candidate, int together) override;

 private:
  Result<CUdeviceptr> get(std::size_t bytes);

  const std::shared_ptr<GpuDevice> device_;
  const std::string versions_;
  GraphTimer timer_;
  // Operands for each of those that run together; weights are shared, as slots share them.
  std::vector<GpuMemory> memory_;
  std::vector<Operands> operands_;
  std::vector<CUdeviceptr> workspaces_;
};

Result<CUdeviceptr> DeviceTimer::get(std::size_t bytes) {
  if (bytes == 0) return CUdeviceptr{0};
  INFLIGHT_TRY_ASSIGN(GpuMemory one, device_->allocate(bytes, "tuning"));
  // Small numbers in every dtype: zeros could make a device draw less power.
  INFLIGHT_TRY(device_->check(device_->api().cuMemsetD8(one.address(), 0x11, bytes), "cuMemsetD8"));
  memory_.push_back(std::move(one));
  return memory_.back().address();
}

Status DeviceTimer::begin(StepPlan& plan, std::span<const std::size_t> candidates) {
  memory_.clear();
  operands_.clear();
  workspaces_.clear();
  const OperandBytes& bytes = plan.bytes();
  std::size_t workspace = 0;
  for (const std::size_t i : candidates) workspace = std::max(workspace, plan.workspace_bytes(i));
  Operands shared;
  INFLIGHT_TRY_ASSIGN(shared.b, get(bytes.b));
  INFLIGHT_TRY_ASSIGN(shared.bias, get(bytes.bias));
  for (int k = 0; k < kTogetherMax; ++k) {
    Operands own = shared;
    INFLIGHT_TRY_ASSIGN(own.a, get(bytes.a));
    INFLIGHT_TRY_ASSIGN(own.c, get(bytes.c));
    INFLIGHT_TRY_ASSIGN(own.residual, get(bytes.residual));
    INFLIGHT_TRY_ASSIGN(own.out, get(bytes.out));
    INFLIGHT_TRY_ASSIGN(const CUdeviceptr space, get(workspace));
    operands_.push_back(own);
    workspaces_.push_back(space);
  }
  return device_->check(device_->api().cuCtxSynchronize(), "cuCtxSynchronize");
}

Result<float> DeviceTimer::time(StepPlan& plan, std::size_t candidate, int together) {
  const auto enqueue = [&](int copy, CUstream stream) {
    const auto i = static_cast<std::size_t>(copy);
    Operands operands = operands_[i];
    operands.next_is_early = plan.ahead(candidate) == Ahead::kWaits;
    return plan.enqueue(candidate, stream, operands, workspaces_[i]);
  };
  INFLIGHT_TRY_ASSIGN(const std::vector<float> times, timer_.time({.together = together}, enqueue));
  return times.front();
}

}  // namespace

std::unique_ptr<PlanTimer> make_plan_timer(std::shared_ptr<GpuDevice> device) {
  return std::make_unique<DeviceTimer>(std::move(device));
}

}  // namespace inflight::cuda
