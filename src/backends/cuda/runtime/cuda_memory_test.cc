// SPDX-License-Identifier: Apache-2.0
// Arrays in the memory of a GPU; without one, with a driver whose device is the host (testing/fake_driver.cc).
#include "backends/cuda/runtime/gpu_memory.h"

#include <dlfcn.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "backends/cuda/runtime/cuda_test_support.h"
#include "inflight/device_arrays.h"

namespace inflight::cuda {
namespace {

// Of the driver whose device is the host; 0 with a real one.
unsigned long fake_waits() {
  void* const driver = dlopen(INFLIGHT_FAKE_DRIVER "/libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (driver == nullptr) return 0;
  const auto count = reinterpret_cast<unsigned long (*)()>(dlsym(driver, "fake_cuda_waits"));
  dlclose(driver);
  return count == nullptr ? 0 : count();
}

std::vector<float> counted(std::size_t count, float first = 0) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

NDArray array_of(const std::vector<float>& values) {
  return *NDArray::copy_of({values.data(), DType::kF32, {static_cast<std::int64_t>(values.size())}});
}

std::vector<float> values_of(const NDArray& array) {
  const Status status = array.wait();
  EXPECT_TRUE(status.ok()) << status.to_string();
  if (!status.ok()) return {};
  const auto span = *array.read()->as<float>();
  return {span.begin(), span.end()};
}

class CudaMemory : public testing::Test {
 protected:
  void SetUp() override {
    setenv("INFLIGHT_CUDA_LIBRARIES", INFLIGHT_FAKE_DRIVER, 0);
    const auto gpu = shared_gpu(0);
    if (!gpu.ok()) GTEST_SKIP() << gpu.status().to_string();
    gpu_ = *gpu;
    std::printf("%s\n", gpu_->description().c_str());
    const auto memory = make_gpu_memory(gpu_);
    ASSERT_TRUE(memory.ok()) << memory.status().to_string();
    memory_ = *memory;
    arrays_ = *DeviceArrays::over(memory_);
  }
  bool is_real() const { return gpu_->name() != "Fake"; }

  std::shared_ptr<GpuDevice> gpu_;
  std::shared_ptr<DeviceMemory> memory_;
  DeviceArrays arrays_;
};

TEST_F(CudaMemory, CopiesBothWaysFromPageableAndPinnedMemory) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{1000}, std::size_t{4} << 20U}) {
    const std::vector<float> values = counted(count);
    const NDArray there = *arrays_.to_device(array_of(values));
    EXPECT_EQ(there.device(), Device::cuda());
    const NDArray back = *arrays_.to_host(there);
    EXPECT_EQ(values_of(back), values);
    EXPECT_TRUE(gpu_->pinned().contains(back.read()->data, count * sizeof(float)))
        << "what comes back is pinned";
    EXPECT_EQ(values_of(*arrays_.to_host(*arrays_.to_device(back))), values) << "and goes from there";
    EXPECT_EQ(values_of(*arrays_.to_host(*arrays_.to_device(there))), values) << "and within the device";
  }
}

TEST_F(CudaMemory, NothingWaitsForTheDevice) {
  static_cast<void>(values_of(*arrays_.to_host(*arrays_.to_device(array_of(counted(64))))));
  const unsigned long waits = fake_waits();
  for (int i = 0; i < 100; ++i) {
    const std::vector<float> values = counted(64, static_cast<float>(i));
    EXPECT_EQ(values_of(*arrays_.to_host(*arrays_.to_device(array_of(values)))), values);
  }
  EXPECT_EQ(fake_waits(), waits);
}

// A thread of another library goes on with its own context.
TEST_F(CudaMemory, LeavesTheThreadsContextAsItWas) {
  const DriverApi& api = gpu_->api();
  const Buffer buffer = *arrays_.acquire(64);
  ASSERT_EQ(api.cuCtxSetCurrent(nullptr), CUDA_SUCCESS);
  ASSERT_TRUE(arrays_.take(buffer, DType::kF32, {16}).ok());
  ASSERT_TRUE(arrays_.remember_stream(1).ok());
  ASSERT_TRUE(arrays_.acquire(12345).ok());
  ASSERT_TRUE(Buffer::allocate(64, memory_->allocator()).ok());
  ASSERT_TRUE(Buffer::allocate(64, memory_->host_side_allocator()).ok());
  CUcontext current = nullptr;
  ASSERT_EQ(api.cuCtxGetCurrent(&current), CUDA_SUCCESS);
  EXPECT_EQ(current, nullptr);
}

