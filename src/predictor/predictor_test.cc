// SPDX-License-Identifier: Apache-2.0
#include "inflight/predictor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <thread>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(Predictor, ReturnsEachFrameItsOwnResult) {
  Predictor predictor = null_predictor({});
  std::vector<Prediction> predictions;
  for (std::uint8_t mark = 0; mark < 8; ++mark) {
    auto prediction = predictor.submit(byte_frame(mark));
    ASSERT_TRUE(prediction.ok()) << prediction.status().to_string();
    EXPECT_EQ(prediction->id(), mark);
    EXPECT_EQ(prediction->tag(), mark);
    predictions.push_back(*prediction);
    // Once this prediction is done, its place is free for the next turn of the loop.
    EXPECT_TRUE(prediction->wait().ok());
  }
  for (std::uint8_t mark = 0; mark < 8; ++mark) {
    EXPECT_EQ(predictions[mark].outcome(), Outcome::kCompleted);
    EXPECT_EQ(mark_of(predictions[mark]), mark);
    EXPECT_EQ(predictions[mark].output("y")->read()->shape, (Shape{4}));
  }
  EXPECT_EQ(predictions[0].output("z").status().code(), StatusCode::kNotFound);
}

TEST(Predictor, LimitIsExact) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 3});
  for (std::uint8_t i = 0; i < 3; ++i) ASSERT_TRUE(predictor.submit(byte_frame(i)).ok());
  Frame fourth = byte_frame(9);
  const auto refused = predictor.submit(std::move(fourth));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), StatusCode::kOverloaded);
  // The refused frame is intact.
  ASSERT_EQ(fourth.inputs.size(), 1U);
  EXPECT_EQ(fourth.tag, 9U);
  EXPECT_EQ((*fourth.inputs[0].array.read()->as<std::uint8_t>())[0], 9);
  EXPECT_EQ(predictor.statistics().in_flight, 3U);
  EXPECT_EQ(predictor.statistics().rejected, 1U);
  gate.open();
  predictor.drain();
  EXPECT_TRUE(predictor.submit(std::move(fourth)).ok());
  EXPECT_TRUE(fourth.inputs.empty());
  EXPECT_EQ(predictor.statistics().in_flight_max, 3U);
}

TEST(Predictor, PlaceIsFreeOnceTheResultCanBeRead) {
  Predictor predictor = null_predictor({}, {.in_flight_limit = 1, .keep_finished = false});
  for (int i = 0; i < 2000; ++i) {
    const auto prediction = predictor.submit(byte_frame(1));
    ASSERT_TRUE(prediction.ok()) << i;
    while (!prediction->can_read()) std::this_thread::yield();
  }
}

TEST(Predictor, RefusesFramesThatDoNotFit) {
  Predictor predictor = null_predictor({});
  const auto code_and_text = [&](Frame frame) {
    const auto refused = predictor.submit(std::move(frame));
    EXPECT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument);
    return std::string(refused.status().message());
  };
  const std::vector<std::uint8_t> bytes(8);
  const std::vector<float> floats(4);
  EXPECT_EQ(code_and_text(Frame::of(NDArray::copy_of({bytes.data(), DType::kU8, {8}}).value())),
            "input \"x\": got u8[8], want u8[4]");
  EXPECT_EQ(code_and_text(Frame::of(NDArray::copy_of({bytes.data(), DType::kU8, {1, 4}}).value())),
            "input \"x\": got u8[1,4], want u8[4]");
  EXPECT_EQ(code_and_text(Frame::of(NDArray::copy_of({floats.data(), DType::kF32, {4}}).value())),
            "input \"x\": got f32[4], want u8[4]");
  EXPECT_EQ(code_and_text(Frame{}), "frame: got 0 inputs, want 1");
  EXPECT_NE(code_and_text(Frame::of(NDArray())).find("empty NDArray"), std::string::npos);
  Frame misnamed = byte_frame(1);
  misnamed.inputs[0].name = "z";
  EXPECT_NE(code_and_text(std::move(misnamed)).find("input \"x\": missing"), std::string::npos);
  const Statistics statistics = predictor.statistics();
  EXPECT_EQ(statistics.submitted, 6U);
  EXPECT_EQ(statistics.rejected, 6U);
}

