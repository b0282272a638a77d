// SPDX-License-Identifier: Apache-2.0
#include "inflight/ndarray.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ndarray/ndarray_test_support.h"

namespace inflight {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kWrites = 2'000;
#else
constexpr int kWrites = 20'000;
#endif

Status failure(std::string message = "failed") {
  return Status(StatusCode::kDeviceError, std::move(message));
}

NDArray array_of(std::vector<std::int64_t> values) {
  const Shape shape{static_cast<std::int64_t>(values.size())};
  return NDArray::copy_of({values.data(), DType::kI64, shape});
}

std::vector<std::int64_t> values_of(const TensorView& view) {
  const auto values = view.as<std::int64_t>().value();
  return {values.begin(), values.end()};
}

std::vector<std::int64_t> values_of(const NDArray& array) { return values_of(array.read().value()); }

using Values = std::vector<std::int64_t>;

MutableNDArray::Compute fill(std::int64_t value) {
  return [value](std::span<const TensorView>, const MutableTensorView& out) {
    auto* elements = static_cast<std::int64_t*>(out.data);
    for (std::size_t i = 0; i < out.shape.elements(); ++i) elements[i] = value;
    return Status();
  };
}

MutableNDArray::Compute add(std::int64_t value) {
  return [value](std::span<const TensorView>, const MutableTensorView& out) {
    auto* elements = static_cast<std::int64_t*>(out.data);
    for (std::size_t i = 0; i < out.shape.elements(); ++i) elements[i] += value;
    return Status();
  };
}

MutableNDArray::Compute fail() {
  return [](std::span<const TensorView>, const MutableTensorView&) { return failure(); };
}

// Holds an engine's operation until told.
class Gate {
 public:
  MutableNDArray::Compute then(MutableNDArray::Compute compute) {
    return [this, compute = std::move(compute)](std::span<const TensorView> reads,
                                                const MutableTensorView& out) mutable {
      reached_.count_down();
      open_.wait();
      return compute(reads, out);
    };
  }
  void wait_reached() { reached_.wait(); }
  void open() { open_.count_down(); }

