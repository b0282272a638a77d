// SPDX-License-Identifier: Apache-2.0
// What slots do with launches: their memory, their shapes, several at once, and how they stop.
#include "backends/openvino/openvino_slot.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <openvino/core/model.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/matmul.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/op/result.hpp>
#include <optional>
#include <thread>

#include "backends/openvino/openvino_test_support.h"
#include "base/test_memory.h"
#include "inflight/clock.h"
#include "model/network.h"

namespace inflight {
namespace {

using testing::compile;
using testing::expect_clear;
using testing::f32_both;
using testing::load;
using testing::onnx_node;
using testing::onnx_value;
using testing::OnnxModel;
using testing::Slot;
using testing::small_onnx;

TEST(OpenVinoSlot, FollowsTheLaunchsMemory) {
  Slot slot(compile(load(small_onnx())));
  slot.run();
  std::vector<float> x = {10, 10, 10, 10};
  std::vector<float> y(4);
  slot.inputs_[0].data = x.data();
  slot.outputs_[0].data = y.data();
  slot.run();
  EXPECT_EQ(y, (std::vector<float>{11, 12, 13, 14}));
  std::vector<float> z(4);
  slot.outputs_[0].data = z.data();
  x[0] = 0;
  slot.run();
  EXPECT_EQ(z[0], 1.0F);
  EXPECT_EQ(y[0], 11.0F) << "an earlier launch's output was written again";
}

// A slot of a small network has several requests, which are given other memory in turns. More pieces of memory than requests come here, some of
// them again at once, and what one launch writes the next one reads.
TEST(OpenVinoSlot, FollowsMemoryThatComesBack) {
  const std::shared_ptr<Program> program = compile(load(small_onnx()), f32_both());
  Slot slot(program);
  std::array<std::array<float, 4>, 7> memory{};
  constexpr std::array<int, 16> kOrder = {0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 6, 0, 6, 1, 5, 0};
  memory[0] = {0, 10, 20, 30};
  for (int round = 0; round < 50; ++round) {
    for (std::size_t i = 0; i + 1 < kOrder.size(); ++i) {
      const std::array<float, 4> before = memory[static_cast<std::size_t>(kOrder[i])];
      std::array<float, 4>& after = memory[static_cast<std::size_t>(kOrder[i + 1])];
      slot.inputs_[0].data = memory[static_cast<std::size_t>(kOrder[i])].data();
      slot.outputs_[0].data = after.data();
      slot.run((round + static_cast<int>(i)) % 3 == 0 ? Width::kWide : Width::kNarrow);
      for (std::size_t k = 0; k < 4; ++k)
        ASSERT_EQ(after[k], before[k] + static_cast<float>(k + 1)) << "round " << round << ", " << i;
    }
  }
}

// If two outputs have one name, or an output has the name of an input, OpenVINO confuses them when it is
// given memory for one of them.
TEST(OpenVinoSlot, OneTensorAsTwoOutputsAndAnInputAsAnOutput) {
  OnnxModel onnx = small_onnx();
  onnx.nodes.push_back(onnx_node("Identity", {"x"}, {"x2"}));
  onnx.nodes.push_back(onnx_node("Identity", {"y"}, {"y2"}));
  onnx.outputs.push_back(onnx.outputs[0]);
  onnx.outputs.push_back(onnx.inputs[0]);
  onnx.outputs.push_back(onnx_value("x2", testing::kFloat, {1, 4}));
  onnx.outputs.push_back(onnx_value("y2", testing::kFloat, {1, 4}));
  onnx.outputs.push_back(onnx.inputs[0]);
  Slot slot(compile(load(onnx), f32_both()));
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 4; ++i) slot.input<float>()[i] = static_cast<float>(i + round);
    slot.run(round % 2 == 0 ? Width::kWide : Width::kNarrow);
    std::vector<float> x(4);
    std::vector<float> y(4);
    for (int i = 0; i < 4; ++i) {
      x[static_cast<std::size_t>(i)] = static_cast<float>(i + round);
      y[static_cast<std::size_t>(i)] = static_cast<float>(2 * i + round + 1);
    }
    for (const std::size_t output : {0, 1, 4}) EXPECT_EQ(slot.output<float>(output), y) << output;
    for (const std::size_t output : {2, 3, 5}) EXPECT_EQ(slot.output<float>(output), x) << output;
  }
}

