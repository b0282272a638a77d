// SPDX-License-Identifier: Apache-2.0
// Clock: where this library gets the time from, so that a test can move it by hand.
#pragma once

#include <atomic>
#include <chrono>

namespace inflight {

// A moment and a length of time, in nanoseconds of a steady clock.
using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

// Where a component reads the time; it never goes back.
//   thread   any
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const noexcept = 0;
  // Returns at `when` or later; at once when it has passed.
  virtual void sleep_until(TimePoint when) const = 0;
  // Whether a sleep takes real time: then threads may also sleep by other means, such as a timed wait.
  virtual bool real() const noexcept { return false; }
};

// The machine's steady clock, which is the default wherever a clock is an option. It lives for ever.
const Clock& steady_clock() noexcept;

// `timeout` from now on the steady clock; one too long to add means for ever (TimePoint::max()).
TimePoint deadline_after(Duration timeout) noexcept;

// A clock that moves only by hand. sleep_until() moves it forward instead of sleeping.
//   thread   any
class ManualClock final : public Clock {
 public:
  TimePoint now() const noexcept override { return TimePoint(Duration(ns_.load(std::memory_order_acquire))); }
  void sleep_until(TimePoint when) const override;
  // Requires a length of at least 0.
  void advance(Duration by);

 private:
  mutable std::atomic<Duration::rep> ns_{0};
};

}  // namespace inflight
