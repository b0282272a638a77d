// SPDX-License-Identifier: Apache-2.0
// Clock: where this library reads the time, so that a test can move it by hand.
#pragma once

#include <atomic>
#include <chrono>

namespace inflight {

// A length of time and a moment, in nanoseconds of a steady clock. All times and timeouts of the library have
// these types; names of counts in other units end in the unit.
using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

// Where a component reads the time. The time of a clock never goes back. The caller that passes a clock in
// keeps it alive as long as the component uses it.
//   thread   any
class Clock {
 public:
  virtual ~Clock() = default;
  // The time at this moment. Never blocks.
  virtual TimePoint now() const noexcept = 0;
  // Blocks the calling thread until `when` or later; returns at once if `when` has passed.
  virtual void sleep_until(TimePoint when) const = 0;
  // Whether a sleep takes real time: then threads may also sleep by other means, such as a timed wait.
  virtual bool real() const noexcept { return false; }
};

// The machine's steady clock (CLOCK_MONOTONIC), the default wherever a clock is an option. It lives for ever.
const Clock& steady_clock() noexcept;

// The moment that is `timeout` from now on the steady clock; TimePoint::max(), which means for ever, if that
// is too late to express. A negative timeout gives a moment in the past.
TimePoint deadline_after(Duration timeout) noexcept;

// A clock that moves only by hand, for tests. It starts at the epoch, TimePoint{}.
//   thread   any
class ManualClock final : public Clock {
 public:
  TimePoint now() const noexcept override { return TimePoint(Duration(ns_.load(std::memory_order_acquire))); }
  // Moves the time forward to `when` and returns at once: it does not block.
  void sleep_until(TimePoint when) const override;
  // Moves the time forward. Requires a length of at least 0: a negative one stops the process.
  void advance(Duration by);

 private:
  mutable std::atomic<Duration::rep> ns_{0};
};

}  // namespace inflight
