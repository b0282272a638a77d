// SPDX-License-Identifier: Apache-2.0
#include "backends/openvino/widths_that_pay.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <openvino/runtime/core.hpp>
#include <utility>
#include <vector>

#include "backends/openvino/openvino_backend.h"
#include "backends/openvino/openvino_test_support.h"
#include "model/network.h"
#include "onnx_writer.h"

namespace inflight {
namespace {

using testing::compile;
using testing::f32_both;
using testing::load;
using testing::onnx_node;
using testing::onnx_value;
using testing::OnnxModel;
using testing::Slot;
using testing::small_onnx;

// On one thread the widths are alike, so that a second one only costs memory.
TEST(OpenVinoWidths, LeavesOutAWideWidthThatDoesNotPay) {
  CompileOptions options = f32_both();
  options.threads = 1;
  EXPECT_TRUE(compile(load(small_onnx()), options)->has(Width::kWide)) << "it was asked for";
  options.elastic = true;
  const std::shared_ptr<Program> program = compile(load(small_onnx()), options);
  EXPECT_FALSE(program->has(Width::kWide));
  EXPECT_TRUE(program->has(Width::kNarrow));
  EXPECT_GT(program->alone(Width::kNarrow), Duration(0)) << "it was measured";
  Slot slot(program);
  slot.run(Width::kNarrow);
}

OnnxModel square_onnx(int side) {
  return {.nodes = {onnx_node("MatMul", {"x", "x"}, {"y"})},
          .inputs = {onnx_value("x", testing::kFloat, {side, side})},
          .outputs = {onnx_value("y", testing::kFloat, {side, side})}};
}

// Of one stream with one thread, so that eight launches take eight times as long.
TEST(OpenVinoWidths, ARunOfSeveralEndsWithTheLastOfThem) {
  ov::Core core;
  const ov::CompiledModel model = core.compile_model(
      network(load(square_onnx(512))), "CPU", ov::AnyMap{ov::inference_num_threads(1), ov::num_streams(1)});
  const std::vector<internal::OpenVinoPort> inputs(1);
  const Duration one = internal::fastest_run(model, inputs, 1);
  EXPECT_GT(one, Duration(0));
  EXPECT_GT(internal::fastest_run(model, inputs, 8), 4 * one);
}

TEST(OpenVinoWidths, ABriefNetworkHasAModelForEachNarrowLaunch) {
  EXPECT_TRUE(internal::may_have_callers(*network(load(small_onnx())), 2));
  EXPECT_FALSE(internal::may_have_callers(*network(load(small_onnx())), 1))
      << "its narrow launch is the wide one";
  constexpr std::int64_t kRows = 5 << 20;  // 20 MB, which two models would have twice
  const OnnxModel heavy = {
      .nodes = {onnx_node("Gather", {"rows", "row"}, {"y"})},
      .inputs = {onnx_value("row", testing::kInt64, {1})},
      .outputs = {onnx_value("y", testing::kFloat, {1})},
      .initializers = {testing::onnx_initializer("rows", {kRows}, std::vector<float>(kRows))}};
  EXPECT_FALSE(internal::may_have_callers(*network(load(heavy)), 2));

  ov::Core core;
  const auto pay = [&core](const OnnxModel& onnx) {
    return internal::is_brief(
        core.compile_model(network(load(onnx)), "CPU", ov::AnyMap{ov::inference_num_threads(1)}),
        std::vector<internal::OpenVinoPort>(1));
  };
  EXPECT_TRUE(pay(small_onnx()));
  EXPECT_FALSE(pay(square_onnx(1024))) << "it takes milliseconds";
}

TEST(OpenVinoWidths, AddsAMediumWidthOnManyThreads) {
  CompileOptions options = f32_both();
  EXPECT_FALSE(compile(load(small_onnx()), options)->has(Width::kMedium)) << "it was not asked for";
  options.elastic = true;
  const std::shared_ptr<Program> small = compile(load(small_onnx()), options);
  EXPECT_FALSE(small->has(Width::kMedium)) << "it does not pay";
  EXPECT_EQ(small->together(Width::kMedium), Duration(0));
  const int threads = make_openvino_backend().value()->capacity();
  if (threads < 8) GTEST_SKIP() << "there are " << threads << " threads";
  constexpr int kSide = 1024;
  const std::shared_ptr<Program> program = compile(load(square_onnx(kSide)), options);
  ASSERT_TRUE(program->has(Width::kMedium));
  EXPECT_GT(program->concurrency(Width::kMedium), 1);
  EXPECT_LT(program->concurrency(Width::kMedium), threads);
  EXPECT_LT(program->alone(Width::kWide), program->alone(Width::kMedium));
  EXPECT_LT(program->alone(Width::kMedium), program->alone(Width::kNarrow));
  EXPECT_GT(program->together(Width::kMedium), Duration(0));
  Slot slot(program);
  for (int i = 0; i < kSide * kSide; ++i) slot.input<float>()[i] = static_cast<float>(i % 7);
  slot.run(Width::kNarrow);
  const std::vector<float> narrow = slot.output<float>();
  slot.run(Width::kMedium);
  EXPECT_EQ(slot.output<float>(), narrow) << "whole numbers have one sum";
}

TEST(OpenVinoWidths, WidthsMustPay) {
  using internal::WidthTimes;
  const auto ms = [](double wide, double medium, double narrow) {
    const auto of = [](double time) { return Duration(std::llround(time * 1e6)); };
    return WidthTimes{of(wide), of(medium), of(narrow)};
  };
  const auto pays = [&](const WidthTimes& alone, bool brief = false) {
    const std::array<bool, kWidthCount> which = internal::which_pay(alone, brief);
    EXPECT_TRUE(which[index_of(Width::kNarrow)]);
    return std::pair(which[index_of(Width::kWide)], which[index_of(Width::kMedium)]);
  };
  EXPECT_EQ(pays(ms(1, 3, 8)), std::pair(true, true));
  EXPECT_EQ(pays(ms(1, 0, 8)), std::pair(true, false)) << "there is no medium width";
  EXPECT_EQ(pays(ms(1, 1.1, 8)), std::pair(true, false)) << "it is as good as wide";
  EXPECT_EQ(pays(ms(1, 7.5, 8)), std::pair(true, false)) << "it is as slow as narrow";
  EXPECT_EQ(pays(ms(7.5, 7.7, 8)), std::pair(false, false));
  EXPECT_EQ(pays(ms(0.1, 0, 0.2)), std::pair(true, false)) << "the embedded classifier on two processors";
  EXPECT_EQ(pays(ms(0.07, 0, 0.092), false), std::pair(false, false));
  EXPECT_EQ(pays(ms(0.07, 0, 0.092), true), std::pair(true, false)) << "the same in bf16";
  EXPECT_EQ(pays(ms(0.15, 0, 0.14), true), std::pair(true, false))
      << "a caller that waits gains more than that";
  EXPECT_EQ(pays(ms(0.12, 0, 0.06), true), std::pair(false, false)) << "the same in bf16 on 16 processors";
  EXPECT_EQ(pays(ms(0.01, 0, 0.02), true), std::pair(false, false)) << "waking a thread takes as long";
  EXPECT_EQ(pays(ms(0.1, 0.15, 0.3), true), std::pair(true, true));
  EXPECT_EQ(pays(ms(0.01, 0.02, 0.035)), std::pair(false, false)) << "waking a thread takes as long";
  EXPECT_EQ(pays(ms(0, 0, 0)), std::pair(false, false)) << "nothing was measured";
  // Beside other programs ResNet-50 took 154 ms wide and 148 narrow on two processors, and then ran narrow for good.
  const std::array<bool, kWidthCount> all = {true, true, true};
  EXPECT_EQ(internal::which_pay(ms(154, 0, 148), false, true), all);
  EXPECT_EQ(internal::which_pay(ms(0.15, 0.15, 0.15), false, true)[index_of(Width::kWide)], false)
      << "these times hold there, too";
}

}  // namespace
}  // namespace inflight
