// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/lowering.h"

#include <gtest/gtest.h>

#include <openvino/op/ops.hpp>
#include <random>

#include "backends/cuda/memory_plan.h"
#include "backends/cuda/testing/compare.h"
#include "backends/cuda/testing/step_counts.h"

namespace inflight::cuda::testing {
namespace {

namespace op = ov::op;
using Value = ov::Output<ov::Node>;
using Shape = ov::Shape;

std::shared_ptr<op::v0::Parameter> input(const Shape& shape, ov::element::Type type = ov::element::f32) {
  return std::make_shared<op::v0::Parameter>(type, shape);
}

Value weights(const Shape& shape, unsigned seed, float low = -0.5F, float high = 0.5F) {
  std::mt19937 random(seed);
  std::vector<float> values(ov::shape_size(shape));
  for (float& value : values) value = std::uniform_real_distribution<float>(low, high)(random);
  return op::v0::Constant::create(ov::element::f32, shape, values);
}

Value ints(const std::vector<std::int64_t>& values) {
  return op::v0::Constant::create(ov::element::i64, {values.size()}, values);
}

template <typename Op, typename... Args>
Value made(Args&&... args) {
  return std::make_shared<Op>(std::forward<Args>(args)...)->output(0);
}

Value convolution(const Value& x, std::size_t outputs, std::size_t window, unsigned seed,
                  std::size_t stride = 1) {
  const Value w = weights({outputs, x.get_shape()[1], window, window}, seed);
  const auto pad = static_cast<std::ptrdiff_t>(window / 2);
  return made<op::v1::Convolution>(x, w, ov::Strides{stride, stride}, ov::CoordinateDiff{pad, pad},
                                   ov::CoordinateDiff{pad, pad}, ov::Strides{1, 1});
}

Value batch_norm(const Value& x, unsigned seed) {
  const std::size_t c = x.get_shape()[1];
  return made<op::v5::BatchNormInference>(x, weights({c}, seed, 0.5F, 1.5F), weights({c}, seed + 1),
                                          weights({c}, seed + 2), weights({c}, seed + 3, 0.5F, 1.5F), 1e-5);
}

std::shared_ptr<ov::Model> model(const std::vector<Value>& outputs,
                                 const std::vector<std::shared_ptr<op::v0::Parameter>>& inputs) {
  ov::ResultVector results;
  for (const Value& each : outputs) results.push_back(std::make_shared<op::v0::Result>(each));
  return std::make_shared<ov::Model>(results, ov::ParameterVector(inputs.begin(), inputs.end()));
}

// In all precisions; the counts are those of f32 with generated kernels.
void expect(const std::shared_ptr<ov::Model>& network, const StepCounts& counts) {
  CompareOptions generated;
  generated.kernels = Kernels::kGenerated;
  const Comparison f32 = compare(network, generated);
  EXPECT_EQ(f32.difference, "") << listing(f32.graph);
  EXPECT_EQ(counts_of(f32.graph), counts) << listing(f32.graph);
  const Comparison reference = compare(network);
  EXPECT_EQ(reference.difference, "") << "reference kernels\n" << listing(reference.graph);
  for (const auto& [precision, tolerance] :
       {std::pair(Precision::kF16, 1e-2), std::pair(Precision::kBF16, 8e-2)}) {
    CompareOptions options;
    options.precision = precision;
    options.tolerance = tolerance;
    options.kernels = Kernels::kGenerated;
    const Comparison half = compare(network, options);
    EXPECT_EQ(half.difference, "") << precision_name(precision) << "\n" << listing(half.graph);
  }
}

TEST(Lowering, ConvolutionTakesInBatchNormResidualAndActivation) {
  const auto x = input({1, 3, 12, 12});
  const Value stem = made<op::v0::Relu>(batch_norm(convolution(x, 16, 3, 1), 2));
  const Value a = made<op::v0::Relu>(batch_norm(convolution(stem, 16, 1, 10), 11));
  const Value b = batch_norm(convolution(a, 16, 3, 20), 21);
  const Value shortcut = batch_norm(convolution(stem, 16, 1, 30), 31);
  const Value out = made<op::v0::Relu>(made<op::v1::Add>(b, shortcut));
  // One kernel brings the picture into its layout, with a fourth channel; one brings the result back.
  expect(model({out}, {x}), {2, 4, 0});
}

TEST(Lowering, ChannelsThatAreNoMultipleArePaddedWithZeros) {
  const auto x = input({2, 5, 9, 7});
  const Value a = made<op::v0::Sigmoid>(convolution(x, 6, 3, 1));
  const Value b = made<op::v1::Add>(convolution(a, 6, 3, 2), a);
  const Value c = made<op::v0::Relu>(convolution(b, 50, 1, 3, 2));
  expect(model({c}, {x}), {2, 3, 0});
}

TEST(Lowering, PreprocessingIsOneKernel) {
  const auto frame = input({12, 16, 3}, ov::element::u8);
  const Value batched = made<op::v0::Unsqueeze>(frame, ints({0}));
  const Value real = made<op::v0::Convert>(batched, ov::element::f32);
  const Value mean = op::v0::Constant::create(ov::element::f32, {1, 1, 1, 3}, {120.0F, 115.0F, 100.0F});
  const Value scale = op::v0::Constant::create(ov::element::f32, {1, 1, 1, 3}, {60.0F, 61.0F, 62.0F});
  const Value even = made<op::v1::Divide>(made<op::v1::Subtract>(real, mean), scale);
  const Value planes = made<op::v1::Transpose>(even, ints({0, 3, 1, 2}));
  const Value out = made<op::v0::Relu>(convolution(planes, 8, 3, 1));
  expect(model({out}, {frame}), {2, 1, 0});
}

TEST(Lowering, ResizingIsPartOfThatKernel) {
  const auto frame = input({20, 30, 3}, ov::element::u8);
  const Value real = made<op::v0::Convert>(made<op::v0::Unsqueeze>(frame, ints({0})), ov::element::f32);
  op::v4::Interpolate::InterpolateAttrs how;
  how.mode = op::v4::Interpolate::InterpolateMode::LINEAR;
  how.shape_calculation_mode = op::v4::Interpolate::ShapeCalcMode::SIZES;
  how.coordinate_transformation_mode = op::v4::Interpolate::CoordinateTransformMode::HALF_PIXEL;
  how.pads_begin = {0, 0};
  how.pads_end = {0, 0};
  const Value scales = op::v0::Constant::create(ov::element::f32, {2}, {12.0F / 20, 16.0F / 30});
  const Value sized = made<op::v4::Interpolate>(real, ints({12, 16}), scales, ints({1, 2}), how);
  const Value boxed =
      made<op::v1::Pad>(sized, ints({0, 2, 0, 0}), ints({0, 2, 0, 0}),
                        op::v0::Constant::create(ov::element::f32, {}, {114.0F}), op::PadMode::CONSTANT);
  const Value scale = op::v0::Constant::create(ov::element::f32, {}, {1 / 255.0F});
  const Value planes = made<op::v1::Transpose>(made<op::v1::Multiply>(boxed, scale), ints({0, 3, 1, 2}));
  expect(model({made<op::v0::Relu>(convolution(planes, 8, 3, 1))}, {frame}), {2, 1, 0});
}

TEST(Lowering, DepthwiseIsAKernelWithWhatFollows) {
  const auto x = input({1, 16, 10, 10});
  const Value a = made<op::v0::Clamp>(convolution(x, 24, 1, 1), 0, 6);
  const Value w = weights({24, 1, 1, 3, 3}, 5);
  Value b = made<op::v1::GroupConvolution>(a, w, ov::Strides{2, 2}, ov::CoordinateDiff{1, 1},
                                           ov::CoordinateDiff{1, 1}, ov::Strides{1, 1});
  b = made<op::v0::Clamp>(batch_norm(b, 7), 0, 6);
  const Value c = batch_norm(convolution(b, 16, 1, 3), 9);
  expect(model({c}, {x}), {3, 2, 0});
}

TEST(Lowering, MinimumAndMaximumAreTheClampOfAConvolution) {
  const auto scalar = [](float value) { return op::v0::Constant::create(ov::element::f32, {}, {value}); };
  const auto x = input({1, 16, 10, 10});
  const Value a =
      made<op::v1::Minimum>(made<op::v1::Maximum>(convolution(x, 24, 1, 1), scalar(0)), scalar(6));
  const Value b =
      made<op::v1::Maximum>(scalar(0), made<op::v1::Minimum>(convolution(a, 16, 1, 3), scalar(6)));
  expect(model({convolution(b, 16, 1, 4)}, {x}), {2, 3, 0});
  // An empty range stays what it is.
  const Value c =
      made<op::v1::Minimum>(made<op::v1::Maximum>(convolution(x, 24, 1, 1), scalar(6)), scalar(0));
  expect(model({convolution(c, 16, 1, 3)}, {x}), {3, 2, 0});
}

TEST(Lowering, GroupsBecomeDenseOrStay) {
  const auto x = input({1, 12, 6, 6});
  const auto y = input({1, 32, 6, 6});
  const auto group = [](const Value& of, const Shape& shape) {
    return made<op::v1::GroupConvolution>(of, weights(shape, 3), ov::Strides{1, 1}, ov::CoordinateDiff{1, 1},
                                          ov::CoordinateDiff{1, 1}, ov::Strides{1, 1});
  };
  expect(model({group(x, {3, 4, 4, 3, 3}), group(y, {2, 16, 16, 3, 3})}, {x, y}), {4, 2, 0});
}

TEST(Lowering, OneDimensionalAndAsymmetricConvolutions) {
  const auto x = input({2, 8, 40});
  Value a = made<op::v1::Convolution>(x, weights({12, 8, 5}, 1), ov::Strides{2}, ov::CoordinateDiff{2},
                                      ov::CoordinateDiff{2}, ov::Strides{1});
  a = made<op::v0::Relu>(made<op::v1::Add>(a, weights({1, 12, 1}, 2)));
  const Value b = made<op::v1::Convolution>(a, weights({8, 12, 3}, 4), ov::Strides{1}, ov::CoordinateDiff{0},
                                            ov::CoordinateDiff{2}, ov::Strides{1});
  expect(model({b}, {x}), {3, 2, 0});
}

TEST(Lowering, MatmulTakesInScaleBiasResidualAndActivation) {
  const auto x = input({1, 20, 32});
  const Value a = made<op::v0::MatMul>(x, weights({64, 32}, 1), false, true);
  const Value gelu = made<op::v7::Gelu>(made<op::v1::Add>(a, weights({64}, 2)));
  const Value b = made<op::v1::Add>(made<op::v0::MatMul>(gelu, weights({64, 32}, 3)), weights({1, 1, 32}, 4));
  expect(model({made<op::v1::Add>(x, b)}, {x}), {0, 0, 2});
}

// As torch exports it: one matmul makes query, key and value, and heads are views of it.
TEST(Lowering, AttentionReadsItsHeadsInPlace) {
  const std::size_t tokens = 17, heads = 4, width = 16;
  const auto x = input({1, tokens, heads * width});
  const Value all =
      made<op::v1::Add>(made<op::v0::MatMul>(x, weights({3 * heads * width, heads * width}, 1), false, true),
                        weights({3 * heads * width}, 2));
  const Value parts = made<op::v1::Transpose>(
      made<op::v1::Reshape>(all, ints({1, tokens, 3, heads, width}), false), ints({2, 0, 3, 1, 4}));
  const auto pick = [&parts](std::int64_t which) {
    return made<op::v8::Gather>(parts, op::v0::Constant::create(ov::element::i64, {}, {which}), ints({0}));
  };
  const Value keys = made<op::v1::Transpose>(pick(1), ints({0, 1, 3, 2}));
  Value scores = made<op::v0::MatMul>(pick(0), keys);
  scores = made<op::v1::Multiply>(scores, op::v0::Constant::create(ov::element::f32, {}, {0.25F}));
  const Value seen = made<op::v0::MatMul>(made<op::v8::Softmax>(scores, -1), pick(2));
  const Value joined = made<op::v1::Reshape>(made<op::v1::Transpose>(seen, ints({0, 2, 1, 3})),
                                             ints({1, tokens, heads * width}), false);
  const Value out =
      made<op::v1::Add>(made<op::v0::MatMul>(joined, weights({heads * width, heads * width}, 3)), x);
  expect(model({out}, {x}), {1, 0, 4});
}

TEST(Lowering, AttentionOfTwoImagesCopiesItsHeads) {
  const std::size_t tokens = 5, heads = 2, width = 8;
  const auto x = input({3, tokens, heads * width});
  const auto y = input({1, heads, tokens, width});
  const Value split =
      made<op::v1::Transpose>(made<op::v1::Reshape>(made<op::v0::MatMul>(x, weights({16, 16}, 1)),
                                                    ints({3, tokens, heads, width}), false),
                              ints({0, 2, 1, 3}));
  const Value scores = made<op::v0::MatMul>(split, y, false, true);
  const Comparison found = compare(model({scores}, {x, y}));
  EXPECT_EQ(found.difference, "") << listing(found.graph);
}

TEST(Lowering, LayerNormAndGeluInPiecesAreFound) {
  const auto x = input({1, 6, 64});
  const auto scalar = [](float value) { return op::v0::Constant::create(ov::element::f32, {}, {value}); };
  const Value centred = made<op::v1::Subtract>(x, made<op::v1::ReduceMean>(x, ints({-1}), true));
  const Value variance = made<op::v1::ReduceMean>(made<op::v1::Power>(centred, scalar(2)), ints({-1}), true);
  const Value root = made<op::v0::Sqrt>(made<op::v1::Add>(variance, scalar(1e-5F)));
  Value norm = made<op::v1::Divide>(centred, root);
  norm = made<op::v1::Add>(made<op::v1::Multiply>(norm, weights({64}, 1)), weights({64}, 2));
  const Value hidden =
      made<op::v1::Add>(made<op::v0::MatMul>(norm, weights({64, 128}, 3)), weights({128}, 4));
  const Value gate =
      made<op::v1::Add>(made<op::v0::Erf>(made<op::v1::Divide>(hidden, scalar(1.41421356F))), scalar(1));
  const Value gelu = made<op::v1::Multiply>(made<op::v1::Multiply>(hidden, gate), scalar(0.5F));
  const Value out = made<op::v0::MatMul>(gelu, weights({128, 64}, 5));
  // The norm with its scale and offset, and two matmuls.
  expect(model({out}, {x}), {1, 0, 2});
}

TEST(Lowering, ConcatSplitAndResizeBetweenConvolutions) {
  const auto x = input({1, 8, 8, 8});
  const Value a = made<op::v4::Swish>(convolution(x, 16, 3, 1));
  const auto split =
      std::make_shared<op::v1::Split>(a, op::v0::Constant::create(ov::element::i64, {}, {1}), 2);
  const Value b = made<op::v4::Swish>(convolution(split->output(1), 8, 3, 2));
  const Value sum = made<op::v1::Add>(b, split->output(1));
  const Value joined = made<op::v0::Concat>(ov::OutputVector{split->output(0), split->output(1), sum}, 1);
  const Value c = made<op::v4::Swish>(convolution(joined, 16, 1, 3));
  const Value pooled = made<op::v1::MaxPool>(c, ov::Strides{1, 1}, Shape{2, 2}, Shape{2, 2}, Shape{5, 5});
  const Value d = convolution(made<op::v0::Concat>(ov::OutputVector{pooled, c}, 1), 8, 1, 4);
  const Comparison found = compare(model({d, c}, {x}));
  EXPECT_EQ(found.difference, "") << listing(found.graph);
}

TEST(Lowering, ConcatOfConvolutionsIsWrittenInPlaceWhereAsked) {
  const auto x = input({2, 8, 8, 8});
  const Value a = made<op::v0::Relu>(convolution(x, 16, 1, 1));
  const Value b = made<op::v0::Relu>(convolution(x, 24, 3, 2));
  const Value joined = made<op::v0::Concat>(ov::OutputVector{a, b}, 1);
  const Value c = made<op::v1::Add>(convolution(joined, 16, 1, 3), a);
  const auto network = model({made<op::v1::ReduceMean>(c, ints({2, 3}), false)}, {x});
  CompareOptions options;
  const Comparison apart = compare(network, options);
  EXPECT_EQ(apart.difference, "") << listing(apart.graph);
  options.concat_in_place = true;
  const Comparison found = compare(network, options);
  EXPECT_EQ(found.difference, "") << listing(found.graph);
  // The Concat is gone, and a copy of `a` comes for its other reader.
  EXPECT_EQ(counts_of(found.graph), (StepCounts{3, 3, 0})) << listing(found.graph);
}

// Query and key are scaled before they meet, as torch exports it.
TEST(Lowering, ScalesOfOperandsEndInTheMatmul) {
  const auto x = input({1, 4, 20, 16});
  const auto y = input({1, 4, 20, 16});
  const Value half = op::v0::Constant::create(ov::element::f32, {}, {0.5F});
  const Value query = made<op::v1::Multiply>(x, half);
  const Value key = made<op::v1::Multiply>(made<op::v1::Transpose>(y, ints({0, 1, 3, 2})), half);
  const Comparison found = compare(model({made<op::v0::MatMul>(query, key)}, {x, y}));
  EXPECT_EQ(found.difference, "") << listing(found.graph);
  ASSERT_EQ(counts_of(found.graph), (StepCounts{1, 0, 1})) << listing(found.graph);
  EXPECT_EQ(std::get<MatmulStep>(found.graph.steps.back()).alpha, 0.25);
}

TEST(Lowering, OutputsThatAreInputsConstantsOrTheSame) {
  const auto x = input({2, 3});
  const Value y = made<op::v0::Relu>(x);
  expect(model({x, y, y, weights({4}, 1), made<op::v1::Reshape>(y, ints({6}), false)}, {x}), {5, 0, 0});
}

TEST(Lowering, ClassifierWritesItsOutputAtOnce) {
  const auto x = input({1, 8, 4, 4});
  const Value a = made<op::v0::Relu>(convolution(x, 32, 3, 1));
  const Value pooled = made<op::v1::ReduceMean>(a, ints({2, 3}), true);
  const Value flat = made<op::v1::Reshape>(pooled, ints({1, 32}), false);
  const Value scores =
      made<op::v1::Add>(made<op::v0::MatMul>(flat, weights({300, 32}, 2), false, true), weights({300}, 3));
  expect(model({scores}, {x}), {2, 1, 1});
}

TEST(Lowering, TensorsWithoutElementsHaveAPlace) {
  const auto x = input({0, 16});
  const Value y = made<op::v0::MatMul>(made<op::v0::Relu>(x), weights({16, 8}, 1));
  LoweringOptions options;
  options.precision = Precision::kF32;
  const auto graph = lower(model({made<op::v0::Relu>(y)}, {x}), options);
  ASSERT_TRUE(graph.ok()) << graph.status().to_string();
  for (const GpuTensor& tensor : graph->tensors) {
    if (tensor.storage == Storage::kScratch) {
      EXPECT_LE(tensor.offset + tensor.bytes(), graph->scratch_bytes) << listing(*graph);
    }
  }
}

TEST(Lowering, DynamicShapesAreRefusedByNode) {
  const auto x = std::make_shared<op::v0::Parameter>(ov::element::f32, ov::PartialShape{1, -1});
  x->set_friendly_name("images");
  const auto network = std::make_shared<ov::Model>(ov::OutputVector{std::make_shared<op::v0::Relu>(x)},
                                                   ov::ParameterVector{x});
  const auto graph = lower_with(network, {}, {});
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.status().code(), StatusCode::kUnsupported);
  EXPECT_NE(graph.status().to_string().find("node \"images\" (Parameter): got the shape [1,?]"),
            std::string::npos)
      << graph.status().to_string();
}

TEST(Lowering, OperatorsWithoutAKernelAreNamed) {
  const auto x = input({1, 8});
  const auto node = std::make_shared<op::v0::Relu>(x);
  node->set_friendly_name("third");
  const KernelMaker none{[](const ov::Node&) { return KernelKind::kNone; }, {}};
  const auto graph = lower_with(model({node}, {x}), {}, none);
  ASSERT_FALSE(graph.ok());
  EXPECT_NE(graph.status().to_string().find("node \"third\" (Relu)"), std::string::npos)
      << graph.status().to_string();
  const auto found = coverage_with(model({node}, {x}), none);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->operators.size(), 1U);
  EXPECT_FALSE(found->complete());
  EXPECT_EQ(found->operators[0].type, "Relu");
  EXPECT_EQ(found->operators[0].versions, "opset1");
  EXPECT_EQ(found->operators[0].count, 1U);
  EXPECT_EQ(found->operators[0].missing, 1U);
  EXPECT_EQ(found->operators[0].first_missing, "third");
}

