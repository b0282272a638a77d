// SPDX-License-Identifier: Apache-2.0
// Streams of a predictor on the null device: policies, delivery, books, cancellation.
#include "inflight/stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Frame frame_of(const Stream& stream, std::uint8_t mark) {
  Frame frame = byte_frame(mark);
  frame.stream = stream;
  return frame;
}

std::vector<std::uint64_t> tags_of(const std::vector<Prediction>& predictions) {
  std::vector<std::uint64_t> tags;
  for (const Prediction& prediction : predictions) tags.push_back(prediction.tag());
  return tags;
}

TEST(Streams, RefuseOptionsOutOfBounds) {
  Predictor predictor = null_predictor({}, {.in_flight_limit = 4});
  const auto refused = [&](const StreamOptions& options, const char* message) {
    const Result<Stream> stream = predictor.open_stream(options);
    EXPECT_EQ(stream.status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(stream.status().message(), message);
  };
  refused({.block_timeout = Duration(-1)}, "block_timeout: got a negative time, want 0 or more");
  refused({.weight = 0}, "weight: got 0, want above 0, to 1000");
  refused({.priority = 8}, "priority: got 8, want -8 to 7");
  refused({.in_flight_limit = 5}, "in_flight_limit: got 5, want 0 to 4");
  Predictor unkept = null_predictor({}, {.keep_finished = false});
  EXPECT_EQ(unkept.open_stream({.delivery = Delivery::kInOrder}).status().message(),
            "delivery: got in-order without keep_finished, so nothing is handed out; want as-completed");
  const Stream stream = *predictor.open_stream({.name = "door"});
  const auto strange = unkept.submit(frame_of(stream, 1));
  EXPECT_EQ(strange.status().message(), "frame: its stream \"door\" is of another predictor");
  EXPECT_EQ(unkept.statistics().rejected, 1U);
  EXPECT_EQ(stream.statistics().submitted, 0U);
  predictor.shutdown(Shutdown::kDrain);
  EXPECT_EQ(predictor.open_stream().status().code(), StatusCode::kShuttingDown);
}

TEST(Streams, APredictionKnowsItsStream) {
  Predictor predictor = null_predictor({});
  const Stream door = *predictor.open_stream({.name = "door", .weight = 2});
  EXPECT_EQ(door.name(), "door");
  EXPECT_EQ(door.options().weight, 2);
  const Prediction prediction = *predictor.submit(frame_of(door, 1));
  EXPECT_EQ(prediction.stream(), door);
  EXPECT_FALSE(predictor.submit(byte_frame(2))->stream());
}

TEST(Streams, DropOldestTakesThePlaceOfTheOldestThatWaits) {
  Gate gate;
  Predictor predictor = null_predictor(
      gated(gate), {.in_flight_limit = 3, .overload = OverloadPolicy::kDropOldest, .slots = 1});
  std::vector<Prediction> predictions = {*predictor.submit(byte_frame(0))};
  gate.await_arrivals(1);
  for (std::uint8_t i = 1; i < 6; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(predictions[i].outcome(), Outcome::kDropped) << i << ": told at once";
    EXPECT_EQ(predictions[i].status().message(), "dropped for another frame before it started");
  }
  EXPECT_TRUE(law_holds(predictor.statistics()));
  EXPECT_EQ(predictor.statistics().in_flight, 3U);
  gate.open();
  predictor.drain();
  for (const std::size_t i : {0, 4, 5}) EXPECT_EQ(predictions[i].outcome(), Outcome::kCompleted) << i;
  EXPECT_EQ(predictor.take_finished().size(), 6U) << "each is handed out";
}

TEST(Streams, KeepLatestLetsOneFrameWait) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 8, .slots = 1});
  const Stream camera = *predictor.open_stream({.policy = OverloadPolicy::kKeepLatest});
  std::vector<Prediction> predictions = {*predictor.submit(frame_of(camera, 0))};
  gate.await_arrivals(1);
  for (std::uint8_t i = 1; i < 5; ++i) {
    predictions.push_back(*predictor.submit(frame_of(camera, i)));
    EXPECT_EQ(camera.statistics().in_flight, 2U);
  }
  gate.open();
  predictor.drain();
  EXPECT_EQ(predictions[4].outcome(), Outcome::kCompleted);
  EXPECT_EQ(camera.statistics().dropped, 3U);
  EXPECT_EQ(camera.statistics().completed, 2U);
}

