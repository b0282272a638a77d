// SPDX-License-Identifier: Apache-2.0
// Which widths of a model are worth their memory.
#pragma once

#include <array>
#include <cstddef>
#include <openvino/runtime/compiled_model.hpp>
#include <vector>

#include "backends/openvino/openvino_slot.h"
#include "inflight/clock.h"

namespace inflight::internal {

// How much faster a run must be than one of the next narrower width, each alone, so that the program is kept.
inline constexpr double kWiderMustGain = 1.15;
// And by so much, which is about what it takes to wake a thread.
inline constexpr Duration kWiderMustSave = std::chrono::microseconds(30);
// A brief network may take up to so many times as long wide as narrow, if narrow takes at least kWiderMustSave: the predictor measures
// both on line. Only a caller that waits for its results runs it wide, and gains more than the runs here say: the threads of a wide launch
// keep the processors awake until the next one. And the host may have both processors on one of its own for all of the tenth of a second
// that the runs take.
inline constexpr double kWideMayTakeIfBrief = 1.1;
// Program::wake_cost() of a brief network. The threads that a wide launch wakes also stay awake for a while, so that what comes next has
// fewer processors. The embedded classifier on two processors, wide and narrow: 0.13 and 0.19 ms right after another launch, 0.25
// and 0.28 after 0.5 to 1 ms, 0.61 and 0.52 after 13.
inline constexpr Duration kWakeCost = std::chrono::microseconds(100);
// A network is brief if a launch on one thread takes no longer, and light if a model for each of as many threads has no more weights,
// in bytes. A launch with streams of one model wakes two threads, which takes 20 to 60 us. What takes longer is for threads with
// long slices (`base/scheduling.h`), which the thread that calls need not have.
inline constexpr Duration kBriefLaunch = std::chrono::microseconds(500);
inline constexpr std::size_t kBriefWeightsMax = std::size_t{32} << 20;

// Which widths are worth their memory, by how long each takes alone; 0: the width was not compiled or not measured. Wide
// pays against narrow. Medium needs wide, and pays against both.
//   crowded   other threads had the processors meanwhile, so that the times say nothing, unless they are short: all pay
std::array<bool, kWidthCount> which_pay(const WidthTimes& alone, bool brief, bool crowded = false);

// The fastest of several runs on zeros, as many as fit in 10 ms, or seven within 0.1 s, but at least two, after one that is not
// counted.
//   at_once   launches of which a run consists
//   throws    std::exception: a run failed
Duration fastest_run(const ov::CompiledModel& model, const std::vector<OpenVinoPort>& inputs, int at_once);

// Whether the network is light enough that each of as many narrow launches as there are threads has a model for the caller.
bool may_have_callers(const ov::Model& network, int threads);
// Whether a launch of a model for the caller is brief.
bool is_brief(const ov::CompiledModel& model, const std::vector<OpenVinoPort>& inputs);

// Runs each width a few times on zeros, 0.1 s each at most but for a model whose two runs take longer, and all of them up to four
// times, within 2 s, if one does not pay. Keeps the shortest times in `compiled`, and leaves out the widths that do not pay. A
// model that refuses zeros keeps narrow alone, and one with long runs on a crowded machine keeps all. If wide
// pays, the launches of each narrower width that run at once are measured together, but not on a crowded machine, nor where they
// are brief.
// Requires that wide and narrow are compiled.
void keep_what_pays(OpenVinoCompiled& compiled);

}  // namespace inflight::internal
