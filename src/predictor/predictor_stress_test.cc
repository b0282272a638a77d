// SPDX-License-Identifier: Apache-2.0
// Many threads and many faults: the limit holds, the law of outcomes holds, and each prediction is handed out
// once.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

class FaultStress : public testing::TestWithParam<bool> {};

// A backend that fails one frame in ten at random, for 100,000 frames: a handle reports its failure each
// time, slots become free again, the law of outcomes holds.
TEST_P(FaultStress, OneFrameInTenFails) {
  constexpr std::uint64_t kFrames = 100'000;
  const std::uint64_t seed = std::random_device()();
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE("seed " + std::to_string(seed));
  const auto fails = [seed](std::uint64_t launch) {
    std::minstd_rand random(static_cast<std::uint32_t>(seed + launch * 2654435761U));
    random.discard(3);
    return random() % 10 == 0;
  };
  std::atomic<std::uint64_t> faults{0};
  const Status fault(StatusCode::kDeviceError, "scripted fault");
  NullScript script;
  script.asynchronous = GetParam();
  script.outcome = [&](std::uint64_t launch) {
    if (launch % 2 == 0 || !fails(launch)) return Status();
    ++faults;
    return fault;
  };
  script.launch_error = [&](std::uint64_t launch) {
    if (launch % 2 == 1 || !fails(launch)) return Status();
    ++faults;
    return fault;
  };
  Predictor predictor = null_predictor(script, {.in_flight_limit = 8, .overload = OverloadPolicy::kBlock});
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;
  std::vector<bool> seen(kFrames);
  std::vector<Prediction> finished;
  const auto take = [&] {
    predictor.take_finished(finished);
    for (const Prediction& prediction : finished) {
      ASSERT_FALSE(seen[prediction.tag()]) << "handed out twice";
      seen[prediction.tag()] = true;
      ASSERT_TRUE(prediction.can_read());
      if (prediction.outcome() == Outcome::kFailed) {
        ++failed;
        for (int again = 0; again < 3; ++again) ASSERT_EQ(prediction.status(), fault);
        ASSERT_EQ(prediction.output(0).read().status(), fault);
      } else {
        ++completed;
        ASSERT_EQ(prediction.outcome(), Outcome::kCompleted);
        ASSERT_EQ(mark_of(prediction), static_cast<std::uint8_t>(prediction.tag()));
      }
    }
  };
  for (std::uint64_t k = 0; k < kFrames; ++k) {
    Frame frame = byte_frame(static_cast<std::uint8_t>(k));
    frame.tag = k;
    ASSERT_TRUE(predictor.submit(std::move(frame)).ok());
    if (k % 4 == 0) take();
    ASSERT_FALSE(HasFatalFailure());
  }
  predictor.drain();
  take();
  const Statistics statistics = predictor.statistics();
  EXPECT_EQ(statistics.submitted, kFrames);
  EXPECT_EQ(statistics.completed, completed);
  EXPECT_EQ(statistics.failed, failed);
  EXPECT_EQ(failed, faults);
  EXPECT_EQ(completed + failed, kFrames);
  EXPECT_NEAR(static_cast<double>(failed), kFrames / 10.0, 1'000.0);
  EXPECT_TRUE(law_holds(statistics));
  EXPECT_LE(statistics.in_flight_max, 8U);
}

// Submitters, cancellers, takers and an observer, all at once.
TEST_P(FaultStress, LimitAndLawHoldAtEveryInstant) {
  constexpr int kThreads = 4;
  constexpr std::uint64_t kEach = 5'000;
  NullScript script;
  script.asynchronous = GetParam();
  script.concurrency_narrow = 3;
  script.outcome = [](std::uint64_t launch) {
    return launch % 7 == 3 ? Status(StatusCode::kDeviceError, "scripted fault") : Status();
  };
  Predictor predictor = null_predictor(script, {.in_flight_limit = 5, .finished_limit = 64});
  std::atomic<bool> running{true};
  std::atomic<std::uint64_t> taken{0};
  std::thread observer([&] {
    while (running) {
      const Statistics statistics = predictor.statistics();
      ASSERT_TRUE(law_holds(statistics));
      ASSERT_LE(statistics.in_flight, 5U);
    }
  });
  std::thread taker([&] {
    std::vector<Prediction> finished;
    while (running || predictor.wait_any()) {
      predictor.take_finished(finished);
      taken += finished.size();
      for (const Prediction& prediction : finished) ASSERT_TRUE(prediction.can_read());
    }
  });
  std::atomic<std::uint64_t> admitted{0};
  std::atomic<std::uint64_t> cancelled{0};
  std::vector<std::thread> submitters;
  for (int thread = 0; thread < kThreads; ++thread) {
    submitters.emplace_back([&, thread] {
      for (std::uint64_t k = 0; k < kEach; ++k) {
        const auto prediction = predictor.submit(byte_frame(static_cast<std::uint8_t>(thread)));
        if (!prediction.ok()) {
          ASSERT_EQ(prediction.status().code(), StatusCode::kOverloaded);
          continue;
        }
        ++admitted;
        if (k % 3 == 0 && prediction->cancel()) ++cancelled;
        if (k % 5 == 0) {
          const Status status = prediction->wait();
          ASSERT_EQ(status, prediction->status());
        }
      }
    });
  }
  for (std::thread& thread : submitters) thread.join();
  predictor.drain();
  running = false;
  observer.join();
  taker.join();
  const Statistics statistics = predictor.statistics();
  EXPECT_EQ(statistics.submitted, kThreads * kEach);
  EXPECT_EQ(statistics.submitted - statistics.rejected, admitted);
  EXPECT_EQ(statistics.cancelled, cancelled);
  EXPECT_EQ(statistics.in_flight, 0U);
  EXPECT_EQ(taken, admitted);
  EXPECT_LE(statistics.in_flight_max, 5U);
}

// Predictors end while their predictions, and predictions that read their outputs, are pending.
TEST_P(FaultStress, EndsAtAnyMoment) {
  for (int round = 0; round < 200; ++round) {
    NullScript script;
    script.asynchronous = GetParam();
    std::vector<Prediction> handles;
    {
      Predictor first = null_predictor(script, {.in_flight_limit = 4});
      Predictor second = null_predictor(script, {.in_flight_limit = 4});
      for (std::uint8_t i = 0; i < 4; ++i) {
        auto a = first.submit(byte_frame(i));
        ASSERT_TRUE(a.ok());
        auto b = second.submit(Frame::of(a->output(0)));
        ASSERT_TRUE(b.ok());
        handles.push_back(*std::move(a));
        handles.push_back(*std::move(b));
      }
    }
    for (const Prediction& handle : handles) {
      ASSERT_TRUE(handle.can_read());
      ASSERT_TRUE(handle.outcome() == Outcome::kCompleted || handle.outcome() == Outcome::kCancelled ||
                  handle.outcome() == Outcome::kFailed);
    }
  }
}

// A predictor is shut down while another thread submits frames whose inputs are pending.
TEST_P(FaultStress, ShutsDownWhileFramesWithInputsToComeAreSubmitted) {
  for (int round = 0; round < 200; ++round) {
    NullScript script;
    script.asynchronous = GetParam();
    Predictor first = null_predictor(script, {.in_flight_limit = 16, .keep_finished = false});
    Predictor second = null_predictor(script, {.in_flight_limit = 16, .keep_finished = false});
    std::atomic<int> submitted{0};
    std::thread submitter([&] {
      for (int i = 0; i < 50; ++i) {
        const auto a = first.submit(byte_frame(1));
        if (a.ok()) static_cast<void>(second.submit(Frame::of(a->output(0))).ok());
        ++submitted;
      }
    });
    while (submitted < round % 50) std::this_thread::yield();
    second.shutdown(Shutdown::kCancel);
    submitter.join();
    const Statistics statistics = second.statistics();
    ASSERT_TRUE(law_holds(statistics));
    ASSERT_EQ(statistics.in_flight, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, FaultStress, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "asynchronous" : "blocking"; });

}  // namespace
}  // namespace inflight
