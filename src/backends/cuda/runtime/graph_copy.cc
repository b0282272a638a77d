// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/graph_copy.h"

#include <utility>
#include <vector>

#include "backends/cuda/runtime/graph_edges.h"

namespace inflight::cuda {

Result<GraphCopy> GraphCopy::capture(GpuDevice& device, CUstream stream, Direction direction,
                                     const Ends& ends) {
  CUdeviceptr to = ends.device;
  CUdeviceptr from = ends.host;
  if (direction == Direction::kToHost) std::swap(to, from);
  INFLIGHT_TRY(device.check(device.api().cuMemcpyAsync(to, from, ends.bytes, stream), "cuMemcpyAsync"));
  std::vector<CUgraphNode> newest;
  INFLIGHT_TRY(add_newest_nodes(device, stream, newest));
  if (newest.size() != 1) return Status(StatusCode::kInternal, "a copy that is captured is not one node");
  return GraphCopy(direction, ends, newest.front());
}

Status GraphCopy::set_host(GpuDevice& device, CUgraphExec graph, CUdeviceptr host) {
  INFLIGHT_TRY(enable(device, graph, host != 0));
  if (host == 0 || host == ends_.host) return Status();
  // The kinds of memory must be those of the captured node: a copy of addresses alone is one of unified addresses. Without
  // a pitch the driver takes the parameters, and copies something else.
  CUDA_MEMCPY3D copy{};
  copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
  copy.srcDevice = direction_ == Direction::kToDevice ? host : ends_.device;
  copy.dstDevice = direction_ == Direction::kToDevice ? ends_.device : host;
  copy.srcPitch = copy.dstPitch = copy.WidthInBytes = ends_.bytes;
  copy.srcHeight = copy.dstHeight = copy.Height = copy.Depth = 1;
  INFLIGHT_TRY(
      device.check(device.api().cuGraphExecMemcpyNodeSetParams(graph, node_, &copy, device.context()),
                   "cuGraphExecMemcpyNodeSetParams"));
  ends_.host = host;
  return Status();
}

Status GraphCopy::enable(GpuDevice& device, CUgraphExec graph, bool enabled) {
  if (enabled == enabled_) return Status();
  INFLIGHT_TRY(device.check(device.api().cuGraphNodeSetEnabled(graph, node_, enabled ? 1 : 0),
                            "cuGraphNodeSetEnabled"));
  enabled_ = enabled;
  return Status();
}

}  // namespace inflight::cuda
