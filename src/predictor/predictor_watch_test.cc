// SPDX-License-Identifier: Apache-2.0
// Frames, cancellations and ends that meet a worker on watch: asleep until shortly before the next frame,
// awake, or at the end of its watch. They use the real clock and try whether a wake-up can be lost: then the
// test hangs.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <random>
#include <thread>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// With this share, and a frame every millisecond or two, a worker is nearly always on watch.
constexpr double kAlways = 1;
constexpr Duration kInterval = milliseconds(1);

void busy_until(TimePoint when) {
  while (steady_clock().now() < when) std::this_thread::yield();
}

Duration processor_time() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

class Watching : public testing::TestWithParam<bool> {
 protected:
  Watching() : seed_(std::random_device()()), random_(seed_), trace_(__FILE__, __LINE__, seed_) {}

  static Predictor predictor(double share) {
    NullScript script;
    script.asynchronous = GetParam();
    return null_predictor(script, {.in_flight_limit = 8, .keep_finished = false, .watch_share = share});
  }
  // Submits steady frames, so that a worker watches for the next one. Returns the time when that is due.
  static TimePoint begin_watch(Predictor& predictor) {
    TimePoint due = steady_clock().now();
    for (int i = 0; i < 6; ++i, due += kInterval) {
      busy_until(due);
      EXPECT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
    }
    return due;
  }
  // -1.2 to 1 ms: before the watch, in it and after it.
  Duration offset() { return microseconds(static_cast<int>(random_() % 2200) - 1200); }

  const std::uint32_t seed_;
  std::minstd_rand random_;
  const testing::ScopedTrace trace_;
};

TEST_P(Watching, LosesNoFrameAroundTheWatch) {
  Predictor predictor = Watching::predictor(kAlways);
  for (int round = 0; round < 100; ++round) {
    busy_until(begin_watch(predictor) + offset());
    ASSERT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
  }
  EXPECT_EQ(predictor.statistics().completed, 700U);
}

TEST_P(Watching, LosesNoFrameOfManyThreads) {
  Predictor predictor = Watching::predictor(kAlways);
  std::atomic<std::uint64_t> admitted{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, seed = static_cast<std::uint32_t>(random_())] {
      std::minstd_rand random(seed);
      TimePoint due = steady_clock().now();
      for (int i = 0; i < 300; ++i) {
        // Now and then the rhythm breaks, so that watches begin and end.
        due += kInterval + (i % 20 == 0 ? Duration(microseconds(random() % 3000)) : Duration(0));
        busy_until(due);
        const auto prediction = predictor.submit(byte_frame(1));
        if (!prediction.ok()) continue;
        ++admitted;
        if (i % 7 == 0) prediction->cancel();
        const StatusCode code = prediction->wait().code();
        ASSERT_TRUE(code == StatusCode::kOk || code == StatusCode::kCancelled);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  predictor.drain();
  const Statistics statistics = predictor.statistics();
  EXPECT_TRUE(law_holds(statistics));
  EXPECT_EQ(statistics.completed + statistics.cancelled, admitted);
}

TEST_P(Watching, EndsAndCancelsAroundTheWatch) {
  for (int round = 0; round < 60; ++round) {
    Predictor predictor = Watching::predictor(kAlways);
    busy_until(begin_watch(predictor) + offset());
    if (round % 3 == 0) {
      const auto last = predictor.submit(byte_frame(1));
      last->cancel();
      predictor.shutdown(Shutdown::kDrain);
      ASSERT_TRUE(last->can_read());
    } else {
      predictor.shutdown(round % 3 == 1 ? Shutdown::kDrain : Shutdown::kCancel);
    }
    ASSERT_EQ(predictor.submit(byte_frame(1)).status().code(), StatusCode::kShuttingDown);
  }
}

// Neither a frame nor the end of the predictor waits for a watch that begins much later: both come right
// after a frame, at one frame in 250 ms. A machine that is held up for 200 ms may miss that in one round.
// (runtime/doorbell_test.cc tries the same without a time limit, with frames an hour apart.)
TEST_P(Watching, EarlyFramesAndTheEndWakeAWatcherThatSleeps) {
  int early = 0;
  for (int round = 0; round < 3; ++round) {
    Predictor predictor = Watching::predictor(kAlways);
    TimePoint due = steady_clock().now();
    for (int i = 0; i < 4; ++i, due += milliseconds(250)) {
      busy_until(due);
      EXPECT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
    }
    busy_until(due - milliseconds(245));
    EXPECT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
    predictor.shutdown(Shutdown::kDrain);
    if (steady_clock().now() < due - milliseconds(10)) ++early;
  }
  EXPECT_GE(early, 2);
}

// A worker that stays awake uses all of every window. Other threads of the process may use some of one.
TEST_P(Watching, TakesNoProcessorTimeOnceFramesStop) {
  Predictor predictor = Watching::predictor(kAlways);
  busy_until(begin_watch(predictor) + milliseconds(100));  // by then the allowance is used up
  Duration least = Duration::max();
  for (int window = 0; window < 20 && least >= milliseconds(20); ++window) {
    const Duration before = processor_time();
    steady_clock().sleep_until(steady_clock().now() + milliseconds(200));
    least = std::min(least, processor_time() - before);
  }
  EXPECT_LT(least, milliseconds(20)) << "one that stays awake takes 200";
}

INSTANTIATE_TEST_SUITE_P(Devices, Watching, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "asynchronous" : "blocking"; });

}  // namespace
}  // namespace inflight
