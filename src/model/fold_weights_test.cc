// SPDX-License-Identifier: Apache-2.0
#include "model/fold_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <openvino/core/model.hpp>
#include <openvino/op/ops.hpp>
#include <openvino/runtime/core.hpp>
#include <vector>

namespace inflight::internal {
namespace {

namespace op = ov::op;

ov::Output<ov::Node> constant(const ov::Shape& shape, float first, float step,
                              ov::element::Type type = ov::element::f32) {
  std::vector<float> values(ov::shape_size(shape));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = first + step * static_cast<float>(i % 7);
  return op::v0::Constant::create(type, shape, values);
}

ov::Output<ov::Node> batch_norm(const ov::Output<ov::Node>& x, std::size_t channels) {
  const auto each = [&](float first, float step) {
    return constant({channels}, first, step, x.get_element_type());
  };
  return std::make_shared<op::v5::BatchNormInference>(x, each(0.5, 0.25), each(-0.5, 0.25), each(0.1F, 0.1F),
                                                      each(0.5, 0.5), 1e-3);
}

// A convolution, batch norm, and one more that nothing can take in, as its convolution has two readers.
std::shared_ptr<ov::Model> network(const ov::PartialShape& shape, ov::element::Type type = ov::element::f32) {
  const auto x = std::make_shared<op::v0::Parameter>(type, shape);
  const auto convolve = [&](const ov::Output<ov::Node>& from, std::size_t in, std::size_t out) {
    return std::make_shared<op::v1::Convolution>(from, constant({out, in, 3, 3}, -0.2F, 0.1F, type),
                                                 ov::Strides{1, 1}, ov::CoordinateDiff{1, 1},
                                                 ov::CoordinateDiff{1, 1}, ov::Strides{1, 1});
  };
  const auto first = std::make_shared<op::v0::Relu>(batch_norm(convolve(x, 3, 4), 4));
  const auto second = convolve(first, 4, 5);
  const auto sum = std::make_shared<op::v1::Add>(second, batch_norm(second, 5));
  sum->output(0).set_names({"y"});
  return std::make_shared<ov::Model>(ov::OutputVector{sum}, ov::ParameterVector{x});
}

std::size_t count(const ov::Model& model, const std::string& type) {
  std::size_t found = 0;
  for (const auto& node : model.get_ops()) found += node->get_type_name() == type ? 1 : 0;
  return found;
}

std::vector<float> run(const std::shared_ptr<const ov::Model>& model) {
  ov::Core core;
  ov::InferRequest request =
      core.compile_model(model, "CPU", {{"INFERENCE_PRECISION_HINT", "f32"}}).create_infer_request();
  ov::Tensor x = request.get_input_tensor();
  for (std::size_t i = 0; i < x.get_size(); ++i) x.data<float>()[i] = std::sin(static_cast<float>(i));
  request.infer();
  const ov::Tensor y = request.get_output_tensor();
  return {y.data<float>(), y.data<float>() + y.get_size()};
}

TEST(FoldWeights, PutsBatchNormIntoTheWeightsBeforeItAndComputesTheSame) {
  const auto original = network({1, 3, 8, 8});
  const auto folded = fold_weights(original);
  EXPECT_EQ(count(*original, "BatchNormInference"), 2U);
  EXPECT_EQ(count(*folded, "BatchNormInference"), 0U);
  EXPECT_EQ(count(*folded, "Multiply"), 1U);  // behind the convolution with two readers
  EXPECT_EQ(folded->output(0).get_names(), original->output(0).get_names());
  const std::vector<float> want = run(original);
  const std::vector<float> got = run(folded);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4 * (1 + std::abs(want[i])));
}

TEST(FoldWeights, LeavesANetworkAloneWhereThereIsNothingToFoldOrAShapeIsOpenOrItIsNotInF32) {
  const auto half = network({1, 3, 8, 8}, ov::element::f16);
  EXPECT_EQ(fold_weights(half), half);
  const auto open = network({1, 3, -1, -1});
  EXPECT_EQ(fold_weights(open), open);
  const auto x = std::make_shared<op::v0::Parameter>(ov::element::f32, ov::PartialShape{1, 3});
  const auto plain = std::make_shared<ov::Model>(ov::OutputVector{std::make_shared<op::v0::Relu>(x)},
                                                 ov::ParameterVector{x});
  EXPECT_EQ(fold_weights(plain), plain);
}

}  // namespace
}  // namespace inflight::internal
