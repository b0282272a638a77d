// SPDX-License-Identifier: Apache-2.0
// Sources of our own kernels for attention. Parameters: q, k, v, then mask where it is, then out.
#pragma once

#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/runtime/step_sources.h"

namespace inflight::cuda {

// One block a row of the result: for any device, and the oracle of the others. The host runs it too.
StepSource attention_source(const GpuGraph& graph, const AttentionStep& step);

// By tensor cores, for compute capability 8.0 or later. Few rows of q a block, and its warps share out the keys: so a
// short sequence of one prediction reaches many multiprocessors.
struct AttentionTile {
  int rows = 16;  // of q, a block: a multiple of 16
  int warps = 4;
};
// The tiles that fit the step, none where its widths do not suit.
std::vector<AttentionTile> attention_tiles(const GpuGraph& graph, const AttentionStep& step);
StepSource attention_tile_source(const GpuGraph& graph, const AttentionStep& step, const AttentionTile& tile);

}  // namespace inflight::cuda