TEST(OpenVinoSlot, DynamicOutputsTellTheirShape) {
  const auto program = compile(load({.nodes = {onnx_node("NonZero", {"x"}, {"y"})},
                                     .inputs = {onnx_value("x", testing::kFloat, {1, 4})},
                                     .outputs = {onnx_value("y", testing::kInt64, {2, "n"})}}));
  Slot slot(program);
  for (int ones = 0; ones <= 4; ++ones) {
    for (int i = 0; i < 4; ++i) slot.input<float>()[i] = i < ones ? 1.0F : 0.0F;
    slot.run();
    const TensorView view = slot.bound().dynamic_output(0);
    EXPECT_EQ(view.dtype, DType::kI64);
    ASSERT_EQ(view.shape, (Shape{2, ones}));
    const auto found = view.as<std::int64_t>().value();
    for (int i = 0; i < ones; ++i) EXPECT_EQ(found[static_cast<std::size_t>(ones + i)], i);
  }
}

TEST(OpenVinoSlot, RefusesALaunchThatDoesNotFit) {
  Slot slot(compile(load(small_onnx())));
  const auto refused = [&](std::string_view wanted, Width width = Width::kNarrow) {
    expect_clear(slot.bound().launch(slot.launch(width)), StatusCode::kInvalidArgument, wanted);
    EXPECT_EQ(slot.bound().completion_word().load(), 0U);
  };
  const TensorView good = slot.inputs_[0];
  slot.inputs_[0].dtype = DType::kU8;
  refused("input \"x\": got u8[1,4], want f32[1,4]");
  slot.inputs_[0] = good;
  slot.inputs_[0].shape = {4, 1};
  refused("input \"x\": got f32[4,1]");
  slot.inputs_[0] = good;
  slot.inputs_[0].data = nullptr;
  refused("input \"x\": got no memory");
  slot.inputs_.push_back(good);
  refused("got 2 inputs and 1 outputs, want 1 and 1");
  slot.inputs_ = {good};
  refused("width: got wide", Width::kWide);
  slot.outputs_[0].data = nullptr;
  refused("output \"y\": got no memory");
}

// More slots than threads: some of a light network share a model for the caller.
TEST(OpenVinoSlot, MoreSlotsThanThreadsRunAtOnceAndApart) {
  CompileOptions options = f32_both();
  for (const bool many_launches : {false, true}) {
    options.many_launches = many_launches;
    const std::shared_ptr<Program> program = compile(load(small_onnx()), options);
    EXPECT_EQ(program->wake_cost() > Duration(0), program->concurrency(Width::kNarrow) > 1) << "it is light";
    const int slots = program->concurrency(Width::kNarrow) + 3;
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < slots; ++caller) {
      callers.emplace_back([&program, caller] {
        Slot slot(program);
        for (int i = 0; i < 200; ++i) {
          const auto value = static_cast<float>(caller * 1000 + i);
          slot.input<float>()[3] = value;
          slot.run(i % 8 == 0 ? Width::kWide : Width::kNarrow);
          ASSERT_EQ(slot.output<float>()[3], value + 4) << "caller " << caller << ", launch " << i;
        }
      });
    }
  }
}

TEST(OpenVinoSlot, MemoryDoesNotGrowWithLaunches) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer keeps freed memory for a while";
#endif
  Slot slot(compile(load(small_onnx()), f32_both()));
  const auto launches = [&](int count) {
    std::vector<float> other(4);
    for (int i = 0; i < count; ++i) {
      slot.outputs_[0].data = i % 2 == 0 ? static_cast<void*>(other.data()) : slot.input<float>(1);
      slot.run(i % 3 == 0 ? Width::kWide : Width::kNarrow);
    }
  };
  EXPECT_LT(least_growth([&] { launches(3000); }), 1'000'000);
}

