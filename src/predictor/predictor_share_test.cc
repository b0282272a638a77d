// SPDX-License-Identifier: Apache-2.0
// Predictors that share a runtime, and frames with deadlines.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// The device has one unit and alone moves the clock, so the parts are the same in each run.
TEST(SharedRuntime, PredictorsGetTheDevicesTimeByWeight) {
  ManualClock clock;
  NullScript script;
  script.clock = &clock;
  script.concurrency_narrow = 1;
  std::atomic<bool> begun{false};
  Gate gate;
  script.service_time = [&](std::uint64_t, Width) {
    if (!begun) gate.pass();
    return milliseconds(1);
  };
  const Runtime runtime = null_runtime(script);
  Predictor light = *Predictor::create(
      byte_model(),
      {.runtime = runtime, .weight = 1, .in_flight_limit = 4000, .keep_finished = false, .clock = &clock});
  Predictor heavy = *Predictor::create(
      byte_model(),
      {.runtime = runtime, .weight = 3, .in_flight_limit = 4000, .keep_finished = false, .clock = &clock});
  std::vector<Prediction> of_heavy;
  for (int i = 0; i < 4000; ++i) {
    ASSERT_TRUE(light.submit(byte_frame(1)).ok());
    of_heavy.push_back(*heavy.submit(byte_frame(1)));
  }
  begun = true;
  gate.open();
  // When the 3,000th prediction of the heavy one has run, about 1,000 of the light one have.
  ASSERT_TRUE(of_heavy[2999].wait().ok());
  const TimePoint when = of_heavy[2999].times().finished;
  light.drain();
  heavy.drain();
  // Predictions took 1 ms each, one after another: the time says how many ran before.
  const auto ran = (when - of_heavy[0].times().launched) / milliseconds(1);
  EXPECT_NEAR(static_cast<double>(ran - 3000), 1000, 30);
}

TEST(SharedRuntime, NeverRunsMoreThanItCarries) {
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  NullScript script;
  script.concurrency_narrow = 3;
  script.service_time = [&](std::uint64_t, Width) {
    const int now = ++running;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(microseconds(50));
    --running;
    return Duration(0);
  };
  const Runtime runtime = null_runtime(script);
  EXPECT_EQ(runtime.capacity(), 3);
  std::vector<Predictor> predictors;
  for (int i = 0; i < 4; ++i) {
    predictors.push_back(*Predictor::create(
        byte_model(), {.runtime = runtime, .in_flight_limit = 8, .overload = OverloadPolicy::kBlock}));
  }
  std::vector<std::thread> submitters;
  for (Predictor& predictor : predictors) {
    submitters.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
        predictor.take_finished();
      }
      predictor.drain();
    });
  }
  for (std::thread& thread : submitters) thread.join();
  EXPECT_LE(most, 3);
  for (const Predictor& predictor : predictors) EXPECT_EQ(predictor.statistics().completed, 200U);
}

// A wide prediction takes all of the device: it waits until no narrow one runs, and they do not overtake it
// for ever.
TEST(SharedRuntime, AWidePredictorGetsItsTurnAmongNarrowOnes) {
  for (const bool asynchronous : {false, true}) {
    NullScript script;
    script.asynchronous = asynchronous;
    script.concurrency_narrow = 4;
    script.service_time = [](std::uint64_t, Width) { return microseconds(20); };
    const Runtime runtime = null_runtime(script);
    Predictor narrow =
        *Predictor::create(byte_model(), {.runtime = runtime, .overload = OverloadPolicy::kBlock});
    Predictor wide = *Predictor::create(byte_model(), {.runtime = runtime, .width = WidthPolicy::kWide});
    EXPECT_EQ(wide.slots(), 1);
    std::atomic<bool> done{false};
    std::thread flood([&] {
      while (!done) {
        ASSERT_TRUE(narrow.submit(byte_frame(1)).ok());
        narrow.take_finished();
      }
    });
    for (int i = 0; i < 50; ++i) {
      const auto prediction = wide.submit(byte_frame(1));
      ASSERT_TRUE(prediction->wait().ok());
      EXPECT_EQ(prediction->width(), Width::kWide);
      wide.take_finished();
    }
    done = true;
    flood.join();
  }
}

TEST(SharedRuntime, APredictorMayEndWhileOthersGoOn) {
  for (const bool asynchronous : {false, true}) {
    NullScript script;
    script.asynchronous = asynchronous;
    const Runtime runtime = null_runtime(script);
    Predictor stays =
        *Predictor::create(byte_model(), {.runtime = runtime, .overload = OverloadPolicy::kBlock});
    std::atomic<bool> done{false};
    std::thread flood([&] {
      while (!done) {
        ASSERT_TRUE(stays.submit(byte_frame(1)).ok());
        stays.take_finished();
      }
    });
    Prediction last;
    for (int i = 0; i < 50; ++i) {
      Predictor passes = *Predictor::create(byte_model(), {.runtime = runtime});
      for (int frame = 0; frame < 4; ++frame) last = *passes.submit(byte_frame(1));
    }
    EXPECT_TRUE(last.can_read());
    done = true;
    flood.join();
    stays.drain();
    EXPECT_TRUE(law_holds(stays.statistics()));
  }
}

