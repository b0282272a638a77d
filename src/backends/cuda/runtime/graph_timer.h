// SPDX-License-Identifier: Apache-2.0
// GraphTimer: how long work takes on a device once it is captured, so that the host's launches do not count.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backends/cuda/runtime/device.h"
#include "inflight/status.h"

namespace inflight::cuda {

class GraphTimer {
 public:
  static constexpr int kTogetherMax = 8;
  // Puts the work into a stream that is being captured.
  //   copy   0 to together - 1: which of those that run at the same time
  using Enqueue = std::function<Status(int copy, CUstream stream)>;

  explicit GraphTimer(std::shared_ptr<GpuDevice> device) : device_(std::move(device)) {}
  ~GraphTimer();
  GraphTimer(const GraphTimer&) = delete;
  GraphTimer& operator=(const GraphTimer&) = delete;

  struct Plan {
    int together = 1;  // 1 to kTogetherMax streams side by side
    int repeats = 10;  // of the work, one after another, in each
    int replays = 3;   // of the graph, after one that does not count
  };
  // Microseconds of one time that the work is done, from each replay, in ascending order.
  //   errors   of `enqueue`; kDeviceError
  Result<std::vector<float>> time(const Plan& plan, const Enqueue& enqueue);

 private:
  Status make_streams();
  Status capture(const Plan& plan, const Enqueue& enqueue, CUgraph& graph);
  Status replay(CUgraph graph, const Plan& plan, std::vector<float>& times);

  const std::shared_ptr<GpuDevice> device_;
  std::vector<CUstream> streams_;
  std::vector<CUevent> joins_;
  CUevent fork_ = nullptr, begin_ = nullptr, end_ = nullptr;
};

}  // namespace inflight::cuda
