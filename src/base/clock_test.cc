// SPDX-License-Identifier: Apache-2.0
#include "inflight/clock.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace inflight {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

TEST(SteadyClockTest, NeverGoesBack) {
  const Clock& clock = steady_clock();
  TimePoint last = clock.now();
  for (int i = 0; i < 10000; ++i) {
    const TimePoint next = clock.now();
    ASSERT_GE(next, last);
    last = next;
  }
}

TEST(SteadyClockTest, IsTheClockOfTheStandardLibrary) {
  const auto before = std::chrono::steady_clock::now();
  const TimePoint now = steady_clock().now();
  const auto after = std::chrono::steady_clock::now();
  EXPECT_GE(now, before);
  EXPECT_LE(now, after);
}

TEST(SteadyClockTest, SleepReturnsAtTheTimeOrLater) {
  const Clock& clock = steady_clock();
  // The one unit test that sleeps, because the sleep is what it tests.
  const TimePoint when = clock.now() + milliseconds(1);
  clock.sleep_until(when);
  EXPECT_GE(clock.now(), when);
}

TEST(SteadyClockTest, SleepUntilThePastReturns) {
  steady_clock().sleep_until(steady_clock().now() - milliseconds(1));
  steady_clock().sleep_until(TimePoint());
  steady_clock().sleep_until(TimePoint::min());
}

TEST(ManualClockTest, MovesOnlyWhenTold) {
  ManualClock clock;
  const TimePoint start = clock.now();
  EXPECT_EQ(clock.now(), start);
  clock.advance(nanoseconds(1));
  EXPECT_EQ(clock.now() - start, nanoseconds(1));
  clock.advance(nanoseconds(0));
  EXPECT_EQ(clock.now() - start, nanoseconds(1));
}

TEST(ManualClockTest, SleepMovesForwardAndNeverBack) {
  ManualClock clock;
  const TimePoint start = clock.now();
  clock.sleep_until(start + milliseconds(5));
  EXPECT_EQ(clock.now(), start + milliseconds(5));
  clock.sleep_until(start + milliseconds(5));
  EXPECT_EQ(clock.now(), start + milliseconds(5));
  clock.sleep_until(start + milliseconds(5) - nanoseconds(1));
  EXPECT_EQ(clock.now(), start + milliseconds(5));
  clock.sleep_until(start + milliseconds(5) + nanoseconds(1));
  EXPECT_EQ(clock.now(), start + milliseconds(5) + nanoseconds(1));
}

TEST(ManualClockDeathTest, DoesNotAdvanceBackwards) {
  ManualClock clock;
  clock.advance(milliseconds(1));
  EXPECT_DEATH(clock.advance(nanoseconds(-1)), "check failed");
}

TEST(ManualClockTest, NoThreadSeesItGoBack) {
  ManualClock clock;
  constexpr int kSteps = 2000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&clock, t] {
      TimePoint last = clock.now();
      for (int i = 0; i < kSteps; ++i) {
        if (t % 2 == 0) {
          clock.advance(nanoseconds(1));
        } else {
          clock.sleep_until(TimePoint(nanoseconds(i)));
        }
        const TimePoint next = clock.now();
        ASSERT_GE(next, last);
        last = next;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Two threads advanced by kSteps each. A sleep that lost its race must not have undone any of it.
  EXPECT_GE(clock.now(), TimePoint(nanoseconds(2 * kSteps)));
}

TEST(DeadlineAfter, AddsAndTakesTooLongForEver) {
  const TimePoint before = steady_clock().now();
  const TimePoint deadline = deadline_after(std::chrono::hours(1));
  EXPECT_GE(deadline, before + std::chrono::hours(1));
  EXPECT_LE(deadline, steady_clock().now() + std::chrono::hours(1));
  EXPECT_EQ(deadline_after(Duration::max()), TimePoint::max());
}

TEST(ClockTest, OnlyTheSteadyOneIsReal) {
  EXPECT_TRUE(steady_clock().real());
  EXPECT_FALSE(ManualClock().real());
}

}  // namespace
}  // namespace inflight
