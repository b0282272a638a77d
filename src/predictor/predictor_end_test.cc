// SPDX-License-Identifier: Apache-2.0
// How predictions end, and how that affects what depends on them: inputs, failures, cancellation, the
// predictor's end.
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <thread>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

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
  const auto engine = *make_threaded_engine();
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

}  // namespace
}  // namespace inflight
