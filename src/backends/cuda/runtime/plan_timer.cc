// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/plan_timer.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace inflight::cuda {
namespace {

constexpr int kRepeats = 10;  // of a step in one captured graph
constexpr int kReplays = 3;

class DeviceTimer final : public PlanTimer {
 public:
  explicit DeviceTimer(std::shared_ptr<GpuDevice> device)
      : device_(std::move(device)),
        versions_(fmt::format("{}, driver {}, {}", device_->name(),
                              cuda_version_text(device_->driver_version()), library_versions())) {}
  ~DeviceTimer() override;
  DeviceTimer(const DeviceTimer&) = delete;
  DeviceTimer& operator=(const DeviceTimer&) = delete;

  const std::string& versions() const noexcept override { return versions_; }
  Status enter() override { return device_->make_current(); }
  Status status() override { return device_->status(); }
  Status begin(StepPlan& plan, std::span<const std::size_t> candidates) override;
  Result<float> time(StepPlan& plan, std::size_t candidate, int together) override;

 private:
  Status make_streams();
  Result<CUdeviceptr> get(std::size_t bytes);
  Status capture(StepPlan& plan, std::size_t candidate, int together, CUgraph& graph);
  Result<float> replay(CUgraph graph, int together);

  const std::shared_ptr<GpuDevice> device_;
  const std::string versions_;
  std::vector<CUstream> streams_;
  std::vector<CUevent> joins_;
  CUevent fork_ = nullptr, begin_ = nullptr, end_ = nullptr;
  // Operands for each of those that run together; weights are shared, as slots share them.
  std::vector<GpuMemory> memory_;
  std::vector<Operands> operands_;
  std::vector<CUdeviceptr> workspaces_;
};

DeviceTimer::~DeviceTimer() {
  if (device_->lost()) return;
  const DriverApi& api = device_->api();
  for (const CUstream stream : streams_) api.cuStreamDestroy(stream);
  for (const CUevent event : joins_) api.cuEventDestroy(event);
  for (const CUevent event : {fork_, begin_, end_}) {
    if (event != nullptr) api.cuEventDestroy(event);
  }
}

Status DeviceTimer::make_streams() {
  if (!streams_.empty()) return Status();
  const DriverApi& api = device_->api();
  for (int i = 0; i < kTogetherMax; ++i) {
    CUstream stream = nullptr;
    CUevent event = nullptr;
    INFLIGHT_TRY(device_->check(api.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate"));
    streams_.push_back(stream);
    INFLIGHT_TRY(device_->check(api.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "cuEventCreate"));
    joins_.push_back(event);
  }
  INFLIGHT_TRY(device_->check(api.cuEventCreate(&fork_, CU_EVENT_DISABLE_TIMING), "cuEventCreate"));
  INFLIGHT_TRY(device_->check(api.cuEventCreate(&begin_, CU_EVENT_DEFAULT), "cuEventCreate"));
  return device_->check(api.cuEventCreate(&end_, CU_EVENT_DEFAULT), "cuEventCreate");
}

Result<CUdeviceptr> DeviceTimer::get(std::size_t bytes) {
  if (bytes == 0) return CUdeviceptr{0};
  INFLIGHT_TRY_ASSIGN(GpuMemory one, device_->allocate(bytes, "tuning"));
  // Small numbers in every dtype: zeros could make a device draw less power.
  INFLIGHT_TRY(device_->check(device_->api().cuMemsetD8(one.address(), 0x11, bytes), "cuMemsetD8"));
  memory_.push_back(std::move(one));
  return memory_.back().address();
}

Status DeviceTimer::begin(StepPlan& plan, std::span<const std::size_t> candidates) {
  INFLIGHT_TRY(make_streams());
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
    INFLIGHT_TRY_ASSIGN(own.residual, get(bytes.residual));
    INFLIGHT_TRY_ASSIGN(own.out, get(bytes.out));
    INFLIGHT_TRY_ASSIGN(const CUdeviceptr space, get(workspace));
    operands_.push_back(own);
    workspaces_.push_back(space);
  }
  return device_->check(device_->api().cuCtxSynchronize(), "cuCtxSynchronize");
}

Status DeviceTimer::capture(StepPlan& plan, std::size_t candidate, int together, CUgraph& graph) {
  const DriverApi& api = device_->api();
  const CUstream first = streams_[0];
  INFLIGHT_TRY(device_->check(api.cuStreamBeginCapture(first, CU_STREAM_CAPTURE_MODE_RELAXED), "capture"));
  Status enqueued = device_->check(api.cuEventRecord(fork_, first), "cuEventRecord");
  for (int k = 0; k < together && enqueued.ok(); ++k) {
    const auto i = static_cast<std::size_t>(k);
    if (k > 0) enqueued = device_->check(api.cuStreamWaitEvent(streams_[i], fork_, 0), "cuStreamWaitEvent");
    for (int r = 0; r < kRepeats && enqueued.ok(); ++r)
      enqueued = plan.enqueue(candidate, streams_[i], operands_[i], workspaces_[i]);
    if (k == 0) continue;
    // Also after a failure: a stream that forked and did not join cannot end its capture.
    const Status recorded = device_->check(api.cuEventRecord(joins_[i], streams_[i]), "cuEventRecord");
    const Status joined = device_->check(api.cuStreamWaitEvent(first, joins_[i], 0), "cuStreamWaitEvent");
    if (enqueued.ok()) enqueued = recorded.ok() ? joined : recorded;
  }
  const Status ended = device_->check(api.cuStreamEndCapture(first, &graph), "cuStreamEndCapture");
  return enqueued.ok() ? ended : enqueued;
}

Result<float> DeviceTimer::replay(CUgraph graph, int together) {
  const DriverApi& api = device_->api();
  const CUstream first = streams_[0];
  CUgraphExec executable = nullptr;
  INFLIGHT_TRY(device_->check(api.cuGraphInstantiate(&executable, graph, 0), "cuGraphInstantiate"));
  float best = 1e9F;
  Status failed = device_->check(api.cuGraphLaunch(executable, first), "cuGraphLaunch");
  for (int i = 0; i < kReplays && failed.ok(); ++i) {
    api.cuEventRecord(begin_, first);
    failed = device_->check(api.cuGraphLaunch(executable, first), "cuGraphLaunch");
    api.cuEventRecord(end_, first);
    if (failed.ok()) failed = device_->check(api.cuStreamSynchronize(first), "a plan");
    float ms = 0;
    if (failed.ok()) failed = device_->check(api.cuEventElapsedTime(&ms, begin_, end_), "cuEventElapsedTime");
    if (failed.ok()) best = std::min(best, ms);
  }
  if (!device_->lost()) api.cuGraphExecDestroy(executable);
  if (!failed.ok()) return failed;
  return best * 1e3F / static_cast<float>(kRepeats * together);
}

Result<float> DeviceTimer::time(StepPlan& plan, std::size_t candidate, int together) {
  CUgraph graph = nullptr;
  const Status captured = capture(plan, candidate, together, graph);
  Result<float> timed = captured.ok() ? replay(graph, together) : Result<float>(captured);
  if (graph != nullptr && !device_->lost()) device_->api().cuGraphDestroy(graph);
  return timed;
}

}  // namespace

std::unique_ptr<PlanTimer> make_plan_timer(std::shared_ptr<GpuDevice> device) {
  return std::make_unique<DeviceTimer>(std::move(device));
}

}  // namespace inflight::cuda
