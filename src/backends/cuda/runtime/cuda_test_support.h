// SPDX-License-Identifier: Apache-2.0
// What the tests on a device share. Each of them skips, and says so, where there is no device.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/runtime/device.h"
#include "backends/cuda/runtime/gpu_program.h"
#include "support/watchdog.h"

namespace inflight::cuda {

// The device that all tests share; null, with the reason, where there is none. A test that loses a device opens
// one of its own, at the end of the program.
inline Result<std::shared_ptr<GpuDevice>>& shared_device() {
  static Result<std::shared_ptr<GpuDevice>> device = GpuDevice::open(0);
  return device;
}

class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    limit_test_to(std::chrono::minutes(9));
    if (!shared_device().ok()) GTEST_SKIP() << shared_device().status().to_string();
    device = *shared_device();
    ASSERT_TRUE(device->status().ok()) << device->status().to_string();
    ASSERT_TRUE(device->make_current().ok());
  }
  std::shared_ptr<GpuDevice> device;
};

inline std::vector<std::byte> encode(DType dtype, std::span<const float> values) {
  std::vector<std::byte> bytes(values.size() * dtype_bytes(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) std::memcpy(&bytes[i * 4], &values[i], 4);
    if (dtype == DType::kF16) {
      const __half_raw half = __float2half(values[i]);
      std::memcpy(&bytes[i * 2], &half.x, 2);
    }
    if (dtype == DType::kBF16) {
      const __nv_bfloat16_raw half = __float2bfloat16(values[i]);
      std::memcpy(&bytes[i * 2], &half.x, 2);
    }
  }
  return bytes;
}

inline std::vector<float> decode(DType dtype, std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / dtype_bytes(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) std::memcpy(&values[i], &bytes[i * 4], 4);
    unsigned short half = 0;
    if (dtype != DType::kF32) std::memcpy(&half, &bytes[i * 2], 2);
    if (dtype == DType::kF16) values[i] = __half2float(__half(__half_raw{half}));
    if (dtype == DType::kBF16) values[i] = __bfloat162float(__nv_bfloat16(__nv_bfloat16_raw{half}));
  }
  return values;
}

inline std::vector<float> random_values(std::size_t count, unsigned seed, float size = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> pick(-size, size);
  std::vector<float> values(count);
  for (float& value : values) value = pick(random);
  return values;
}

// The largest difference, over the largest value expected.
inline double relative_error(std::span<const float> got, std::span<const float> want) {
  EXPECT_EQ(got.size(), want.size());
  double size = 1e-6;
  double worst = 0;
  for (const float value : want) size = std::max(size, std::abs(static_cast<double>(value)));
  for (std::size_t i = 0; i < std::min(got.size(), want.size()); ++i) {
    const double off = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    worst = std::max(worst, std::isnan(off) ? 1e9 : off);
  }
  return worst / size;
}

inline double tolerance(DType dtype) { return dtype == DType::kF32 ? 1e-4 : 2e-2; }

inline float activate(Activation activation, float v) {
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return std::max(v, 0.0F);
    case Activation::kRelu6:
      return std::min(std::max(v, 0.0F), 6.0F);
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-v));
    case Activation::kTanh:
      return std::tanh(v);
    case Activation::kSilu:
      return v / (1 + std::exp(-v));
    case Activation::kGelu:
      return 0.5F * v * (1 + std::erf(v * 0.70710678F));
  }
  return v;
}

