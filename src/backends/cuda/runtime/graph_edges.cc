// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/graph_edges.h"

#include <array>

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
  for (const CUgraphNode& node : nodes) {
    // One stream was captured, so at most one comes behind. Room for two shows it. (A query of the number alone may fail:
    // it would lose the edge's data.)
    std::array<CUgraphNode, 2> behind{};
    std::array<CUgraphEdgeData, 2> edges{};
    std::size_t count = behind.size();
    INFLIGHT_TRY(device.check(api.cuGraphNodeGetDependentNodes(node, behind.data(), edges.data(), &count),
                              "cuGraphNodeGetDependentNodes"));
    if (count > 1) return Status(StatusCode::kInternal, "work of one stream forks");
    if (count == 0 || edges[0].type != CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC) continue;
    INFLIGHT_TRY(device.check(api.cuGraphRemoveDependencies(graph, &node, &behind[0], &edges[0], 1),
                              "cuGraphRemoveDependencies"));
    const CUgraphEdgeData whole{};
    INFLIGHT_TRY(device.check(api.cuGraphAddDependencies(graph, &node, &behind[0], &whole, 1),
                              "cuGraphAddDependencies"));
  }
  return Status();
}

}  // namespace inflight::cuda
