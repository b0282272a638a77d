// SPDX-License-Identifier: Apache-2.0
// Predictive admission and retry_after() on simulated time: what they say against what then happens.
#include <gtest/gtest.h>

#include "predictor/load_simulator.h"

namespace inflight::internal::testing {
namespace {

constexpr SimulatedModel kModel = {"ResNet-50 f32, 16 cores", 8.9, 66, 80, 16};
constexpr SimulatedModel kSmall = {"SqueezeNet f32, 2 cores", 3.6, 5.6, 6.5, 2};

struct Kept {
  std::uint64_t completed = 0;
  std::uint64_t in_time = 0;
};

// Twice the load that the device can do, each with a deadline of three service times.
Kept overload(const SimulatedModel& model, bool refuse_late, double variation, WidthPolicy width) {
  LoadSimulator simulator(model, {.width = width,
                                  .limit = 4096,
                                  .refuse_late = refuse_late,
                                  .deadline = 3 * model.narrow_full,
                                  .variation = variation,
                                  .seed = 3});
  simulator.run(poisson(2 * model.capacity(), 20000, 5));
  Kept kept;
  for (const SimulatedEnd& end : simulator.ends()) {
    if (end.outcome != Outcome::kCompleted) continue;
    ++kept.completed;
    if (end.finished <= end.deadline) ++kept.in_time;
  }
  const Statistics& books = simulator.scheduler().statistics();
  EXPECT_EQ(books.submitted, 20000U);
  EXPECT_EQ(books.submitted, books.completed + books.rejected + books.expired);
  EXPECT_EQ(books.late > 0, refuse_late);
  EXPECT_LE(books.late, books.rejected);
  if (refuse_late) {
    EXPECT_GE(static_cast<double>(kept.in_time),
              0.95 * static_cast<double>(books.submitted - books.rejected));
  }
  return kept;
}

TEST(AdmissionSimulation, WhatIsAdmittedMeetsItsDeadlineAndMoreOfItDoes) {
  for (const SimulatedModel& model : {kModel, kSmall}) {
    for (const double variation : {0.0, 0.2}) {
      for (const WidthPolicy width : {WidthPolicy::kElastic, WidthPolicy::kNarrow}) {
        SCOPED_TRACE(::testing::Message()
                     << model.name << " " << variation << " " << width_policy_name(width));
        const Kept all = overload(model, false, variation, width);
        const Kept predicted = overload(model, true, variation, width);
        EXPECT_GE(static_cast<double>(predicted.in_time), 1.3 * static_cast<double>(all.in_time))
            << predicted.in_time << " of " << predicted.completed << " against " << all.in_time << " of "
            << all.completed;
      }
    }
  }
}

TEST(AdmissionSimulation, AdmitsEverythingThatIsInTime) {
  LoadSimulator simulator(kModel, {.refuse_late = true, .deadline = 3 * kModel.narrow_full});
  simulator.run(poisson(0.5 * kModel.capacity(), 5000, 1));
  EXPECT_EQ(simulator.scheduler().statistics().rejected, 0U);
}

// A machine that was slow for a while: what was measured then must not refuse everything for ever.
TEST(AdmissionSimulation, ForgetsASlowTimeThatWouldRefuseEverything) {
  for (const SimulatedModel& model : {kModel, kSmall}) {
    for (const WidthPolicy width : {WidthPolicy::kElastic, WidthPolicy::kNarrow, WidthPolicy::kWide}) {
      const double deadline = 2 * (width == WidthPolicy::kWide ? model.wide : model.narrow_full);
      LoadSimulator simulator(model,
                              {.width = width, .limit = 256, .refuse_late = true, .deadline = deadline});
      const auto in_time = [&](double rate, int count) {
        const std::size_t before = simulator.ends().size();
        const double began = simulator.now();
        for (const double arrival : poisson(rate, count, 3)) {
          simulator.run_until(began + arrival);
          simulator.submit();
        }
        simulator.run_until_idle();
        std::size_t good = 0;
        for (std::size_t i = before; i < simulator.ends().size(); ++i) {
          const SimulatedEnd& end = simulator.ends()[i];
          good += end.outcome == Outcome::kCompleted && end.finished <= end.deadline ? 1 : 0;
        }
        return static_cast<double>(good) / count;
      };
      const double rate = 0.25 * (width == WidthPolicy::kWide ? 1 / model.wide : model.capacity());
      in_time(rate, 1000);
      SimulatedModel slow = model;
      slow.wide *= 8;
      slow.narrow_alone *= 8;
      slow.narrow_full *= 8;
      simulator.set_model(slow);
      EXPECT_LE(in_time(rate, 1000), 0.1);
      simulator.set_model(model);
      in_time(rate, 1000);
      EXPECT_GE(in_time(rate, 1000), 0.9) << model.name << ", " << width_policy_name(width);
    }
  }
}

// Fills every place, asks when to come again, and comes again just before and just after that.
TEST(AdmissionSimulation, APlaceIsFreeWhenRetryAfterSays) {
  for (const WidthPolicy width : {WidthPolicy::kElastic, WidthPolicy::kNarrow, WidthPolicy::kWide}) {
    LoadSimulator simulator(kModel, {.width = width, .limit = 8});
    simulator.run(poisson(0.3 * kModel.capacity(), 1000, 2));  // measures the service times
    int tried = 0;
    for (int round = 0; round < 50; ++round) {
      while (simulator.submit()) {
      }
      const double began = simulator.now();
      simulator.run_until(began + 0.13 * round);
      while (simulator.submit()) {
      }
      const double at = simulator.now();
      const double in = ms_of(simulator.scheduler().retry_after(at_ms(at)));
      EXPECT_GT(in, 0);
      const bool wide = simulator.ends().back().width == Width::kWide;
      const double slack = 0.15 * (wide ? kModel.wide : kModel.narrow_full);
      if (in > slack) {
        simulator.run_until(at + in - slack);
        EXPECT_NE(simulator.scheduler().ask(), Admission::kAdmit)
            << width_policy_name(width) << " round " << round;
        ++tried;
      }
      simulator.run_until(at + in + slack);
      EXPECT_EQ(simulator.scheduler().ask(), Admission::kAdmit)
          << width_policy_name(width) << " round " << round;
      EXPECT_EQ(simulator.scheduler().retry_after(at_ms(simulator.now())), Duration(0));
      simulator.run_until_idle();
    }
    EXPECT_GT(tried, 10);
  }
}

TEST(AdmissionSimulation, ALateFrameIsAdmittedWhenRetryAfterSays) {
  const double within = 3 * kModel.narrow_full;
  LoadSimulator simulator(
      kModel, {.width = WidthPolicy::kNarrow, .limit = 4096, .refuse_late = true, .deadline = within});
  simulator.run(poisson(0.5 * kModel.capacity(), 1000, 2));
  for (int round = 0; round < 20; ++round) {
    while (simulator.submit()) simulator.run_until(simulator.now() + 0.1);
    const double at = simulator.now();
    const Duration limit = Duration(std::llround(within * 1e6));
    const double in = ms_of(simulator.scheduler().retry_after(at_ms(at), limit));
    ASSERT_GT(in, 0);
    ASSERT_LT(in, kModel.narrow_full);
    simulator.run_until(at + in * 0.5);
    EXPECT_FALSE(simulator.submit()) << "round " << round << ", half of " << in << " ms later";
    simulator.run_until(at + in + 0.15 * kModel.narrow_full);
    EXPECT_TRUE(simulator.submit()) << "round " << round << ", " << in << " ms later";
    simulator.run_until_idle();
  }
  EXPECT_EQ(simulator.scheduler().retry_after(at_ms(simulator.now()), std::chrono::milliseconds(10)),
            Duration::max())
      << "a narrow prediction alone takes 66 ms";
}

// ---- FinishForecast

TEST(FinishForecastTest, CountsTheQueueInFrontOfTheServers) {
  FinishForecast forecast(2);
  const Duration ms = std::chrono::milliseconds(1);
  EXPECT_EQ(forecast.finish({at_ms(0), 2, 0, 10 * ms}), at_ms(10)) << "idle";
  forecast.clear();
  forecast.runs_until(at_ms(4));
  EXPECT_EQ(forecast.finish({at_ms(0), 2, 0, 10 * ms}), at_ms(10)) << "a server is free";
  forecast.clear();
  forecast.runs_until(at_ms(4));
  EXPECT_EQ(forecast.finish({at_ms(0), 2, 1, 10 * ms}), at_ms(14)) << "one waits: it takes the free one";
  forecast.clear();
  forecast.runs_until(at_ms(4));
  forecast.runs_until(at_ms(6));
  EXPECT_EQ(forecast.finish({at_ms(0), 2, 3, 10 * ms}), at_ms(26)) << "behind 4, 6, 14 comes 16";
  forecast.clear();
  forecast.runs_until(at_ms(-5));
  forecast.runs_until(at_ms(6));
  EXPECT_EQ(forecast.finish({at_ms(0), 2, 0, 10 * ms}), at_ms(10)) << "what is overdue may end now";
}

TEST(FinishForecastTest, LearnsAMarginThatFewExceed) {
  FinishForecast forecast(1);
  std::mt19937 random(1);
  std::uniform_real_distribution<double> error(-2, 2);
  int late = 0;
  for (int i = 0; i < 4000; ++i) {
    const double actual = 10 + error(random);
    if (i >= 1000 && at_ms(actual) > at_ms(10) + forecast.margin()) ++late;
    forecast.ended(at_ms(10), at_ms(actual), std::chrono::milliseconds(10));
  }
  EXPECT_LE(late, 3000 * 5 / 100);
  EXPECT_LE(forecast.margin(), std::chrono::milliseconds(3));
}

}  // namespace
}  // namespace inflight::internal::testing
