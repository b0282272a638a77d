// SPDX-License-Identifier: Apache-2.0
// Random networks on their way to a GPU, compared with the CPU. The seed is printed with what differs.
#include <gtest/gtest.h>

#include <openvino/op/ops.hpp>
#include <random>

#include "backends/cuda/testing/compare.h"

namespace inflight::cuda::testing {
namespace {

namespace op = ov::op;
using Value = ov::Output<ov::Node>;
using Shape = ov::Shape;

template <typename Op, typename... Args>
Value made(Args&&... args) {
  return std::make_shared<Op>(std::forward<Args>(args)...)->output(0);
}

Value ints(const std::vector<std::int64_t>& values) {
  return op::v0::Constant::create(ov::element::i64, {values.size()}, values);
}

// Grows a network node by node out of values [N,C,H,W] of one size.
class Growth {
 public:
  explicit Growth(unsigned seed) : random_(seed) {
    batch_ = 1 + random_() % 2;
    input_ =
        std::make_shared<op::v0::Parameter>(ov::element::f32, Shape{batch_, 3 + random_() % 8, kSide, kSide});
    values_.push_back(input_);
  }

  std::shared_ptr<ov::Model> grow(std::size_t nodes) {
    while (values_.size() < nodes) step();
    ov::ResultVector results{std::make_shared<op::v0::Result>(values_.back())};
    for (const Value& value : values_) {
      if (value.get_target_inputs().empty() || random_() % 16 == 0)
        results.push_back(std::make_shared<op::v0::Result>(value));
    }
    return std::make_shared<ov::Model>(results, ov::ParameterVector{input_});
  }

 private:
  static constexpr std::size_t kSide = 6;

  Value pick() { return values_[values_.size() - 1 - random_() % std::min<std::size_t>(values_.size(), 4)]; }
  std::size_t channels(const Value& value) const { return value.get_shape()[1]; }

  Value weights(const Shape& shape, float low = -0.5F, float high = 0.5F) {
    std::vector<float> values(ov::shape_size(shape));
    for (float& value : values) value = std::uniform_real_distribution<float>(low, high)(random_);
    return op::v0::Constant::create(ov::element::f32, shape, values);
  }

  Value convolution(const Value& x) {
    const std::size_t outputs = std::vector<std::size_t>{6, 8, 12, 16, 24}[random_() % 5];
    const std::size_t window = random_() % 2 == 0 ? 1 : 3;
    const auto pad = static_cast<std::ptrdiff_t>(window / 2);
    const float bound = 1 / std::sqrt(static_cast<float>(channels(x) * window * window));
    return made<op::v1::Convolution>(
        x, weights({outputs, channels(x), window, window}, -2 * bound, 2 * bound), ov::Strides{1, 1},
        ov::CoordinateDiff{pad, pad}, ov::CoordinateDiff{pad, pad}, ov::Strides{1, 1});
  }

  Value depthwise(const Value& x) {
    return made<op::v1::GroupConvolution>(x, weights({channels(x), 1, 1, 3, 3}), ov::Strides{1, 1},
                                          ov::CoordinateDiff{1, 1}, ov::CoordinateDiff{1, 1},
                                          ov::Strides{1, 1});
  }

  Value affine(const Value& x) {
    const Shape shape{1, channels(x), 1, 1};
    switch (random_() % 4) {
      case 0:
        return made<op::v1::Add>(x, weights(shape));
      case 1:
        return made<op::v1::Multiply>(x, weights(shape, 0.5F, 1.5F));
      case 2:
        return made<op::v1::Subtract>(x, weights(shape));
      default:
        return made<op::v1::Divide>(x, weights(shape, 0.5F, 1.5F));
    }
  }

  Value activation(const Value& x) {
    switch (random_() % 7) {
      case 0:
        return made<op::v0::Relu>(x);
      case 1:
        return made<op::v0::Clamp>(x, 0, 6);
      case 2:
        return made<op::v0::Sigmoid>(x);
      case 3:
        return made<op::v0::Tanh>(x);
      case 4:
        return made<op::v1::Multiply>(x, made<op::v0::Sigmoid>(x));
      case 5:
        return made<op::v7::Gelu>(x);
      default:
        return made<op::v0::Elu>(x, 0.5);
    }
  }

