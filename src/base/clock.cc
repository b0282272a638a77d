// SPDX-License-Identifier: Apache-2.0
#include "inflight/clock.h"

#include <ctime>

#include "base/check.h"

namespace inflight {
namespace {

class SteadyClock final : public Clock {
 public:
  TimePoint now() const noexcept override {
    return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now());
  }
  void sleep_until(TimePoint when) const override {
    // libstdc++'s steady clock is CLOCK_MONOTONIC; an absolute sleep does not drift when interrupted.
    const auto ns = when.time_since_epoch().count();
    const timespec until{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0 && now() < when) {
    }
  }
  bool real() const noexcept override { return true; }
};

}  // namespace

const Clock& steady_clock() noexcept {
  static const SteadyClock clock;
  return clock;
}

void ManualClock::advance(Duration by) {
  INFLIGHT_CHECK(by.count() >= 0);
  ns_.fetch_add(by.count(), std::memory_order_acq_rel);
}

TimePoint deadline_after(Duration timeout) noexcept {
  const TimePoint now = steady_clock().now();
  return timeout > TimePoint::max() - now ? TimePoint::max() : now + timeout;
}

void ManualClock::sleep_until(TimePoint when) const {
  const Duration::rep target = when.time_since_epoch().count();
  Duration::rep seen = ns_.load(std::memory_order_acquire);
  while (seen < target && !ns_.compare_exchange_weak(seen, target, std::memory_order_acq_rel)) {
  }
}

}  // namespace inflight
