// SPDX-License-Identifier: Apache-2.0
// Random calls of predictors, arrays, queues and an engine, while memory runs out now and then: every
// submission returns, the counts are exact, and nothing leaks. It is a program of its own, because it
// replaces operator new.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <vector>

#include "inflight/completion_queue.h"
#include "predictor/predictor_test_support.h"
#include "support/memory_failures.h"

namespace inflight {
namespace {

// What a random user of two predictors on one runtime does.
class RandomUser {
 public:
  RandomUser(std::uint32_t seed, bool asynchronous) : random_(seed) {
    NullScript script;
    script.asynchronous = asynchronous;
    const Runtime runtime = null_runtime(script);
    for (auto& predictor : predictors_) {
      predictor = *Predictor::create(byte_model(), {.runtime = runtime, .in_flight_limit = 16});
    }
    held_.resize(64);
  }

  // One operation. May throw std::bad_alloc, as calls without a status do.
  void step() {
    Predictor& predictor = *predictors_[below(2)];
    switch (below(10)) {
      case 0:
      case 1:
      case 2:
        return keep(submit(predictor, frame()));
      case 3:  // the output of one, ready or not, is the input of the next
        if (const Prediction& before = any(); before) keep(submit(predictor, Frame::of(before.output(0))));
        return;
      case 4:
        if (const Prediction& prediction = any(); prediction) prediction.cancel();
        return;
      case 5:
        return predictor.take_finished(taken_);
      case 6:
        if (const Prediction& prediction = any(); prediction) queue_.add(prediction, 1);
        return;
      case 7:
        return queue_.take(tags_);
      case 8:
        if (const Prediction& prediction = any(); prediction) {
          prediction.on_ready(executor_, [this](const Prediction&) { ++called_; });
          ++asked_;
        }
        return;
      default:
        executor_.run_all();
        return;
    }
  }

  // Called when allocations do not fail any more.
  void end() {
    for (auto& predictor : predictors_) {
      predictor->drain();
      const Statistics books = predictor->statistics();
      EXPECT_TRUE(law_holds(books));
      EXPECT_EQ(books.in_flight, 0U);
      submitted_seen_ += books.submitted;
      predictor->shutdown(Shutdown::kDrain);
    }
    EXPECT_EQ(submitted_seen_, submitted_);
    for (const Prediction& prediction : held_) {
      EXPECT_TRUE(!prediction || prediction.can_read());
    }
    executor_.run_all();
    // An executor without memory for a task refuses it: only that callback is lost.
    EXPECT_LE(called_, asked_);
    EXPECT_GE(called_, asked_ - test::allocation_failures());
    queue_.take(tags_);
    EXPECT_EQ(queue_.size(), 0U);
  }

 private:
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_()) % bound; }
  Prediction& any() { return held_[below(static_cast<std::uint32_t>(held_.size()))]; }

  Frame frame() {
    const std::array<std::uint8_t, 4> bytes{static_cast<std::uint8_t>(below(256))};
    Result<NDArray> array = NDArray::copy_of({bytes.data(), DType::kU8, {4}});
    if (!array.ok()) {
      EXPECT_EQ(array.status().code(), StatusCode::kOutOfMemory);
      throw std::bad_alloc();
    }
    return Frame::of(std::move(*array));
  }
  std::optional<Prediction> submit(Predictor& predictor, Frame frame) {
    ++submitted_;
    Result<Prediction> prediction = predictor.submit(std::move(frame));
    if (prediction.ok()) return *prediction;
    const StatusCode code = prediction.status().code();
    EXPECT_TRUE(code == StatusCode::kOutOfMemory || code == StatusCode::kOverloaded)
        << prediction.status().to_string();
    if (code == StatusCode::kOverloaded) predictor.wait_any();
    return std::nullopt;
  }
  void keep(std::optional<Prediction> prediction) {
    if (prediction) any() = *prediction;
  }

  std::mt19937 random_;
  std::array<std::optional<Predictor>, 2> predictors_;
  std::vector<Prediction> held_;
  std::vector<Prediction> taken_;
  std::vector<std::uint64_t> tags_;
  ManualExecutor executor_;
  CompletionQueue queue_;
  std::uint64_t submitted_ = 0;
  std::uint64_t submitted_seen_ = 0;
  long asked_ = 0;
  std::atomic<long> called_{0};
};

class OutOfMemory : public testing::TestWithParam<bool> {};

constexpr unsigned kOneIn = 10'000;  // of the allocations that fail

TEST_P(OutOfMemory, AMillionOperationsEndWithTheirBooksExactAndNothingLeaked) {
  constexpr int kOperations = 500'000;  // on each of the two kinds of device
  const std::uint32_t seed = std::random_device()();
  std::printf("seed %u\n", seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  long thrown = 0;
  const long failures_before = test::allocation_failures();
  { RandomUser warm_up(seed, GetParam()); }  // what is made once and kept, such as messages
  const long before = test::live_allocations();
  {
    RandomUser user(seed, GetParam());
    test::fail_allocations(kOneIn);
    for (int i = 0; i < kOperations; ++i) {
      try {
        user.step();
      } catch (const std::bad_alloc&) {
        ++thrown;
      }
    }
    test::fail_allocations(0);
    user.end();
  }
  EXPECT_EQ(test::live_allocations(), before) << "leaked";
  std::printf("%ld allocations failed, %ld calls threw\n", test::allocation_failures() - failures_before,
              thrown);
  EXPECT_GT(test::allocation_failures(), failures_before);
}

INSTANTIATE_TEST_SUITE_P(Devices, OutOfMemory, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "asynchronous" : "blocking"; });

}  // namespace
}  // namespace inflight
