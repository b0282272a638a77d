// SPDX-License-Identifier: Apache-2.0
// Runs a GPU graph on the host, step by step, in memory laid out as on the device: what a graph means. For tests.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "inflight/status.h"

namespace inflight::cuda::testing {

// Runs one kernel on the memory of its parameters, reads before writes.
using KernelRunner = std::function<Status(const KernelStep&, const std::vector<std::byte*>&)>;

// The elements of a tensor in row-major order, and back. Integers beyond 2^53 lose digits.
std::vector<double> load(const GpuTensor& tensor, const std::byte* memory);
void store(const GpuTensor& tensor, const std::vector<double>& values, std::byte* memory);

// Convolutions and matmuls by plain loops in f32; what is stored is rounded as its element type says. Scratch
// memory starts out as NaN, so that a step that reads too early shows.
//   inputs    the bytes of each input, in order
//   returns   the bytes of each output, in order
//   errors    what `run_kernel` says
Result<std::vector<std::vector<std::byte>>> interpret(const GpuGraph& graph,
                                                      const std::vector<std::vector<std::byte>>& inputs,
                                                      const KernelRunner& run_kernel);

}  // namespace inflight::cuda::testing