 private:
  std::latch reached_{1};
  std::latch open_{1};
};

// ---- A handle
// -----------------------------------------------------------------------------------------------

TEST(NDArrayTest, FromBufferChecksWhatItIsGiven) {
  EXPECT_TRUE(NDArray::from_buffer(Buffer::allocate(24), DType::kI64, Shape{3}).ok());
  EXPECT_TRUE(NDArray::from_buffer(Buffer::allocate(25), DType::kI64, Shape{3}).ok());
  EXPECT_TRUE(NDArray::from_buffer(Buffer(), DType::kF32, Shape{0, 7}).ok());
  EXPECT_TRUE(NDArray::from_buffer(Buffer::allocate(4), DType::kF32, Shape{}).ok());
  const auto small = NDArray::from_buffer(Buffer::allocate(23), DType::kI64, Shape{3});
  EXPECT_EQ(small.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(small.status().message(), "from_buffer: got 23 bytes, i64[3] wants 24");
  EXPECT_EQ(NDArray::from_buffer(Buffer(), DType::kF32, Shape{}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(
      NDArray::from_buffer(Buffer::allocate(64), DType::kF32, Shape{Shape::kDynamic, 2}).status().code(),
      StatusCode::kInvalidArgument);
  EXPECT_EQ(NDArray::from_buffer(Buffer::allocate(64), DType::kF32, Shape{-7}).status().code(),
            StatusCode::kInvalidArgument);
  // Not a number that wraps around and looks small enough.
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  EXPECT_FALSE(NDArray::from_buffer(Buffer::allocate(64), DType::kI64, Shape{kHuge, 4}).ok());
}

TEST(NDArrayTest, FromBufferSharesTheMemory) {
  std::array<std::int64_t, 2> memory = {4, 5};
  bool released = false;
  {
    auto array = NDArray::from_buffer(Buffer::wrap(memory.data(), sizeof(memory), [&] { released = true; }),
                                      DType::kI64, Shape{2});
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
  const NDArray array = NDArray::copy_of({source.data(), DType::kI64, Shape{3}});
  source = {7, 7, 7};
  EXPECT_TRUE(array.can_read());
  EXPECT_EQ(values_of(array), (Values{1, 2, 3}));
  const NDArray empty = NDArray::copy_of({nullptr, DType::kF32, Shape{0}});
  EXPECT_EQ(empty.read()->bytes(), 0U);
  EXPECT_FALSE(static_cast<bool>(NDArray()));
  EXPECT_NE(array, NDArray::copy_of(*array.read()));
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
    for (std::size_t i = 0; i < kArrays; ++i) {  // in an order of its own: 7 and the number share no divisor
      completed.fetch_add(1);
      pending[i * 7 % kArrays].complete();
    }
  });
  EXPECT_TRUE(wait_all(arrays).ok());
  EXPECT_EQ(completed, kArrays);
  completer.join();
}

// ---- A name, over both engines
// ------------------------------------------------------------------------------

class MutableNDArrayTest : public testing::TestWithParam<int> {
 protected:
  MutableNDArrayTest()
      : engine_(GetParam() == 0 ? make_naive_engine() : make_threaded_engine({.threads = GetParam()})) {}
  std::unique_ptr<Engine> engine_;
};

INSTANTIATE_TEST_SUITE_P(Engines, MutableNDArrayTest, testing::Values(0, 1, 4), [](const auto& param_info) {
  return "threads_" + std::to_string(param_info.param);
});

TEST_P(MutableNDArrayTest, ASnapshotKeepsItsVersion) {
  MutableNDArray name(*engine_, array_of({1, 2}));
  const NDArray before = name.snapshot();
  EXPECT_EQ(before, name.snapshot());
  const void* const memory = before.read()->data;
  const NDArray written = name.write({}, fill(7)).value();
  const NDArray updated = name.update({}, add(1)).value();
  EXPECT_EQ(name.snapshot(), updated);
  EXPECT_TRUE(updated.wait().ok());
  EXPECT_EQ(values_of(before), (Values{1, 2}));
  EXPECT_EQ(before.read()->data, memory);
  EXPECT_EQ(values_of(written), (Values{7, 7}));
  EXPECT_EQ(values_of(updated), (Values{8, 8}));
  EXPECT_EQ(std::set<const void*>({memory, written.read()->data, updated.read()->data}).size(), 3U);
}

TEST_P(MutableNDArrayTest, AWriteReusesMemoryThatNobodySees) {
  MutableNDArray name(*engine_, array_of({1, 2}));
  const void* const memory = name.snapshot().read()->data;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE((i % 2 == 0 ? name.write({}, fill(i)) : name.update({}, add(10))).ok());
    engine_->drain();
    EXPECT_EQ(name.snapshot().read()->data, memory) << i;
    EXPECT_EQ(values_of(name.snapshot())[0], i % 2 == 0 ? i : i + 9);
  }
}

TEST_P(MutableNDArrayTest, AWriteLeavesTheCallersMemoryAlone) {
  const std::array<std::int64_t, 2> constant = {4, 5};
  bool released = false;
  {
    MutableNDArray name(*engine_,
                        NDArray::from_buffer(Buffer::wrap(const_cast<std::int64_t*>(constant.data()),
                                                          sizeof(constant), [&released] { released = true; }),
                                             DType::kI64, Shape{2})
                            .value());
    EXPECT_TRUE(name.update({}, add(1))->wait().ok());
    EXPECT_EQ(values_of(name.snapshot()), (Values{5, 6}));
    EXPECT_EQ(constant, (std::array<std::int64_t, 2>{4, 5}));
    engine_->drain();
    EXPECT_TRUE(released);  // and is given back as soon as nobody looks
  }
}

TEST_P(MutableNDArrayTest, ABufferThatIsSharedIsNotWritten) {
  Buffer buffer = Buffer::allocate(16);
  std::memset(buffer.bytes(), 0, 16);
  MutableNDArray name(*engine_, NDArray::from_buffer(buffer, DType::kI64, Shape{2}).value());
  EXPECT_TRUE(name.write({}, fill(-1))->wait().ok());
  EXPECT_EQ(buffer.bytes()[0], std::byte{0});
}

TEST_P(MutableNDArrayTest, AnUpdateMayReadItsOwnOldVersion) {
  MutableNDArray name(*engine_, array_of({1, 2}));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(name.update({name.snapshot()},
                            [](std::span<const TensorView> reads, const MutableTensorView& out) {
                              EXPECT_NE(reads[0].data, out.data);
                              const auto old = values_of(reads[0]);
                              auto* elements = static_cast<std::int64_t*>(out.data);
                              EXPECT_EQ(elements[0], old[0]);
                              elements[0] += old[1];
                              return Status();
                            })
                    .ok());
  }
  EXPECT_TRUE(name.snapshot().wait().ok());
  EXPECT_EQ(values_of(name.snapshot()), (Values{7, 2}));
}

TEST_P(MutableNDArrayTest, AChainOfUpdatesUsesBoundedMemory) {
  constexpr int kUpdates = 1'000;
  MutableNDArray name(*engine_, array_of({0, 0}));
  std::set<const void*> places;  // the updates follow each other: no lock is needed
  for (int i = 0; i < kUpdates; ++i) {
    ASSERT_TRUE(name.update({},
                            [&places](std::span<const TensorView>, const MutableTensorView& out) {
                              places.insert(out.data);
                              ++static_cast<std::int64_t*>(out.data)[0];
                              return Status();
                            })
                    .ok());
  }
  engine_->drain();
  EXPECT_EQ(values_of(name.snapshot()), (Values{kUpdates, 0}));
  EXPECT_EQ(places.size(), 1U);
}

TEST_P(MutableNDArrayTest, AFailedWriteIsInheritedByUpdatesAndEndedByAWrite) {
  MutableNDArray name(*engine_, array_of({1, 2}));
  const NDArray failed = name.write({}, fail()).value();
  const NDArray inherited = name.update({}, add(1)).value();
  const NDArray again = name.update({}, add(1)).value();
  const NDArray healed = name.write({}, fill(3)).value();
  const NDArray updated = name.update({}, add(1)).value();
  for (const NDArray& array : {failed, inherited, again}) {
    EXPECT_EQ(array.wait().to_string(), failure().to_string());
    EXPECT_EQ(array.read().status().to_string(), failure().to_string());
  }
  EXPECT_TRUE(updated.wait().ok());
  EXPECT_EQ(values_of(healed), (Values{3, 3}));
  EXPECT_EQ(values_of(updated), (Values{4, 4}));
}

TEST_P(MutableNDArrayTest, AWriteWaitsForWhatItReadsAndInheritsItsError) {
  MutableNDArray a(*engine_, array_of({1, 1})), b(*engine_, array_of({0, 0}));
  const auto copy_plus = [](std::int64_t plus) {
    return [plus](std::span<const TensorView> reads, const MutableTensorView& out) {
      const auto source = values_of(reads[0]);
      for (std::size_t i = 0; i < source.size(); ++i) {
        static_cast<std::int64_t*>(out.data)[i] = source[i] + plus;
      }
      return Status();
    };
  };
  std::vector<NDArray> made;
  for (int i = 0; i < 50; ++i) {
    made.push_back(b.write({a.snapshot()}, copy_plus(1)).value());
    made.push_back(a.write({b.snapshot()}, copy_plus(1)).value());
  }
  EXPECT_TRUE(made.back().wait().ok());
  for (std::size_t i = 0; i < made.size(); ++i) {
    EXPECT_EQ(values_of(made[i])[0], static_cast<std::int64_t>(i) + 2);
  }
  ASSERT_TRUE(a.write({}, fail()).ok());
  const NDArray inherited = b.write({array_of({1, 1}), a.snapshot()}, copy_plus(0)).value();
  EXPECT_EQ(inherited.wait().message(), "failed");
}

TEST_P(MutableNDArrayTest, ARefusedWriteLeavesTheNameAsItWas) {
  MutableNDArray name(*engine_, array_of({1, 2}));
  const NDArray before = name.snapshot();
  engine_->shutdown(Shutdown::kDrain);
  EXPECT_EQ(name.write({}, fill(1)).status().code(), StatusCode::kShuttingDown);
  EXPECT_EQ(name.update({}, add(1)).status().code(), StatusCode::kShuttingDown);
  EXPECT_EQ(name.snapshot(), before);
  EXPECT_EQ(values_of(name.snapshot()), (Values{1, 2}));
}

TEST_P(MutableNDArrayTest, AComputationMayUseItsOwnName) {
  MutableNDArray name(*engine_, array_of({1, 2}));
  NDArray inner;
  const NDArray outer = name.write({},
                                   [&](std::span<const TensorView>, const MutableTensorView& out) {
                                     EXPECT_FALSE(name.snapshot().can_read());  // it is this very version
                                     inner = name.update({}, add(1)).value();
                                     static_cast<std::int64_t*>(out.data)[0] = 10;
                                     static_cast<std::int64_t*>(out.data)[1] = 20;
                                     return Status();
                                   })
                            .value();
  EXPECT_TRUE(outer.wait().ok());
  engine_->drain();
  EXPECT_EQ(values_of(outer), (Values{10, 20}));
  EXPECT_EQ(values_of(inner), (Values{11, 21}));
  EXPECT_EQ(name.snapshot(), inner);
}

TEST_P(MutableNDArrayTest, AnInlineCallbackMayWriteTheName) {
  InlineExecutor executor;
  MutableNDArray name(*engine_, array_of({1, 2}));
  ASSERT_TRUE(name.write({}, fail()).ok());
  // Skipped where the name is pushed to: the callback may run under that push.
  std::atomic<int> called{0};
  name.update({}, add(1))->on_ready(executor, [&](const NDArray& ready) {
    EXPECT_EQ(ready.status().message(), "failed");
    EXPECT_TRUE(name.write({}, fill(5)).ok());
    ++called;
  });
  engine_->drain();
  EXPECT_EQ(called, 1);
  EXPECT_EQ(values_of(name.snapshot()), (Values{5, 5}));
}

TEST_P(MutableNDArrayTest, CancelledWritesSaySo) {
  MutableNDArray name(*engine_, array_of({1, 2}));
  NDArray later;
  ASSERT_TRUE(name.write({},
                         [&](std::span<const TensorView>, const MutableTensorView&) {
                           later = name.update({}, add(1)).value();
                           engine_->shutdown(Shutdown::kCancel);
                           return Status();
                         })
                  .ok());
  engine_->drain();
  EXPECT_EQ(later.status().code(), StatusCode::kCancelled);
}

// Writers replace and update, readers hold what they saw: a handle's content never changes, and it never goes
// back to pending. Each version holds one value in all its elements, so that a half-written one shows.
TEST_P(MutableNDArrayTest, ReadersNeverSeeAHandleChange) {
  const bool naive = GetParam() == 0;
  const int writes = naive ? kWrites / 10 : kWrites;
  MutableNDArray name(*engine_, array_of(Values(16, 0)));
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      struct Seen {
        NDArray array;
        std::int64_t value;
      };
      std::vector<Seen> kept;
      std::int64_t newest = 0;
      for (std::size_t n = 0; !done; ++n) {
        const NDArray array = name.snapshot();
        if (n % 2 == 0) {
          ASSERT_TRUE(array.wait().ok());
        } else if (!array.can_read()) {
          std::this_thread::yield();
          continue;
        }
        const Values values = values_of(array);
        for (const std::int64_t value : values) ASSERT_EQ(value, values[0]);
        ASSERT_GE(values[0], newest);  // versions come in their order
        newest = values[0];
        if (kept.size() < 8) {
          kept.push_back({array, newest});
        } else {
          kept[n % kept.size()] = {array, newest};
        }
        for (const Seen& seen : kept) {
          ASSERT_TRUE(seen.array.can_read());
          ASSERT_EQ(values_of(seen.array), Values(16, seen.value));
        }
      }
    });
  }
  for (int i = 1; i <= writes; ++i) {
    // Both make i of it: the values count the versions.
    while (true) {
      const auto made = i % 3 == 0 ? name.write({}, fill(i)) : name.update({}, add(1));
      if (made.ok()) break;
      std::this_thread::yield();
    }
    if (i % 64 == 0) {
      EXPECT_TRUE(name.snapshot().wait().ok());
    }
  }
  engine_->drain();
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(values_of(name.snapshot()), Values(16, writes));
}

