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
    // One place is free again before the next of this loop, at the latest when this one is done.
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
  // Handed back intact.
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
    options.backend = std::make_shared<NullBackend>(NullScript{});
    return Predictor::create(byte_model(), std::move(options)).status().code();
  };
  EXPECT_EQ(create({.in_flight_limit = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.in_flight_limit = -1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.in_flight_limit = 1}), StatusCode::kOk);
  EXPECT_EQ(create({.in_flight_limit = Predictor::kInFlightLimitMax}), StatusCode::kOk);
  EXPECT_EQ(create({.in_flight_limit = Predictor::kInFlightLimitMax + 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.slots = -1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.slots = Predictor::kSlotsMax + 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(create({.threads = -1}), StatusCode::kInvalidArgument);
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

TEST(Predictor, ShutdownWakesABlockedSubmit) {
  Gate gate;
  Predictor predictor =
      null_predictor(gated(gate), {.in_flight_limit = 1, .overload = OverloadPolicy::kBlock});
  ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
  gate.await_arrivals(1);
  std::thread blocked(
      [&] { EXPECT_EQ(predictor.submit(byte_frame(2)).status().code(), StatusCode::kShuttingDown); });
  std::thread ending([&] { predictor.shutdown(Shutdown::kDrain); });
  blocked.join();
  gate.open();
  ending.join();
  EXPECT_TRUE(law_holds(predictor.statistics()));
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

TEST(Predictor, FailureIsReadAsOftenAsItIsAskedFor) {
  NullScript script;
  const Status fault(StatusCode::kDeviceError, "scripted fault");
  script.outcome = [&](std::uint64_t launch) { return launch == 0 ? fault : Status(); };
  script.launch_error = [&](std::uint64_t launch) { return launch == 1 ? fault : Status(); };
  Predictor predictor = null_predictor(script, {.in_flight_limit = 1});
  for (int i = 0; i < 2; ++i) {
    const auto failed = predictor.submit(byte_frame(1));
    ASSERT_TRUE(failed.ok());
    for (int read = 0; read < 3; ++read) {
      EXPECT_EQ(failed->wait(), fault);
      EXPECT_EQ(failed->status(), fault);
      EXPECT_EQ(failed->outcome(), Outcome::kFailed);
      EXPECT_EQ(failed->output(0).read().status(), fault);
      EXPECT_TRUE(failed->output(0).can_read());
    }
  }
  const auto next = predictor.submit(byte_frame(7));
  ASSERT_TRUE(next.ok()) << "the slot came back";
  EXPECT_TRUE(next->wait().ok());
  EXPECT_EQ(mark_of(*next), 7);
  EXPECT_EQ(predictor.statistics().failed, 2U);
}

TEST(Predictor, CancelsWhatHasNotStarted) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 3, .slots = 1});
  const auto running = predictor.submit(byte_frame(1));
  gate.await_arrivals(1);
  const auto queued = predictor.submit(byte_frame(2));
  const auto last = predictor.submit(byte_frame(3));
  EXPECT_FALSE(running->cancel());
  EXPECT_TRUE(queued->cancel());
  EXPECT_TRUE(queued->can_read());
  EXPECT_EQ(queued->outcome(), Outcome::kCancelled);
  EXPECT_EQ(queued->status().code(), StatusCode::kCancelled);
  EXPECT_FALSE(queued->cancel());
  gate.open();
  EXPECT_TRUE(last->wait().ok());
  EXPECT_EQ(mark_of(*last), 3);
  predictor.drain();
  const Statistics statistics = predictor.statistics();
  EXPECT_EQ(statistics.cancelled, 1U);
  EXPECT_EQ(statistics.completed, 2U);
}

TEST(Predictor, EndCancelsTheQueueAndPredictionsOutliveIt) {
  Gate gate;
  std::vector<Prediction> predictions;
  {
    Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 4, .slots = 1});
    for (std::uint8_t i = 0; i < 4; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
    gate.await_arrivals(1);
    std::thread ending([&] { predictor.shutdown(Shutdown::kCancel); });
    EXPECT_EQ(predictions[3].wait().code(), StatusCode::kCancelled);
    gate.open();
    ending.join();
    EXPECT_EQ(predictor.submit(byte_frame(1)).status().code(), StatusCode::kShuttingDown);
    EXPECT_TRUE(law_holds(predictor.statistics()));
  }
  EXPECT_EQ(predictions[0].outcome(), Outcome::kCompleted);
  EXPECT_EQ(mark_of(predictions[0]), 0);
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(predictions[i].outcome(), Outcome::kCancelled);
    EXPECT_FALSE(predictions[i].cancel());
  }
}

TEST(Predictor, OutputsStayWhileAnybodyHoldsThem) {
  Predictor predictor = null_predictor({});
  NDArray held;
  {
    const auto first = predictor.submit(byte_frame(1));
    EXPECT_TRUE(first->wait().ok());
    held = first->output(0);
  }
  predictor.take_finished();
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(predictor.submit(byte_frame(2))->wait().ok());
    predictor.take_finished();
  }
  EXPECT_EQ((*held.read()->as<std::uint8_t>())[0], 1);
}