TEST(Predictor, ChecksItsOptionsAtTheBoundsAndOnePast) {
  const auto create = [](PredictorOptions options) {
    options.runtime = null_runtime({});
    return Predictor::create(byte_model(), std::move(options)).status().code();
  };
  EXPECT_EQ(create({.in_flight_limit = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.in_flight_limit = Predictor::kInFlightLimitAuto}), StatusCode::kOk);
  EXPECT_EQ(create({.in_flight_limit = -2}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.in_flight_limit = 1}), StatusCode::kOk);
  EXPECT_EQ(create({.in_flight_limit = Predictor::kInFlightLimitMax}), StatusCode::kOk);
  EXPECT_EQ(create({.in_flight_limit = Predictor::kInFlightLimitMax + 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.slots = -1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.slots = Predictor::kSlotsMax + 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.threads = 1}), StatusCode::kInvalidArgument) << "they are the shared runtime's";
  EXPECT_EQ(create({.weight = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.weight = Predictor::kWeightMax}), StatusCode::kOk);
  EXPECT_EQ(create({.weight = Predictor::kWeightMax + 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.weight = std::numeric_limits<double>::quiet_NaN()}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.finished_limit = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.block_timeout = Duration(-1)}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.watch_share = -0.01}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.watch_share = 0}), StatusCode::kOk);
  EXPECT_EQ(create({.watch_share = 1}), StatusCode::kOk);
  EXPECT_EQ(create({.watch_share = 1.01}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.watch_share = std::numeric_limits<double>::quiet_NaN()}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.clock = nullptr}), StatusCode::kInvalidArgument);
}

TEST(Predictor, BlockWaitsForAPlace) {
  Gate gate;
  Predictor predictor =
      null_predictor(gated(gate), {.in_flight_limit = 1, .overload = OverloadPolicy::kBlock});
  ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
  std::atomic<bool> admitted{false};
  std::thread blocked([&] {
    EXPECT_TRUE(predictor.submit(byte_frame(2)).ok());
    admitted = true;
  });
  gate.await_arrivals(1);
  EXPECT_FALSE(admitted);
  gate.open();
  blocked.join();
  EXPECT_TRUE(admitted);
  predictor.drain();
  EXPECT_EQ(predictor.statistics().completed, 2U);
  EXPECT_EQ(predictor.statistics().in_flight_max, 1U);
}

TEST(Predictor, BlockGivesUpAtItsTimeout) {
  Gate gate;
  Predictor predictor = null_predictor(
      gated(gate),
      {.in_flight_limit = 1, .overload = OverloadPolicy::kBlock, .block_timeout = milliseconds(1)});
  ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
  Frame second = byte_frame(2);
  EXPECT_EQ(predictor.submit(std::move(second)).status().code(), StatusCode::kOverloaded);
  EXPECT_EQ(second.inputs.size(), 1U);
  gate.open();
}

TEST(Predictor, TakeFinishedHandsOutEachOnceInOrder) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 4, .slots = 1});
  for (std::uint8_t i = 0; i < 4; ++i) ASSERT_TRUE(predictor.submit(byte_frame(i)).ok());
  EXPECT_TRUE(predictor.take_finished().empty());
  gate.let_through(2);
  std::vector<Prediction> taken;
  while (taken.size() < 2) {
    ASSERT_TRUE(predictor.wait_any());
    for (Prediction& p : predictor.take_finished()) taken.push_back(std::move(p));
  }
  EXPECT_TRUE(predictor.take_finished().empty());
  gate.open();
  predictor.drain();
  for (Prediction& p : predictor.take_finished()) taken.push_back(std::move(p));
  ASSERT_EQ(taken.size(), 4U);
  for (std::uint8_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(taken[i].can_read());
    EXPECT_EQ(mark_of(taken[i]), i);
  }
  EXPECT_FALSE(predictor.wait_any()) << "nothing in flight, nothing to take";
}

