// SPDX-License-Identifier: Apache-2.0
// Elastic width, predictive admission and the automatic limit in the predictor itself, on the null device.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Cores: wide 1 ms on all of them, narrow 2 ms on one; medium, if some may run at once, 1 ms on a part. Counts the cores
// in use, and the launches of each width.
struct Cores {
  int count = 4;
  int medium_at_once = 0;
  std::atomic<int> used{0};
  std::atomic<int> most{0};
  std::array<std::atomic<int>, kWidthCount> running{};
  std::atomic<bool> mixed{false};  // launches of several widths ran at once

  int units_of(Width width) const {
    if (width == Width::kNarrow) return 1;
    return width == Width::kWide ? count : count / medium_at_once;
  }
  NullScript script() {
    NullScript script;
    script.elastic = true;
    script.concurrency_medium = medium_at_once;
    script.concurrency_narrow = count;
    script.service_time = [this](std::uint64_t, Width width) {
      const int units = units_of(width);
      ++running[index_of(width)];
      int widths = 0;
      for (const std::atomic<int>& each : running) widths += each > 0 ? 1 : 0;
      if (widths > 1) mixed = true;
      const int now = used.fetch_add(units) + units;
      int seen = most.load();
      while (now > seen && !most.compare_exchange_weak(seen, now)) {
      }
      steady_clock().sleep_until(steady_clock().now() + milliseconds(width == Width::kNarrow ? 2 : 1));
      used.fetch_sub(units);
      --running[index_of(width)];
      return Duration(0);
    };
    return script;
  }
};

TEST(ElasticWidth, OneAtATimeRunsWideAndAFloodRunsNarrow) {
  Cores cores;
  Predictor predictor =
      null_predictor(cores.script(), {.in_flight_limit = 16, .overload = OverloadPolicy::kBlock});
  EXPECT_EQ(predictor.width(), WidthPolicy::kElastic);
  EXPECT_EQ(predictor.slots(), 4);
  for (int i = 0; i < 20; ++i) {
    const auto prediction = predictor.submit(byte_frame(1));
    ASSERT_TRUE(prediction->wait().ok());
    EXPECT_EQ(prediction->width(), Width::kWide) << i;
  }
  predictor.take_finished();
  const Statistics before = predictor.statistics();
  EXPECT_EQ(before.wide, 20U);
  for (int i = 0; i < 600; ++i) {
    ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
    predictor.take_finished();
  }
  predictor.drain();
  const Statistics after = predictor.statistics();
  EXPECT_EQ(after.wide + after.narrow, 620U);
  EXPECT_GE(after.narrow - before.narrow, 400U) << "a flood keeps a queue that four narrow ones clear sooner";
  EXPECT_LE(cores.most, 4);
}

// The first queues measure the widths that are narrower, medium first.
TEST(ElasticWidth, LaunchesOfThreeWidthsDoNotRunBesideEachOther) {
  Cores cores{.count = 16, .medium_at_once = 4};
  Predictor predictor =
      null_predictor(cores.script(), {.in_flight_limit = 32, .overload = OverloadPolicy::kBlock});
  EXPECT_EQ(predictor.slots(), 16);
  for (const int burst : {1, 6, 6, 6, 32, 32, 200, 1, 6, 1}) {
    for (int i = 0; i < burst; ++i) {
      ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
      predictor.take_finished();
    }
    predictor.drain();
  }
  const Statistics books = predictor.statistics();
  EXPECT_EQ(books.completed, 291U);
  EXPECT_EQ(books.wide + books.medium + books.narrow, 291U);
  EXPECT_GT(books.wide, 0U);
  EXPECT_GT(books.medium, 0U);
  EXPECT_GT(books.narrow, 0U);
  EXPECT_LE(cores.most, 16);
  EXPECT_FALSE(cores.mixed);
}

TEST(ElasticWidth, AsynchronousDevicesTooRunBothWidths) {
  NullScript script;
  script.elastic = true;
  script.asynchronous = true;
  script.concurrency_narrow = 4;
  script.service_time = [](std::uint64_t, Width width) {
    return microseconds(width == Width::kWide ? 200 : 400);
  };
  Predictor predictor = null_predictor(script, {.in_flight_limit = 16, .overload = OverloadPolicy::kBlock});
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
  predictor.take_finished();
  for (int i = 0; i < 600; ++i) {
    ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
    predictor.take_finished();
  }
  predictor.drain();
  const Statistics books = predictor.statistics();
  EXPECT_EQ(books.completed, 620U);
  EXPECT_GE(books.wide, 20U);
  EXPECT_GE(books.narrow, 300U);
}

