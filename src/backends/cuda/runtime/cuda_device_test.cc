// SPDX-License-Identifier: Apache-2.0
// Devices, slots, launches and chains, on a device.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/cuda_test_support.h"

namespace inflight::cuda {
namespace {

using testing::HasSubstr;

TEST(CudaReport, WhatThisMachineHas) {
  const auto& device = shared_device();
  std::printf("device: %s\n",
              device.ok() ? (*device)->description().c_str() : device.status().to_string().c_str());
  if (device.ok()) std::printf("driver: CUDA %s\n", cuda_version_text((*device)->driver_version()).c_str());
  int major = 0;
  int minor = 0;
  if (nvrtc_api().ok()) (*nvrtc_api())->nvrtcVersion(&major, &minor);
  std::printf("NVRTC %d.%d (%s), cuDNN: %s, libraries: %s\nfolders:", major, minor,
              nvrtc_api().status().to_string().c_str(), cudnn_library().status().to_string().c_str(),
              library_versions().c_str());
  for (const std::string& folder : library_folders()) std::printf(" %s", folder.c_str());
  std::printf("\n");
  if (!device.ok()) GTEST_SKIP() << device.status().to_string();
  EXPECT_TRUE(nvrtc_api().ok());
  EXPECT_TRUE(cudnn_library().ok());
  EXPECT_TRUE(cublaslt_api().ok());
}

class CudaSlot : public CudaTest {};

TEST_F(CudaSlot, NamesADeviceThatIsNotThere) {
  const Status none = GpuDevice::open(63).status();
  EXPECT_EQ(none.code(), StatusCode::kNoSuchDevice);
  EXPECT_THAT(std::string(none.message()), HasSubstr("device cuda:63: this machine has "));
}

// Of few values, which kernels copy, and of many, which a copy engine copies.
class CudaMemory : public CudaTest, public testing::WithParamInterface<std::int64_t> {
 protected:
  static constexpr std::array<const char*, 4> kKinds = {"pageable", "pinned", "pinned elsewhere", "device"};

  void SetUp() override {
    CudaTest::SetUp();
    if (device == nullptr) return;
    for (Place* place : {&from_, &to_}) {
      place->pageable.resize(count_);
      place->pinned = *device->allocate_pinned(count_ * 8 + 12, "test");
      place->on_device = *device->allocate(count_ * 4, "test");
    }
  }

  struct Place {
    std::vector<float> pageable;
    GpuMemory pinned;
    GpuMemory on_device;
  };
  // The address of a kind, and where it is.
  std::pair<void*, Device> of(Place& place, std::size_t kind) const {
    if (kind == 0) return {place.pageable.data(), Device::cpu()};
    if (kind == 1) return {place.pinned.host(), Device::cpu()};
    if (kind == 2) return {place.pinned.host() + count_ * 4 + 12, Device::cpu()};
    return {place.on_device.host(), Device::cuda()};
  }
  void put(std::size_t kind, std::span<const float> values) {
    const auto [data, where] = of(from_, kind);
    if (where.is_host()) {
      std::memcpy(data, values.data(), values.size_bytes());
    } else {
      EXPECT_TRUE(device->upload(from_.on_device.address(), values.data(), values.size_bytes()).ok());
    }
  }
  std::vector<float> got(std::size_t kind) {
    std::vector<float> values(count_);
    const auto [data, where] = of(to_, kind);
    if (where.is_host()) {
      std::memcpy(values.data(), data, count_ * 4);
    } else {
      EXPECT_TRUE(device->download(values.data(), to_.on_device.address(), count_ * 4).ok());
    }
    return values;
  }