// As PyTorch does it: its stream's event, which our stream waits for.
TEST_F(CudaMemory, AnArrayIsReadyOnceTheOtherLibrarysStreamIsDone) {
  const DriverApi& api = gpu_->api();
  ASSERT_TRUE(gpu_->make_current().ok());
  CUstream theirs = nullptr;
  CUevent filled = nullptr;
  ASSERT_EQ(api.cuStreamCreate(&theirs, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  ASSERT_EQ(api.cuEventCreate(&filled, CU_EVENT_DISABLE_TIMING), CUDA_SUCCESS);
  const std::size_t count = is_real() ? std::size_t{16} << 20U : 4096;
  const std::vector<float> values = counted(count);
  const GpuMemory source = *gpu_->allocate(count * 4, "test");
  ASSERT_TRUE(gpu_->upload(source.address(), values.data(), count * 4).ok());
  for (int round = 0; round < 5; ++round) {
    const Buffer buffer = *arrays_.acquire(count * 4);
    ASSERT_TRUE(gpu_->make_current().ok());
    const auto address = reinterpret_cast<CUdeviceptr>(buffer.bytes());
    // Zeros first, and much to do before the values come.
    ASSERT_EQ(api.cuMemsetD8(address, 0, count * 4), CUDA_SUCCESS);
    for (int i = 0; i < 50; ++i)
      ASSERT_EQ(api.cuMemcpyAsync(address + count * 2, source.address(), count * 2, theirs), CUDA_SUCCESS);
    ASSERT_EQ(api.cuMemcpyAsync(address, source.address(), count * 4, theirs), CUDA_SUCCESS);
    ASSERT_EQ(api.cuEventRecord(filled, theirs), CUDA_SUCCESS);
    ASSERT_EQ(api.cuStreamWaitEvent(reinterpret_cast<CUstream>(arrays_.stream()), filled, 0), CUDA_SUCCESS);
    const NDArray taken = *arrays_.take(buffer, DType::kF32, {static_cast<std::int64_t>(count)});
    EXPECT_EQ(values_of(*arrays_.to_host(taken)), values);
    EXPECT_EQ(taken.view()->data, buffer.bytes()) << "without a copy";
  }
  api.cuEventDestroy(filled);
  api.cuStreamDestroy(theirs);
}

TEST_F(CudaMemory, RemembersStreamsThatMayGo) {
  const DriverApi& api = gpu_->api();
  ASSERT_TRUE(gpu_->make_current().ok());
  CUstream blocking = nullptr;
  CUstream free = nullptr;
  ASSERT_EQ(api.cuStreamCreate(&blocking, CU_STREAM_DEFAULT), CUDA_SUCCESS);
  ASSERT_EQ(api.cuStreamCreate(&free, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  EXPECT_EQ(*memory_->remember_stream(1), 1U);
  EXPECT_EQ(*memory_->remember_stream(2), 1U);
  EXPECT_EQ(*memory_->remember_stream(reinterpret_cast<std::intptr_t>(blocking)), 1U);
  EXPECT_EQ(*memory_->remember_stream(reinterpret_cast<std::intptr_t>(free)),
            reinterpret_cast<std::uintptr_t>(free));
  EXPECT_EQ(memory_->remember_stream(0).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(memory_->remember_stream(-2).status().code(), StatusCode::kInvalidArgument);
  if (is_real()) {
    // While a stream is captured, nothing can be marked behind it, and the capture goes on.
    ASSERT_EQ(api.cuStreamBeginCapture(free, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
    const auto none = memory_->mark_behind(reinterpret_cast<std::uintptr_t>(free));
    EXPECT_TRUE(none.ok() && *none == nullptr);
    EXPECT_TRUE(arrays_.to_device(array_of(counted(8)))->wait().ok()) << "copies go on meanwhile";
    CUgraph graph = nullptr;
    EXPECT_EQ(api.cuStreamEndCapture(free, &graph), CUDA_SUCCESS);
    if (graph != nullptr) api.cuGraphDestroy(graph);
  }
  const auto mark = memory_->mark_behind(reinterpret_cast<std::uintptr_t>(free));
  ASSERT_TRUE(mark.ok() && *mark != nullptr);
  while (!*(*mark)->passed()) std::this_thread::yield();
  api.cuStreamDestroy(blocking);
  api.cuStreamDestroy(free);
}

TEST_F(CudaMemory, WhatOthersUsedComesBackAfterTheirWork) {
  std::atomic<bool> released{false};
  Buffer memory = *arrays_.acquire(64);
  void* const address = memory.bytes();
  NDArray array = *NDArray::from_buffer(
      *Buffer::wrap(
          address, 64, [&, memory = std::move(memory)] { released = true; }, Device::cuda()),
      DType::kF32, {16});
  arrays_.release_after_use(std::move(array), *arrays_.remember_stream(1));
  while (!released) std::this_thread::yield();
}

TEST_F(CudaMemory, SharesTheDeviceWithBackends) {
  EXPECT_EQ(*shared_gpu(0), gpu_);
  EXPECT_EQ(shared_gpu(63).status().code(), StatusCode::kNoSuchDevice);
  EXPECT_GE(*count_cuda_devices(), 1);
}

}  // namespace
}  // namespace inflight::cuda
