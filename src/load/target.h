// SPDX-License-Identifier: Apache-2.0
// Target: a system under load, whichever it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inflight/backend.h"
#include "inflight/clock.h"
#include "inflight/predictor.h"
#include "inflight/status.h"

namespace inflight::load {

// How one frame ended.
struct End {
  std::uint64_t index = 0;  // of start()
  Outcome outcome = Outcome::kCompleted;
  TimePoint started = {};   // TimePoint{}: it never started, or the system does not say
  TimePoint finished = {};  // when its result could be read
  int slot = -1;            // -1: it never started, or the system does not say
  std::optional<Width> width = {};
};

// Takes frames and says how they ended.
//   thread   one
class Target {
 public:
  virtual ~Target() = default;
  // A run with that many streams begins. Nothing is in flight.
  //   deadline   of each frame, from when it is due; a target without deadlines ignores it
  virtual Status begin(int /*streams*/, std::optional<Duration> /*deadline*/) { return {}; }
  // Hands over one frame. Never waits for a result.
  //   due      when the frame should have been handed over, on the steady clock
  //   returns  false: refused, because too many are in flight
  //   errors   the system cannot go on
  virtual Result<bool> start(std::uint64_t index, int stream, TimePoint due) = 0;
  // Appends what has ended since the last call.
  virtual void take(std::vector<End>& ends) = 0;
  // Waits until take() has something to give, `when` at most.
  virtual void wait_until(TimePoint when) = 0;
};

}  // namespace inflight::load