TEST_P(MutableNDArrayTest, SeveralThreadsMayUpdateOneName) {
  constexpr int kThreads = 3, kUpdates = 500;
  MutableNDArray name(*engine_, array_of({0, 0}));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kUpdates; ++i) EXPECT_TRUE(name.update({}, add(1)).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  engine_->drain();
  EXPECT_EQ(values_of(name.snapshot()), Values(2, kThreads * kUpdates));
}

// ---- What only the threaded engine can show
// -----------------------------------------------------------------

TEST(MutableNDArrayThreadsTest, AWriteDoesNotWaitForTheOneBefore) {
  const auto engine = make_threaded_engine({.threads = 2});
  MutableNDArray name(*engine, array_of({1, 2}));
  Gate gate;
  const NDArray slow = name.write({}, gate.then(fill(1))).value();
  gate.wait_reached();
  const NDArray fast = name.write({}, fill(2)).value();
  EXPECT_TRUE(fast.wait().ok());  // a later version, in other memory
  EXPECT_FALSE(slow.can_read());
  gate.open();
  EXPECT_TRUE(slow.wait().ok());
  EXPECT_EQ(values_of(slow), (Values{1, 1}));
  EXPECT_EQ(values_of(fast), (Values{2, 2}));
}

TEST(MutableNDArrayThreadsTest, AnUpdateWaitsForTheOneBefore) {
  const auto engine = make_threaded_engine({.threads = 2});
  MutableNDArray name(*engine, array_of({1, 2}));
  Gate gate;
  const NDArray slow = name.write({}, gate.then(fill(1))).value();
  const NDArray after = name.update({}, add(1)).value();
  gate.wait_reached();
  EXPECT_EQ(after.wait_for(Duration(0)).code(), StatusCode::kDeadlineExceeded);
  gate.open();
  EXPECT_TRUE(after.wait().ok());
  EXPECT_EQ(values_of(after), (Values{2, 2}));
  EXPECT_EQ(values_of(slow), (Values{1, 1}));
}

