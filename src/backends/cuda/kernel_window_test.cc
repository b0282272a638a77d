// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <openvino/op/ops.hpp>

#include "backends/cuda/kernel_test_support.h"

namespace inflight::cuda::test {
namespace {

namespace op = ov::op;
using ov::element::i64;
using Node = std::shared_ptr<ov::Node>;
using op::PadType;
using op::RoundingType;

Case one(const std::string& name, const Node& node) { return make_case(name, node->outputs()); }

TEST(KernelTest, MaxPool) {
  std::vector<Case> cases;
  for (const RoundingType rounding : {RoundingType::FLOOR, RoundingType::CEIL})
    for (const PadType pad : {PadType::EXPLICIT, PadType::SAME_UPPER, PadType::SAME_LOWER, PadType::VALID}) {
      cases.push_back(one(
          "max 1", std::make_shared<op::v1::MaxPool>(input({2, 8, 7, 10}), ov::Strides{2, 3}, ov::Shape{1, 0},
                                                     ov::Shape{0, 1}, ov::Shape{3, 2}, rounding, pad)));
      cases.push_back(
          one("max 8", std::make_shared<op::v8::MaxPool>(input({2, 8, 7, 10}), ov::Strides{2, 1},
                                                         ov::Strides{1, 2}, ov::Shape{1, 0}, ov::Shape{0, 1},
                                                         ov::Shape{3, 2}, rounding, pad, i64, 0)));
    }
  cases.push_back(
      one("max axis", std::make_shared<op::v8::MaxPool>(
                          input({2, 8, 9}), ov::Strides{2}, ov::Strides{1}, ov::Shape{1}, ov::Shape{1},
                          ov::Shape{3}, RoundingType::FLOOR, PadType::EXPLICIT, ov::element::i32, 2)));
  cases.push_back(one(
      "max 14", std::make_shared<op::v14::MaxPool>(input({1, 4, 9, 9}), ov::Strides{2, 2}, ov::Strides{1, 1},
                                                   ov::Shape{1, 1}, ov::Shape{1, 1}, ov::Shape{3, 3},
                                                   RoundingType::CEIL_TORCH, PadType::EXPLICIT, i64, 0)));
  cases.push_back(one(
      "max 3d", std::make_shared<op::v1::MaxPool>(input({1, 2, 5, 6, 7}), ov::Strides{1, 2, 2},
                                                  ov::Shape{0, 1, 0}, ov::Shape{0, 0, 1}, ov::Shape{2, 3, 2},
                                                  RoundingType::FLOOR, PadType::EXPLICIT)));
  cases.push_back(
      one("max wide", std::make_shared<op::v1::MaxPool>(input({1, 64, 56, 56}), ov::Strides{2, 2},
                                                        ov::Shape{1, 1}, ov::Shape{1, 1}, ov::Shape{3, 3},
                                                        RoundingType::FLOOR, PadType::EXPLICIT)));
  check(cases);
}

TEST(KernelTest, AveragePool) {
  std::vector<Case> cases;
  for (const bool exclude : {true, false})
    for (const RoundingType rounding : {RoundingType::FLOOR, RoundingType::CEIL})
      for (const PadType pad : {PadType::EXPLICIT, PadType::SAME_UPPER, PadType::SAME_LOWER, PadType::VALID})
        cases.push_back(one("avg", std::make_shared<op::v1::AvgPool>(
                                       input({2, 8, 7, 10}), ov::Strides{2, 3}, ov::Shape{1, 0},
                                       ov::Shape{0, 1}, ov::Shape{3, 2}, exclude, rounding, pad)));
  for (const bool exclude : {true, false})
    cases.push_back(one("avg 14", std::make_shared<op::v14::AvgPool>(
                                      input({1, 4, 8, 9}), ov::Strides{2, 3}, ov::Shape{1, 1},
                                      ov::Shape{1, 1}, ov::Shape{3, 3}, exclude, RoundingType::CEIL_TORCH)));
  cases.push_back(
      one("adaptive", std::make_shared<op::v8::AdaptiveAvgPool>(input({2, 8, 7, 10}), integers({3, 4}))));
  cases.push_back(one("adaptive max", std::make_shared<op::v8::AdaptiveMaxPool>(
                                          input({2, 8, 7, 10}), integers({3, 4}), ov::element::i32)));
  cases.push_back(
      one("lrn", std::make_shared<op::v0::LRN>(input({1, 8, 3, 4}), integers({1}), 0.1, 0.75, 1, 5)));
  cases.push_back(one("lrn across",
                      std::make_shared<op::v0::LRN>(input({1, 8, 5, 4}), integers({2, 3}), 0.1, 0.75, 1, 3)));
  check(cases);
}

// OpenVINO's CPU takes the bias of LRN for 1. Here each window covers all channels, so that plain operators can say
// what is right.
TEST(KernelTest, LrnBias) {
  const ov::Shape shape = {1, 3, 2, 4};
  Case lrn = one("lrn", std::make_shared<op::v0::LRN>(input(shape), integers({1}), 0.1, 0.75, 2, 5));
  const auto x = input(shape);
  const auto squares =
      std::make_shared<op::v1::ReduceSum>(std::make_shared<op::v1::Multiply>(x, x), integers({1}), true);
  const auto base =
      std::make_shared<op::v1::Add>(std::make_shared<op::v1::Multiply>(squares, scalar(0.1 / 5)), scalar(2));
  lrn.oracle =
      make_case("",
                {std::make_shared<op::v1::Divide>(x, std::make_shared<op::v1::Power>(base, scalar(0.75)))})
          .model;
  check({lrn});
}

TEST(KernelTest, Convolutions) {
  const ov::CoordinateDiff begin = {1, 0}, end = {0, 2};
  const auto plain = [&](const ov::Shape& x, const ov::Shape& w, const ov::Strides& s, const ov::Strides& d,
                         PadType pad) {
    return std::make_shared<op::v1::Convolution>(input(x), weights(w), s, begin, end, d, pad);
  };
  const auto grouped = [&](const ov::Shape& x, const ov::Shape& w, const ov::Strides& s, const ov::Strides& d,
                           PadType pad) {
    return std::make_shared<op::v1::GroupConvolution>(input(x), weights(w), s, begin, end, d, pad);
  };
  std::vector<Case> cases;
  for (const PadType pad : {PadType::EXPLICIT, PadType::SAME_UPPER, PadType::SAME_LOWER, PadType::VALID}) {
    cases.push_back(one("plain", plain({2, 3, 7, 8}, {4, 3, 3, 2}, {2, 1}, {1, 2}, pad)));
    cases.push_back(one("grouped", grouped({1, 8, 7, 8}, {2, 6, 4, 3, 2}, {1, 2}, {2, 1}, pad)));
    cases.push_back(one("depthwise", grouped({1, 16, 9, 8}, {16, 1, 1, 3, 3}, {2, 2}, {1, 1}, pad)));
  }
  cases.push_back(
      one("multiplier", grouped({1, 8, 5, 6}, {8, 2, 1, 3, 3}, {1, 1}, {1, 1}, PadType::SAME_UPPER)));
  cases.push_back(one("1d", std::make_shared<op::v1::Convolution>(input({2, 3, 11}), weights({4, 3, 3}),
                                                                  ov::Strides{2}, ov::CoordinateDiff{1},
                                                                  ov::CoordinateDiff{2}, ov::Strides{2})));
  cases.push_back(
      one("3d", std::make_shared<op::v1::Convolution>(input({1, 2, 4, 5, 6}), weights({4, 2, 2, 3, 1}),
                                                      ov::Strides{1, 2, 1}, ov::CoordinateDiff{0, 1, 0},
                                                      ov::CoordinateDiff{1, 1, 0}, ov::Strides{1, 1, 1})));
  // A depthwise block as in MobileNet: a clamp before and after, and a bias.
  const auto depthwise = std::make_shared<op::v1::GroupConvolution>(
      std::make_shared<op::v0::Clamp>(input({1, 32, 56, 56}), 0, 6), weights({32, 1, 1, 3, 3}),
      ov::Strides{1, 1}, ov::CoordinateDiff{1, 1}, ov::CoordinateDiff{1, 1}, ov::Strides{1, 1});
  cases.push_back(one("block", std::make_shared<op::v0::Clamp>(
                                   std::make_shared<op::v1::Add>(depthwise, weights({1, 32, 1, 1})), 0, 6)));
  check(cases);
}

TEST(KernelTest, TransposedConvolutions) {
  const auto plain = [](PadType pad, const ov::CoordinateDiff& extra) {
    return std::make_shared<op::v1::ConvolutionBackpropData>(
        input({2, 3, 5, 4}), weights({3, 8, 3, 4}), ov::Strides{2, 3}, ov::CoordinateDiff{1, 0},
        ov::CoordinateDiff{0, 2}, ov::Strides{1, 2}, pad, extra);
  };
  std::vector<Case> cases;
  for (const PadType pad : {PadType::EXPLICIT, PadType::VALID}) {
    cases.push_back(one("plain", plain(pad, {})));
    cases.push_back(one("output padding", plain(pad, {1, 2})));
  }
  for (const PadType pad : {PadType::SAME_UPPER, PadType::SAME_LOWER})
    cases.push_back(one("output shape",
                        std::make_shared<op::v1::ConvolutionBackpropData>(
                            input({2, 3, 5, 4}), weights({3, 8, 3, 4}), integers({10, 12}), ov::Strides{2, 3},
                            ov::CoordinateDiff{0, 0}, ov::CoordinateDiff{0, 0}, ov::Strides{1, 1}, pad)));
  cases.push_back(one("grouped", std::make_shared<op::v1::GroupConvolutionBackpropData>(
                                     input({1, 8, 5, 4}), weights({4, 2, 4, 3, 3}), ov::Strides{2, 2},
                                     ov::CoordinateDiff{1, 1}, ov::CoordinateDiff{1, 1}, ov::Strides{1, 1},
                                     PadType::EXPLICIT, ov::CoordinateDiff{1, 1})));
  check(cases);
}

TEST(KernelTest, MatMul) {
  const auto product = [](const ov::Shape& a, const ov::Shape& b, bool ta, bool tb) {
    return std::make_shared<op::v0::MatMul>(input(a), input(b), ta, tb);
  };
  check({
      one("plain", product({3, 5}, {5, 4}, false, false)),
      one("a", product({5, 3}, {5, 4}, true, false)),
      one("b", product({3, 5}, {4, 5}, false, true)),
      one("both", product({5, 3}, {4, 5}, true, true)),
      one("batch", product({2, 3, 5}, {2, 5, 4}, false, false)),
      one("broadcast", product({2, 1, 3, 5}, {4, 5, 2}, false, false)),
      one("vector", product({5}, {5, 4}, false, false)),
      one("vector b", product({2, 3, 5}, {5}, false, false)),
      one("dot", product({5}, {5}, false, false)),
      one("vector batch", product({5}, {2, 5, 4}, false, false)),
  });
}

TEST(KernelTest, Interpolate) {
  using Base = op::util::InterpolateBase;
  using Mode = Base::InterpolateMode;
  using Coordinates = Base::CoordinateTransformMode;
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, const Base::InterpolateAttrs& attributes,
                       const std::vector<std::int64_t>& sizes) {
    cases.push_back(one(name, std::make_shared<op::v11::Interpolate>(input({1, 8, 5, 6}), integers(sizes),
                                                                     integers({2, 3}), attributes)));
  };
  for (const auto coordinates :
       {Coordinates::HALF_PIXEL, Coordinates::PYTORCH_HALF_PIXEL, Coordinates::ASYMMETRIC,
        Coordinates::TF_HALF_PIXEL_FOR_NN, Coordinates::ALIGN_CORNERS}) {
    for (const auto& sizes : {std::vector<std::int64_t>{10, 12}, {3, 1}}) {
      for (const auto nearest :
           {Base::NearestMode::ROUND_PREFER_FLOOR, Base::NearestMode::ROUND_PREFER_CEIL,
            Base::NearestMode::FLOOR, Base::NearestMode::CEIL, Base::NearestMode::SIMPLE})
        add("nearest " + std::to_string(static_cast<int>(nearest)) + " " +
                std::to_string(static_cast<int>(coordinates)),
            {Mode::NEAREST, Base::ShapeCalcMode::SIZES, {}, {}, coordinates, nearest}, sizes);
      for (const auto mode : {Mode::LINEAR, Mode::LINEAR_ONNX, Mode::CUBIC})
        add("mode " + std::to_string(static_cast<int>(mode)) + " " +
                std::to_string(static_cast<int>(coordinates)),
            {mode, Base::ShapeCalcMode::SIZES, {}, {}, coordinates}, sizes);
    }
    add("antialias",
        {Mode::LINEAR, Base::ShapeCalcMode::SIZES, {}, {}, coordinates, Base::NearestMode::FLOOR, true},
        {3, 4});
  }
  check(cases);
}

TEST(KernelTest, InterpolateMore) {
  using Base = op::util::InterpolateBase;
  using Mode = Base::InterpolateMode;
  using Coordinates = Base::CoordinateTransformMode;
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, const Base::InterpolateAttrs& attributes,
                       const std::vector<std::int64_t>& sizes) {
    cases.push_back(one(name, std::make_shared<op::v11::Interpolate>(input({1, 8, 5, 6}), integers(sizes),
                                                                     integers({2, 3}), attributes)));
  };
  for (const auto mode : {Mode::BILINEAR_PILLOW, Mode::BICUBIC_PILLOW})
    for (const auto& sizes : {std::vector<std::int64_t>{10, 12}, {3, 4}})
      add("pillow", {mode, Base::ShapeCalcMode::SIZES, {0, 0, 0, 0}, {0, 0, 0, 0}}, sizes);
  const Base::InterpolateAttrs padded(Mode::NEAREST, Base::ShapeCalcMode::SIZES, {0, 0, 1, 0}, {0, 0, 0, 2},
                                      Coordinates::ASYMMETRIC, Base::NearestMode::FLOOR);
  add("padded", padded, {9, 9});
  const Base::InterpolateAttrs scaled(Mode::NEAREST, Base::ShapeCalcMode::SCALES, {}, {},
                                      Coordinates::ASYMMETRIC, Base::NearestMode::FLOOR);
  cases.push_back(one("scales 4", std::make_shared<op::v4::Interpolate>(
                                      input({1, 8, 5, 6}), integers({10, 12}),
                                      op::v0::Constant::create(ov::element::f32, {2}, {2.0F, 2.0F}),
                                      integers({2, 3}), scaled)));
  op::v0::Interpolate::Attributes old;
  old.axes = {2, 3};
  for (const char* mode : {"nearest", "linear", "cubic"})
    for (const bool corners : {false, true}) {
      old.mode = mode;
      old.align_corners = corners;
      cases.push_back(one(std::string("v0 ") + mode, std::make_shared<op::v0::Interpolate>(
                                                         input({1, 8, 5, 6}), integers({10, 4}), old)));
    }
  check(cases);
}

}  // namespace
}  // namespace inflight::cuda::test
