// SPDX-License-Identifier: Apache-2.0
// What happens when a device hangs or fails. A program of its own, because the context does not come back.
#include <gmock/gmock.h>

#include <cstdlib>
#include <thread>

#include "backends/cuda/runtime/cuda_test_support.h"

namespace inflight::cuda {
namespace {

using testing::HasSubstr;

TEST(CudaFaults, TheWatchdogBoundsALaunchThatDoesNotEnd) {
  limit_test_to(std::chrono::minutes(2));
  setenv("INFLIGHT_CUDA_WATCHDOG_S", "0.5", 1);
  const auto opened = GpuDevice::open(0);
  unsetenv("INFLIGHT_CUDA_WATCHDOG_S");
  if (!opened.ok()) GTEST_SKIP() << opened.status().to_string();
  const auto& device = *opened;
  const auto program = build(device, scale_graph(2, true));
  ASSERT_NE(program, nullptr);
  const auto slot = *program->bind();
  const GpuMemory memory = *device->allocate_pinned(kCount * 8, "test");
  auto* const values = reinterpret_cast<float*>(memory.host());
  const TensorView input = view(values);
  const MutableTensorView output = target(values + kCount);
  // Launches that end in time do not alarm it, however long they go on.
  values[0] = 100e3F;
  auto start = std::chrono::steady_clock::now();
  for (std::uint64_t i = 1; microseconds(start) < 1.2e6; ++i) {
    ASSERT_TRUE(slot->launch({{&input, 1}, {&output, 1}, Width::kWide, i, {}}).ok());
    while (slot->completion_word().load() != i) ASSERT_TRUE(device->look().ok());
  }
  const std::uint64_t next = slot->completion_word().load() + 1;
  values[0] = 4e6F;
  start = std::chrono::steady_clock::now();
  ASSERT_TRUE(slot->launch({{&input, 1}, {&output, 1}, Width::kWide, next, {}}).ok());
  while (device->look().ok() && microseconds(start) < 3e6)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const double seconds = microseconds(start) / 1e6;
  EXPECT_GE(seconds, 0.45);
  EXPECT_LT(seconds, 2);
  const Status lost = device->status();
  EXPECT_EQ(lost.code(), StatusCode::kDeviceError);
  EXPECT_THAT(std::string(lost.message()), HasSubstr("none has finished for"));
  EXPECT_EQ(slot->launch({{&input, 1}, {&output, 1}, Width::kWide, next + 1, {}}), lost)
      << "later launches get the cause";
  EXPECT_EQ(program->bind().status().code(), StatusCode::kDeviceError);
  std::printf("lost after %.2f s: %s\n", seconds, lost.to_string().c_str());
}

TEST(CudaFaults, ATrapLosesTheDeviceWithItsCauseAndNothingHangs) {
  limit_test_to(std::chrono::minutes(2));
  const auto opened = GpuDevice::open(0);
  if (!opened.ok()) GTEST_SKIP() << opened.status().to_string();
  const auto& device = *opened;
  Builder builder;
  const TensorId x = builder.vector(Storage::kInput, DType::kF32, kCount);
  const TensorId y = builder.vector(Storage::kOutput, DType::kF32, kCount);
  builder.kernel("trap",
                 "extern \"C\" KERNEL void run(const float* x, float* y) {\n"
                 "  if (x[0] == 13.0f) asm volatile(\"trap;\");\n  y[threadIdx.x] = x[threadIdx.x];\n}\n",
                 {x}, {y});
  const auto program = build(device, std::move(builder.graph));
  ASSERT_NE(program, nullptr);
  auto first = *program->bind();
  auto second = *program->bind();
  GpuMemory memory = *device->allocate_pinned(kCount * 8, "test");
  auto* const values = reinterpret_cast<float*>(memory.host());
  const TensorView input = view(values);
  const MutableTensorView output = target(values + kCount);
  ASSERT_TRUE(first->launch({{&input, 1}, {&output, 1}, Width::kWide, 1, {}}).ok());
  ASSERT_TRUE(wait_for_word(*first, 1));
  ASSERT_TRUE(device->look().ok());
  values[0] = 13;
  ASSERT_TRUE(first->launch({{&input, 1}, {&output, 1}, Width::kWide, 2, {}}).ok());
  second->launch({{&input, 1}, {&output, 1}, Width::kWide, 1, {}}).ok();  // either answer is right
  const auto start = std::chrono::steady_clock::now();
  while (device->look().ok() && microseconds(start) < 5e6) std::this_thread::yield();
  const Status lost = device->status();
  std::printf("after %.3f s: %s\n", microseconds(start) / 1e6, lost.to_string().c_str());
  EXPECT_EQ(lost.code(), StatusCode::kDeviceError);
  EXPECT_THAT(std::string(lost.message()), HasSubstr("CUDA_ERROR_"));
  EXPECT_EQ(first->completion_word().load(), 1U);
  EXPECT_EQ(second->launch({{&input, 1}, {&output, 1}, Width::kWide, 2, {}}), lost);
  EXPECT_FALSE(program->bind().ok());
  first.reset();  // nothing here waits for the device
  second.reset();
}

}  // namespace
}  // namespace inflight::cuda
