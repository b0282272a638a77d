// SPDX-License-Identifier: Apache-2.0
// A copy between pinned memory and the device, as a node of a captured graph. A copy engine does it, so it takes no
// multiprocessor from the kernels of other launches.
#pragma once

#include <cstddef>

#include "backends/cuda/runtime/device.h"
#include "inflight/status.h"

namespace inflight::cuda {

class GraphCopy {
 public:
  enum class Direction { kToDevice, kToHost };
  // What it copies between: pinned memory of this device, and memory of the device.
  struct Ends {
    CUdeviceptr host = 0;
    CUdeviceptr device = 0;
    std::size_t bytes = 0;  // at least 1
  };

  // Appends a copy to a stream that captures. The graph that the capture gives must live as long as its executable is
  // changed.
  static Result<GraphCopy> capture(GpuDevice& device, CUstream stream, Direction direction, const Ends& ends);

  // For the launches of `graph` that follow, not for those that are out. Costs nothing if nothing changes.
  //   host   the other end in the host's memory, of the same size; 0: it copies nothing
  Status set_host(GpuDevice& device, CUgraphExec graph, CUdeviceptr host);

 private:
  GraphCopy(Direction direction, const Ends& ends, CUgraphNode node)
      : direction_(direction), ends_(ends), node_(node) {}
  Status enable(GpuDevice& device, CUgraphExec graph, bool enabled);

  Direction direction_;
  Ends ends_;
  CUgraphNode node_;
  bool enabled_ = true;
};

}  // namespace inflight::cuda