TEST(Predictor, RefusesWhileTooManyWaitToBeTaken) {
  Predictor predictor = null_predictor({}, {.finished_limit = 2});
  for (int i = 0; i < 2; ++i) {
    const auto prediction = predictor.submit(byte_frame(1));
    ASSERT_TRUE(prediction.ok());
    EXPECT_TRUE(prediction->wait().ok());
  }
  const auto refused = predictor.submit(byte_frame(1));
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("take_finished"), std::string_view::npos);
  EXPECT_EQ(predictor.take_finished().size(), 2U);
  EXPECT_TRUE(predictor.submit(byte_frame(1)).ok());
}

TEST(Predictor, KeepsNothingForACallerThatKeepsItsHandles) {
  Predictor predictor = null_predictor({}, {.keep_finished = false, .finished_limit = 1});
  for (int i = 0; i < 10; ++i) {
    const auto prediction = predictor.submit(byte_frame(1));
    ASSERT_TRUE(prediction.ok());
    EXPECT_TRUE(prediction->wait().ok());
  }
  EXPECT_TRUE(predictor.take_finished().empty());
}

TEST(Predictor, CallsBackOnTheGivenExecutor) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate));
  ManualExecutor executor;
  const auto prediction = predictor.submit(byte_frame(4));
  int mark = -1;
  prediction->on_ready(executor, [&](const Prediction& p) { mark = mark_of(p); });
  EXPECT_EQ(executor.run_all(), 0U);
  gate.open();
  EXPECT_TRUE(prediction->wait().ok());
  predictor.shutdown(Shutdown::kDrain);  // after it, every waiter has been notified
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(mark, 4);
  prediction->on_ready(executor, [&](const Prediction&) { mark = 99; });
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(mark, 99);
}

TEST(Predictor, WaitsForAnyOfManyAndNoLongerThanTold) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.slots = 1});
  std::vector<Prediction> predictions;
  for (std::uint8_t i = 0; i < 3; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
  EXPECT_FALSE(wait_any_for(predictions, milliseconds(1)).has_value());
  EXPECT_EQ(predictions[0].wait_for(milliseconds(1)).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(predictions[0].status().code(), StatusCode::kNotReady);
  EXPECT_EQ(predictions[0].outcome(), Outcome::kPending);
  EXPECT_FALSE(predictor.wait_any_until(steady_clock().now() + milliseconds(1)));
  gate.let_through(1);
  EXPECT_EQ(wait_any(predictions), 0U);
  EXPECT_TRUE(predictor.wait_any_until(steady_clock().now() + hours(1)));
  gate.open();
}

TEST(Predictor, AccountsTimesOnTheGivenClock) {
  ManualClock clock;
  NullScript script;
  script.clock = &clock;
  script.service_time = [](std::uint64_t, Width) { return milliseconds(5); };
  Predictor predictor = null_predictor(script, {.clock = &clock});
  clock.advance(milliseconds(10));
  Frame frame = byte_frame(1);
  frame.due = TimePoint(milliseconds(7));
  const auto prediction = predictor.submit(std::move(frame));
  EXPECT_TRUE(prediction->wait().ok());
  const PredictionTimes times = prediction->times();
  EXPECT_EQ(times.due, TimePoint(milliseconds(7)));
  EXPECT_EQ(times.submitted, TimePoint(milliseconds(10)));
  EXPECT_EQ(times.finished - times.launched, milliseconds(5));
}

TEST(Predictor, SaysWhenToTryAgain) {
  Gate gate;
  ManualClock clock;
  NullScript script;
  script.clock = &clock;
  script.service_time = [&](std::uint64_t launch, Width) {
    if (launch == 1) gate.pass();
    return milliseconds(80);
  };
  Predictor predictor = null_predictor(script, {.in_flight_limit = 1, .clock = &clock});
  EXPECT_EQ(predictor.retry_after(), Duration(0));
  EXPECT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
  const auto second = predictor.submit(byte_frame(1));
  EXPECT_GT(predictor.retry_after(), Duration(0));
  EXPECT_LE(predictor.retry_after(), milliseconds(80));
  gate.open();
}

}  // namespace
}  // namespace inflight
