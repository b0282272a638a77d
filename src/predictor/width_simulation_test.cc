// SPDX-License-Identifier: Apache-2.0
// The choice of width against both fixed widths, on simulated time.
#include <gtest/gtest.h>

#include <string_view>

#include "predictor/width_points.h"

namespace inflight::internal::testing {
namespace {

//   known_miss   above 0: the p99 is known to be outside, by this factor of the better one at most
void expect_envelope(const SimulatedModel& model, const Point& point, const SimulatedLoad& load,
                     double known_miss = 0) {
  const Envelope envelope(model, point.arrivals, load);
  const Latencies elastic = latencies(model, load, point.arrivals);
  SCOPED_TRACE(::testing::Message() << model.name << ", " << point.name << ", variation " << load.variation
                                    << ", after wide " << load.after_wide << ", after idle "
                                    << load.after_idle << ": " << envelope.text() << ", elastic "
                                    << Envelope::text_of(elastic));
  EXPECT_LE(elastic.p99, known_miss > 0 ? known_miss * envelope.better().p99 : envelope.p99_bound());
  EXPECT_LE(elastic.p50, envelope.p50_bound());
}

bool is(const SimulatedModel& model, const Point& point, std::string_view model_name,
        std::string_view point_name) {
  return model.name == model_name && point.name == point_name;
}

TEST(WidthSimulation, PoissonArrivalsAreOnTheLowerEnvelope) {
  for (const SimulatedModel& model : kModels) {
    for (const Point& point : poisson_points(model)) {
      for (const double variation : {0.0, 0.2})
        expect_envelope(model, point, {.variation = variation, .seed = seed()});
    }
  }
}

TEST(WidthSimulation, SteadyCamerasAreOnTheLowerEnvelope) {
  for (const SimulatedModel& model : kModels) {
    for (const Point& point : camera_points(model)) {
      // ADR 11: 30 cameras with fixed phases, whose frames come together for seconds, 1.43 times the better width; and 4 that
      // wait for the end of narrow launches in each period, and then join them, 1.52. 1.1 is wanted.
      double known_miss = 0;
      if (is(model, point, "SqueezeNet f32, 16 cores", "30 cameras at 45 %")) known_miss = 1.5;
      if (is(model, point, "SqueezeNet bf16, 16 cores with medium", "4 cameras at 45 %")) known_miss = 1.6;
      expect_envelope(model, point, {.seed = seed()}, known_miss);
    }
  }
}

TEST(WidthSimulation, PhasesOfManyAndFewAreNearTheLowerEnvelope) {
  for (const SimulatedModel& model : kModels) {
    for (const Point& point : phase_points(model)) {
      // ADR 11: each phase of few begins the mean anew, which costs the next one of many. 1.28 was measured, where 1.1 is wanted.
      const bool known =
          model.cores > 2 && (point.name == "on and off at 10 %" || point.name == "on and off at 20 %");
      expect_envelope(model, point, {.seed = seed()}, known ? 1.3 : 0);
    }
  }
}

TEST(WidthSimulation, BurstsOntoAnIdleMachineAreOnTheLowerEnvelope) {
  for (const SimulatedModel& model : kModels) {
    for (const Point& point : burst_points(model)) expect_envelope(model, point, {.seed = seed()});
  }
}

// A round of narrow launches that follows a wide one starts with sleeping threads and the other width's caches.
TEST(WidthSimulation, WhatAChangeOfWidthCostsKeepsItOnTheLowerEnvelope) {
  for (const SimulatedModel& model : kModels) {
    for (const Point& point : poisson_points(model)) {
      for (const double cost : {0.5, 1.0}) {  // of narrow_alone; 0.1 to 1 were measured
        // ADR 11: the rule is wide for 60 frames just before the busiest moment, 1.27 times the better width, and 1.103. 1.1
        // is wanted.
        double known_miss = 0;
        if (cost == 1 && is(model, point, "SqueezeNet f32, 2 cores", "Poisson at 90 %")) known_miss = 1.3;
        if (cost == 1 && is(model, point, "ResNet-50 f32, 16 cores with medium", "Poisson at 30 %"))
          known_miss = 1.11;
        expect_envelope(model, point,
                        {.variation = 0.2, .after_wide = cost * model.narrow_alone, .seed = seed()},
                        known_miss);
      }
    }
  }
}

// A launch onto an idle device, of either width, wakes threads and fills caches.
TEST(WidthSimulation, WhatAnIdleDeviceCostsKeepsItOnTheLowerEnvelope) {
  for (const SimulatedModel& model : kModels) {
    for (const Point& point : poisson_points(model)) {
      for (const double cost : {0.3, 0.7, 1.0})  // of wide; 0.7 was measured
        expect_envelope(model, point, {.variation = 0.2, .after_idle = cost * model.wide, .seed = seed()});
    }
  }
}

// Where the fixed widths cross, both are slow: a queue of wide launches, or narrow ones that take long.
TEST(WidthSimulation, AMediumWidthIsFarBelowBothOthersSomewhere) {
  for (const SimulatedModel& model : kModels) {
    if (model.medium_at_once == 0 || model.name == std::string("ResNet-50 bf16, 16 cores with medium"))
      continue;
    double least = 1;
    for (const Point& point : poisson_points(model)) {
      const Envelope envelope(model, point.arrivals, {});
      least = std::min(least, latencies(model, {}, point.arrivals).p99 / envelope.better().p99);
    }
    EXPECT_LE(least, 0.75) << model.name;
  }
}

// The completions in a ms, for so many ms from now on.
double rate_for(LoadSimulator& simulator, double time) {
  const std::uint64_t before = simulator.scheduler().statistics().completed;
  simulator.run_until(simulator.now() + time);
  return static_cast<double>(simulator.scheduler().statistics().completed - before) / time;
}

TEST(WidthSimulation, OneAtATimeRunsWideAndAFloodRunsNarrow) {
  for (const SimulatedModel& model : kModels) {
    LoadSimulator alone(model, {});
    for (int i = 0; i < 500; ++i) {
      alone.submit();
      alone.run_until_idle();
    }
    EXPECT_LE(alone.quantile(0.5), 1.05 * model.wide) << model.name;

    LoadSimulator flood(model, {.limit = 4 * model.cores});
    flood.after_end = [&] {
      while (flood.submit()) {
      }
    };
    flood.submit();
    flood.run_until(200 * model.narrow_full);
    EXPECT_GE(rate_for(flood, 400 * model.narrow_full), 0.97 * model.capacity()) << model.name;
  }
}

// How many predictions after an overload, one at a time, it takes until one runs wide.
//   apart   from the end of one to the next, in the mean times between completions at full load
int until_wide_after_an_overload(const SimulatedModel& model, double apart) {
  LoadSimulator simulator(model, {.limit = 4 * model.cores});
  for (const double arrival : poisson(2 * model.capacity(), 4000, seed())) {
    simulator.run_until(arrival);
    simulator.submit();
  }
  simulator.run_until_idle();
  int count = 0;
  while (simulator.ends().back().width != Width::kWide && count < 2000) {
    simulator.run_until(simulator.now() + apart / model.capacity());
    simulator.submit();
    simulator.run_until_idle();
    ++count;
  }
  return count;
}

TEST(WidthSimulation, ComesBackToWideSoonAfterAnOverload) {
  for (const SimulatedModel& model : kModels) {
    EXPECT_LE(until_wide_after_an_overload(model, 20), 50) << model.name;  // 5 % of the capacity
  }
}

// Also where arrivals are not much rarer than before: what finds the device idle again and again is alone.
TEST(WidthSimulation, ComesBackToWideAsSoonAsArrivalsFindTheDeviceIdle) {
  for (const SimulatedModel& model : kModels) {
    for (const double apart : {0.0, 2.5, 5.0, 10.0, 20.0})
      EXPECT_LE(until_wide_after_an_overload(model, apart), 9) << model.name << ", " << apart;
  }
}

// How many of those arrivals, which begin now, run narrow.
std::size_t narrow_of(LoadSimulator& simulator, const std::vector<double>& arrivals) {
  const auto before = static_cast<std::ptrdiff_t>(simulator.ends().size());
  simulator.run(arrivals, simulator.now());
  return static_cast<std::size_t>(
      std::count_if(simulator.ends().begin() + before, simulator.ends().end(),
                    [](const SimulatedEnd& end) { return end.width == Width::kNarrow; }));
}

TEST(WidthSimulation, ComesBackToWideSoonAfterTheLoadFalls) {
  for (const SimulatedModel& model : kModels) {
    for (const double share : {0.1, 0.2}) {
      const std::vector<double> few = poisson(model.capacity() * share, 400, seed());
      const Envelope envelope(model, few, {});
      if (envelope.crossover() || envelope.better().p50 > model.narrow_alone) continue;  // wide is not better
      const SimulatedLoad load{.variation = 0.15, .after_wide = 0.2 * model.narrow_alone, .seed = seed()};
      SCOPED_TRACE(std::string(model.name) + ", to " + percent(share) + " of the capacity");
      for (const int many : {200, 1500}) {
        LoadSimulator simulator(model, load);
        simulator.run(poisson(model.capacity() * 0.9, many, seed()));
        EXPECT_LE(narrow_of(simulator, few), 100U) << "after " << many;
      }
      LoadSimulator simulator(model, load);
      simulator.submit();  // as a program that warms up and then waits for its camera
      simulator.run_until(10000);
      simulator.run(poisson(model.capacity() * 0.9, 400, seed()), simulator.now());
      simulator.run_until(simulator.now() + 20 * model.narrow_full);
      EXPECT_LE(narrow_of(simulator, few), 100U) << "after pauses";
    }
  }
}

TEST(WidthSimulation, ALoneCallerAfterBurstsRunsWideSoon) {
  for (const SimulatedModel& model : kModels) {
    LoadSimulator simulator(model, {});
    simulator.run(bursts(2 * model.cores, 25 * model.narrow_full, 400));
    for (int i = 0; i < 9; ++i) {
      simulator.submit();
      simulator.run_until_idle();
    }
    EXPECT_EQ(simulator.ends().back().width, Width::kWide) << model.name;
  }
}

// The engine and the simulator run the same rule: no step may depend on anything but its numbers.
TEST(WidthRuleTest, TheSameNumbersGiveTheSameWidths) {
  const std::vector<double> arrivals = poisson(kModels[0].capacity() * 0.2, 5000, seed());
  LoadSimulator first(kModels[0], {});
  LoadSimulator second(kModels[0], {});
  first.run(arrivals);
  second.run(arrivals);
  ASSERT_EQ(first.ends().size(), second.ends().size());
  bool both = false;
  for (std::size_t i = 0; i < first.ends().size(); ++i) {
    ASSERT_EQ(first.ends()[i].width, second.ends()[i].width);
    both = both || first.ends()[i].width != first.ends()[0].width;
  }
  EXPECT_TRUE(both) << "it never chose";
}

// A caller that waits for a place is refused nothing: only the full places show that more would come.
TEST(WidthSimulation, AClosedLoopThatFillsItsPlacesHasTheThroughputOfNarrow) {
  for (const SimulatedModel& model : kModels) {
    LoadSimulator simulator(model, {.limit = 2 * model.cores});
    simulator.after_end = [&] { simulator.submit(); };
    for (int i = 0; i < 2 * model.cores; ++i) simulator.submit();
    simulator.run_until(200 * model.narrow_full);
    EXPECT_GE(rate_for(simulator, 400 * model.narrow_full), 0.97 * model.capacity()) << model.name;
    EXPECT_EQ(simulator.scheduler().statistics().rejected, 0U);
  }
}

// The completions in a ms of so many callers, each of which submits again as soon as it has its result, after one alone.
//   settled   the rounds of narrow launches that do not count
double rate_of_callers(const SimulatedModel& model, const SimulatedLoad& load, int callers, int settled) {
  LoadSimulator simulator(model, load);
  simulator.after_end = [&] { simulator.submit(); };
  simulator.submit();
  simulator.run_until(100 * model.wide);
  for (int i = 1; i < callers; ++i) simulator.submit();
  simulator.run_until(simulator.now() + settled * model.narrow_full);
  return rate_for(simulator, 30 * model.narrow_full);
}

// A flood of ResNet-50 on 16 cores had the rate of medium launches, 0.71 of narrow's. It does here, too, if the time of narrow is 1.4
// times too long: the callers send no more than medium can do.
TEST(WidthSimulation, AClosedLoopFindsOutThatNarrowWasSlowWhenItWasCompiled) {
  for (const SimulatedModel& model : kModels) {
    if (model.cores == 2) continue;  // wide has 0.9 of narrow's rate
    for (const double error : {1.0, 1.2, 1.4, 1.8}) {
      for (const int callers : {model.cores, 3 * model.cores / 2, 4 * model.cores}) {
        SimulatedLoad load{.variation = 0.15, .narrow_error = error, .seed = seed()};
        // More of them than run at once leave a queue, which shows it soon.
        const int settled = callers > model.cores ? 0 : 50;
        const double rate = rate_of_callers(model, load, callers, settled);
        load.width = WidthPolicy::kNarrow;
        EXPECT_GE(rate, 0.95 * rate_of_callers(model, load, callers, settled))
            << model.name << ", " << error << ", " << callers;
      }
    }
  }
}

// The first launch of a process may take ten times as long as the others.
TEST(WidthSimulation, ASlowFirstLaunchDoesNotTurnItNarrow) {
  for (const SimulatedModel& model : kModels) {
    SimulatedModel cold = model;
    cold.wide *= 20;
    LoadSimulator simulator(cold, {.variation = 0.3, .measured = false});
    for (int i = 0; i < 300; ++i) {
      simulator.submit();
      simulator.run_until_idle();
      simulator.set_model(model);
    }
    EXPECT_GE(simulator.scheduler().statistics().wide, 299U) << model.name;
  }
}

// The completions of a flood in a ms, once its first narrow launches, which take 20 times as long, are over.
double rate_of_flood(const SimulatedModel& model, int cold_launches, bool measured) {
  SimulatedModel cold = model;
  cold.narrow_alone *= 20;
  cold.narrow_full *= 20;
  LoadSimulator simulator(model, {.variation = 0.1, .measured = measured});
  simulator.set_model(cold);
  simulator.after_end = [&] {
    const Statistics& books = simulator.scheduler().statistics();
    if (books.narrow >= static_cast<std::uint64_t>(cold_launches)) simulator.set_model(model);
    simulator.submit();
  };
  for (int i = 0; i < 4 * model.cores; ++i) simulator.submit();
  const auto completes = [&](std::uint64_t count) {
    while (simulator.scheduler().statistics().completed < count)
      simulator.run_until(simulator.now() + model.wide);
  };
  completes(4000);
  const double began = simulator.now();
  const std::uint64_t before = simulator.scheduler().statistics().completed;
  completes(before + 2000);
  const auto done = static_cast<double>(simulator.scheduler().statistics().completed - before);
  return done / (simulator.now() - began);
}

// So may the first launch of each slot: what they took must not keep a flood wide.
TEST(WidthSimulation, SlowFirstLaunchesDoNotKeepAFloodWide) {
  for (const SimulatedModel& model : kModels) {
    for (const int cold_launches : {1, model.cores, 4 * model.cores}) {
      for (const bool measured : {false, true}) {
        EXPECT_GE(rate_of_flood(model, cold_launches, measured), 0.95 * model.capacity())
            << model.name << ", " << cold_launches << ", " << measured;
      }
    }
  }
}

// The machine was slow when wide was measured last: a wide launch that is no faster than a narrow one is doubted.
TEST(WidthSimulation, SlowWideLaunchesAreForgottenSoonAfterTheyEnd) {
  for (const SimulatedModel& model : kModels) {
    SimulatedModel slow = model;
    slow.wide = 2 * model.narrow_full;
    LoadSimulator simulator(model, {.limit = 4 * model.cores});
    const auto one_at_a_time = [&](int count) {
      for (int i = 0; i < count; ++i) {
        simulator.submit();
        simulator.run_until_idle();
      }
    };
    for (int i = 0; i < 4 * model.cores; ++i) simulator.submit();  // measures the narrow width
    simulator.run_until_idle();
    one_at_a_time(10);
    simulator.set_model(slow);
    one_at_a_time(300);
    EXPECT_NE(simulator.ends().back().width, Width::kWide) << model.name;
    simulator.set_model(model);
    int until_wide = 0;
    for (; until_wide < 2000 && simulator.ends().back().width != Width::kWide; ++until_wide) one_at_a_time(1);
    // Doubts of wide that were wrong put the next one off: with these three 208, 264 and 231 were measured.
    const std::string_view name = model.name;
    const bool late_doubt = name.starts_with("ResNet-50 f32, 2 ") || name == "SqueezeNet f32, 2 busy cores";
    EXPECT_LE(until_wide, late_doubt ? 270 : 200) << name;
    one_at_a_time(300);
    EXPECT_EQ(simulator.ends().back().width, Width::kWide) << model.name;
  }
}

TEST(WidthRuleTest, RunsNarrowBesideOtherPredictors) {
  WidthRule rule(16);
  rule.ended(Width::kWide, 1, Warmth::kWarm, std::chrono::milliseconds(4));
  EXPECT_EQ(rule.choose({.now = at_ms(0)}), Width::kWide);
  EXPECT_EQ(rule.choose({.now = at_ms(0), .alone = false}), Width::kNarrow);
}

// Otherwise those that still run keep others coming: a few always join them sooner than they could run narrow.
// The embedded classifier on two processors.
TEST(WidthRuleTest, WhereWakingCostsWhatWideSavesOnlyACallerThatWaitsRunsWide) {
  using std::chrono::microseconds;
  WidthOffer offer{
      .wide_alone = microseconds(95), .narrow_alone = microseconds(148), .wake_cost = microseconds(100)};
  Duration now{};
  // Of `count` launches that find the device idle, for as long as usual, but each `every`-th for longer.
  const auto wide_of = [&](WidthRule& rule, int count, Duration usually, int every = 1'000'000) {
    int wide = 0;
    for (int i = 1; i <= count; ++i) {
      const Duration idle = i % every == 0 ? microseconds(150) : usually;
      now += idle;
      rule.arrived(TimePoint(now), 0, idle);
      const Width width = rule.choose({.now = TimePoint(now), .idle = idle});
      const Duration service = width == Width::kWide ? offer.wide_alone : offer.narrow_alone;
      rule.ended(width, 1, rule.started(width, TimePoint(now), idle), service);
      now += service;
      wide += width == Width::kWide ? 1 : 0;
    }
    return wide;
  };
  WidthRule rule(2, offer);
  EXPECT_EQ(wide_of(rule, 50, microseconds(400)), 0);
  EXPECT_GE(wide_of(rule, 50, microseconds(30)), 40) << "a caller that waits for its results";
  EXPECT_EQ(wide_of(rule, 10'000, microseconds(400)), 0) << "not to measure it, either";
  EXPECT_EQ(wide_of(rule, 10'000, microseconds(30), 8), 0) << "random arrivals: some come as soon by chance";
  offer.wide_alone = microseconds(40);
  WidthRule saves_more(2, offer);
  EXPECT_EQ(wide_of(saves_more, 50, microseconds(400)), 50);
  offer = {
      .wide_alone = microseconds(155), .narrow_alone = microseconds(148), .wake_cost = microseconds(100)};
  WidthRule measured_in_a_bad_moment(2, offer);
  offer.wide_alone = microseconds(95);
  wide_of(measured_in_a_bad_moment, 1000, microseconds(30));
  EXPECT_EQ(wide_of(measured_in_a_bad_moment, 50, microseconds(30)), 50);
  offer = {.wide_alone = microseconds(95), .narrow_alone = microseconds(148)};
  WidthRule wakes_none(2, offer);
  EXPECT_EQ(wide_of(wakes_none, 50, microseconds(400)), 50) << "an accelerator";
}

TEST(WidthRuleTest, LaunchesOfAWiderWidthThanTheOneFollowedEnd) {
  constexpr Duration kMs = std::chrono::milliseconds(1);
  WidthRule rule(
      16, {.wide_alone = 9 * kMs, .narrow_alone = 66 * kMs, .medium_at_once = 4, .medium_alone = 20 * kMs});
  for (int i = 0; i < 1000; ++i) rule.arrived(at_ms(i), 1, Duration(0));
  ASSERT_EQ(rule.follows(), Width::kNarrow);
  rule.started(Width::kMedium, at_ms(1000), Duration(0));
  const WidthView beside_medium{
      .now = at_ms(1001), .waiting = 2, .running = 1, .running_width = Width::kMedium};
  EXPECT_EQ(rule.choose(beside_medium), Width::kNarrow);
}

TEST(WidthRuleTest, AWidthThatWasMeasuredBeforeIsNotMeasuredAgain) {
  constexpr Duration kMs = std::chrono::milliseconds(1);
  WidthOffer offer{
      .wide_alone = 9 * kMs, .narrow_alone = 66 * kMs, .medium_at_once = 4, .medium_alone = 20 * kMs};
  const WidthView two_wait{.now = at_ms(0), .waiting = 2};
  EXPECT_EQ(WidthRule(16, offer).choose(two_wait), Width::kMedium) << "to measure it";
  offer.medium_together = 26 * kMs;
  EXPECT_EQ(WidthRule(16, offer).choose(two_wait), Width::kNarrow) << "to measure that";
  offer.narrow_together = 80 * kMs;
  const WidthRule rule(16, offer);
  EXPECT_EQ(rule.choose(two_wait), Width::kWide);
  EXPECT_EQ(rule.times().of(Width::kMedium, 1), 20e6);
  EXPECT_EQ(rule.times().of(Width::kMedium, 4), 26e6);
  EXPECT_EQ(rule.times().of(Width::kNarrow, 1), 66e6);
  EXPECT_EQ(rule.times().of(Width::kNarrow, 16), 80e6);
}

TEST(ServiceTimesTest, KeepsAMeanForEachNumberThatRanTogether) {
  ServiceTimes times;
  EXPECT_EQ(times.of(Width::kNarrow, 4), 0);
  times.add(Width::kNarrow, 1, Warmth::kWarm, 100);
  EXPECT_EQ(times.of(Width::kNarrow, 16), 100) << "the nearest";
  times.add(Width::kNarrow, 16, Warmth::kWarm, 200);
  EXPECT_EQ(times.of(Width::kNarrow, 16), 200);
  EXPECT_EQ(times.of(Width::kNarrow, 1), 100);
  for (int i = 0; i < 4; ++i) times.add(Width::kNarrow, 1, Warmth::kWarm, 100);
  times.add(Width::kNarrow, 1, Warmth::kWarm, 1e9);
  EXPECT_LE(times.of(Width::kNarrow, 1), 113) << "an outlier counts as two means";
  EXPECT_EQ(times.wide(), 0);
}

TEST(ServiceTimesTest, WhatAChangeOfWidthCostsIsKeptApart) {
  ServiceTimes times;
  times.add(Width::kNarrow, 2, Warmth::kAfterOther, 1000);
  EXPECT_EQ(times.of(Width::kNarrow, 2), 1000) << "nothing else was measured";
  times.add(Width::kNarrow, 2, Warmth::kAfterOther, 400);
  EXPECT_EQ(times.of(Width::kNarrow, 2), 400) << "without a wide one before it, it would not take longer";
  times.add(Width::kNarrow, 2, Warmth::kAfterOther, 700);
  EXPECT_EQ(times.of(Width::kNarrow, 2), 400);
  EXPECT_GT(times.after_other(Width::kNarrow), 0);
  for (int i = 0; i < 100; ++i) times.add(Width::kNarrow, 2, Warmth::kAfterOther, 700);
  EXPECT_NEAR(times.after_other(Width::kNarrow), 300, 1);
}

// The first launch of each slot takes ten times as long, and follows another width.
TEST(ServiceTimesTest, WhatAChangeOfWidthCostsIsAtMostTheTimeItself) {
  ServiceTimes times;
  times.add(Width::kNarrow, 16, Warmth::kWarm, 1000);
  for (int i = 0; i < 100; ++i) times.add(Width::kNarrow, 16, Warmth::kAfterOther, 20000);
  EXPECT_LE(times.after_other(Width::kNarrow), 1000);
  EXPECT_GE(times.after_other(Width::kNarrow), 990);
}

TEST(ServiceTimesTest, WhatAnIdleDeviceCostsIsKeptApart) {
  ServiceTimes times;
  times.add(Width::kWide, 1, Warmth::kAfterIdle, 900);
  EXPECT_EQ(times.wide(), 900) << "nothing else was measured";
  times.add(Width::kWide, 1, Warmth::kWarm, 300);
  for (int i = 0; i < 100; ++i) {
    times.add(Width::kWide, 1, Warmth::kAfterIdle, 500);
    times.add(Width::kNarrow, 1, Warmth::kWarm, 1000);
    times.add(Width::kNarrow, 1, Warmth::kAfterIdle, 1400);
  }
  EXPECT_EQ(times.wide(), 300);
  EXPECT_NEAR(times.after_idle(Width::kWide), 200, 1);
  EXPECT_EQ(times.of(Width::kNarrow, 1), 1000);
  EXPECT_NEAR(times.after_idle(Width::kNarrow), 400, 1);
  EXPECT_EQ(times.after_other(Width::kNarrow), 0);
}

TEST(ServiceTimesTest, MoreTogetherTakeNoLongerThanOneAfterTheOther) {
  ServiceTimes times;
  times.add(Width::kNarrow, 8, Warmth::kWarm, 10000);
  EXPECT_EQ(times.of(Width::kNarrow, 8), 10000);
  times.add(Width::kNarrow, 1, Warmth::kWarm, 100);
  EXPECT_EQ(times.of(Width::kNarrow, 8), 800);
  times.add(Width::kNarrow, 4, Warmth::kWarm, 150);
  EXPECT_EQ(times.of(Width::kNarrow, 8), 300);
}

}  // namespace
}  // namespace inflight::internal::testing