TEST(Predictor, OutputsFeedTheNextPredictor) {
  Gate gate;
  Predictor first = null_predictor(gated(gate), {.in_flight_limit = 2});
  Predictor second = null_predictor({}, {.in_flight_limit = 2});
  const auto a = first.submit(byte_frame(5));
  const auto b = second.submit(Frame::of(a->output(0)));
  ASSERT_TRUE(b.ok()) << b.status().to_string();
  EXPECT_FALSE(b->can_read());
  gate.open();
  EXPECT_TRUE(b->wait().ok());
  EXPECT_EQ(mark_of(*b), 5);
}

TEST(Predictor, AFailedInputFailsWhatDependsOnItWithTheFirstCause) {
  Gate gate;
  NullScript failing = gated(gate);
  const Status fault(StatusCode::kDeviceError, "scripted fault");
  failing.outcome = [&](std::uint64_t) { return fault; };
  std::atomic<int> launches{0};
  NullScript counting;
  counting.service_time = [&](std::uint64_t, Width) {
    ++launches;
    return Duration(0);
  };
  Predictor first = null_predictor(failing);
  Predictor second = null_predictor(counting);
  const auto a = first.submit(byte_frame(5));
  const auto b = second.submit(Frame::of(a->output(0)));
  const auto c = second.submit(Frame::of(b->output(0)));
  gate.open();
  EXPECT_EQ(c->wait(), fault);
  EXPECT_EQ(b->status(), fault);
  EXPECT_EQ(c->outcome(), Outcome::kFailed);
  EXPECT_EQ(launches, 0) << "what depends on a failure is skipped";
  const auto after = second.submit(Frame::of(a->output(0)));
  ASSERT_TRUE(after.ok()) << "an input that has failed already is no misfit";
  EXPECT_EQ(after->wait(), fault);
}

TEST(Predictor, CancelsWhileAnInputIsStillToCome) {
  Gate gate;
  Predictor first = null_predictor(gated(gate));
  Predictor second = null_predictor({});
  const auto a = first.submit(byte_frame(5));
  const auto b = second.submit(Frame::of(a->output(0)));
  EXPECT_TRUE(b->cancel());
  EXPECT_EQ(b->outcome(), Outcome::kCancelled);
  second.shutdown(Shutdown::kCancel);
  gate.open();
  EXPECT_TRUE(a->wait().ok());
}

TEST(Predictor, EngineOperationsWaitForItsOutputs) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate));
  const auto engine = make_threaded_engine();
  const auto prediction = predictor.submit(byte_frame(6));
  const NDArray y = prediction->output(0);
  int seen = -1;
  Status read_status(StatusCode::kInternal, "did not run");
  ASSERT_TRUE(engine
                  ->push(
                      [&] {
                        seen = (*y.read()->as<std::uint8_t>())[0];
                        return Status();
                      },
                      {.reads = {y.var()}, .on_finish = [&](const Status& status) { read_status = status; }})
                  .ok());
  EXPECT_EQ(engine->pending(), 1U);
  gate.open();
  engine->drain();
  EXPECT_EQ(seen, 6);
  EXPECT_TRUE(read_status.ok());
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
  predictor.shutdown(Shutdown::kDrain);  // after it, everybody has been told
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

// ---- A device that completes later, as a GPU does
// --------------------------------------------------------------

TEST(AsynchronousDevice, CompletesLaterOnEitherWidth) {
  for (const Width width : {Width::kWide, Width::kNarrow}) {
    ManualClock clock;
    NullScript script;
    script.asynchronous = true;
    script.clock = &clock;
    std::atomic<int> wide{0};
    script.service_time = [&](std::uint64_t, Width asked) {
      wide += asked == Width::kWide ? 1 : 0;
      return asked == Width::kWide ? milliseconds(1) : milliseconds(4);
    };
    Predictor predictor = null_predictor(script, {.in_flight_limit = 16, .width = width});
    EXPECT_EQ(predictor.slots(), width == Width::kWide ? 1 : 4);
    std::vector<Prediction> predictions;
    for (std::uint8_t i = 0; i < 16; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
    for (std::uint8_t i = 0; i < 16; ++i) {
      ASSERT_TRUE(predictions[i].wait().ok());
      EXPECT_EQ(mark_of(predictions[i]), i);
      EXPECT_EQ(predictions[i].width(), width);
    }
    EXPECT_EQ(wide, width == Width::kWide ? 16 : 0);
    const Statistics statistics = predictor.statistics();
    EXPECT_EQ(width == Width::kWide ? statistics.wide : statistics.narrow, 16U);
  }
}

TEST(AsynchronousDevice, LostDeviceFailsWhatIsOutAndWhatFollows) {
  NullScript script;
  script.asynchronous = true;
  script.service_time = [](std::uint64_t, Width) { return hours(10); };
  script.concurrency_narrow = 2;
  const auto backend = std::make_shared<NullBackend>(script);
  PredictorOptions options{.in_flight_limit = 4};
  options.backend = backend;
  Predictor predictor = *Predictor::create(byte_model(), options);
  std::vector<Prediction> predictions;
  for (std::uint8_t i = 0; i < 4; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
  const Status lost(StatusCode::kDeviceError, "the device fell off the bus");
  backend->lose_device(lost);
  for (const Prediction& prediction : predictions) EXPECT_EQ(prediction.wait(), lost);
  const auto after = predictor.submit(byte_frame(9));
  ASSERT_TRUE(after.ok()) << "every place came back";
  EXPECT_EQ(after->wait(), lost);
  EXPECT_TRUE(law_holds(predictor.statistics()));
  EXPECT_EQ(predictor.statistics().failed, 5U);
}

}  // namespace
}  // namespace inflight
