// SPDX-License-Identifier: Apache-2.0
#include "backends/openvino/widths_that_pay.h"

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <openvino/core/model.hpp>
#include <openvino/op/constant.hpp>
#include <thread>

#include "backends/openvino/openvino_request.h"
#include "base/run_delay.h"
#include "inflight/clock.h"

namespace inflight::internal {
namespace {

constexpr int kRunsMin = 2;  // a single one of many launches may be a slow one
constexpr int kRuns = 7;
constexpr Duration kBudget = std::chrono::milliseconds(100);
// Of short runs there are more, since another guest of the host may have a processor for a millisecond.
constexpr Duration kLeast = std::chrono::milliseconds(10);
// A width that does not pay is measured again after so long: of a large model a single run counts each time, and a moment in which
// another program, or another guest of the host, has one of the processors must not leave the width out for good.
constexpr std::array<Duration, 3> kAgainAfter = {std::chrono::milliseconds(0), std::chrono::milliseconds(300),
                                                 std::chrono::milliseconds(1500)};
// Of a model that takes less, and for medium alone, at once.
constexpr Duration kWorthWaitingFor = std::chrono::milliseconds(1);

// The fastest of several runs that are as short ran between those of other programs: its time holds on a crowded machine, too.
constexpr Duration kShort = std::chrono::microseconds(200);

// One alone runs as a launch does.
void run_all(std::vector<OpenVinoRequest>& requests) {
  if (requests.size() == 1) return requests.front().infer();
  for (OpenVinoRequest& request : requests) request.get().start_async();
  for (OpenVinoRequest& request : requests) request.get().wait();
}

// Whether threads of ours waited for processors so long that other programs have some of them.
bool is_crowded(Duration waited, Duration time) {
  // Measured on two processors: 0 to 0.28 where they are idle, 0.29 to 2.2 beside one or two busy threads.
  constexpr double kShare = 0.25;
  return static_cast<double>(waited.count()) > kShare * static_cast<double>(time.count());
}

bool pays(Duration wider, Duration narrower) {
  return narrower - wider >= kWiderMustSave &&
         static_cast<double>(narrower.count()) >= kWiderMustGain * static_cast<double>(wider.count());
}

bool pays_if_brief(Duration wide, Duration narrow) {
  return narrow >= kWiderMustSave &&
         static_cast<double>(wide.count()) <= kWideMayTakeIfBrief * static_cast<double>(narrow.count());
}

// Where a run fails, the predictor measures on line.
void measure_together(OpenVinoCompiled& compiled) {
  try {
    for (const Width width : {Width::kMedium, Width::kNarrow}) {
      const std::optional<ov::CompiledModel>& model = compiled.models[index_of(width)];
      if (!model.has_value() || (width == Width::kNarrow && compiled.callers != nullptr)) continue;
      const int at_once = model->get_property(ov::num_streams).num;
      compiled.together[index_of(width)] = fastest_run(*model, compiled.inputs, at_once);
    }
  } catch (const std::exception&) {
    compiled.together = {};
  }
}

}  // namespace

Duration fastest_run(const ov::CompiledModel& model, const std::vector<OpenVinoPort>& inputs, int at_once) {
  std::vector<OpenVinoRequest> requests;
  for (int i = 0; i < at_once; ++i) {
    requests.emplace_back(model);
    set_zeros(requests.back().get(), inputs);
  }
  const TimePoint began = steady_clock().now();
  run_all(requests);
  Duration fastest = Duration::max();
  TimePoint last = steady_clock().now();
  const auto goes_on = [&](int runs) {
    return runs < kRunsMin || last - began < (runs < kRuns ? kBudget : kLeast);
  };
  for (int run = 0; goes_on(run); ++run) {
    run_all(requests);
    const TimePoint now = steady_clock().now();
    fastest = std::min(fastest, now - last);
    last = now;
  }
  return fastest;
}

std::array<bool, kWidthCount> which_pay(const WidthTimes& alone, bool brief, bool crowded) {
  const Duration wide = alone[index_of(Width::kWide)];
  const Duration medium = alone[index_of(Width::kMedium)];
  const Duration narrow = alone[index_of(Width::kNarrow)];
  if (crowded && narrow > kShort) return {true, true, true};
  const bool wide_pays = brief ? pays_if_brief(wide, narrow) : pays(wide, narrow);
  return {wide_pays, wide_pays && pays(wide, medium) && pays(medium, narrow), true};
}

bool may_have_callers(const ov::Model& network, int threads) {
  if (threads < 2) return false;
  std::size_t weights = 0;
  for (const auto& node : network.get_ops()) {
    const auto constant = std::dynamic_pointer_cast<const ov::op::v0::Constant>(node);
    if (constant != nullptr) weights += constant->get_byte_size();
  }
  return weights <= kBriefWeightsMax / static_cast<std::size_t>(threads);
}

bool is_brief(const ov::CompiledModel& model, const std::vector<OpenVinoPort>& inputs) {
  try {
    return fastest_run(model, inputs, 1) <= kBriefLaunch;
  } catch (const std::exception&) {
    return false;  // a frame that fails reports its own failure
  }
}

void keep_what_pays(OpenVinoCompiled& compiled) {
  const bool brief = compiled.callers != nullptr;
  bool crowded = true;  // in every round
  const auto is_left_out = [&](Width width) {
    return compiled.models[index_of(width)].has_value() && !which_pay(compiled.alone, brief)[index_of(width)];
  };
  try {
    for (std::size_t round = 0;; ++round) {
      const TimePoint began = steady_clock().now();
      const Duration waited = run_delay();
      for (std::size_t i = 0; i < kWidthCount; ++i) {
        if (!compiled.models[i].has_value()) continue;
        const Duration fastest = fastest_run(*compiled.models[i], compiled.inputs, 1);
        compiled.alone[i] = round == 0 ? fastest : std::min(compiled.alone[i], fastest);
      }
      crowded = crowded && is_crowded(run_delay() - waited, steady_clock().now() - began);
      const bool no_wide = is_left_out(Width::kWide);
      if ((!no_wide && !is_left_out(Width::kMedium)) || round == kAgainAfter.size()) break;
      if (no_wide && compiled.alone[index_of(Width::kNarrow)] >= kWorthWaitingFor)
        std::this_thread::sleep_for(kAgainAfter[round]);
    }
  } catch (const std::exception&) {
    compiled.alone = {};  // nothing tells that the others pay
    crowded = false;
  }
  const std::array<bool, kWidthCount> pays = which_pay(compiled.alone, brief, crowded);
  for (std::size_t i = 0; i < kWidthCount; ++i) {
    if (!pays[i]) compiled.models[i].reset();
  }
  if (crowded || !pays[index_of(Width::kWide)]) return;  // beside other programs it would be of that moment
  measure_together(compiled);
}

}  // namespace inflight::internal