TEST(ElasticWidth, TwoPredictorsNeverUseMoreThanTheDevice) {
  Cores cores;
  const Runtime runtime = null_runtime(cores.script());
  std::vector<Predictor> predictors;
  for (int i = 0; i < 2; ++i) {
    predictors.push_back(*Predictor::create(
        byte_model(), {.runtime = runtime, .in_flight_limit = 4, .overload = OverloadPolicy::kBlock}));
  }
  std::vector<std::thread> submitters;
  for (Predictor& predictor : predictors) {
    submitters.emplace_back([&predictor] {
      for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
        if (i % 10 == 0) predictor.drain();  // now and then nothing is queued, and a wide one may start
        predictor.take_finished();
      }
      predictor.drain();
    });
  }
  for (std::thread& submitter : submitters) submitter.join();
  EXPECT_LE(cores.most, 4);
  for (const Predictor& predictor : predictors) EXPECT_EQ(predictor.statistics().completed, 200U);
}

TEST(ElasticWidth, IsNarrowWhereWideDoesNotPay) {
  NullScript script;
  script.concurrency_narrow = 4;
  Predictor predictor = null_predictor(script, {});
  EXPECT_EQ(predictor.width(), WidthPolicy::kNarrow);
  ASSERT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
  EXPECT_EQ(predictor.statistics().narrow, 1U);
  NullScript one_core;
  one_core.elastic = true;
  one_core.concurrency_narrow = 1;
  EXPECT_EQ(null_predictor(one_core, {}).width(), WidthPolicy::kNarrow);
}

TEST(ElasticWidth, HasWords) {
  for (const WidthPolicy policy : {WidthPolicy::kElastic, WidthPolicy::kWide, WidthPolicy::kNarrow})
    EXPECT_EQ(*parse_width_policy(width_policy_name(policy)), policy);
  EXPECT_EQ(parse_width_policy("broad").status().message(), "width: got broad, want elastic, wide or narrow");
  EXPECT_EQ(limit_reason_name(LimitReason::kKnee), "knee");
}

// The clock stands still and the device is held, so what is refused is refused before anything finishes.
TEST(RefuseLate, RefusesAtOnceWhatWouldFinishAfterItsDeadline) {
  constexpr std::uint64_t kMeasured = 4;
  Gate gate;
  ManualClock clock;
  NullScript script;
  script.clock = &clock;
  script.concurrency_narrow = 1;
  script.service_time = [&](std::uint64_t launch, Width) {
    if (launch >= kMeasured) gate.pass();
    return milliseconds(20);
  };
  Predictor predictor = null_predictor(script, {.in_flight_limit = 64, .refuse_late = true, .clock = &clock});
  for (std::uint64_t i = 0; i < kMeasured; ++i) ASSERT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
  predictor.take_finished();
  std::vector<Prediction> admitted;
  Status refusal;
  while (refusal.ok() && admitted.size() < 60) {
    Frame frame = byte_frame(1);
    frame.deadline = clock.now() + milliseconds(200);
    Result<Prediction> prediction = predictor.submit(std::move(frame));
    if (prediction.ok())
      admitted.push_back(*prediction);
    else
      refusal = prediction.status();
  }
  EXPECT_EQ(refusal.code(), StatusCode::kOverloaded);
  EXPECT_NE(refusal.message().find("would finish after its deadline"), std::string::npos)
      << refusal.message();
  EXPECT_EQ(admitted.size(), 10U) << "200 ms hold ten";
  EXPECT_EQ(predictor.statistics().late, 1U);
  EXPECT_EQ(predictor.statistics().rejected, 1U);
  EXPECT_EQ(predictor.retry_after(), Duration(0)) << "places are free";
  EXPECT_GT(predictor.retry_after(milliseconds(200)), Duration(0));
  EXPECT_EQ(predictor.retry_after(milliseconds(1)), Duration::max());
  gate.open();
  predictor.drain();
}

TEST(AutomaticLimit, IsTwoPlacesASlotAtMostAndSaysWhy) {
  NullScript script;
  script.concurrency_narrow = 4;
  script.service_time = [](std::uint64_t, Width) { return microseconds(200); };
  Predictor predictor = null_predictor(
      script, {.in_flight_limit = Predictor::kInFlightLimitAuto, .overload = OverloadPolicy::kBlock});
  EXPECT_EQ(predictor.places(), 8);
  EXPECT_EQ(predictor.statistics().in_flight_limit, 4);
  EXPECT_EQ(predictor.statistics().limit_reason, LimitReason::kMeasuring);
  for (int i = 0; i < 4000 && predictor.statistics().limit_reason != LimitReason::kKnee; ++i) {
    ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
    predictor.take_finished();
  }
  predictor.drain();
  const Statistics books = predictor.statistics();
  EXPECT_EQ(books.limit_reason, LimitReason::kKnee);
  EXPECT_GE(books.in_flight_limit, 1);
  EXPECT_LE(books.in_flight_max, 8U);
  EXPECT_EQ(null_predictor(script, {.in_flight_limit = 5}).statistics().in_flight_limit, 5);
}

}  // namespace
}  // namespace inflight
