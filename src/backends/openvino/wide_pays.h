// SPDX-License-Identifier: Apache-2.0
// Whether the wide width of a model is worth its memory.
#pragma once

#include "backends/openvino/openvino_slot.h"
#include "inflight/clock.h"

namespace inflight::internal {

// How much faster a wide run must be than a narrow one, each alone, so that the wide program is kept.
inline constexpr double kWideMustGain = 1.15;
// And by so much: the runs below follow each other, and between frames the other threads sleep and must be woken.
inline constexpr Duration kWideMustSave = std::chrono::microseconds(200);

// Runs both widths a few times on zeros, 0.1 s each at most but for a model whose two runs take longer.
//   returns   the fastest runs; 0 each: the model refuses zeros
// Requires that both are compiled.
AloneDurations measure_alone(const OpenVinoCompiled& compiled);

inline bool wide_pays(const AloneDurations& alone) {
  const Duration wide = alone[index_of(Width::kWide)];
  const Duration narrow = alone[index_of(Width::kNarrow)];
  return narrow - wide >= kWideMustSave &&
         static_cast<double>(narrow.count()) >= kWideMustGain * static_cast<double>(wide.count());
}

}  // namespace inflight::internal