TEST(RuntimeOptions, AreChecked) {
  const auto backend = std::make_shared<NullBackend>(NullScript{});
  EXPECT_EQ(Runtime::over(backend, {.threads = -1}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Runtime::over(backend, {.threads = 5}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Runtime::over(backend, {.threads = 2})->capacity(), 2);
  EXPECT_EQ(Runtime::over(nullptr).status().code(), StatusCode::kInvalidArgument);
}

// ---- Deadlines

Frame frame_due_by(Duration from_now, std::uint8_t mark = 1) {
  Frame frame = byte_frame(mark);
  frame.deadline = steady_clock().now() + from_now;
  return frame;
}

// A frame expires at its deadline, and not when its turn would have come.
TEST(Deadline, ExpiresWhatWaitsWhileTheWorkersAreBusy) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 3, .slots = 1});
  const auto running = predictor.submit(frame_due_by(milliseconds(300)));
  gate.await_arrivals(1);
  const auto waiting = predictor.submit(frame_due_by(milliseconds(400)));
  const auto patient = predictor.submit(frame_due_by(hours(1)));
  EXPECT_EQ(waiting->wait().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(waiting->outcome(), Outcome::kExpired);
  EXPECT_FALSE(running->can_read()) << "what has started goes on";
  gate.open();
  EXPECT_TRUE(running->wait().ok());
  EXPECT_TRUE(patient->wait().ok());
  predictor.drain();
  const Statistics books = predictor.statistics();
  EXPECT_EQ(books.expired, 1U);
  EXPECT_EQ(books.completed, 2U);
  EXPECT_TRUE(law_holds(books));
}

TEST(Deadline, ExpiresWhatWaitsForAnInput) {
  Gate gate;
  Predictor first = null_predictor(gated(gate));
  Predictor second = null_predictor({});
  const auto input = first.submit(byte_frame(1));
  Frame frame = Frame::of(input->output(0));
  frame.deadline = steady_clock().now() + milliseconds(200);
  const auto waiting = second.submit(std::move(frame));
  EXPECT_EQ(waiting->wait().code(), StatusCode::kDeadlineExceeded);
  gate.open();
  EXPECT_TRUE(input->wait().ok());
}

TEST(Deadline, AFrameThatIsLateAlreadyIsRefusedAndIntact) {
  Predictor predictor = null_predictor({});
  Frame late = frame_due_by(-milliseconds(1));
  EXPECT_EQ(predictor.submit(std::move(late)).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(late.inputs.size(), 1U);
  EXPECT_EQ(predictor.statistics().rejected, 1U);
}

// A manual clock does not move by itself: the deadline is checked when the frame's turn comes.
TEST(Deadline, OnAClockOfTheTestsExpiresInsteadOfBeingLaunched) {
  ManualClock clock;
  Gate gate;
  NullScript script = gated(gate);
  script.clock = &clock;
  std::atomic<int> launches{0};
  script.outcome = [&](std::uint64_t) {
    ++launches;
    return Status();
  };
  Predictor predictor = null_predictor(script, {.slots = 1, .clock = &clock});
  ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
  gate.await_arrivals(1);
  Frame frame = byte_frame(2);
  frame.deadline = clock.now() + milliseconds(5);
  const auto waiting = predictor.submit(std::move(frame));
  clock.advance(milliseconds(6));
  gate.open();
  EXPECT_EQ(waiting->wait().code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(waiting->outcome(), Outcome::kExpired);
  EXPECT_EQ(launches, 1);
}

TEST(Deadline, ThousandsExpireInTheOrderOfTheirTimes) {
  Gate gate;
  constexpr int kFrames = 2000;
  Predictor predictor = null_predictor(
      gated(gate), {.in_flight_limit = kFrames + 1, .slots = 1, .finished_limit = kFrames + 1});
  ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
  gate.await_arrivals(1);
  std::vector<Prediction> predictions;
  for (int i = 0; i < kFrames; ++i) {
    predictions.push_back(
        *predictor.submit(frame_due_by(milliseconds(700) + microseconds((i * 7919) % kFrames * 10))));
  }
  for (const Prediction& prediction : predictions)
    EXPECT_EQ(prediction.wait().code(), StatusCode::kDeadlineExceeded);
  gate.open();
  predictor.drain();
  EXPECT_EQ(predictor.statistics().expired, std::uint64_t{kFrames});
  EXPECT_TRUE(law_holds(predictor.statistics()));
}

}  // namespace
}  // namespace inflight
