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

// Runs both widths a few times on zeros, 0.1 s each at most but for a model whose two runs take longer, and
// compares the fastest runs. Requires that both are compiled. A model that refuses zeros: false.
bool wide_pays(const OpenVinoCompiled& compiled);

}  // namespace inflight::internal
