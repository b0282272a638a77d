// SPDX-License-Identifier: Apache-2.0
// The ways to wait for predictions that are not the predictor's own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <exception>
#include <optional>
#include <thread>
#include <vector>

#include "inflight/await.h"
#include "inflight/completion_queue.h"
#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::milliseconds;

TEST(PredictorWait, WaitAnyUntilEndsAtItsTime) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate));
  const std::vector<Prediction> predictions = {*predictor.submit(byte_frame(1))};
  const TimePoint until = steady_clock().now() + milliseconds(1);
  EXPECT_EQ(wait_any_until(predictions, until), std::nullopt);
  EXPECT_GE(steady_clock().now(), until);
  gate.open();
  EXPECT_EQ(wait_any_until(predictions, TimePoint::max()), 0U);
  EXPECT_EQ(wait_any_until(predictions, TimePoint::min()), 0U);
}

TEST(PredictorWait, WaitAllTellsTheFailureOfTheLowestIndex) {
  Gate gate;
  NullScript script = gated(gate);
  script.concurrency_narrow = 1;
  script.outcome = [](std::uint64_t launch) {
    return launch == 0 ? Status() : Status(StatusCode::kDeviceError, "launch " + std::to_string(launch));
  };
  Predictor predictor = null_predictor(std::move(script));
  std::vector<Prediction> predictions;
  for (std::uint8_t i = 0; i < 3; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
  EXPECT_EQ(wait_all_for(predictions, milliseconds(1)).code(), StatusCode::kDeadlineExceeded);
  gate.let_through(1);
  EXPECT_TRUE(wait_all(std::span(predictions).first(1)).ok());
  EXPECT_EQ(wait_all_until(predictions, TimePoint::min()).code(), StatusCode::kDeadlineExceeded);
  std::thread opener([&] { gate.open(); });
  const Status status = wait_all(predictions);
  EXPECT_EQ(status.code(), StatusCode::kDeviceError);
  EXPECT_EQ(status, predictions[1].status());
  EXPECT_EQ(wait_all_until(predictions, TimePoint::min()), status);
  opener.join();
}

TEST(PredictorWait, ACompletionQueueTellsOfPredictionsAndTheirOutputs) {
  Gate gate;
  NullScript script = gated(gate);
  script.concurrency_narrow = 1;
  Predictor predictor = null_predictor(std::move(script));
  CompletionQueue queue;
  const Prediction first = *predictor.submit(byte_frame(1));
  queue.add(first, 1);
  gate.await_arrivals(1);
  const Prediction second = *predictor.submit(byte_frame(2));
  queue.add(second, 2);
  queue.add(second.output(0), 3);
  EXPECT_TRUE(second.cancel());  // on this thread, so the queue has been notified
  EXPECT_TRUE(queue.take_one().has_value());
  EXPECT_TRUE(queue.take_one().has_value());
  EXPECT_EQ(queue.take_one(), std::nullopt);
  gate.open();
  queue.wait();
  EXPECT_TRUE(first.can_read());
  EXPECT_EQ(queue.take_one(), 1U);
}

TEST(PredictorWait, AQueueMayEndBeforeItsPredictionsAndAPredictorBeforeItsQueue) {
  CompletionQueue later;
  {
    Gate gate;
    Predictor predictor = null_predictor(gated(gate));
    CompletionQueue queue;
    for (std::uint8_t i = 0; i < 4; ++i) {
      const Prediction prediction = *predictor.submit(byte_frame(i));
      queue.add(prediction, i);
      later.add(prediction, i);
    }
    gate.open();
  }
  std::vector<std::uint64_t> tags;
  later.take(tags);
  EXPECT_EQ(tags.size(), 4U);
}

bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

TEST(PredictorWait, TheDescriptorIsReadableExactlyWhileSomethingIsThere) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate));
  const int fd = predictor.event_fd().value();
  EXPECT_EQ(predictor.event_fd().value(), fd);
  std::vector<Prediction> predictions;
  for (std::uint8_t i = 0; i < 4; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
  EXPECT_FALSE(readable(fd));
  gate.let_through(1);
  ASSERT_TRUE(predictor.wait_any());
  EXPECT_TRUE(readable(fd));
  EXPECT_TRUE(readable(fd));  // a level
  EXPECT_EQ(predictor.take_finished().size(), 1U);
  EXPECT_FALSE(readable(fd));
  EXPECT_TRUE(predictor.take_finished().empty());
  gate.open();
  EXPECT_TRUE(wait_all(predictions).ok());
  // The counter adds up the writes. Reading it is against the contract, and does no harm after the last one.
  std::uint64_t writes = 0;
  ASSERT_EQ(::read(fd, &writes, sizeof(writes)), static_cast<ssize_t>(sizeof(writes)));
  EXPECT_EQ(writes, 1U);
  EXPECT_EQ(predictor.take_finished().size(), 3U);
  EXPECT_FALSE(readable(fd));
}

