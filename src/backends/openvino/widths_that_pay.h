// SPDX-License-Identifier: Apache-2.0
// Which widths of a model are worth their memory.
#pragma once

#include <array>
#include <openvino/runtime/compiled_model.hpp>
#include <vector>

#include "backends/openvino/openvino_slot.h"
#include "inflight/clock.h"

namespace inflight::internal {

// How much faster a run must be than one of the next narrower width, each alone, so that the program is kept.
inline constexpr double kWiderMustGain = 1.15;
// And by so much, which is about what it takes to wake a thread.
inline constexpr Duration kWiderMustSave = std::chrono::microseconds(30);

// Which widths are worth their memory, by how long each takes alone; 0: the width was not compiled or not measured. Wide
// pays against narrow. Medium needs wide, and pays against both.
//   crowded   other threads had the processors meanwhile, so that the times say nothing, unless they are short: all pay
std::array<bool, kWidthCount> which_pay(const WidthTimes& alone, bool crowded = false);

// The fastest of a few runs on zeros, within 0.1 s but at least two, after one that is not counted.
//   at_once   launches of which a run consists
//   throws    std::exception: a run failed
Duration fastest_run(ov::CompiledModel model, const std::vector<OpenVinoPort>& inputs, int at_once);

// Runs each width a few times on zeros, 0.1 s each at most but for a model whose two runs take longer, and all of them up to four
// times, within 2 s, if one does not pay. Keeps the shortest times in `compiled`, and leaves out the widths that do not pay. A
// model that refuses zeros keeps narrow alone, and one with long runs on a crowded machine keeps all. If wide
// pays, the launches of each narrower width that run at once are measured together, but not on a crowded machine.
// Requires that wide and narrow are compiled.
void keep_what_pays(OpenVinoCompiled& compiled);

}  // namespace inflight::internal