  Value meeting(const Value& a, const Value& b) {
    if (channels(a) != channels(b) || random_() % 3 == 0)
      return made<op::v0::Concat>(ov::OutputVector{a, b}, 1);
    return random_() % 2 == 0 ? made<op::v1::Add>(a, b) : made<op::v1::Maximum>(a, b);
  }

  Value pooled(const Value& x) {
    if (random_() % 2 == 0)
      return made<op::v1::MaxPool>(x, ov::Strides{1, 1}, Shape{1, 1}, Shape{1, 1}, Shape{3, 3});
    return made<op::v1::AvgPool>(x, ov::Strides{1, 1}, Shape{1, 1}, Shape{1, 1}, Shape{3, 3}, true);
  }

  // Tokens, a matmul over them, and back.
  Value tokens(const Value& x) {
    const auto n = static_cast<std::int64_t>(batch_);
    const auto c = static_cast<std::int64_t>(channels(x));
    const auto places = static_cast<std::int64_t>(kSide * kSide);
    Value t = made<op::v1::Transpose>(made<op::v1::Reshape>(x, ints({n, c, places}), false), ints({0, 2, 1}));
    if (random_() % 2 == 0) t = made<op::v8::Softmax>(t, -1);
    t = made<op::v0::MatMul>(t, weights({channels(x), channels(x)}), false, random_() % 2 == 0);
    if (random_() % 2 == 0) t = made<op::v1::Add>(t, weights({channels(x)}));
    t = made<op::v1::Transpose>(t, ints({0, 2, 1}));
    return made<op::v1::Reshape>(t, ints({n, c, kSide, kSide}), false);
  }

  Value gate(const Value& x) {
    const Value mean = made<op::v1::ReduceMean>(x, ints({2, 3}), true);
    return made<op::v1::Multiply>(x, made<op::v0::Sigmoid>(mean));
  }

  void step() {
    const Value x = pick();
    switch (random_() % 12) {
      case 0:
      case 1:
      case 2:
        return values_.push_back(convolution(x));
      case 3:
        return values_.push_back(affine(x));
      case 4:
      case 5:
        return values_.push_back(activation(x));
      case 6:
        if (channels(x) > 40) return values_.push_back(convolution(x));
        return values_.push_back(meeting(x, pick()));
      case 7:
        return values_.push_back(depthwise(x));
      case 8:
        return values_.push_back(pooled(x));
      case 9:
        return values_.push_back(tokens(x));
      case 10:
        return values_.push_back(gate(x));
      default: {
        if (channels(x) % 2 != 0) return values_.push_back(activation(x));
        const auto split =
            std::make_shared<op::v1::Split>(x, op::v0::Constant::create(ov::element::i64, {}, {1}), 2);
        values_.push_back(split->output(0));
        values_.push_back(split->output(1));
      }
    }
  }

  std::mt19937 random_;
  std::size_t batch_ = 1;
  std::shared_ptr<op::v0::Parameter> input_;
  std::vector<Value> values_;
};

TEST(RandomGraphs, AgreeWithTheCpu) {
  constexpr unsigned kGraphs = 30;
  std::vector<std::shared_ptr<ov::Model>> networks;
  std::vector<GpuGraph> graphs;
  std::vector<const GpuGraph*> addresses;
  for (unsigned seed = 0; seed < kGraphs; ++seed) {
    networks.push_back(Growth(seed).grow(8 + seed));
    LoweringOptions options;
    options.precision = Precision::kF32;
    options.concat_in_place = seed % 2 == 1;
    auto graph = lower(networks.back(), options);
    ASSERT_TRUE(graph.ok()) << "seed " << seed << ": " << graph.status().to_string();
    graphs.push_back(std::move(graph).value());
  }
  for (const GpuGraph& graph : graphs) addresses.push_back(&graph);
  const auto runner = generated_kernels(addresses);
  ASSERT_TRUE(runner.ok()) << runner.status().to_string();
  for (unsigned seed = 0; seed < kGraphs; ++seed) {
    CompareOptions options;
    options.seed = seed;
    const std::string text =
        check(networks[seed], graphs[seed], random_inputs(*networks[seed], options), *runner, 1e-4);
    EXPECT_EQ(text, "") << "seed " << seed << "\n" << listing(graphs[seed]);
  }
}

}  // namespace
}  // namespace inflight::cuda::testing
