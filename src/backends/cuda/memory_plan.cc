// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/memory_plan.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace inflight::cuda {
namespace {

std::size_t aligned(std::size_t bytes) {
  return (bytes + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
}

// The start of the smallest gap of at least `bytes` between `taken`, which is sorted; behind them if there is none.
std::size_t best_gap(const std::vector<std::pair<std::size_t, std::size_t>>& taken, std::size_t bytes) {
  std::size_t end = 0;
  std::size_t best = 0;
  std::size_t best_size = 0;
  for (const auto& [from, to] : taken) {
    const std::size_t gap = from > end ? from - end : 0;
    if (gap >= bytes && (best_size == 0 || gap < best_size)) {
      best = end;
      best_size = gap;
    }
    end = std::max(end, to);
  }
  return best_size > 0 ? best : end;
}

}  // namespace

MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes) {
  MemoryPlan plan;
  plan.offsets.resize(lifetimes.size());
  std::vector<std::size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&lifetimes](std::size_t a, std::size_t b) {
    return lifetimes[a].bytes > lifetimes[b].bytes;
  });
  for (std::size_t placed = 0; placed < order.size(); ++placed) {
    const Lifetime& own = lifetimes[order[placed]];
    std::vector<std::pair<std::size_t, std::size_t>> taken;
    for (std::size_t i = 0; i < placed; ++i) {
      const Lifetime& other = lifetimes[order[i]];
      if (other.last < own.first || own.last < other.first) continue;
      const std::size_t at = plan.offsets[order[i]];
      taken.emplace_back(at, at + aligned(other.bytes));
    }
    std::sort(taken.begin(), taken.end());
    const std::size_t at = best_gap(taken, aligned(own.bytes));
    plan.offsets[order[placed]] = at;
    plan.bytes = std::max(plan.bytes, at + aligned(own.bytes));
  }
  return plan;
}

}  // namespace inflight::cuda
