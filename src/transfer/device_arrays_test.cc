// SPDX-License-Identifier: Apache-2.0
// Arrays in the memory of a null device, whose copies are made when somebody looks whether they are done.
#include "inflight/device_arrays.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "backends/null/null_backend.h"
#include "backends/null/null_memory.h"
#include "inflight/predictor.h"

namespace inflight {
namespace {

using Floats = std::vector<float>;

NDArray array_of(const Floats& values) {
  return *NDArray::copy_of({values.data(), DType::kF32, {static_cast<std::int64_t>(values.size())}});
}

Floats counted(std::size_t count, float first = 0) {
  Floats values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

Floats values_of(const NDArray& array) {
  const Status status = array.wait();
  EXPECT_TRUE(status.ok()) << status.to_string();
  const auto span = array.read()->as<float>();
  EXPECT_TRUE(span.ok()) << span.status().to_string();
  return span.ok() ? Floats(span->begin(), span->end()) : Floats();
}

// A version that the test completes by hand.
class Pending {
 public:
  explicit Pending(const Floats& values) {
    Buffer buffer = *Buffer::allocate(values.size() * sizeof(float));
    std::copy(values.begin(), values.end(), reinterpret_cast<float*>(buffer.bytes()));
    version_->values.emplace_back(DType::kF32, Shape{static_cast<std::int64_t>(values.size())},
                                  std::move(buffer));
  }
  NDArray array() const { return NDArray(version_, 0); }
  void complete(Status status = Status()) { version_->complete(std::move(status)); }
  std::uint32_t shares() const { return version_->shares(); }

 private:
  internal::Ref<internal::Version> version_ = internal::Ref<internal::Version>::adopt(new internal::Version);
};

class DeviceArraysTest : public testing::Test {
 protected:
  std::shared_ptr<NullMemory> memory_ = std::make_shared<NullMemory>();
  DeviceArrays arrays_ = *DeviceArrays::over(memory_);
};

TEST_F(DeviceArraysTest, CopiesToTheDeviceAndBack) {
  const Floats values = counted(1000);
  const auto there = arrays_.to_device(array_of(values));
  ASSERT_TRUE(there.ok()) << there.status().to_string();
  EXPECT_EQ(there->device(), Device::null());
  EXPECT_EQ(there->shape(), (Shape{1000}));
  ASSERT_TRUE(there->wait().ok());
  EXPECT_EQ(there->read().status().code(), StatusCode::kUnsupported) << "it is not the host's to read";
  EXPECT_EQ(there->view()->device, Device::null());
  const auto back = arrays_.to_host(*there);
  ASSERT_TRUE(back.ok()) << back.status().to_string();
  EXPECT_EQ(back->device(), Device::cpu());
  EXPECT_EQ(values_of(*back), values);
  EXPECT_EQ(memory_->copies(), 2U);
}

TEST_F(DeviceArraysTest, ReturnsBeforeTheDeviceIsDone) {
  memory_->hold();
  const NDArray there = *arrays_.to_device(array_of(counted(4)));
  const NDArray back = *arrays_.to_host(there);
  EXPECT_FALSE(there.can_read());
  EXPECT_EQ(there.wait_for(std::chrono::milliseconds(1)).code(), StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(back.can_read());
  memory_->go_on();
  EXPECT_EQ(values_of(back), counted(4));
  EXPECT_TRUE(there.can_read()) << "its copy comes first";
}

TEST_F(DeviceArraysTest, ACopyWaitsForItsSourceAndFailsAsItDoes) {
  Pending good(counted(3));
  const NDArray copy = *arrays_.to_device(good.array());
  EXPECT_FALSE(copy.can_read());
  EXPECT_EQ(memory_->copies(), 0U);
  good.complete();
  EXPECT_EQ(values_of(*arrays_.to_host(copy)), counted(3));
  Pending bad(counted(3));
  const NDArray failed = *arrays_.to_device(bad.array());
  const NDArray after = *arrays_.to_host(failed);
  bad.complete(Status(StatusCode::kDeviceError, "the first cause"));
  EXPECT_EQ(after.wait().message(), "the first cause");
  EXPECT_EQ(failed.status().code(), StatusCode::kDeviceError);
  EXPECT_EQ(bad.shares(), 1U) << "a copy that has ended holds nothing of its source";
}

TEST_F(DeviceArraysTest, OperationsOfAnEngineLineUpBehindACopy) {
  const auto engine = *make_threaded_engine();
  memory_->hold();
  const NDArray back = *arrays_.to_host(*arrays_.to_device(array_of(counted(8, 5))));
  std::atomic<float> first{0};
  const Var done = Var::make();
  ASSERT_TRUE(engine
                  ->push(
                      [&] {
                        first = back.read()->as<float>()->front();
                        return Status();
                      },
                      {.reads = {back.var()}, .writes = {done}})
                  .ok());
  memory_->go_on();
  engine->drain();
  EXPECT_EQ(first, 5);
}

TEST_F(DeviceArraysTest, ManyThreadsCopyAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kEach = 200;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const Floats values = counted(16, static_cast<float>(t * kEach + i));
        const NDArray back = *arrays_.to_host(*arrays_.to_device(array_of(values)));
        if (values_of(back) != values) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(memory_->copies(), 2U * kThreads * kEach);
}

TEST_F(DeviceArraysTest, ACopyThatCannotStartFailsAlone) {
  memory_->fail_next_copy(Status(StatusCode::kOutOfMemory, "no memory"));
  EXPECT_EQ(arrays_.to_device(array_of(counted(4)))->wait().code(), StatusCode::kOutOfMemory);
  EXPECT_TRUE(arrays_.to_device(array_of(counted(4)))->wait().ok());
}

// The device may still write to what it was given, so that stays.
TEST_F(DeviceArraysTest, ALostDeviceFailsWhatIsOutAndKeepsItsMemory) {
  memory_->hold();
  std::atomic<bool> released{false};
  Floats values = counted(4);
  NDArray source =
      *NDArray::from_buffer(*Buffer::wrap(values.data(), 16, [&] { released = true; }), DType::kF32, {4});
  const NDArray copy = *arrays_.to_device(source);
  source = NDArray();
  while (memory_->copies() == 0) std::this_thread::yield();
  memory_->lose(Status(StatusCode::kDeviceError, "fell off the bus"));
  EXPECT_EQ(copy.wait().message(), "fell off the bus");
  EXPECT_FALSE(released);
  EXPECT_EQ(arrays_.to_device(array_of(counted(4)))->wait().message(), "fell off the bus");
  static NDArray* volatile kept = new NDArray(copy);  // for the leak checker: it is kept on purpose
  EXPECT_FALSE(kept->status().ok());
}

TEST_F(DeviceArraysTest, TakesWhatAnotherLibraryFills) {
  memory_->hold();
  Buffer buffer = *arrays_.acquire(16);
  const Floats values = counted(4);
  const NDArray taken = *arrays_.take(buffer, DType::kF32, {4});
  EXPECT_FALSE(taken.can_read()) << "the stream has not come that far";
  std::copy(values.begin(), values.end(), reinterpret_cast<float*>(buffer.bytes()));
  memory_->go_on();
  EXPECT_EQ(values_of(*arrays_.to_host(taken)), values);
  EXPECT_EQ(taken.view()->data, buffer.bytes()) << "without a copy";
  EXPECT_TRUE(arrays_.take(buffer, DType::kF32, {4})->can_read()) << "where nothing is to wait for, at once";
  EXPECT_EQ(arrays_.take(*Buffer::allocate(16), DType::kF32, {4}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(arrays_.take(buffer, DType::kF32, {5}).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(DeviceArraysTest, WhatAnotherLibraryUsedStaysUntilTheDeviceHasComeThatFar) {
  std::atomic<bool> released{false};
  Floats values = counted(4);
  NDArray array = *NDArray::from_buffer(*Buffer::wrap(
                                            values.data(), 16, [&] { released = true; }, Device::null()),
                                        DType::kF32, {4});
  memory_->hold();
  memory_->capture(true);
  EXPECT_EQ(arrays_.remember_stream(0).status().code(), StatusCode::kInvalidArgument);
  arrays_.release_after_use(std::move(array), *arrays_.remember_stream(1));
  while (memory_->marks_behind() < 3) std::this_thread::yield();
  memory_->go_on();
  EXPECT_FALSE(released) << "while the stream is captured nothing can tell";
  memory_->hold();
  const std::uint64_t marks = memory_->marks_behind();  // before: one mark after the capture is the last
  memory_->capture(false);
  while (memory_->marks_behind() == marks) std::this_thread::yield();
  EXPECT_EQ(memory_->last_behind(), 1U);
  EXPECT_FALSE(released);
  memory_->go_on();
  while (!released) std::this_thread::yield();
}

TEST_F(DeviceArraysTest, RefusesWhatIsNotThere) {
  EXPECT_EQ(arrays_.to_device(NDArray()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(arrays_.to_host(array_of({1})).status().message(),
            "to_host: got an array of cpu, want one of null");
  const auto other = std::make_shared<NullMemory>(*Device::make("null", 1));
  const DeviceArrays others = *DeviceArrays::over(other);
  const NDArray there = *others.to_device(array_of({1}));
  EXPECT_EQ(arrays_.to_device(there).status().message(),
            "to_device: got an array of null:1, want one of null");
  EXPECT_EQ(DeviceArrays::over(nullptr).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(DeviceArrays::over(std::make_shared<NullMemory>(Device::cpu())).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(DeviceArraysTest, EndsWhileCopiesAreOut) {
  memory_->hold();
  Pending never(counted(2));
  const NDArray waits = *arrays_.to_device(never.array());
  const NDArray out = *arrays_.to_device(array_of(counted(2)));
  while (memory_->copies() == 0) std::this_thread::yield();
  arrays_.core();
  arrays_ = DeviceArrays();  // the copies keep what they need
  memory_->go_on();
  EXPECT_TRUE(out.wait().ok());
  never.complete();
  EXPECT_TRUE(waits.wait().ok());
}

TEST(NDArrayCopyTo, StaysWhereItIs) {
  const NDArray array = array_of(counted(4));
  EXPECT_EQ(*array.copy_to(Device::cpu()), array);
  EXPECT_EQ(NDArray().copy_to(Device::cpu()).status().code(), StatusCode::kInvalidArgument);
  const Status nowhere = array.copy_to(*Device::make("nosuch")).status();
  EXPECT_EQ(nowhere.code(), StatusCode::kNoSuchDevice) << nowhere.to_string();
  EXPECT_EQ(nowhere.message().find('\n'), std::string_view::npos);
}

// ---- With predictors

Model byte_model() { return *Model::opaque("m", {{"x", DType::kU8, {4}}}, {{"y", DType::kU8, {4}}}); }

NDArray bytes(std::uint8_t mark) {
  const std::uint8_t all[4] = {mark, mark, mark, mark};
  return *NDArray::copy_of({all, DType::kU8, {4}});
}

// Inputs on the device are taken as they are, outputs stay there, and the next predictor reads them there.
TEST_F(DeviceArraysTest, AChainOfPredictorsStaysOnTheDevice) {
  NullScript script;
  script.asynchronous = true;
  const Runtime runtime = *Runtime::over(std::make_shared<NullBackend>(script));
  const PredictorOptions options{.runtime = runtime, .outputs_on_device = true};
  Predictor first = *Predictor::create(byte_model(), options);
  Predictor second = *Predictor::create(byte_model(), options);
  std::vector<NDArray> ends;
  for (std::uint8_t mark = 0; mark < 8; ++mark) {
    const auto a = first.submit(Frame::of(*arrays_.to_device(bytes(mark))));
    ASSERT_TRUE(a.ok()) << a.status().to_string();
    EXPECT_EQ(a->output(0).device(), Device::null());
    const auto b = second.submit(Frame::of(a->output(0)));
    ASSERT_TRUE(b.ok()) << b.status().to_string();
    ends.push_back(*arrays_.to_host(b->output(0)));
  }
  for (std::uint8_t mark = 0; mark < 8; ++mark) {
    ASSERT_TRUE(ends[mark].wait().ok());
    EXPECT_EQ(ends[mark].read()->as<std::uint8_t>()->front(), mark);
  }
  EXPECT_EQ(memory_->copies(), 16U) << "one in and one out for each frame, and none in between";
}

TEST(OutputsOnDevice, AreRefusedWithSeveralDevices) {
  NullScript other;
  other.index = 1;
  const Runtime both = *Runtime::over(std::vector<std::shared_ptr<Backend>>{
      std::make_shared<NullBackend>(NullScript()), std::make_shared<NullBackend>(other)});
  const Status refused =
      Predictor::create(byte_model(), {.runtime = both, .outputs_on_device = true}).status();
  EXPECT_EQ(refused.code(), StatusCode::kUnsupported);
  EXPECT_NE(refused.message().find("several devices"), std::string_view::npos) << refused.message();
}

}  // namespace
}  // namespace inflight
