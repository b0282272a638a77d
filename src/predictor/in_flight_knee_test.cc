// SPDX-License-Identifier: Apache-2.0
// The automatic limit, on simulated time.
#include "predictor/in_flight_knee.h"

#include <gtest/gtest.h>

#include "predictor/load_simulator.h"

namespace inflight::internal::testing {
namespace {

// A closed loop that always has a frame more than the limit, on a device whose rate with n in flight is given.
template <typename Rate>
void flood(InFlightKnee& knee, double& time, int completions, Rate rate) {
  for (int i = 0; i < completions; ++i) {
    knee.reached();
    time += 1.0 / rate(knee.limit());
    knee.completed(at_ms(time));
  }
}

TEST(InFlightKneeTest, FindsTheSmallestThatKeepsTheThroughput) {
  for (const int knee_at : {1, 2, 4, 8, 16}) {
    InFlightKnee knee(8, 32);
    EXPECT_EQ(knee.reason(), LimitReason::kMeasuring);
    double time = 0;
    flood(knee, time, 5000, [&](int n) { return std::min(n, knee_at); });
    EXPECT_EQ(knee.reason(), LimitReason::kKnee);
    int at = 0;
    for (int i = 0; i < 2000; ++i) {
      flood(knee, time, 1, [&](int n) { return std::min(n, knee_at); });
      at += knee.limit() == knee_at ? 1 : 0;
    }
    EXPECT_GE(at, 1500) << "knee at " << knee_at << "; the rest is for looking at the neighbours";
  }
}

TEST(InFlightKneeTest, LosesLittleAndDoesNotDriftDown) {
  InFlightKnee knee(16, 32);
  double time = 0;
  // Each step down costs 2.5 %: one may be taken, a second one not.
  const auto rate = [](int n) { return n >= 16 ? 1.0 : n >= 12 ? 0.975 : n >= 8 ? 0.95 : 0.5; };
  flood(knee, time, 20000, rate);
  const double before = time;
  flood(knee, time, 20000, rate);
  EXPECT_GE(20000 / (time - before), 0.96);
}

TEST(InFlightKneeTest, FollowsAMachineThatChanges) {
  InFlightKnee knee(16, 32);
  double time = 0;
  flood(knee, time, 5000, [](int n) { return std::min(n, 16); });
  EXPECT_GE(knee.limit(), 12);
  flood(knee, time, 10000, [](int n) { return std::min(n, 4); });  // another program has taken most of it
  EXPECT_LE(knee.limit(), 6);
  flood(knee, time, 10000, [](int n) { return std::min(n, 16); });
  EXPECT_GE(knee.limit(), 12);
}

TEST(InFlightKneeTest, MeasuresNothingWhileTheLoadIsLow) {
  InFlightKnee knee(8, 32);
  for (int i = 0; i < 5000; ++i) knee.completed(at_ms(i));
  EXPECT_EQ(knee.limit(), 8);
  EXPECT_EQ(knee.reason(), LimitReason::kMeasuring);
}

TEST(InFlightKneeTest, KeepsItsBounds) {
  std::mt19937 random(3);
  for (const int most : {1, 2, 3, 5, 32, 2048}) {
    InFlightKnee knee(1, most);
    double time = 0;
    for (int i = 0; i < 20000; ++i) {
      if (random() % 4 != 0) knee.reached();
      time += 1e-3 * static_cast<double>(random() % 1000);
      knee.completed(at_ms(time));
      ASSERT_GE(knee.limit(), 1);
      ASSERT_LE(knee.limit(), most);
    }
  }
}

// The scheduler and a simulated device in a closed loop: the limit comes down to what keeps 16 cores busy.
TEST(InFlightKneeSimulation, HoldsTheDeviceBusyWithNoMoreThanNeeded) {
  const SimulatedModel model{"16 cores", 8.9, 66, 80, 16};
  LoadSimulator simulator(model, {.width = WidthPolicy::kNarrow, .limit_auto = true});
  EXPECT_EQ(simulator.scheduler().statistics().limit_reason, LimitReason::kMeasuring);
  simulator.after_end = [&] {
    while (simulator.submit()) {
    }
  };
  simulator.submit();
  simulator.run_until(1000 * model.narrow_full);
  const Statistics& books = simulator.scheduler().statistics();
  EXPECT_EQ(books.limit_reason, LimitReason::kKnee);
  EXPECT_LE(books.in_flight_limit, 24);
  EXPECT_LE(books.in_flight_max, 32U);
  const std::uint64_t before = books.completed;
  const double began = simulator.now();
  simulator.run_until(2000 * model.narrow_full);
  const double rate = static_cast<double>(books.completed - before) / (simulator.now() - began);
  EXPECT_GE(rate, 0.96 * model.capacity());
}

}  // namespace
}  // namespace inflight::internal::testing
