// SPDX-License-Identifier: Apache-2.0
// Buffers that live at different times share memory.
#pragma once

#include <cstddef>
#include <vector>

namespace inflight::cuda {

inline constexpr std::size_t kScratchAlignment = 256;

// Memory that is in use from its first step to its last, both included.
struct Lifetime {
  std::size_t bytes = 0;
  std::size_t first = 0;
  std::size_t last = 0;
};

struct MemoryPlan {
  std::vector<std::size_t> offsets;  // of each lifetime, aligned to kScratchAlignment
  std::size_t bytes = 0;             // in all
};

// Large ones first, each in the smallest gap that holds it among those that live when it does.
MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes);

}  // namespace inflight::cuda