// One thread serves several streams whose frames may wait but not be refused. It looks before each submission.
TEST(Streams, AFrameThatHasAPlaceIsAdmitted) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 6, .slots = 1});
  std::vector<Stream> streams;
  for (int i = 0; i < 4; ++i) streams.push_back(*predictor.open_stream({.weight = i == 0 ? 3.0 : 1.0}));
  EXPECT_FALSE(Stream().has_place());
  for (const Stream& stream : streams) EXPECT_TRUE(stream.has_place());
  int admitted = 0;
  const auto submit_where_there_is_a_place = [&](int rounds) {
    for (int round = 0; round < rounds; ++round) {
      for (const Stream& stream : streams) {
        if (!stream.has_place()) continue;
        ASSERT_TRUE(predictor.submit(frame_of(stream, 1)).ok());
        ++admitted;
      }
      predictor.take_finished();
    }
  };
  submit_where_there_is_a_place(10);
  EXPECT_EQ(admitted, 6);
  EXPECT_EQ(streams[0].statistics().in_flight, 3U) << "its share";
  EXPECT_FALSE(predictor.submit(frame_of(streams[1], 1)).ok());
  gate.open();
  submit_where_there_is_a_place(1'000);  // while others end
  predictor.drain();
  EXPECT_EQ(predictor.statistics().rejected, 1U);
  EXPECT_EQ(predictor.statistics().completed, static_cast<std::uint64_t>(admitted));
  // A caller that waits for a place must find out that none will come.
  predictor.shutdown(Shutdown::kDrain);
  EXPECT_TRUE(streams[0].has_place());
  EXPECT_EQ(predictor.submit(frame_of(streams[0], 1)).status().code(), StatusCode::kShuttingDown);
}

TEST(Streams, WhereAFrameCanBeDroppedThereIsAPlace) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 2, .slots = 1});
  const Stream camera = *predictor.open_stream({.policy = OverloadPolicy::kKeepLatest});
  const Stream door = *predictor.open_stream({});
  ASSERT_TRUE(predictor.submit(frame_of(camera, 0)).ok());
  gate.await_arrivals(1);
  ASSERT_TRUE(predictor.submit(frame_of(camera, 1)).ok());
  EXPECT_TRUE(camera.has_place());
  EXPECT_TRUE(door.has_place());
  ASSERT_TRUE(predictor.submit(frame_of(door, 2)).ok());
  EXPECT_EQ(camera.statistics().dropped, 1U);
  EXPECT_FALSE(door.has_place());
  EXPECT_FALSE(camera.has_place());
  gate.open();
  predictor.drain();
}

// The inputs of a dropped frame are let go, also those that were still to come.
TEST(Streams, ADroppedFrameLetsGoOfItsInputs) {
  Gate gate;
  Predictor predictor = null_predictor(
      gated(gate), {.in_flight_limit = 2, .overload = OverloadPolicy::kKeepLatest, .slots = 1});
  const Prediction running = *predictor.submit(byte_frame(1));
  gate.await_arrivals(1);
  bool released = false;
  {
    static std::byte memory[4];
    Buffer buffer = *Buffer::wrap(memory, sizeof memory, [&] { released = true; });
    const NDArray array = *NDArray::from_buffer(std::move(buffer), DType::kU8, {4});
    ASSERT_TRUE(predictor.submit(Frame::of(array)).ok());
  }
  EXPECT_FALSE(released);
  const Prediction chained = *predictor.submit(Frame::of(running.output(0)));
  EXPECT_TRUE(released);
  const Prediction last = *predictor.submit(byte_frame(3));
  EXPECT_EQ(chained.outcome(), Outcome::kDropped);
  gate.open();
  EXPECT_TRUE(last.wait().ok());
}

TEST(Streams, BlockWaitsNoLongerThanTheFramesDeadline) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 1});
  const Stream patient = *predictor.open_stream({.policy = OverloadPolicy::kBlock});
  const Stream hasty =
      *predictor.open_stream({.policy = OverloadPolicy::kBlock, .block_timeout = milliseconds(5)});
  const Prediction running = *predictor.submit(byte_frame(1));
  Frame frame = frame_of(patient, 2);
  frame.deadline = steady_clock().now() + milliseconds(10);
  const auto late = predictor.submit(std::move(frame));
  EXPECT_EQ(late.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_GE(steady_clock().now(), *frame.deadline);
  EXPECT_EQ(predictor.submit(frame_of(hasty, 3)).status().code(), StatusCode::kOverloaded);
  std::thread waits([&] { EXPECT_TRUE(predictor.submit(frame_of(patient, 4)).ok()); });
  gate.open();
  waits.join();
  predictor.drain();
  EXPECT_EQ(patient.statistics().rejected, 1U);
  EXPECT_EQ(patient.statistics().completed, 1U);
}

// Its first launch waits for the gate; that many run at once.
NullScript first_held_by(Gate& gate, int at_once) {
  NullScript script;
  script.concurrency_narrow = at_once;
  script.service_time = [&gate](std::uint64_t launch, Width) {
    if (launch == 0) gate.pass();
    return Duration(0);
  };
  return script;
}

