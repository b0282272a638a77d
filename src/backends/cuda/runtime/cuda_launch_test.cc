// SPDX-License-Identifier: Apache-2.0
// A launch gets no memory and never waits for the device. The test counts allocations, so it is a program of its own;
// where there is no driver it runs with one that computes nothing (testing/fake_driver.cc).
#include <dlfcn.h>

#include "backends/cuda/runtime/cuda_test_support.h"
#include "backends/cuda/runtime/graph_edges.h"
#include "support/allocations.h"

namespace inflight::cuda {
namespace {

// Of the driver that computes nothing; 0 with a real one. It has no name of its own in the linker's list (soname), so
// that NVRTC does not take it for a real one either.
unsigned long fake_count(const char* name) {
  void* const driver = dlopen(INFLIGHT_FAKE_DRIVER "/libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (driver == nullptr) return 0;
  using Count = unsigned long (*)();
  const auto count = reinterpret_cast<Count>(dlsym(driver, name));
  dlclose(driver);
  return count == nullptr ? 0 : count();
}

class CudaLaunch : public testing::Test {
 protected:
  void SetUp() override {
    setenv("INFLIGHT_CUDA_LIBRARIES", INFLIGHT_FAKE_DRIVER, 0);
    if (!nvrtc_api().ok()) GTEST_SKIP() << nvrtc_api().status().to_string();
    const auto opened = GpuDevice::open(0);
    if (!opened.ok()) GTEST_SKIP() << opened.status().to_string();
    device_ = *opened;
    std::printf("%s\n", device_->description().c_str());
    program_ = build(device_, scale_graph(2));
    ASSERT_NE(program_, nullptr);
  }

  std::unique_ptr<GpuSlot> bind() { return bind(program_); }
  static std::unique_ptr<GpuSlot> bind(const std::shared_ptr<GpuProgram>& program) {
    auto slot = program->bind();
    EXPECT_TRUE(slot.ok()) << slot.status().to_string();
    if (!slot.ok()) return nullptr;
    EXPECT_TRUE((*slot)->warm_up().ok());
    return *std::move(slot);
  }

  std::shared_ptr<GpuDevice> device_;
  std::shared_ptr<GpuProgram> program_;
};

// With few values, which kernels copy, and with many, which a copy engine copies.
TEST_F(CudaLaunch, AllocatesNothingAndNeverWaits) {
  for (const std::int64_t count : {kCount, kLargeCount}) {
    const auto program = build(device_, scale_graph(2, false, count));
    ASSERT_NE(program, nullptr);
    const auto slot = bind(program);
    const auto next = bind(program);
    ASSERT_TRUE(slot != nullptr && next != nullptr);
    const auto values = static_cast<std::size_t>(count);
    const GpuMemory pinned = *device_->allocate_pinned(values * 4, "test");
    std::vector<float> in(values, 1);
    std::vector<float> out(values, 1);
    // Pageable memory, which takes a copy of the host; then pinned memory, from one launch to the next.
    const std::array<TensorView, 2> inputs{view(in.data(), Device::cpu(), count),
                                           view(pinned.host(), Device::cpu(), count)};
    const std::array<MutableTensorView, 2> outputs{target(pinned.host(), Device::cpu(), count),
                                                   target(out.data(), Device::cpu(), count)};
    long most = 0;
    unsigned long waited = 0;
    unsigned long got = 0;
    const std::uint64_t launches = count == kCount ? 1000 : 100;
    for (std::uint64_t generation = 1; generation <= launches; ++generation) {
      const Width width = generation % 2 == 0 ? Width::kWide : Width::kNarrow;
      const LaunchPoint point{slot.get(), generation};
      const long before = test::allocations();
      const unsigned long waits = fake_count("fake_cuda_waits");
      const unsigned long gets = fake_count("fake_cuda_gets");
      const Status first = slot->launch({{&inputs[0], 1}, {&outputs[0], 1}, width, generation, {}});
      const Status second = next->launch({{&inputs[1], 1}, {&outputs[1], 1}, width, generation, {&point, 1}});
      waited += fake_count("fake_cuda_waits") - waits;
      got += fake_count("fake_cuda_gets") - gets;
      const bool ended = wait_for_word(*slot, generation) && wait_for_word(*next, generation);
      const bool ok = first.ok() && second.ok() && slot->outcome().ok() && next->outcome().ok();
      most = std::max(most, test::allocations() - before);
      ASSERT_TRUE(ended && ok) << first.to_string() << ", " << second.to_string();
    }
    EXPECT_EQ(most, 0) << count;
    EXPECT_EQ(waited, 0U) << count;
    EXPECT_EQ(got, 0U) << count;
  }
}

// The driver without a device copies, though it computes nothing: what a launch reads and writes is seen in the slot's own
// memory. CudaMemory has the like of it for a device.
TEST_F(CudaLaunch, LargeArraysAreCopiedFromWhereverALaunchHasThem) {
  if (device_->name() != "Fake") GTEST_SKIP() << "memory of this device cannot be read here";
  const auto program = build(device_, scale_graph(2, false, kLargeCount));
  ASSERT_NE(program, nullptr);
  const auto slot = bind(program);
  ASSERT_NE(slot, nullptr);
  constexpr std::size_t kBytes = kLargeCount * 4;
  std::vector<float> pageable(kLargeCount);
  const GpuMemory pinned = *device_->allocate_pinned(2 * kBytes, "test");
  const GpuMemory on_device = *device_->allocate(kBytes, "test");
  const std::array<std::pair<void*, Device>, 4> places{{{pageable.data(), Device::cpu()},
                                                        {pinned.host(), Device::cpu()},
                                                        {pinned.host() + kBytes, Device::cpu()},
                                                        {on_device.host(), Device::cuda()}}};
  auto* const x = static_cast<float*>(pointer_of(slot->address(program->graph().inputs[0])));
  auto* const y = static_cast<float*>(pointer_of(slot->address(program->graph().outputs[0])));
  std::uint64_t generation = 0;
  for (int pair = 0; pair < 32; ++pair) {
    const auto [in, in_device] = places[static_cast<std::size_t>(pair / 4 % 4)];
    const auto [out, out_device] = places[static_cast<std::size_t>(pair % 4)];
    for (const Width width : {Width::kWide, Width::kNarrow}) {
      const auto value = static_cast<float>(++generation);
      if (in != out) std::fill_n(static_cast<float*>(out), kLargeCount, 0.0F);
      std::fill_n(static_cast<float*>(in), kLargeCount, value);
      std::fill_n(y, kLargeCount, value + 0.5F);
      const TensorView input = view(in, in_device, kLargeCount);
      const MutableTensorView output = target(out, out_device, kLargeCount);
      ASSERT_TRUE(slot->launch({{&input, 1}, {&output, 1}, width, generation, {}}).ok());
      EXPECT_EQ(slot->completion_word().load(), generation);
      ASSERT_TRUE(slot->outcome().ok());
      for (const std::int64_t i : {std::int64_t{0}, kLargeCount - 1}) {
        EXPECT_EQ(x[i], value) << "pair " << pair;
        EXPECT_EQ(static_cast<const float*>(out)[i], value + 0.5F) << "pair " << pair;
      }
    }
  }
}

// Kernels of ours begin early (from compute capability 9.0 on), but not behind the nodes that must have ended.
TEST_F(CudaLaunch, BeginsAfterTheEndOfTheNodesThatAreGiven) {
  const auto slot = bind();
  ASSERT_NE(slot, nullptr);
  const DriverApi& api = device_->api();
  std::vector<CUgraphNode> to_end;
  EXPECT_EQ(add_newest_nodes(*device_, slot->stream(), to_end).code(), StatusCode::kInternal);
  ASSERT_EQ(api.cuStreamBeginCapture(slot->stream(), CU_STREAM_CAPTURE_MODE_RELAXED), CUDA_SUCCESS);
  EXPECT_TRUE(add_newest_nodes(*device_, slot->stream(), to_end).ok());
  EXPECT_TRUE(to_end.empty());
  std::vector<CUgraphNode> nodes;
  for (int kernel = 0; kernel < 4; ++kernel) {
    if (kernel == 2) {
      EXPECT_TRUE(add_newest_nodes(*device_, slot->stream(), to_end).ok());
    }
    EXPECT_TRUE(slot->enqueue_step(0, Width::kWide, slot->stream()).ok());
    EXPECT_TRUE(add_newest_nodes(*device_, slot->stream(), nodes).ok());
  }
  CUgraph graph = nullptr;
  ASSERT_EQ(api.cuStreamEndCapture(slot->stream(), &graph), CUDA_SUCCESS);
  ASSERT_EQ(to_end.size(), 1U);
  ASSERT_EQ(nodes.size(), 4U);
  EXPECT_EQ(to_end[0], nodes[1]);
  const auto is_early_behind = [&](std::size_t node) {
    std::array<CUgraphNode, 2> behind{};
    std::array<CUgraphEdgeData, 2> edges{};
    std::size_t count = behind.size();
    EXPECT_EQ(api.cuGraphNodeGetDependentNodes(nodes[node], behind.data(), edges.data(), &count),
              CUDA_SUCCESS);
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(behind[0], nodes[node + 1]);
    return edges[0].type == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
  };
  const bool can = device_->compute_capability() >= 90;
  for (std::size_t node = 0; node < 3; ++node) EXPECT_EQ(is_early_behind(node), can);
  EXPECT_TRUE(begin_after_end_of(*device_, to_end, graph).ok());
  for (std::size_t node = 0; node < 3; ++node) EXPECT_EQ(is_early_behind(node), can && node != 1);
  api.cuGraphDestroy(graph);
}

// The counters count: what is asked of the device above would be seen.
TEST_F(CudaLaunch, CountsWhatALoadDoes) {
  const long before = test::allocations();
  const unsigned long waits = fake_count("fake_cuda_waits");
  const unsigned long gets = fake_count("fake_cuda_gets");
  ASSERT_NE(bind(), nullptr);
  EXPECT_GT(test::allocations(), before);
  if (device_->name() != "Fake") return;
  EXPECT_GT(fake_count("fake_cuda_waits"), waits);
  EXPECT_GT(fake_count("fake_cuda_gets"), gets);
}

}  // namespace
}  // namespace inflight::cuda