const OperatorCoverage* of_type(const Coverage& coverage, const std::string& type) {
  for (const OperatorCoverage& one : coverage.operators) {
    if (one.type == type) return &one;
  }
  return nullptr;
}

TEST(Coverage, TellsWhatIsMissingAndWhy) {
  const auto x = input({1, 8});
  const auto relu = std::make_shared<op::v0::Relu>(x);
  const auto again = std::make_shared<op::v0::Relu>(relu);
  const auto boxes = input({1, 8, 4});
  const auto scores = input({1, 2, 8});
  const auto pick = std::make_shared<op::v9::NonMaxSuppression>(boxes, scores);
  pick->set_friendly_name("pick");
  // Its output's first extent is known only while it runs; that is refused as a whole, before operators are counted.
  EXPECT_FALSE(coverage(model({pick}, {boxes, scores})).ok());
  const auto inverse = std::make_shared<op::v14::Inverse>(input({2, 2}), false);
  inverse->set_friendly_name("inverse");
  const auto found =
      coverage(model({again, inverse},
                     {x, ov::as_type_ptr<op::v0::Parameter>(inverse->input_value(0).get_node_shared_ptr())}));
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  const OperatorCoverage* const relus = of_type(*found, "Relu");
  ASSERT_NE(relus, nullptr);
  EXPECT_EQ(relus->count, 2U);
  EXPECT_EQ(relus->missing, 0U);
  const OperatorCoverage* const missing = of_type(*found, "Inverse");
  ASSERT_NE(missing, nullptr);
  EXPECT_EQ(missing->missing, 1U);
  EXPECT_EQ(missing->first_missing, "inverse");
  EXPECT_EQ(missing->why, "no kernel computes this operator");
  EXPECT_FALSE(found->complete());
}

