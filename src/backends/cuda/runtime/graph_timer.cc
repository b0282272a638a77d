// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/graph_timer.h"

#include <algorithm>

namespace inflight::cuda {

GraphTimer::~GraphTimer() {
  if (device_->lost()) return;
  const DriverApi& api = device_->api();
  for (const CUstream stream : streams_) api.cuStreamDestroy(stream);
  for (const CUevent event : joins_) api.cuEventDestroy(event);
  for (const CUevent event : {fork_, begin_, end_}) {
    if (event != nullptr) api.cuEventDestroy(event);
  }
}

Status GraphTimer::make_streams() {
  if (end_ != nullptr) return Status();
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

Status GraphTimer::capture(const Plan& plan, const Enqueue& enqueue, CUgraph& graph) {
  const DriverApi& api = device_->api();
  const CUstream first = streams_[0];
  INFLIGHT_TRY(device_->check(api.cuStreamBeginCapture(first, CU_STREAM_CAPTURE_MODE_RELAXED), "capture"));
  Status enqueued = device_->check(api.cuEventRecord(fork_, first), "cuEventRecord");
  for (int k = 0; k < plan.together && enqueued.ok(); ++k) {
    const auto i = static_cast<std::size_t>(k);
    if (k > 0) enqueued = device_->check(api.cuStreamWaitEvent(streams_[i], fork_, 0), "cuStreamWaitEvent");
    for (int r = 0; r < plan.repeats && enqueued.ok(); ++r) enqueued = enqueue(k, streams_[i]);
    if (k == 0) continue;
    // Also after a failure: a stream that forked and did not join cannot end its capture.
    const Status recorded = device_->check(api.cuEventRecord(joins_[i], streams_[i]), "cuEventRecord");
    const Status joined = device_->check(api.cuStreamWaitEvent(first, joins_[i], 0), "cuStreamWaitEvent");
    if (enqueued.ok()) enqueued = recorded.ok() ? joined : recorded;
  }
  const Status ended = device_->check(api.cuStreamEndCapture(first, &graph), "cuStreamEndCapture");
  return enqueued.ok() ? ended : enqueued;
}

Status GraphTimer::replay(CUgraph graph, const Plan& plan, std::vector<float>& times) {
  const DriverApi& api = device_->api();
  const CUstream first = streams_[0];
  CUgraphExec executable = nullptr;
  INFLIGHT_TRY(device_->check(api.cuGraphInstantiate(&executable, graph, 0), "cuGraphInstantiate"));
  Status failed = device_->check(api.cuGraphLaunch(executable, first), "cuGraphLaunch");
  for (int i = 0; i < plan.replays && failed.ok(); ++i) {
    api.cuEventRecord(begin_, first);
    failed = device_->check(api.cuGraphLaunch(executable, first), "cuGraphLaunch");
    api.cuEventRecord(end_, first);
    if (failed.ok()) failed = device_->check(api.cuStreamSynchronize(first), "a plan");
    float ms = 0;
    if (failed.ok()) failed = device_->check(api.cuEventElapsedTime(&ms, begin_, end_), "cuEventElapsedTime");
    if (failed.ok()) times.push_back(ms * 1e3F / static_cast<float>(plan.repeats * plan.together));
  }
  if (!device_->lost()) api.cuGraphExecDestroy(executable);
  std::sort(times.begin(), times.end());
  return failed;
}

Result<std::vector<float>> GraphTimer::time(const Plan& plan, const Enqueue& enqueue) {
  INFLIGHT_TRY(make_streams());
  CUgraph graph = nullptr;
  std::vector<float> times;
  Status timed = capture(plan, enqueue, graph);
  if (timed.ok()) timed = replay(graph, plan, times);
  if (graph != nullptr && !device_->lost()) device_->api().cuGraphDestroy(graph);
  if (!timed.ok()) return timed;
  return times;
}

}  // namespace inflight::cuda
