// SPDX-License-Identifier: Apache-2.0
// Random operations on arrays while one allocation in 10^4 fails. It is a program of its own, because it
// replaces operator new.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <random>
#include <utility>
#include <vector>

#include "base/test_stress.h"
#include "inflight/completion_queue.h"
#include "inflight/ndarray.h"
#include "support/memory_failures.h"

namespace inflight {
namespace {

constexpr int kOperations = 100'000 * kStress;  // a million
constexpr std::size_t kNames = 8;
constexpr std::size_t kHeld = 64;

// What was called and how it ended.
struct Books {
  std::uint64_t accepted = 0;            // writes
  std::uint64_t refused = 0;             // calls that returned kOutOfMemory or threw, and changed nothing
  std::atomic<std::uint64_t> called{0};  // callbacks
  std::uint64_t callbacks = 0;
  std::uint64_t added = 0;  // to the queue
  std::uint64_t taken = 0;
};

class RandomUser {
 public:
  RandomUser(Engine& engine, Executor& executor, unsigned seed, Books& books)
      : executor_(executor), random_(seed), books_(books) {
    const std::array<std::int64_t, 4> zeros{};
    for (std::size_t i = 0; i < kNames; ++i) {
      const NDArray initial = NDArray::copy_of({zeros.data(), DType::kI64, Shape{4}}).value();
      names_[i] = std::make_unique<MutableNDArray>(engine, initial);
      held_[i] = initial;
    }
    for (NDArray& array : held_) array = held_[0];
    tags_.reserve(1024);
  }

  void step() {
    try {
      switch (random_() % 8) {
        case 0:
        case 1:
        case 2:
          return write();
        case 3:
          return copy();
        case 4:
          return call_back();
        case 5:
          return queue();
        case 6:
          any_held() = name().snapshot();
          return;
        default:
          return look();
      }
    } catch (const std::bad_alloc&) {
      ++books_.refused;
    }
  }

  // After the engine has ended everything.
  void settle() {
    for (const NDArray& array : held_) {
      EXPECT_TRUE(array.can_read());
      check(array);
    }
    take();
    EXPECT_EQ(queue_.size(), 0U);
  }

 private:
  void write() {
    std::vector<NDArray> reads;
    if (random_() % 2 == 0) reads.push_back(any_held());
    const auto compute = [value = static_cast<std::int64_t>(random_() % 100)](
                             std::span<const TensorView> views, const MutableTensorView& out) {
      auto* const elements = static_cast<std::int64_t*>(out.data);
      const std::int64_t read = views.empty() ? 0 : static_cast<const std::int64_t*>(views[0].data)[3];
      for (std::size_t i = 0; i < 4; ++i) elements[i] = read + value;
      return Status();
    };
    const bool whole = random_() % 2 == 0;
    MutableNDArray& target = name();
    Result<NDArray> made =
        whole ? target.write(std::move(reads), compute) : target.update(std::move(reads), compute);
    if (!made.ok()) return refused(made.status());
    ++books_.accepted;
    any_held() = std::move(made).value();
  }

  void copy() {
    const std::array<std::int64_t, 4> values = {7, 7, 7, 7};
    Result<NDArray> made = NDArray::copy_of({values.data(), DType::kI64, Shape{4}});
    if (!made.ok()) return refused(made.status());
    any_held() = std::move(made).value();
  }

  void call_back() {
    any_held().on_ready(executor_, [books = &books_](const NDArray&) { ++books->called; });
    ++books_.callbacks;
  }

  void queue() {
    queue_.add(any_held(), 1);
    ++books_.added;
    if (random_() % 4 == 0) take();
  }

  void take() {
    queue_.take(tags_);
    books_.taken += tags_.size();
  }

  void look() {
    // More than wait_any() has room for in place.
    if (random_() % 8 == 0) wait_any(held_);
    const NDArray& array = any_held();
    if (array.can_read()) check(array);
  }

  void check(const NDArray& array) {
    const Status status = array.status();
    if (!status.ok()) {
      if (status.code() != StatusCode::kOutOfMemory) std::abort();
      return;
    }
    const Result<TensorView> view = array.read();
    const auto* const elements = static_cast<const std::int64_t*>(view->data);
    for (std::size_t i = 1; i < 4; ++i) {
      if (elements[i] != elements[0]) std::abort();
    }
  }

  void refused(const Status& status) {
    if (status.code() == StatusCode::kOverloaded) return;
    if (status.code() != StatusCode::kOutOfMemory) std::abort();
    ++books_.refused;
  }

  MutableNDArray& name() { return *names_[random_() % kNames]; }
  NDArray& any_held() { return held_[random_() % kHeld]; }

  Executor& executor_;
  std::minstd_rand random_;
  Books& books_;
  std::array<std::unique_ptr<MutableNDArray>, kNames> names_;
  std::array<NDArray, kHeld> held_;
  CompletionQueue queue_;
  std::vector<std::uint64_t> tags_;
};

TEST(MemoryFailureTest, AMillionOperationsEachEndWithAStatusAndLeakNothing) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const long before = test::live_allocations();
  {
    Books books;
    InlineExecutor executor;
    const auto engine = *make_threaded_engine({.threads = 2});
    {
      RandomUser user(*engine, executor, seed, books);
      test::fail_allocations(10'000);
      for (int i = 0; i < kOperations; ++i) user.step();
      engine->drain();
      test::fail_allocations(0);
      EXPECT_EQ(engine->pending(), 0U);
      user.settle();
    }
    EXPECT_EQ(books.called, books.callbacks);
    EXPECT_EQ(books.taken, books.added);
    EXPECT_GT(books.accepted, 0U);
    EXPECT_GT(books.refused, 0U);
    EXPECT_GT(test::allocation_failures(), 0);
  }
  EXPECT_EQ(test::live_allocations(), before);
}

}  // namespace
}  // namespace inflight