TEST(Coverage, OfANetworkWithoutMissingOperatorsIsComplete) {
  const auto x = input({1, 8});
  const auto found = coverage(model({std::make_shared<op::v0::Relu>(x)}, {x}));
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_TRUE(found->complete());
}

TEST(Coverage, KnowsEveryOperatorThatItComputes) {
  const Coverage known = known_operators();
  for (const char* const type : {"Convolution", "MatMul", "Relu", "Interpolate", "BatchNormInference"})
    EXPECT_NE(of_type(known, type), nullptr) << type;
  EXPECT_EQ(of_type(known, "Interpolate")->versions, "opset1, opset11, opset4");
  EXPECT_EQ(of_type(known, "Inverse"), nullptr);
}

TEST(MemoryPlan, WhatLivesAtTheSameTimeDoesNotOverlap) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::vector<Lifetime> lifetimes(1 + random() % 60);
    std::size_t together_max = 0;
    for (Lifetime& each : lifetimes) {
      each.bytes = random() % 5 == 0 ? 1 + random() % 100 : 1 + random() % 100'000;
      each.first = random() % 40;
      each.last = each.first + random() % 10;
    }
    const MemoryPlan plan = plan_memory(lifetimes);
    for (std::size_t step = 0; step < 50; ++step) {
      std::size_t together = 0;
      for (const Lifetime& each : lifetimes)
        together += each.first <= step && step <= each.last ? each.bytes : 0;
      together_max = std::max(together_max, together);
    }
    std::size_t end = 0;
    for (std::size_t i = 0; i < lifetimes.size(); ++i) {
      EXPECT_EQ(plan.offsets[i] % kScratchAlignment, 0U);
      end = std::max(end, plan.offsets[i] + lifetimes[i].bytes);
      for (std::size_t j = 0; j < i; ++j) {
        const bool apart_in_time =
            lifetimes[i].last < lifetimes[j].first || lifetimes[j].last < lifetimes[i].first;
        const bool apart = plan.offsets[i] + lifetimes[i].bytes <= plan.offsets[j] ||
                           plan.offsets[j] + lifetimes[j].bytes <= plan.offsets[i];
        EXPECT_TRUE(apart_in_time || apart) << "seed " << seed << ": " << i << " and " << j;
      }
    }
    EXPECT_LE(end, plan.bytes);
    EXPECT_GE(plan.bytes, together_max);
    EXPECT_LE(plan.bytes, 2 * together_max + lifetimes.size() * kScratchAlignment) << "seed " << seed;
  }
}

}  // namespace
}  // namespace inflight::cuda::testing