TEST(MutableNDArrayThreadsTest, TheNameMayGoBeforeItsWrites) {
  const auto engine = make_threaded_engine({.threads = 1});
  Gate gate;
  NDArray last;
  {
    MutableNDArray name(*engine, array_of({1, 2}));
    ASSERT_TRUE(name.write({}, gate.then(fill(1))).ok());
    last = name.update({}, add(1)).value();
  }
  gate.open();
  EXPECT_TRUE(last.wait().ok());
  EXPECT_EQ(values_of(last), (Values{2, 2}));
}

TEST(MutableNDArrayThreadsTest, AWriteOverAFullEngineIsRefusedAndLeavesTheNameAsItWas) {
  const auto engine = make_threaded_engine({.threads = 1, .pending_limit = 1});
  MutableNDArray name(*engine, array_of({1, 2}));
  Gate gate;
  NDArray slow = name.write({}, gate.then(fill(1))).value();
  EXPECT_EQ(name.update({}, add(1)).status().code(), StatusCode::kOverloaded);
  EXPECT_EQ(name.snapshot(), slow);
  gate.open();
  engine->drain();
  // The refused one left no share behind that would keep the memory from being used again.
  const void* const memory = slow.read()->data;
  slow = NDArray();
  ASSERT_TRUE(name.update({}, add(1)).ok());
  engine->drain();
  EXPECT_EQ(name.snapshot().read()->data, memory);
  EXPECT_EQ(values_of(name.snapshot()), (Values{2, 2}));
}

}  // namespace
}  // namespace inflight
