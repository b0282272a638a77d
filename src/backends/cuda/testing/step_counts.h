// SPDX-License-Identifier: Apache-2.0
// How many steps of each kind a graph has, for tests that say how a network is divided.
#pragma once

#include <cstddef>
#include <ostream>
#include <variant>

#include "backends/cuda/gpu_graph.h"

namespace inflight::cuda::testing {

struct StepCounts {
  std::size_t kernels = 0, convolutions = 0, matmuls = 0, attentions = 0;
  bool operator==(const StepCounts&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const StepCounts& counts) {
  return out << counts.kernels << " kernels, " << counts.convolutions << " convolutions, " << counts.matmuls
             << " matmuls, " << counts.attentions << " attentions";
}

inline StepCounts counts_of(const GpuGraph& graph) {
  StepCounts counts;
  for (const Step& step : graph.steps) {
    counts.kernels += std::holds_alternative<KernelStep>(step) ? 1 : 0;
    counts.convolutions += std::holds_alternative<ConvolutionStep>(step) ? 1 : 0;
    counts.matmuls += std::holds_alternative<MatmulStep>(step) ? 1 : 0;
    counts.attentions += std::holds_alternative<AttentionStep>(step) ? 1 : 0;
  }
  return counts;
}

}  // namespace inflight::cuda::testing
