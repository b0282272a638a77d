// SPDX-License-Identifier: Apache-2.0
#include "cli/run_plan.h"

#include <chrono>
#include <cmath>
#include <string>

namespace inflight::cli {
namespace {

constexpr Duration kSyntheticDuration = std::chrono::seconds(10);

//   name   of the source
Result<LoopPlan> plan_loop(const RunOptions& options, const std::string& name, const FrameSource& source) {
  LoopPlan plan;
  plan.in_flight_limit = options.limit;
  plan.policy = options.policy;
  plan.rate = options.fps.value_or(FrameRate{});
  if (!options.fps) {
    INFLIGHT_TRY_ASSIGN(plan.rate, FrameRate::from_double(source.fps()));
  }
  plan.pace = plan.rate.num > 0 ? Pace::kPaced : Pace::kUnpaced;
  // At its own rate a frame is due when its media shows it; what has no stamps is paced by the rate.
  if (!options.fps && plan.pace == Pace::kPaced) plan.pace = Pace::kStamped;
  // A camera has its own time; asked for another rate, it is read at that.
  if (!options.fps && source.live()) plan.pace = Pace::kLive;
  // A synthetic source has the rate that it is asked for.
  if (source.fps() > 0 && (name != kSynthetic || plan.rate.num == 0))
    plan.shown_fps = source.fps();
  else if (plan.rate.num > 0)
    plan.shown_fps = static_cast<double>(plan.rate.num) / static_cast<double>(plan.rate.den);
  if (options.frames) plan.frames_max = *options.frames;
  plan.duration = options.duration;
  plan.deadline = options.deadline;
  if (name == kSynthetic && !options.frames && !options.duration) plan.duration = kSyntheticDuration;
  return plan;
}

// Copies of one source are spread over the time of a frame, as cameras are that nobody synchronises.
void spread(std::vector<LoopPlan>& plans) {
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const FrameRate rate = plans[i].rate;
    if (rate.num == 0) continue;
    const double period_ns = 1e9 * static_cast<double>(rate.den) / static_cast<double>(rate.num);
    const double part = static_cast<double>(i) / static_cast<double>(plans.size());
    plans[i].offset = Duration(std::llround(period_ns * part));
  }
}

}  // namespace

Result<std::vector<LoopPlan>> plan_loops(const RunOptions& options,
                                         const std::vector<std::unique_ptr<FrameSource>>& sources) {
  std::vector<LoopPlan> plans;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    INFLIGHT_TRY_ASSIGN(const LoopPlan plan, plan_loop(options, options.sources[i], *sources[i]));
    plans.push_back(plan);
  }
  if (options.copies) spread(plans);
  return plans;
}

}  // namespace inflight::cli