TEST(PredictorWait, TheDescriptorKnowsWhatFinishedBeforeItWasMade) {
  Predictor predictor = null_predictor({});
  EXPECT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
  EXPECT_TRUE(readable(predictor.event_fd().value()));
}

TEST(PredictorWait, TheDescriptorEndsWithThePredictorAndNotWithItsHandles) {
  std::optional<Predictor> predictor(null_predictor({}));
  const Prediction kept = *predictor->submit(byte_frame(1));
  const int fd = predictor->event_fd().value();
  EXPECT_NE(::fcntl(fd, F_GETFD), -1);
  predictor.reset();
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
  EXPECT_TRUE(kept.can_read());
}

TEST(PredictorWait, SaysWhyThereIsNoDescriptor) {
  Predictor untaken = null_predictor({}, {.keep_finished = false});
  EXPECT_EQ(untaken.event_fd().status().code(), StatusCode::kUnsupported);
  Predictor predictor = null_predictor({});
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{0, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Result<int> refused = predictor.event_fd();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(refused.status().code(), StatusCode::kOutOfMemory);
  EXPECT_TRUE(predictor.event_fd().ok());
}

// The loop takes predictions only when the descriptor is readable: a lost write would make it hang.
TEST(PredictorWait, NoFinishIsLostOnTheDescriptor) {
  constexpr int kFrames = 2'000;
  Predictor predictor = null_predictor({}, {.in_flight_limit = 4});
  const int fd = predictor.event_fd().value();
  std::vector<Prediction> finished;
  std::size_t taken = 0;
  for (int i = 0; i < kFrames; ++i) {
    Frame frame = byte_frame(1);
    while (!predictor.submit(std::move(frame)).ok()) {
      pollfd entry{fd, POLLIN, 0};
      ASSERT_EQ(::poll(&entry, 1, 60'000), 1);
      predictor.take_finished(finished);
      EXPECT_FALSE(finished.empty());
      taken += finished.size();
    }
  }
  predictor.drain();
  predictor.take_finished(finished);
  EXPECT_EQ(taken + finished.size(), std::size_t{kFrames});
  EXPECT_FALSE(readable(fd));
}

struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

// Two predictions one after the other: the second reads what the first computed.
Detached chain(Predictor& predictor, Executor& executor, int& mark) {
  const Prediction first = *predictor.submit(byte_frame(7));
  EXPECT_TRUE((co_await ready(first, executor)).ok());
  const Prediction second = *predictor.submit(Frame::of(first.output(0)));
  EXPECT_TRUE((co_await ready(second.output(0), executor)).ok());
  mark = mark_of(second);
}

TEST(PredictorWait, ACoroutineGoesOnWhenItsPredictionIsReady) {
  Predictor predictor = null_predictor({});
  ManualExecutor executor;
  int mark = 0;
  chain(predictor, executor, mark);
  while (mark == 0) {
    if (!executor.run_one()) std::this_thread::yield();
  }
  EXPECT_EQ(mark, 7);
}

}  // namespace
}  // namespace inflight
