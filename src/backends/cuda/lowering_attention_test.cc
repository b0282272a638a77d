// SPDX-License-Identifier: Apache-2.0
// Transformers: attention as one step, and what is only another name for rows of matmuls.
#include <gtest/gtest.h>

#include <openvino/op/ops.hpp>
#include <random>

#include "backends/cuda/lowering.h"
#include "backends/cuda/testing/compare.h"
#include "backends/cuda/testing/step_counts.h"

namespace inflight::cuda::testing {
namespace {

namespace op = ov::op;
using Value = ov::Output<ov::Node>;
using Shape = ov::Shape;

std::shared_ptr<op::v0::Parameter> input(const Shape& shape) {
  return std::make_shared<op::v0::Parameter>(ov::element::f32, shape);
}

Value weights(const Shape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(ov::shape_size(shape));
  for (float& value : values) value = std::uniform_real_distribution<float>(-0.5F, 0.5F)(random);
  return op::v0::Constant::create(ov::element::f32, shape, values);
}

Value scalar(float value) { return op::v0::Constant::create(ov::element::f32, {}, {value}); }

Value ints(const std::vector<std::int64_t>& values) {
  return op::v0::Constant::create(ov::element::i64, {values.size()}, values);
}

template <typename Op, typename... Args>
Value made(Args&&... args) {
  return std::make_shared<Op>(std::forward<Args>(args)...)->output(0);
}

std::shared_ptr<ov::Model> model(const Value& output, const ov::ParameterVector& inputs) {
  return std::make_shared<ov::Model>(ov::ResultVector{std::make_shared<op::v0::Result>(output)}, inputs);
}

// Lowers in a precision, runs it on the host, and says how many steps of each kind there are.
StepCounts counts(const std::shared_ptr<ov::Model>& network, Precision precision) {
  CompareOptions options;
  options.precision = precision;
  if (precision == Precision::kF16) options.tolerance = 2e-2;
  const Comparison found = compare(network, options);
  EXPECT_EQ(found.difference, "") << listing(found.graph);
  return counts_of(found.graph);
}

Value heads(const Value& rows, std::int64_t count, std::int64_t length, std::int64_t width,
            bool for_keys = false) {
  const Value apart = made<op::v1::Reshape>(rows, ints({1, length, count, width}), false);
  return made<op::v1::Transpose>(apart, for_keys ? ints({0, 2, 3, 1}) : ints({0, 2, 1, 3}));
}

// A projection to queries, keys and values of 4 heads, attention, and a projection with a residual.
std::shared_ptr<ov::Model> block(const Value& mask = {}) {
  const auto from = input({1, 33, 64});
  const Value x = made<op::v0::Relu>(from);
  const Value all = made<op::v0::MatMul>(x, weights({64, 192}, 1));
  const auto parts =
      std::make_shared<op::v1::Split>(all, op::v0::Constant::create(ov::element::i64, {}, {2}), 3);
  const Value half = scalar(0.5F);
  const Value q = made<op::v1::Multiply>(heads(parts->output(0), 4, 33, 16), half);
  const Value k = made<op::v1::Multiply>(heads(parts->output(1), 4, 33, 16, true), half);
  Value scores = made<op::v0::MatMul>(q, k);
  if (mask.get_node() != nullptr) scores = made<op::v1::Add>(scores, mask);
  const Value chosen = made<op::v8::Softmax>(scores, -1);
  const Value mixed = made<op::v0::MatMul>(chosen, heads(parts->output(2), 4, 33, 16));
  const Value joined =
      made<op::v1::Reshape>(made<op::v1::Transpose>(mixed, ints({0, 2, 1, 3})), ints({33, 64}), false);
  const Value out = made<op::v1::Add>(made<op::v0::MatMul>(joined, weights({64, 64}, 2)), weights({64}, 3));
  return model(made<op::v1::Add>(made<op::v1::Reshape>(out, ints({1, 33, 64}), false), x), {from});
}

TEST(LoweringAttention, IsOneStepThatReadsTheProjection) {
  // The Relu, the projection, attention, the second with bias and residual, and the output.
  EXPECT_EQ(counts(block(), Precision::kF16), (StepCounts{2, 0, 2, 1}));
  // In f32 no library has it.
  EXPECT_EQ(counts(block(), Precision::kF32).attentions, 0U);
}

TEST(LoweringAttention, TakesAMaskThatBroadcasts) {
  EXPECT_EQ(counts(block(weights({33, 33}, 4)), Precision::kF16), (StepCounts{2, 0, 2, 1}));
  EXPECT_EQ(counts(block(weights({1, 4, 1, 33}, 4)), Precision::kF16), (StepCounts{2, 0, 2, 1}));
}

TEST(LoweringAttention, StaysApartWhereSomethingElseReadsTheWeights) {
  const auto x = input({2, 40, 32});
  const Value scores = made<op::v0::MatMul>(x, x, false, true);
  const Value chosen = made<op::v8::Softmax>(made<op::v1::Multiply>(scores, scalar(0.2F)), -1);
  const Value mixed = made<op::v0::MatMul>(chosen, x);
  const auto alone = model(mixed, {x});
  EXPECT_EQ(counts(alone, Precision::kF16).attentions, 1U);
  const ov::ResultVector both{std::make_shared<op::v0::Result>(mixed),
                              std::make_shared<op::v0::Result>(chosen)};
  EXPECT_EQ(counts(std::make_shared<ov::Model>(both, ov::ParameterVector{x}), Precision::kF16).attentions,
            0U);
}

TEST(LoweringAttention, StaysApartForOtherAxesAndWidths) {
  const auto x = input({2, 40, 32});
  const auto attention = [](const Value& q, std::int64_t axis) {
    const Value scores = made<op::v0::MatMul>(q, q, false, true);
    return made<op::v0::MatMul>(made<op::v8::Softmax>(scores, axis), q);
  };
  EXPECT_EQ(counts(model(attention(x, 1), {x}), Precision::kF16).attentions, 0U);
  const auto narrow = input({2, 40, 20});
  EXPECT_EQ(counts(model(attention(narrow, 2), {narrow}), Precision::kF16).attentions, 0U);
}

// [rows, 1, width]: as nn.MultiheadAttention has its rows, one in each batch.
TEST(LoweringAttention, RowsThatAreBatchesOfOneAreOneMatmul) {
  const auto x = input({197, 1, 64});
  const auto network = model(made<op::v0::MatMul>(x, weights({64, 96}, 1)), {x});
  for (const Precision precision : {Precision::kF16, Precision::kF32}) {
    CompareOptions options;
    options.precision = precision;
    options.tolerance = 2e-2;
    const Comparison found = compare(network, options);
    EXPECT_EQ(found.difference, "") << listing(found.graph);
    for (const Step& step : found.graph.steps) {
      if (const auto* matmul = std::get_if<MatmulStep>(&step)) {
        EXPECT_EQ(matmul->m, 197);
        EXPECT_EQ(matmul->batch, 1);
      }
    }
  }
}

TEST(LoweringShape, AStemOfPatchesIsAMatmul) {
  const auto x = input({2, 3, 16, 24});
  const Value y =
      made<op::v1::Convolution>(x, weights({32, 3, 8, 8}, 1), ov::Strides{8, 8}, ov::CoordinateDiff{0, 0},
                                ov::CoordinateDiff{0, 0}, ov::Strides{1, 1});
  const Value biased = made<op::v1::Add>(y, weights({1, 32, 1, 1}, 2));
  const Value rows =
      made<op::v1::Transpose>(made<op::v1::Reshape>(biased, ints({2, 32, 6}), false), ints({0, 2, 1}));
  EXPECT_EQ(counts(model(rows, {x}), Precision::kF16), (StepCounts{2, 0, 1, 0}));
  EXPECT_EQ(counts(model(rows, {x}), Precision::kF32), (StepCounts{2, 0, 1, 0}));
  // Windows that overlap, or leave something out, stay a convolution.
  const auto wide = input({2, 3, 16, 25});
  const Value other =
      made<op::v1::Convolution>(wide, weights({32, 3, 8, 8}, 1), ov::Strides{8, 8}, ov::CoordinateDiff{0, 0},
                                ov::CoordinateDiff{0, 0}, ov::Strides{1, 1});
  EXPECT_EQ(counts(model(other, {wide}), Precision::kF16).convolutions, 1U);
}

TEST(LoweringShape, AResidualBehindAReshapeIsTheMatmuls) {
  const auto x = input({1, 20, 32});
  const Value rows = made<op::v1::Reshape>(made<op::v0::Relu>(x), ints({20, 32}), false);
  const Value y = made<op::v0::MatMul>(rows, weights({32, 32}, 1));
  const Value back =
      made<op::v1::Transpose>(made<op::v1::Reshape>(y, ints({20, 1, 32}), false), ints({1, 0, 2}));
  const auto network = model(made<op::v1::Add>(back, made<op::v0::Relu>(x)), {x});
  const StepCounts found = counts(network, Precision::kF32);
  EXPECT_EQ(found.matmuls, 1U);
  EXPECT_LE(found.kernels, 2U);
}

TEST(LoweringShape, TwoProductsThatMeetBehindReshapesEnd) {
  const auto x = input({1, 20, 32});
  const auto product = [&](unsigned seed) {
    const Value rows = made<op::v1::Reshape>(x, ints({20, 32}), false);
    return made<op::v1::Reshape>(made<op::v0::MatMul>(rows, weights({32, 32}, seed)), ints({1, 20, 32}),
                                 false);
  };
  EXPECT_EQ(counts(model(made<op::v1::Add>(product(1), product(2)), {x}), Precision::kF32).matmuls, 2U);
}

}  // namespace
}  // namespace inflight::cuda::testing
