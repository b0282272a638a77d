// SPDX-License-Identifier: Apache-2.0
// The edges of a captured graph: when a kernel may begin.
#pragma once

#include <span>
#include <vector>

#include "backends/cuda/runtime/device.h"
#include "inflight/status.h"

namespace inflight::cuda {

// Appends the nodes behind which the next work of a stream that captures goes.
//   errors   kInternal: it does not capture; kDeviceError
Status add_newest_nodes(GpuDevice& device, CUstream stream, std::vector<CUgraphNode>& nodes);

// What comes behind these nodes begins after they have ended, even if it was launched so that it may begin earlier
// (programmatic dependent launch). For a graph that is not instantiated yet.
Status begin_after_end_of(GpuDevice& device, std::span<const CUgraphNode> nodes, CUgraph graph);

}  // namespace inflight::cuda
