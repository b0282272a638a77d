// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/graph_edges.h"

#include <algorithm>

namespace inflight::cuda {

Status add_newest_nodes(GpuDevice& device, CUstream stream, std::vector<CUgraphNode>& nodes) {
  CUstreamCaptureStatus capturing = CU_STREAM_CAPTURE_STATUS_NONE;
  const CUgraphNode* newest = nullptr;
  const CUgraphEdgeData* edges = nullptr;  // if they are not asked for, programmatic ones are an error
  std::size_t count = 0;
  INFLIGHT_TRY(device.check(
      device.api().cuStreamGetCaptureInfo(stream, &capturing, nullptr, nullptr, &newest, &edges, &count),
      "cuStreamGetCaptureInfo"));
  if (capturing != CU_STREAM_CAPTURE_STATUS_ACTIVE)
    return Status(StatusCode::kInternal, "the stream does not capture");
  nodes.insert(nodes.end(), newest, newest + count);
  return Status();
}

Status begin_after_end_of(GpuDevice& device, std::span<const CUgraphNode> nodes, CUgraph graph) {
  const DriverApi& api = device.api();
  std::size_t count = 0;
  INFLIGHT_TRY(
      device.check(api.cuGraphGetEdges(graph, nullptr, nullptr, nullptr, &count), "cuGraphGetEdges"));
  std::vector<CUgraphNode> from(count);
  std::vector<CUgraphNode> to(count);
  std::vector<CUgraphEdgeData> edges(count);
  if (count == 0) return Status();
  INFLIGHT_TRY(device.check(api.cuGraphGetEdges(graph, from.data(), to.data(), edges.data(), &count),
                            "cuGraphGetEdges"));
  for (std::size_t i = 0; i < count; ++i) {
    if (edges[i].type != CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC ||
        std::find(nodes.begin(), nodes.end(), from[i]) == nodes.end())
      continue;
    INFLIGHT_TRY(device.check(api.cuGraphRemoveDependencies(graph, &from[i], &to[i], &edges[i], 1),
                              "cuGraphRemoveDependencies"));
    const CUgraphEdgeData whole{};
    INFLIGHT_TRY(device.check(api.cuGraphAddDependencies(graph, &from[i], &to[i], &whole, 1),
                              "cuGraphAddDependencies"));
  }
  return Status();
}

}  // namespace inflight::cuda