// Builds graphs by hand.
class Builder {
 public:
  TensorId tensor(Storage storage, DType dtype, Extents extents, Extents strides,
                  std::vector<float> values = {}) {
    GpuTensor one;
    one.name = "t" + std::to_string(graph.tensors.size());
    one.dtype = dtype;
    one.extents = std::move(extents);
    one.strides = std::move(strides);
    one.storage = storage;
    if (storage == Storage::kScratch) {
      one.offset = graph.scratch_bytes;
      graph.scratch_bytes += (one.bytes() + 255) / 256 * 256;
    }
    if (storage == Storage::kConstant) one.constant = encode(dtype, values);
    graph.tensors.push_back(std::move(one));
    const auto id = static_cast<TensorId>(graph.tensors.size() - 1);
    if (storage == Storage::kInput) graph.inputs.push_back(id);
    if (storage == Storage::kOutput) graph.outputs.push_back(id);
    return id;
  }
  TensorId vector(Storage storage, DType dtype, std::int64_t n, std::vector<float> values = {}) {
    return tensor(storage, dtype, {n}, {1}, std::move(values));
  }
  // [N,C,H,W] with channels last.
  TensorId image(Storage storage, DType dtype, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w,
                 std::vector<float> values = {}) {
    return tensor(storage, dtype, {n, c, h, w}, {c * h * w, 1, w * c, c}, std::move(values));
  }
  void kernel(std::string label, std::string source, std::vector<TensorId> reads,
              std::vector<TensorId> writes, std::int64_t blocks = 1, int threads = 128) {
    graph.steps.emplace_back(KernelStep{std::move(label), std::move(source), std::move(reads),
                                        std::move(writes), blocks, threads});
  }
  GpuGraph graph;
};

inline double microseconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - since).count();
}

inline double percentile(std::vector<double> values, double at) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0
                        : values[std::min(values.size() - 1,
                                          static_cast<std::size_t>(at * static_cast<double>(values.size())))];
}

// Spins until the slot's word shows the generation; false after ten seconds.
inline bool wait_for_word(const BoundProgram& slot, std::uint64_t generation) {
  const auto start = std::chrono::steady_clock::now();
  while (slot.completion_word().load(std::memory_order_acquire) < generation) {
    if (microseconds(start) > 10e6) return false;
  }
  return true;
}

inline constexpr std::int64_t kCount = 1000;  // not a multiple of 16 bytes' worth for u8

inline constexpr std::int64_t kLargeCount = 300'007;  // a copy engine copies so many
// y[i] = x[i] * factor. If `slow`, it first spins for x[0] microseconds.
inline GpuGraph scale_graph(float factor, bool slow = false, std::int64_t count = kCount) {
  Builder builder;
  const TensorId x = builder.vector(Storage::kInput, DType::kF32, count);
  const TensorId y = builder.vector(Storage::kOutput, DType::kF32, count);
  const std::string wait =
      "    unsigned long long begin, now;\n    asm volatile(\"mov.u64 %0, %globaltimer;\" : \"=l\"(begin));\n"
      "    do { asm volatile(\"mov.u64 %0, %globaltimer;\" : \"=l\"(now)); } while (now - begin < (unsigned "
      "long long)x[0] * 1000ull);\n";
  builder.kernel("scale",
                 fmt::format("extern \"C\" KERNEL void run(const float* x, float* y) {{\n"
                             "  const int i = blockIdx.x * blockDim.x + threadIdx.x;\n{}"
                             "  if (i < {}) y[i] = x[i] * {:.3f}f;\n}}\n",
                             slow ? wait : "", count, factor),
                 {x}, {y}, (count + 127) / 128, 128);
  return std::move(builder.graph);
}

inline TensorView view(const void* data, Device device = Device::cpu(), std::int64_t count = kCount) {
  return {data, DType::kF32, {count}, device};
}
inline MutableTensorView target(void* data, Device device = Device::cpu(), std::int64_t count = kCount) {
  return {data, DType::kF32, {count}, device};
}

inline std::shared_ptr<GpuProgram> build(const std::shared_ptr<GpuDevice>& device, GpuGraph graph) {
  ProgramOptions options;
  options.name = "test";
  options.tune = TuneLevel::kOff;
  auto program = GpuProgram::build(device, std::move(graph), options);
  EXPECT_TRUE(program.ok()) << program.status().to_string();
  return program.ok() ? *program : nullptr;
}

}  // namespace inflight::cuda