TEST(Streams, DeliverInOrder) {
  Gate first;
  Predictor predictor = null_predictor(first_held_by(first, 3), {.in_flight_limit = 3});
  const Stream camera = *predictor.open_stream({.delivery = Delivery::kInOrder});
  const int descriptor = *predictor.event_fd();
  std::vector<Prediction> predictions;
  for (std::uint8_t i = 0; i < 3; ++i) {
    predictions.push_back(*predictor.submit(frame_of(camera, i)));
    if (i == 0) first.await_arrivals(1);
  }
  EXPECT_TRUE(predictions[1].wait().ok() && predictions[2].wait().ok()) << "handles are ready all the same";
  EXPECT_TRUE(predictor.take_finished().empty());
  EXPECT_FALSE(predictor.wait_any_until(steady_clock().now() + milliseconds(1)));
  const Prediction beside = *predictor.submit(byte_frame(9));
  EXPECT_TRUE(beside.wait().ok());
  EXPECT_EQ(tags_of(predictor.take_finished()), std::vector<std::uint64_t>{9});
  first.open();
  predictor.drain();
  EXPECT_GE(descriptor, 0);
  EXPECT_EQ(tags_of(predictor.take_finished()), (std::vector<std::uint64_t>{0, 1, 2}));
}

TEST(Streams, DeliverTheNewestOnly) {
  Predictor predictor = null_predictor({}, {.in_flight_limit = 4, .finished_limit = 2});
  const Stream camera = *predictor.open_stream({.delivery = Delivery::kNewestOnly});
  for (std::uint8_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(predictor.submit(frame_of(camera, i))->wait().ok());
  }
  EXPECT_EQ(tags_of(predictor.take_finished()), std::vector<std::uint64_t>{9});
  EXPECT_EQ(camera.statistics().completed, 10U);
  EXPECT_EQ(camera.statistics().superseded, 9U);
  EXPECT_EQ(predictor.statistics().superseded, 9U);
  EXPECT_FALSE(predictor.wait_any());
}

// A result that comes after a newer one is not handed out, and a frame without a result hides none.
TEST(Streams, AnOvertakenResultIsNotDelivered) {
  Gate first;
  Predictor predictor = null_predictor(first_held_by(first, 2), {.in_flight_limit = 3, .slots = 2});
  const Stream camera = *predictor.open_stream({.delivery = Delivery::kNewestOnly});
  const Prediction slow = *predictor.submit(frame_of(camera, 0));
  first.await_arrivals(1);
  ASSERT_TRUE(predictor.submit(frame_of(camera, 1))->wait().ok());
  first.open();
  EXPECT_TRUE(slow.wait().ok());
  EXPECT_EQ(tags_of(predictor.take_finished()), std::vector<std::uint64_t>{1});
  EXPECT_EQ(camera.statistics().superseded, 1U);
}

class CancelRunning : public testing::TestWithParam<bool> {};

TEST_P(CancelRunning, EndsItAndFreesItsSlot) {
  NullScript script;
  script.asynchronous = GetParam();
  script.stoppable = true;
  script.concurrency_narrow = 1;
  std::atomic<bool> launched{false};
  script.service_time = [&](std::uint64_t launch, Width) {
    launched = true;
    return launch == 0 ? Duration(seconds(50)) : Duration(0);
  };
  Predictor predictor = null_predictor(std::move(script), {.in_flight_limit = 2});
  const Prediction running = *predictor.submit(byte_frame(1));
  const Prediction next = *predictor.submit(byte_frame(2));
  while (!launched) std::this_thread::yield();
  EXPECT_TRUE(running.cancel());
  running.cancel();  // again, whether or not it has ended meanwhile
  EXPECT_EQ(running.wait().code(), StatusCode::kCancelled);
  EXPECT_EQ(running.outcome(), Outcome::kCancelled);
  EXPECT_FALSE(running.cancel()) << "it has ended";
  EXPECT_TRUE(next.wait().ok());
  EXPECT_EQ(mark_of(next), 2);
  const Statistics books = predictor.statistics();
  EXPECT_EQ(books.cancelled, 1U);
  EXPECT_EQ(books.completed, 1U);
}
INSTANTIATE_TEST_SUITE_P(Devices, CancelRunning, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "asynchronous" : "blocking"; });

TEST(Cancel, ADeviceThatCannotStopGoesOn) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate), {.in_flight_limit = 1});
  const Prediction running = *predictor.submit(byte_frame(1));
  gate.await_arrivals(1);
  EXPECT_FALSE(running.cancel());
  gate.open();
  EXPECT_TRUE(running.wait().ok());
}

TEST(Streams, TheStatisticsHaveTheAgeOfResults) {
  ManualClock clock;
  NullScript script;
  script.clock = &clock;
  script.service_time = [](std::uint64_t, Width) { return milliseconds(10); };
  Predictor predictor = null_predictor(std::move(script), {.clock = &clock});
  const Stream camera = *predictor.open_stream();
  for (std::uint8_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(predictor.submit(frame_of(camera, i))->wait().ok());
    clock.advance(milliseconds(30));
  }
  // Each result is 10 ms old when it comes, and 50 ms when the next one does.
  EXPECT_EQ(camera.age().count(), 4 * 40'000U);
  EXPECT_NEAR(static_cast<double>(camera.age().quantile(0.5)), 30e6, 1.5e6);
  EXPECT_EQ(camera.latency().count(), 5U);
  EXPECT_EQ(camera.latency().max(), Duration(milliseconds(10)).count());
  EXPECT_EQ(predictor.latencies().age.count(), camera.age().count());
}

}  // namespace
}  // namespace inflight
