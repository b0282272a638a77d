// SPDX-License-Identifier: Apache-2.0
// Waits that a signal ends, and times.
#pragma once

#include <nanobind/nanobind.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "errors.h"
#include "inflight/clock.h"
#include "release.h"

namespace inflight::python {

// How long Ctrl-C may go unseen in a wait.
inline constexpr Duration kWaitSlice = std::chrono::milliseconds(50);

// A length of time from seconds. Too long for the clock: the longest.
//   errors   InvalidArgumentError: not a number, or negative
inline Duration duration_from(double seconds, const char* what) {
  if (std::isnan(seconds) || seconds < 0) {
    raise_invalid(std::string(what) + ": got " + std::to_string(seconds) + ", want 0 seconds or more");
  }
  if (seconds > 9e9) return Duration::max();
  return Duration(static_cast<Duration::rep>(seconds * 1e9));
}

// A moment from what time.monotonic() counts, which is the same clock.
inline TimePoint moment_from(double seconds, const char* what) {
  if (std::isnan(seconds)) raise_invalid(std::string(what) + ": got nan, want seconds of time.monotonic()");
  if (seconds > 9e9) return TimePoint::max();
  if (seconds < -9e9) return TimePoint::min();
  return TimePoint(Duration(static_cast<Duration::rep>(seconds * 1e9)));
}
inline double seconds_of(TimePoint moment) {
  return std::chrono::duration<double>(moment.time_since_epoch()).count();
}
inline double seconds_of(Duration length) { return std::chrono::duration<double>(length).count(); }

inline void check_signals() {
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

// Waits without the GIL, in slices, so that a KeyboardInterrupt comes through. Nothing is lost by one: what
// was waited for is still there.
//   until     (TimePoint) -> bool: waits until then at most; whether what it waits for has happened
//   returns   false: the time came first
template <typename Until>
bool wait_in_slices(TimePoint end, Until&& until) {
  while (true) {
    const TimePoint slice = std::min(end, deadline_after(kWaitSlice));
    bool done = false;
    {
      WithoutGil release;
      done = until(slice);
    }
    drain_releases();
    check_signals();
    if (done || slice == end) return done;
  }
}

inline TimePoint end_of(std::optional<double> timeout) {
  return timeout ? deadline_after(duration_from(*timeout, "timeout")) : TimePoint::max();
}

}  // namespace inflight::python