// A chain of products of matrices that takes long enough to be stopped in the middle.
std::shared_ptr<ov::Model> long_network(int operators) {
  constexpr std::size_t kSize = 512;
  auto input = std::make_shared<ov::op::v0::Parameter>(ov::element::f32, ov::Shape{kSize, kSize});
  input->get_output_tensor(0).set_names({"x"});
  std::vector<float> weights(kSize * kSize);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 7) / 2000;
  const auto constant = ov::op::v0::Constant::create(ov::element::f32, {kSize, kSize}, weights);
  ov::Output<ov::Node> value = input;
  for (int i = 0; i < operators; ++i) value = std::make_shared<ov::op::v0::MatMul>(value, constant);
  auto result = std::make_shared<ov::op::v0::Result>(value);
  value.get_tensor().set_names({"y"});
  return std::make_shared<ov::Model>(ov::ResultVector{result}, ov::ParameterVector{input}, "long");
}

// Times one launch of `slot`, which is told to stop after `wait`; nothing: the thread that tells it was held up until
// the launch had ended. Prints the time from stop() to the end.
std::optional<Duration> time_to_stop(Slot& slot, Duration wait) {
  const Launch launch = slot.launch();
  TimePoint told;
  const TimePoint began = steady_clock().now();
  std::thread stopper([&] {
    steady_clock().sleep_until(began + wait);
    slot.bound().stop(launch.generation);
    told = steady_clock().now();
  });
  EXPECT_TRUE(slot.bound().launch(launch).ok());
  const TimePoint ended = steady_clock().now();
  stopper.join();
  EXPECT_EQ(slot.bound().completion_word().load(), launch.generation);
  if (told >= ended) return std::nullopt;
  EXPECT_FALSE(slot.bound().outcome().ok());
  std::printf("from stop() to the end %.2f ms\n",
              std::chrono::duration<double, std::milli>(ended - told).count());
  // What is told too late, or of another launch, stops nothing.
  slot.bound().stop(launch.generation);
  return ended - began;
}

// A machine that is held up lengthens any of the launches. One that ends early suffices: one that is not stopped
// never does.
void expect_stops(int threads) {
  SCOPED_TRACE(threads);
  constexpr int kTries = 20;
  const auto program = compile(Model(*internal::make_rep(long_network(300), "long")),
                               {.precision = Precision::kF32, .threads = threads});
  Slot slot(program);
  ASSERT_TRUE(slot.bound().can_stop());
  std::fill_n(slot.input<float>(), 512 * 512, 1.0F);
  slot.run();
  const std::vector<float> wanted = slot.output<float>();
  Duration whole = Duration::max();
  for (int i = 0; i < 2; ++i) {
    const TimePoint began = steady_clock().now();
    slot.run();
    whole = std::min(whole, steady_clock().now() - began);
  }
  std::printf("whole %.1f ms\n", std::chrono::duration<double, std::milli>(whole).count());

  bool early = false;
  for (int i = 0; i < kTries && !early; ++i) {
    const std::optional<Duration> took = time_to_stop(slot, whole / 4);
    early = took && *took < whole / 2;
    slot.run();
    ASSERT_EQ(slot.output<float>(), wanted);
  }
  EXPECT_TRUE(early) << "it ran on";

  // What is told before the launch is made stops it.
  early = false;
  for (int i = 0; i < kTries && !early; ++i) {
    const Launch next = slot.launch();
    slot.bound().stop(next.generation);
    const TimePoint began = steady_clock().now();
    ASSERT_TRUE(slot.bound().launch(next).ok());
    early = steady_clock().now() - began < whole / 4;
    EXPECT_EQ(slot.bound().completion_word().load(), next.generation);
  }
  EXPECT_TRUE(early) << "it ran on";
  slot.run();
  EXPECT_EQ(slot.output<float>(), wanted);
}

TEST(OpenVinoSlot, StopsBetweenTwoOperatorsAndRunsAgain) {
  expect_stops(0);
  expect_stops(1);
}

}  // namespace
}  // namespace inflight