  const std::size_t count_ = static_cast<std::size_t>(GetParam());
  Place from_;
  Place to_;
};

// Twice, so that each kind also comes after the last one.
TEST_P(CudaMemory, OfEveryKindIsReadAndWrittenInAllPairs) {
  const auto program = build(device, scale_graph(2, false, GetParam()));
  ASSERT_NE(program, nullptr);
  const auto slot = *program->bind();
  ASSERT_TRUE(slot->warm_up().ok());
  EXPECT_EQ(slot->completion_word().load(), 0U) << "warming up is no launch";
  std::uint64_t generation = 0;
  for (std::size_t pair = 0; pair < 2 * kKinds.size() * kKinds.size(); ++pair) {
    const std::size_t from = pair / kKinds.size() % kKinds.size();
    const std::size_t to = pair % kKinds.size();
    for (const Width width : {Width::kWide, Width::kNarrow}) {
      const std::vector<float> values = random_values(count_, static_cast<unsigned>(++generation));
      put(from, values);
      const auto [in, in_device] = of(from_, from);
      const auto [out, out_device] = of(to_, to);
      const TensorView input = view(in, in_device, GetParam());
      const MutableTensorView output = target(out, out_device, GetParam());
      const Status launched = slot->launch({{&input, 1}, {&output, 1}, width, generation, {}});
      ASSERT_TRUE(launched.ok()) << launched.to_string();
      ASSERT_TRUE(wait_for_word(*slot, generation));
      ASSERT_TRUE(slot->outcome().ok());
      std::vector<float> want = values;
      for (float& value : want) value *= 2;
      EXPECT_TRUE(got(to) == want) << "from " << kKinds[from] << " to " << kKinds[to];
    }
  }
  EXPECT_TRUE(device->look().ok());
}
INSTANTIATE_TEST_SUITE_P(Counts, CudaMemory, testing::Values(kCount, kLargeCount));

// Bytes that do not start or end at 16.
TEST_F(CudaSlot, CopiesOddSizesAtOddAddresses) {
  for (const std::int64_t count : {1, 15, 16, 17, 4097, 100003}) {
    Builder builder;
    const TensorId x = builder.vector(Storage::kInput, DType::kU8, count);
    const TensorId y = builder.vector(Storage::kOutput, DType::kU8, count);
    builder.kernel("copy",
                   fmt::format("extern \"C\" KERNEL void run(const unsigned char* x, unsigned char* y) {{\n"
                               "  for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < {}; i += "
                               "gridDim.x * blockDim.x) "
                               "y[i] = x[i] ^ 0xff;\n}}\n",
                               count),
                   {x}, {y}, 4);
    const auto program = build(device, std::move(builder.graph));
    ASSERT_NE(program, nullptr);
    const auto slot = *program->bind();
    const GpuMemory memory = *device->allocate_pinned(static_cast<std::size_t>(count) * 2 + 64, "test");
    std::byte* const in = memory.host() + 3;
    std::byte* const out = in + count + 5;
    for (std::int64_t i = 0; i < count; ++i) in[i] = static_cast<std::byte>(i * 7);
    out[count] = std::byte{0x5a};
    const TensorView input{in, DType::kU8, {count}, Device::cpu()};
    const MutableTensorView output{out, DType::kU8, {count}, Device::cpu()};
    ASSERT_TRUE(slot->launch({{&input, 1}, {&output, 1}, Width::kWide, 1, {}}).ok());
    ASSERT_TRUE(wait_for_word(*slot, 1));
    for (std::int64_t i = 0; i < count; ++i)
      ASSERT_EQ(out[i], in[i] ^ std::byte{0xff}) << count << " at " << i;
    EXPECT_EQ(out[count], std::byte{0x5a});
  }
}

TEST_F(CudaSlot, ManySlotsKeepTheirLaunchesApart) {
  const auto program = build(device, scale_graph(3));
  ASSERT_NE(program, nullptr);
  constexpr std::size_t kSlots = 16;
  constexpr std::uint64_t kLaunches = 20000;
  std::vector<std::unique_ptr<GpuSlot>> slots;
  std::vector<GpuMemory> outputs;
  std::vector<GpuMemory> inputs;
  for (std::size_t k = 0; k < kSlots; ++k) {
    slots.push_back(*program->bind());
    outputs.push_back(*device->allocate_pinned(kCount * 4, "test"));
    inputs.push_back(*device->allocate_pinned(kCount * 4, "test"));
  }
  std::vector<std::uint64_t> generations(kSlots);
  std::uint64_t finished = 0;
  std::uint64_t launched = 0;
  const auto start = std::chrono::steady_clock::now();
  while (finished < kLaunches && microseconds(start) < 60e6) {
    for (std::size_t k = 0; k < kSlots; ++k) {
      if (generations[k] != 0 &&
          slots[k]->completion_word().load(std::memory_order_acquire) != generations[k])
        continue;
      auto* const in = reinterpret_cast<float*>(inputs[k].host());
      const auto* const out = reinterpret_cast<const float*>(outputs[k].host());
      if (generations[k] != 0) {
        ASSERT_EQ(out[0], in[0] * 3);
        ASSERT_EQ(out[kCount - 1], in[kCount - 1] * 3);
        ++finished;
      }
      if (launched == kLaunches) {
        generations[k] = 0;
        continue;
      }
      ++launched;
      in[0] = static_cast<float>(launched % 1000);
      in[kCount - 1] = static_cast<float>(launched % 777);
      const TensorView input = view(in);
      const MutableTensorView output = target(outputs[k].host());
      const std::uint64_t next = slots[k]->completion_word().load() + 1;
      ASSERT_TRUE(slots[k]->launch({{&input, 1}, {&output, 1}, Width::kNarrow, next, {}}).ok());
      generations[k] = next;
    }
  }
  EXPECT_EQ(finished, kLaunches);
  std::printf("%zu slots, tiny network: %.0f launches/s\n", kSlots, kLaunches / (microseconds(start) / 1e6));
}

// A launch returns while the device works, and one that comes after another waits for it on the device.
TEST_F(CudaSlot, LaunchesReturnAtOnceAndChainOnTheDevice) {
  const auto slow = build(device, scale_graph(2, true));
  const auto fast = build(device, scale_graph(5));
  ASSERT_TRUE(slow != nullptr && fast != nullptr);
  const auto first = *slow->bind();
  const auto second = *fast->bind();
  const auto third = *fast->bind();
  ASSERT_TRUE(first->warm_up().ok() && second->warm_up().ok() && third->warm_up().ok());
  const GpuMemory memory = *device->allocate_pinned(kCount * 4 * 4, "test");
  auto* const values = reinterpret_cast<float*>(memory.host());
  // A machine that is held up may miss the slow launch now and then; launches that wait for it miss it always.
  int at_once = 0;
  for (std::uint64_t round = 1; round <= 50; ++round) {
    for (std::int64_t i = 0; i < kCount; ++i)
      values[i] = static_cast<float>(i % 100) + static_cast<float>(round);
    values[0] = 20000;  // microseconds
    const TensorView x = view(values);
    const MutableTensorView y = target(values + kCount);
    const TensorView y_in = view(values + kCount);
    const MutableTensorView z = target(values + 2 * kCount);
    const TensorView z_in = view(values + 2 * kCount);
    const MutableTensorView w = target(values + 3 * kCount);
    const auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(first->launch({{&x, 1}, {&y, 1}, Width::kWide, round, {}}).ok());
    const LaunchPoint after_first{first.get(), round};
    ASSERT_TRUE(second->launch({{&y_in, 1}, {&z, 1}, Width::kWide, round, {&after_first, 1}}).ok());
    const LaunchPoint after_second{second.get(), round};
    ASSERT_TRUE(third->launch({{&z_in, 1}, {&w, 1}, Width::kNarrow, round, {&after_second, 1}}).ok());
    if (first->completion_word().load() != round) ++at_once;
    ASSERT_TRUE(wait_for_word(*third, round));
    EXPECT_GE(microseconds(start), 19000) << "it did not come after the slow one";
    EXPECT_EQ(first->completion_word().load(), round);
    EXPECT_EQ(second->completion_word().load(), round);
    for (std::int64_t i = 1; i < kCount; ++i)
      ASSERT_EQ(values[3 * kCount + i], values[i] * 50) << "round " << round;
  }
  EXPECT_GE(at_once, 25) << "three launches waited for the device";
}

TEST_F(CudaSlot, RefusesAChainThroughMemoryThatOnlyTheHostCanWrite) {
  const auto slow = build(device, scale_graph(2, true));
  const auto fast = build(device, scale_graph(5));
  ASSERT_TRUE(slow != nullptr && fast != nullptr);
  const auto first = *slow->bind();
  const auto second = *fast->bind();
  std::vector<float> x(kCount, 1000);
  std::vector<float> y(kCount);
  std::vector<float> z(kCount);
  const TensorView input = view(x.data());
  const MutableTensorView middle = target(y.data());
  const TensorView middle_in = view(y.data());
  const MutableTensorView output = target(z.data());
  ASSERT_TRUE(first->launch({{&input, 1}, {&middle, 1}, Width::kWide, 1, {}}).ok());
  const LaunchPoint after{first.get(), 1};
  EXPECT_EQ(second->launch({{&middle_in, 1}, {&output, 1}, Width::kWide, 1, {&after, 1}}).code(),
            StatusCode::kUnsupported);
  ASSERT_TRUE(wait_for_word(*first, 1));
  EXPECT_EQ(second->completion_word().load(), 0U);
}

TEST_F(CudaSlot, SaysHowMuchMemoryWasWantedAndGoesOn) {
  GpuGraph huge = scale_graph(2);
  huge.scratch_bytes = std::size_t{1} << 42U;
  const auto program = build(device, std::move(huge));
  ASSERT_NE(program, nullptr);
  const Status refused = program->bind().status();
  EXPECT_EQ(refused.code(), StatusCode::kOutOfMemory);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("4096.0 GiB for a slot cannot be had"));
  std::printf("%s\n", refused.to_string().c_str());
  EXPECT_TRUE(device->look().ok());
  const auto small = build(device, scale_graph(2));
  ASSERT_NE(small, nullptr);
  EXPECT_TRUE(small->bind().ok());
}

TEST_F(CudaSlot, FreesWhatItTook) {
  std::size_t before = 0;
  std::size_t after = 0;
  std::size_t total = 0;
  const auto once = [&] {
    const auto program = build(device, scale_graph(2));
    std::vector<std::unique_ptr<GpuSlot>> slots;
    for (int i = 0; i < 8; ++i) slots.push_back(*program->bind());
  };
  for (int i = 0; i < 3; ++i) once();
  device->api().cuMemGetInfo(&before, &total);
  for (int i = 0; i < 20; ++i) once();
  device->api().cuMemGetInfo(&after, &total);
  EXPECT_LT(before > after ? before - after : 0, std::size_t{8} << 20U);
}

TEST_F(CudaSlot, KernelsComeFromTheDiskTheSecondTime) {
  const std::string folder = testing::TempDir() + "inflight_cuda_kernel_cache";
  std::filesystem::remove_all(folder);
  ProgramOptions options;
  options.cache = DiskCache(folder);
  for (const bool second : {false, true}) {
    const auto program = GpuProgram::build(device, scale_graph(7), options);
    ASSERT_TRUE(program.ok()) << program.status().to_string();
    EXPECT_EQ((*program)->report().kernels.compiled, second ? 0 : 2);
    EXPECT_EQ((*program)->report().kernels.cached, second ? 2 : 0);
    std::printf("kernels in %.3f s\n", (*program)->report().kernel_seconds);
  }
}

TEST_F(CudaSlot, AWrongGraphIsRefused) {
  GpuGraph graph = scale_graph(2);
  std::get<KernelStep>(graph.steps[0]).reads[0] = 99;
  EXPECT_EQ(GpuProgram::build(device, std::move(graph), {}).status().code(), StatusCode::kInvalidModel);
}

}  // namespace
}  // namespace inflight::cuda
