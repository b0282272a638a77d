// SPDX-License-Identifier: Apache-2.0
#include "inflight/ndarray.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <latch>
#include <thread>
#include <vector>

#include "ndarray/ndarray_test_support.h"

namespace inflight {
namespace {

TEST(NDArrayTest, FromBufferChecksWhatItIsGiven) {
  EXPECT_TRUE(NDArray::from_buffer(Buffer::allocate(24).value(), DType::kI64, Shape{3}).ok());
  EXPECT_TRUE(NDArray::from_buffer(Buffer::allocate(25).value(), DType::kI64, Shape{3}).ok());
  EXPECT_TRUE(NDArray::from_buffer(Buffer(), DType::kF32, Shape{0, 7}).ok());
  EXPECT_TRUE(NDArray::from_buffer(Buffer::allocate(4).value(), DType::kF32, Shape{}).ok());
  const auto small = NDArray::from_buffer(Buffer::allocate(23).value(), DType::kI64, Shape{3});
  EXPECT_EQ(small.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(small.status().message(), "from_buffer: got 23 bytes, i64[3] wants 24");
  EXPECT_EQ(NDArray::from_buffer(Buffer(), DType::kF32, Shape{}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(NDArray::from_buffer(Buffer::allocate(64).value(), DType::kF32, Shape{Shape::kDynamic, 2})
                .status()
                .code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(NDArray::from_buffer(Buffer::allocate(64).value(), DType::kF32, Shape{-7}).status().code(),
            StatusCode::kInvalidArgument);
  // Not a number that wraps around and looks small enough.
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  EXPECT_FALSE(NDArray::from_buffer(Buffer::allocate(64).value(), DType::kI64, Shape{kHuge, 4}).ok());
}

TEST(NDArrayTest, FromBufferSharesTheMemory) {
  std::array<std::int64_t, 2> memory = {4, 5};
  bool released = false;
  {
    auto array = NDArray::from_buffer(
        Buffer::wrap(memory.data(), sizeof(memory), [&] { released = true; }).value(), DType::kI64, Shape{2});
    ASSERT_TRUE(array.ok());
    EXPECT_TRUE(array->can_read());
    EXPECT_TRUE(array->status().ok());
    EXPECT_EQ(array->dtype(), DType::kI64);
    EXPECT_EQ(array->shape(), Shape{2});
    EXPECT_EQ(array->read()->data, memory.data());
    const NDArray copy = *array;
    EXPECT_EQ(copy, *array);
    EXPECT_FALSE(released);
  }
  EXPECT_TRUE(released);
}

TEST(NDArrayTest, CopyOfCopies) {
  std::vector<std::int64_t> source = {1, 2, 3};
  const NDArray array = NDArray::copy_of({source.data(), DType::kI64, Shape{3}}).value();
  source = {7, 7, 7};
  EXPECT_TRUE(array.can_read());
  EXPECT_EQ(values_of(array), (Values{1, 2, 3}));
  const NDArray empty = NDArray::copy_of({nullptr, DType::kF32, Shape{0}}).value();
  EXPECT_EQ(empty.read()->bytes(), 0U);
  EXPECT_FALSE(static_cast<bool>(NDArray()));
  EXPECT_NE(array, NDArray::copy_of(*array.read()).value());
}

TEST(NDArrayTest, APendingOneSaysNotReady) {
  Pending pending;
  const NDArray array = pending.array();
  EXPECT_FALSE(array.can_read());
  EXPECT_EQ(array.status().code(), StatusCode::kNotReady);
  EXPECT_EQ(array.read().status().code(), StatusCode::kNotReady);
  EXPECT_EQ(array.wait_for(Duration(0)).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(array.wait_for(Duration::min()).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(array.wait_until(TimePoint()).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(array.wait_for(std::chrono::milliseconds(1)).code(), StatusCode::kDeadlineExceeded);
  pending.complete();
  EXPECT_TRUE(array.can_read());
  EXPECT_TRUE(array.wait().ok());
  EXPECT_TRUE(array.wait_for(Duration(0)).ok());
  EXPECT_TRUE(array.read().ok());
}

TEST(NDArrayTest, TheLongestTimeoutIsForEver) {
  Pending pending;
  std::latch started(1);
  std::thread completer([&] {
    started.wait();
    pending.complete();
  });
  started.count_down();
  EXPECT_TRUE(pending.array().wait_for(Duration::max()).ok());
  completer.join();
  Pending other;
  std::thread other_completer([&] { other.complete(); });
  const std::vector<NDArray> arrays = {other.array()};
  EXPECT_EQ(wait_any_for(arrays, Duration::max()), 0U);
  other_completer.join();
}

TEST(NDArrayTest, AFailureIsTheSameEachTime) {
  Pending pending;
  pending.complete(failure("the cause"));
  const NDArray array = pending.array();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(array.can_read());
    EXPECT_EQ(array.status().message(), "the cause");
    EXPECT_EQ(array.read().status().message(), "the cause");
    EXPECT_EQ(array.wait().message(), "the cause");
    EXPECT_EQ(array.wait_for(Duration(1)).message(), "the cause");
  }
}

TEST(NDArrayTest, OnReadyRunsOnceOnItsExecutorWithTheHandle) {
  ManualExecutor executor;
  Pending pending;
  int calls = 0;
  const NDArray array = pending.array();
  const auto count = [&](const NDArray& ready) {
    EXPECT_EQ(ready, array);
    EXPECT_TRUE(ready.can_read());
    ++calls;
  };
  array.on_ready(executor, count);
  EXPECT_EQ(executor.run_all(), 0U);
  pending.complete();
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(executor.run_all(), 1U);
  array.on_ready(executor, count);
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(calls, 2);
}

TEST(NDArrayTest, WaitAnyTellsTheLowestThatIsReady) {
  Pending first, second;
  const std::vector<NDArray> arrays = {first.array(), second.array(), first.array()};
  EXPECT_EQ(wait_any_for(arrays, Duration(0)), std::nullopt);
  EXPECT_EQ(wait_any_for(arrays, std::chrono::milliseconds(1)), std::nullopt);
  std::thread completer([&] { second.complete(failure()); });
  EXPECT_EQ(wait_any(arrays), 1U);  // failed is ready, too
  completer.join();
  first.complete();
  EXPECT_EQ(wait_any(arrays), 0U);
  EXPECT_EQ(wait_any_for(arrays, Duration(0)), 0U);
}

TEST(NDArrayTest, WaitAnyUntilEndsAtItsTime) {
  Pending pending;
  const std::vector<NDArray> arrays = {pending.array()};
  EXPECT_EQ(wait_any_until(arrays, TimePoint::min()), std::nullopt);
  const TimePoint until = steady_clock().now() + std::chrono::milliseconds(1);
  EXPECT_EQ(wait_any_until(arrays, until), std::nullopt);
  EXPECT_GE(steady_clock().now(), until);
  pending.complete();
  EXPECT_EQ(wait_any_until(arrays, TimePoint::min()), 0U);
}

TEST(NDArrayTest, WaitAllTellsTheFailureOfTheLowestIndex) {
  EXPECT_TRUE(wait_all(std::span<const NDArray>()).ok());
  Pending first, second, third;
  const std::vector<NDArray> arrays = {array_of({1}), first.array(), second.array(), third.array()};
  third.complete(failure("third"));  // first in time
  EXPECT_EQ(wait_all_for(arrays, Duration(0)).code(), StatusCode::kDeadlineExceeded);
  second.complete(failure("second"));
  EXPECT_EQ(wait_all_until(arrays, TimePoint::min()).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(wait_all_for(arrays, std::chrono::milliseconds(1)).code(), StatusCode::kDeadlineExceeded);
  first.complete();
  EXPECT_EQ(wait_all(arrays).message(), "second");
  EXPECT_EQ(wait_all_for(arrays, Duration(0)).message(), "second");
  EXPECT_EQ(wait_all_until(arrays, TimePoint::min()).message(), "second");
  EXPECT_TRUE(wait_all(std::span(arrays).first(2)).ok());
}

TEST(NDArrayTest, WaitAllSleepsUntilTheLastOfThousands) {
  constexpr std::size_t kArrays = 4'000;
  std::vector<Pending> pending(kArrays);
  std::vector<NDArray> arrays;
  for (const Pending& one : pending) arrays.push_back(one.array());
  std::atomic<std::size_t> completed{0};
  std::thread completer([&] {
    for (std::size_t i = 0; i < kArrays; ++i) {  // in a mixed order: 7 and kArrays have no common divisor
      completed.fetch_add(1);
      pending[i * 7 % kArrays].complete();
    }
  });
  EXPECT_TRUE(wait_all(arrays).ok());
  EXPECT_EQ(completed, kArrays);
  completer.join();
}

// An array of memory that the host cannot read.
NDArray far_array() {
  const auto buffer = Buffer::wrap(
      nullptr, 0, [] {}, Device::cuda(1));
  return NDArray::from_buffer(*buffer, DType::kI64, Shape{0}).value();
}

TEST(NDArrayTest, OnlyMemoryOfTheHostIsRead) {
  const NDArray array = far_array();
  EXPECT_EQ(array.device(), Device::cuda(1));
  EXPECT_TRUE(array.status().ok());
  const Status refused(StatusCode::kUnsupported,
                       "memory of cuda:1 cannot be read by the host; copy it first");
  EXPECT_EQ(array.read().status(), refused);
  const TensorView view = array.view().value();
  EXPECT_EQ(view.device, Device::cuda(1));
  EXPECT_EQ(view.as<std::int64_t>().status(), refused);
  EXPECT_EQ(NDArray::copy_of(view).status(), refused);
  EXPECT_EQ(array_of({1}).device(), Device::cpu());
}

TEST(NDArrayTest, ACopyOfWhatCannotBeCopiedIsAStatus) {
  EXPECT_EQ(NDArray::copy_of({nullptr, DType::kI64, Shape{1}}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(NDArray::copy_of({nullptr, DType::kI64, Shape{Shape::kDynamic}}).status().code(),
            StatusCode::kInvalidArgument);
}

// One thread reads the shape while another completes the version, for ThreadSanitizer.
TEST(NDArrayTest, ADeclaredShapeStaysUntilTheActualOneIsPublished) {
  for (int round = 0; round < 200; ++round) {
    auto version = internal::Ref<internal::Version>::adopt(new internal::Version);
    version->values.emplace_back(DType::kI64, Shape{Shape::kDynamic, 2});
    const NDArray array(version, 0);
    std::thread completer([&version] {
      version->values[0].set(Shape{3, 2}, Buffer::allocate(48).value());
      version->completion.complete(Status());
    });
    while (true) {
      const bool was_ready = array.can_read();
      const Shape seen = array.shape();
      if (was_ready) break;
      EXPECT_TRUE(seen == (Shape{Shape::kDynamic, 2}) || seen == (Shape{3, 2}));
    }
    EXPECT_EQ(array.shape(), (Shape{3, 2}));
    completer.join();
  }
}

TEST(NDArrayTest, AFailedVersionKeepsItsDeclaredShape) {
  auto version = internal::Ref<internal::Version>::adopt(new internal::Version);
  version->values.emplace_back(DType::kI64, Shape{Shape::kDynamic}, Device::cuda(1));
  const NDArray array(version, 0);
  EXPECT_EQ(array.device(), Device::cuda(1));
  version->completion.complete(failure());
  EXPECT_EQ(array.shape(), Shape{Shape::kDynamic});
  EXPECT_EQ(array.view().status(), failure());
}

}  // namespace
}  // namespace inflight
