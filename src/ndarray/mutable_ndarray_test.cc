// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <latch>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/test_stress.h"
#include "inflight/ndarray.h"
#include "ndarray/ndarray_test_support.h"

namespace inflight {
namespace {

constexpr int kWrites = 2'000 * kStress;

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

// Holds an operation of an engine until it is opened.
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

// ---- A name, over both engines

class MutableNDArrayTest : public testing::TestWithParam<int> {
 protected:
  MutableNDArrayTest()
      : engine_(GetParam() == 0 ? *make_naive_engine() : *make_threaded_engine({.threads = GetParam()})) {}
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

TEST_P(MutableNDArrayTest, ANameThatCannotBeWrittenRefusesEachWrite) {
  const auto code_of = [this](NDArray initial) {
    MutableNDArray name(*engine_, std::move(initial));
    return name.write({}, add(1)).status().code();
  };
  EXPECT_EQ(code_of(NDArray()), StatusCode::kInvalidArgument);
  const auto far = Buffer::wrap(
      nullptr, 0, [] {}, Device::cuda());
  EXPECT_EQ(code_of(NDArray::from_buffer(*far, DType::kI64, Shape{0}).value()), StatusCode::kUnsupported);
  auto version = internal::Ref<internal::Version>::adopt(new internal::Version);
  version->values.emplace_back(DType::kI64, Shape{Shape::kDynamic});
  EXPECT_EQ(code_of(NDArray(version, 0)), StatusCode::kInvalidArgument);

  MutableNDArray name(*engine_, array_of({1}));
  EXPECT_EQ(name.write({NDArray()}, add(1)).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(values_of(name.snapshot()), (Values{1}));
}

TEST_P(MutableNDArrayTest, AReadOfMemoryThatTheHostCannotReadFailsTheWrite) {
  MutableNDArray name(*engine_, array_of({1}));
  const auto far = Buffer::wrap(
      nullptr, 0, [] {}, Device::cuda());
  const NDArray read = NDArray::from_buffer(*far, DType::kI64, Shape{0}).value();
  EXPECT_EQ(name.write({read}, add(1))->wait().code(), StatusCode::kUnsupported);
}

TEST_P(MutableNDArrayTest, MemoryThatAShareOutsideSeesIsNotTakenOver) {
  MutableNDArray name(*engine_, array_of({1, 2}));
  for (std::int64_t i = 1; i <= 3; ++i) {
    Buffer seen = name.snapshot().buffer().value();  // no handle stays
    EXPECT_TRUE(name.update({}, add(1))->wait().ok());
    const auto* elements = reinterpret_cast<const std::int64_t*>(seen.bytes());
    EXPECT_EQ(elements[0], i) << "changed under a share";
    EXPECT_NE(name.snapshot().buffer()->bytes(), seen.bytes());
    EXPECT_EQ(values_of(name.snapshot()), (Values{1 + i, 2 + i}));
  }
}

TEST_P(MutableNDArrayTest, WhatComputeThrowsIsTheWritesStatus) {
  MutableNDArray name(*engine_, array_of({1}));
  const auto throws = [](std::span<const TensorView>, const MutableTensorView&) -> Status {
    throw std::runtime_error("boom");
  };
  EXPECT_EQ(name.write({}, throws)->wait(), Status(StatusCode::kException, "boom"));
  EXPECT_EQ(name.update({}, add(1))->wait(), Status(StatusCode::kException, "boom"));
  const auto exhausted = [](std::span<const TensorView>, const MutableTensorView&) -> Status {
    throw std::bad_alloc();
  };
  EXPECT_EQ(name.write({}, exhausted)->wait().code(), StatusCode::kOutOfMemory);
  EXPECT_TRUE(name.write({}, fill(3))->wait().ok());
  EXPECT_EQ(values_of(name.snapshot()), (Values{3}));
}

TEST_P(MutableNDArrayTest, AnEmptyComputeIsRefused) {
  MutableNDArray name(*engine_, array_of({1}));
  EXPECT_EQ(name.write({}, MutableNDArray::Compute()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(name.update({}, MutableNDArray::Compute()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(values_of(name.snapshot()), (Values{1}));
}

TEST_P(MutableNDArrayTest, AWriteLeavesTheCallersMemoryAlone) {
  const std::array<std::int64_t, 2> constant = {4, 5};
  bool released = false;
  {
    MutableNDArray name(*engine_,
                        NDArray::from_buffer(Buffer::wrap(const_cast<std::int64_t*>(constant.data()),
                                                          sizeof(constant), [&released] { released = true; })
                                                 .value(),
                                             DType::kI64, Shape{2})
                            .value());
    EXPECT_TRUE(name.update({}, add(1))->wait().ok());
    EXPECT_EQ(values_of(name.snapshot()), (Values{5, 6}));
    EXPECT_EQ(constant, (std::array<std::int64_t, 2>{4, 5}));
    engine_->drain();
    EXPECT_TRUE(released);  // as soon as the last handle has gone
  }
}

TEST_P(MutableNDArrayTest, ABufferThatIsSharedIsNotWritten) {
  Buffer buffer = Buffer::allocate(16).value();
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
  // The engine may skip the write inside the push, so the callback may run inside that push.
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

// Writers replace and update, readers keep the handles that they saw. The content of a handle never changes,
// and it never becomes pending again. All elements of a version have one value, so a half-written version can
// be recognized.
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
    // Both make the value i: the values count the versions.
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

TEST(MutableNDArrayThreadsTest, AWriteDoesNotWaitForTheOneBefore) {
  const auto engine = *make_threaded_engine({.threads = 2});
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
  const auto engine = *make_threaded_engine({.threads = 2});
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
  const auto engine = *make_threaded_engine({.threads = 1});
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
  const auto engine = *make_threaded_engine({.threads = 1, .pending_limit = 1});
  MutableNDArray name(*engine, array_of({1, 2}));
  Gate gate;
  NDArray slow = name.write({}, gate.then(fill(1))).value();
  EXPECT_EQ(name.update({}, add(1)).status().code(), StatusCode::kOverloaded);
  EXPECT_EQ(name.snapshot(), slow);
  gate.open();
  engine->drain();
  // The refused write left no reference behind that would prevent the reuse of the memory.
  const void* const memory = slow.read()->data;
  slow = NDArray();
  ASSERT_TRUE(name.update({}, add(1)).ok());
  engine->drain();
  EXPECT_EQ(name.snapshot().read()->data, memory);
  EXPECT_EQ(values_of(name.snapshot()), (Values{2, 2}));
}

}  // namespace
}  // namespace inflight
