// SPDX-License-Identifier: Apache-2.0
// Puts a target under load and writes down what became of every frame.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "inflight/clock.h"
#include "inflight/predictor.h"
#include "inflight/status.h"
#include "load/plan.h"
#include "load/target.h"

namespace inflight::load {

// One planned frame. Times count from the start of the run.
struct Sample {
  Duration due{0};
  Duration started{-1};  // -1: unknown
  Duration finished{0};  // of a refused frame, when it was refused
  Duration submit{0};    // how long the call took that handed it over
  Outcome outcome = Outcome::kPending;
  std::int8_t width = -1;  // a Width; -1: unknown
  std::int32_t slot = -1;  // -1: unknown
  std::int32_t stream = 0;
};

struct LoadRun {
  std::vector<Sample> samples;            // one for each arrival, in the order of the plan
  Duration length{0};                     // of the plan, or of the time that was measured
  Duration wall{0};                       // until the last frame ended
  std::optional<Duration> deadline = {};  // of a frame, from when it was due
  Duration late_max{0};                   // the longest from when a frame was due until it was handed over
  int in_flight = 0;                      // of a closed loop; 0: open
};

// Hands frames over when the plan says, whatever the target does, and waits until all of them have ended. A
// frame's latency counts from its planned time: a submitter that is late, because a call took long, adds that to
// the latency of what comes after it, and leaves nothing out.
//   deadline   of each frame, from when it is due, for a target that has deadlines
//   clock    what the plan, the target and the runner go by
//   thread   sleeps between arrivals; the only one that calls the target meanwhile
//   errors   of the target
Result<LoadRun> run_open(Target& target, const Plan& plan, std::optional<Duration> deadline = {},
                         const Clock& clock = steady_clock());

// Keeps `in_flight` frames in flight: each is handed over when an earlier one ends. A frame that is due has been
// handed over. None has a deadline.
//   length   how long frames are handed over
//   errors   of the target; kInvalidArgument: it takes fewer frames at once
Result<LoadRun> run_closed(Target& target, int in_flight, Duration length,
                           const Clock& clock = steady_clock());

}  // namespace inflight::load
