// SPDX-License-Identifier: Apache-2.0
// A frame causes no allocation after start-up. The test counts allocations.
#include <gtest/gtest.h>

#include "inflight/completion_queue.h"
#include "predictor/predictor_test_support.h"
#include "support/allocations.h"

namespace inflight {
namespace {

class HotPath : public testing::TestWithParam<bool> {};

TEST_P(HotPath, AllocatesNothingFromSubmitToTheLastHandle) {
  NullScript script;
  script.asynchronous = GetParam();
  Predictor predictor = null_predictor(std::move(script), {.in_flight_limit = 4});
  std::vector<Prediction> finished;
  finished.reserve(64);
  // Pools grow until they hold the most that is alive at once: in flight, finished and not taken, taken and
  // held. The test holds far more than that before it counts, so that no order of events needs more later.
  {
    std::vector<Prediction> held;
    for (int i = 0; i < 64; ++i) {
      held.push_back(*predictor.submit(byte_frame(1)));
      ASSERT_TRUE(held.back().wait().ok());
    }
    predictor.take_finished(finished);
  }
  finished.clear();
  // Frames belong to the caller: they are made before the count.
  constexpr int kFrames = 2'000;
  std::vector<Frame> frames;
  for (int i = 0; i < kFrames; ++i) frames.push_back(byte_frame(static_cast<std::uint8_t>(i)));
  const long before = test::allocations();
  for (Frame& frame : frames) {
    while (!predictor.submit(std::move(frame)).ok()) predictor.wait_any();
    predictor.take_finished(finished);
  }
  predictor.drain();
  predictor.take_finished(finished);
  EXPECT_EQ(test::allocations() - before, 0);
  EXPECT_EQ(predictor.statistics().completed, std::uint64_t{kFrames + 64});
}

// A queue that has reached its largest size allocates nothing either, nor does its descriptor.
TEST(HotPathQueue, AllocatesNothingOnceItHasGrown) {
  Predictor predictor = null_predictor({}, {.in_flight_limit = 4, .keep_finished = false});
  CompletionQueue queue;
  ASSERT_TRUE(queue.event_fd().ok());
  std::vector<std::uint64_t> tags;
  {
    std::vector<Prediction> held;
    for (std::uint64_t i = 0; i < 64; ++i) {
      held.push_back(*predictor.submit(byte_frame(1)));
      queue.add(held.back(), i);
      ASSERT_TRUE(held.back().wait().ok());
    }
  }
  while (queue.size() > 0) {
    queue.wait();
    queue.take(tags);
  }
  tags.reserve(64);
  std::vector<Frame> frames;
  for (int i = 0; i < 200; ++i) frames.push_back(byte_frame(1));
  const long before = test::allocations();
  for (Frame& frame : frames) {
    const auto submitted = predictor.submit(std::move(frame));
    ASSERT_TRUE(submitted.ok());
    queue.add(*submitted, 1);
    queue.wait();
    queue.take(tags);
  }
  EXPECT_EQ(test::allocations() - before, 0);
}

TEST(HotPathCounter, Counts) {
  const long before = test::allocations();
  int* volatile kept = new int;  // so that the compiler leaves the pair in
  delete kept;
  EXPECT_EQ(test::allocations() - before, 1);
}

INSTANTIATE_TEST_SUITE_P(Devices, HotPath, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "asynchronous" : "blocking"; });

}  // namespace
}  // namespace inflight
