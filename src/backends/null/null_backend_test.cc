// SPDX-License-Identifier: Apache-2.0
#include "backends/null/null_backend.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <thread>

namespace inflight {
namespace {

using std::chrono::milliseconds;

Model model() { return *Model::opaque("null", {{"x", DType::kU8, {2}}}, {{"y", DType::kF32, {3}}}); }

struct Io {
  std::array<std::uint8_t, 2> x{7, 0};
  std::array<float, 3> y{};
  std::array<TensorView, 1> inputs{TensorView{x.data(), DType::kU8, {2}}};
  std::array<MutableTensorView, 1> outputs{MutableTensorView{y.data(), DType::kF32, {3}}};
  Launch launch(std::uint64_t generation, Width width = Width::kNarrow) {
    return {inputs, outputs, width, generation};
  }
};

TEST(NullBackend, BlockingTakesItsScriptedTimeAndMarksItsOutputs) {
  ManualClock clock;
  NullScript script;
  script.clock = &clock;
  script.service_time = [](std::uint64_t launch, Width width) {
    return milliseconds(width == Width::kWide ? 1 : 10) * static_cast<int>(launch + 1);
  };
  NullBackend backend(script);
  const auto program = *backend.compile(model(), {});
  EXPECT_TRUE(backend.launch_blocks());
  const auto slot = *program->bind();
  Io io;
  ASSERT_TRUE(slot->launch(io.launch(1)).ok());
  EXPECT_EQ(slot->completion_word().load(), 1U);
  EXPECT_EQ(clock.now(), TimePoint(milliseconds(10)));
  ASSERT_TRUE(slot->launch(io.launch(2, Width::kWide)).ok());
  EXPECT_EQ(clock.now(), TimePoint(milliseconds(12)));
  EXPECT_TRUE(slot->outcome().ok());
  for (const float y : io.y) EXPECT_EQ(std::bit_cast<std::uint32_t>(y), 7U);
}

TEST(NullBackend, AsynchronousStoresTheWordLaterInOrderOfTime) {
  ManualClock clock;
  NullScript script;
  script.clock = &clock;
  script.asynchronous = true;
  script.service_time = [](std::uint64_t launch, Width) { return milliseconds(launch == 0 ? 20 : 5); };
  NullBackend backend(script);
  const auto program = *backend.compile(model(), {});
  EXPECT_FALSE(backend.launch_blocks());
  const auto slow = *program->bind();
  const auto fast = *program->bind();
  Io slow_io;
  Io fast_io;
  ASSERT_TRUE(slow->launch(slow_io.launch(1)).ok());
  ASSERT_TRUE(fast->launch(fast_io.launch(1)).ok());
  while (slow->completion_word().load(std::memory_order_acquire) != 1 ||
         fast->completion_word().load(std::memory_order_acquire) != 1) {
    std::this_thread::yield();
  }
  EXPECT_GE(clock.now(), TimePoint(milliseconds(20)));
  EXPECT_EQ(std::bit_cast<std::uint32_t>(slow_io.y[0]), 7U);
}

TEST(NullBackend, FailsOnCommand) {
  NullScript script;
  const Status fault(StatusCode::kDeviceError, "scripted");
  script.launch_error = [&](std::uint64_t launch) { return launch == 0 ? fault : Status(); };
  script.outcome = [&](std::uint64_t launch) { return launch == 1 ? fault : Status(); };
  NullBackend backend(script);
  const auto program = *backend.compile(model(), {});
  const auto slot = *program->bind();
  Io io;
  EXPECT_EQ(slot->launch(io.launch(1)), fault);
  EXPECT_EQ(slot->completion_word().load(), 0U) << "a launch that did not start stores nothing";
  ASSERT_TRUE(slot->launch(io.launch(2)).ok());
  EXPECT_EQ(slot->completion_word().load(), 2U);
  EXPECT_EQ(slot->outcome(), fault);
  ASSERT_TRUE(slot->launch(io.launch(3)).ok());
  EXPECT_TRUE(slot->outcome().ok());
  backend.lose_device(fault);
  EXPECT_EQ(backend.device_status(), fault);
  EXPECT_EQ(slot->launch(io.launch(4)), fault);
}

TEST(NullBackend, WantsStaticShapes) {
  NullBackend backend{NullScript{}};
  const auto compiled =
      backend.compile(*Model::opaque("m", {{"x", DType::kU8, {2}}}, {{"y", DType::kU8, {1}}}), {});
  EXPECT_TRUE(compiled.ok());
  EXPECT_EQ(Model::opaque("m", {{"x", DType::kU8, {Shape::kDynamic}}}, {}).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace inflight
