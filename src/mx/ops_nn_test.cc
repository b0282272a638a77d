// SPDX-License-Identifier: Apache-2.0
// Layers against values worked out by hand from MXNet's definitions.
#include "mx_test_support.h"

namespace inflight::mx {
namespace {

NDArray ones(const Shape& shape) { return NDArray::full(shape, 1).value(); }

TEST(MxLayers, FullyConnected) {
  const NDArray x = counted({1, 2, 2});  // 0 1 2 3
  const NDArray w = counted({2, 4});
  expect_call("FullyConnected", {x, w, array({2}, {100, 200})}, {{"num_hidden", "2"}}, {1, 2}, {114, 238});
  expect_call("FullyConnected", {x, counted({2, 2})},
              {{"num_hidden", "2"}, {"no_bias", "True"}, {"flatten", "False"}}, {1, 2, 2}, {1, 3, 3, 13});
  expect_refused("FullyConnected", {x, counted({2, 3}), array({2}, {0, 0})}, {{"num_hidden", "2"}},
                 "input weight: got [2,3], want [2,4]");
  expect_refused("FullyConnected", {x, w}, {},
                 "operator FullyConnected: attribute num_hidden is missing, want int");
  expect_refused("FullyConnected", {x, w}, {{"num_hidden", "2"}}, "got 2 arrays, want 3");
}

TEST(MxLayers, Convolution) {
  const NDArray x = counted({1, 1, 3, 3});
  const NDArray w = array({1, 1, 2, 2}, {1, 0, 0, 2});
  expect_call("Convolution", {x, w, array({1}, {10})}, {{"kernel", "(2, 2)"}, {"num_filter", "1"}},
              {1, 1, 2, 2}, {18, 21, 27, 30});
  expect_call(
      "Convolution", {x, w},
      {{"kernel", "(2,2)"}, {"num_filter", "1"}, {"no_bias", "True"}, {"stride", "(2,2)"}, {"pad", "(1,1)"}},
      {1, 1, 2, 2}, {0, 4, 12, 20});
  expect_call("Convolution", {x, w},
              {{"kernel", "(2,2)"}, {"num_filter", "1"}, {"no_bias", "1"}, {"dilate", "(2,2)"}}, {1, 1, 1, 1},
              {16});
  expect_call("Convolution", {counted({1, 2, 3}), counted({2, 1, 2}, 1)},
              {{"kernel", "(2,)"}, {"num_filter", "2"}, {"num_group", "2"}, {"no_bias", "True"}}, {1, 2, 2},
              {2, 5, 25, 32});
  expect_call("Convolution", {ones({1, 1, 2, 2, 2}), ones({1, 1, 2, 2, 2})},
              {{"kernel", "(2, 2, 2)"}, {"num_filter", "1"}, {"no_bias", "True"}}, {1, 1, 1, 1, 1}, {8});
  expect_refused("Convolution", {x, w}, {{"kernel", "(4,4)"}, {"num_filter", "1"}, {"no_bias", "True"}},
                 "input weight: got [1,1,2,2], want [1,1,4,4]");
  expect_refused("Convolution", {x, counted({1, 1, 4, 4})},
                 {{"kernel", "(4,4)"}, {"num_filter", "1"}, {"no_bias", "True"}},
                 "attribute kernel: got [4,4], want to fit");
  expect_refused("Convolution", {x, w},
                 {{"kernel", "(2,2)"}, {"num_filter", "1"}, {"no_bias", "True"}, {"layout", "NHWC"}},
                 "attribute layout: got NHWC", StatusCode::kUnsupported);
}

TEST(MxLayers, Deconvolution) {
  const NDArray x = array({1, 1, 2, 2}, {1, 2, 3, 4});
  const NDArray w = ones({1, 1, 2, 2});
  expect_call("Deconvolution", {x, w}, {{"kernel", "(2,2)"}, {"num_filter", "1"}, {"stride", "(2,2)"}},
              {1, 1, 4, 4}, {1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4});
  expect_call("Deconvolution", {x, w, array({1}, {5})},
              {{"kernel", "(2,2)"}, {"num_filter", "1"}, {"no_bias", "False"}}, {1, 1, 3, 3},
              {6, 8, 7, 9, 15, 11, 8, 12, 9});
  expect_call("Deconvolution", {x, w},
              {{"kernel", "(2,2)"}, {"num_filter", "1"}, {"stride", "(2,2)"}, {"adj", "(1,1)"}}, {1, 1, 5, 5},
              {1, 1, 2, 2, 0, 1, 1, 2, 2, 0, 3, 3, 4, 4, 0, 3, 3, 4, 4, 0, 0, 0, 0, 0, 0});
  expect_call("Deconvolution", {x, w},
              {{"kernel", "(2,2)"}, {"num_filter", "1"}, {"stride", "(2,2)"}, {"target_shape", "(2,2)"}},
              {1, 1, 2, 2}, {1, 2, 3, 4});
  expect_call("Deconvolution", {array({1, 2, 1}, {1, 10}), array({2, 1, 2}, {1, 2, 3, 4})},
              {{"kernel", "(2,)"}, {"num_filter", "2"}, {"num_group", "2"}}, {1, 2, 2}, {1, 2, 30, 40});
}

TEST(MxLayers, PoolingInAllConventions) {
  const NDArray x = counted({1, 1, 4, 4});
  const auto pool = [&](Attributes attributes, const Shape& shape, const std::vector<float>& want) {
    attributes.emplace("kernel", "(3, 3)");
    attributes.emplace("stride", "(2, 2)");
    expect_call("Pooling", {x}, attributes, shape, want);
  };
  pool({}, {1, 1, 1, 1}, {10});
  pool({{"pooling_convention", "full"}}, {1, 1, 2, 2}, {10, 11, 14, 15});
  pool({{"pool_type", "avg"}}, {1, 1, 1, 1}, {5});
  // The last windows reach past the end and are divided by what is inside of the padding, which there is none
  // of.
  pool({{"pool_type", "avg"}, {"pooling_convention", "full"}}, {1, 1, 2, 2}, {5, 6.5F, 11, 12.5F});
  pool({{"pool_type", "avg"}, {"pad", "(1, 1)"}}, {1, 1, 2, 2}, {10.0F / 9, 24.0F / 9, 51.0F / 9, 90.0F / 9});
  pool({{"pool_type", "avg"}, {"pad", "(1, 1)"}, {"count_include_pad", "False"}}, {1, 1, 2, 2},
       {2.5F, 4, 8.5F, 10});
  // Full and padded: the last windows have two of three columns, one of them padding.
  pool({{"pool_type", "avg"}, {"pad", "(1, 1)"}, {"pooling_convention", "full"}}, {1, 1, 3, 3},
       {10.0F / 9, 24.0F / 9, 10.0F / 6, 51.0F / 9, 90.0F / 9, 33.0F / 6, 25.0F / 6, 42.0F / 6, 15.0F / 4});
  pool({{"pool_type", "sum"}, {"pooling_convention", "full"}}, {1, 1, 2, 2}, {45, 39, 66, 50});
  pool({{"pool_type", "lp"}, {"p_value", "2"}}, {1, 1, 1, 1},
       {std::sqrt(0.0F + 1 + 4 + 16 + 25 + 36 + 64 + 81 + 100)});
  expect_call("Pooling", {x}, {{"global_pool", "True"}, {"pool_type", "avg"}}, {1, 1, 1, 1}, {7.5F});
  expect_call("Pooling", {x}, {{"global_pool", "True"}, {"kernel", "(2, 2)"}}, {1, 1, 1, 1}, {15});
  expect_call("Pooling", {counted({1, 1, 5})},
              {{"kernel", "(2,)"}, {"stride", "(2,)"}, {"pooling_convention", "same"}}, {1, 1, 3}, {1, 3, 4});
  expect_call("Pooling", {ones({1, 1, 2, 2, 2})}, {{"kernel", "(2, 2, 2)"}, {"pool_type", "sum"}},
              {1, 1, 1, 1, 1}, {8});
  expect_refused("Pooling", {x}, {{"kernel", "(5, 5)"}}, "attribute kernel: got [5,5], want to fit");
  expect_refused("Pooling", {x}, {{"kernel", "(2, 2)"}, {"pool_type", "median"}},
                 "attribute pool_type: got \"median\", want {max, avg, sum, lp}");
  expect_refused("Pooling", {x}, {{"kernel", "(2, 2)"}, {"pad", "(2, 2)"}},
                 "attribute pad: got [2,2], want less than");
}

TEST(MxLayers, Activations) {
  const NDArray x = array({2}, {-1, 2});
  const float e = std::exp(-1.0F);
  expect_call("Activation", {x}, {{"act_type", "relu"}}, {2}, {0, 2});
  expect_call("Activation", {x}, {{"act_type", "softrelu"}}, {2},
              {std::log1p(e), std::log1p(std::exp(2.0F))});
  expect_call("Activation", {x}, {{"act_type", "softsign"}}, {2}, {-0.5F, 2.0F / 3});
  expect_call("Activation", {x}, {{"act_type", "tanh"}}, {2}, {std::tanh(-1.0F), std::tanh(2.0F)});
  expect_call("LeakyReLU", {x}, {}, {2}, {-0.25F, 2});
  expect_call("LeakyReLU", {x}, {{"act_type", "elu"}, {"slope", "0.5"}}, {2}, {0.5F * (e - 1), 2});
  expect_call("LeakyReLU", {x}, {{"act_type", "selu"}}, {2}, {1.0507010F * 1.6732632F * (e - 1), 2.1014020F});
  expect_call("LeakyReLU", {x}, {{"act_type", "gelu"}}, {2},
              {-0.5F * (1 + std::erf(-std::sqrt(0.5F))), 1 + std::erf(std::sqrt(2.0F))});
  expect_call("LeakyReLU", {x}, {{"act_type", "rrelu"}}, {2}, {-(0.125F + 0.334F) / 2, 2});
  expect_call("LeakyReLU", {array({1, 2, 2}, {-1, -2, -3, 4}), array({2}, {0.5F, 2})},
              {{"act_type", "prelu"}}, {1, 2, 2}, {-0.5F, -1, -6, 4});
  expect_call("LeakyReLU", {array({2, 2}, {-1, -2, -3, 4}), array({1}, {0.5F})}, {{"act_type", "prelu"}},
              {2, 2}, {-0.5F, -1, -1.5F, 4});
  expect_refused("Activation", {x}, {{"act_type", "swish"}},
                 "attribute act_type: got \"swish\", want {relu,");
  expect_refused("Activation", {x}, {}, "attribute act_type is missing");
}

TEST(MxLayers, Normalisation) {
  const NDArray x = array({1, 2, 2}, {1, 3, 10, 20});
  const std::vector<NDArray> batch = {x, array({2}, {2, 3}), array({2}, {5, 6}), array({2}, {1, 10}),
                                      array({2}, {3, 24})};
  // Gamma is fixed to 1 by default.
  expect_call("BatchNorm", batch, {{"eps", "1"}}, {1, 2, 2}, {5, 6, 6, 8});
  expect_call("BatchNorm", batch, {{"eps", "1"}, {"fix_gamma", "False"}}, {1, 2, 2}, {5, 7, 6, 12});
  expect_call("BatchNorm", batch, {{"eps", "1"}, {"axis", "2"}}, {1, 2, 2}, {5, 6 - 7.0F / 5, 9.5F, 8});
  const std::vector<NDArray> affine = {x, array({2}, {2, 1}), array({2}, {0.5F, 0})};
  expect_call("InstanceNorm", affine, {{"eps", "0"}}, {1, 2, 2}, {-1.5F, 2.5F, -1, 1});
  expect_call("LayerNorm", affine, {{"eps", "0"}}, {1, 2, 2}, {-1.5F, 1, -1.5F, 1});
  expect_call("LayerNorm", affine, {{"eps", "0"}, {"axis", "1"}}, {1, 2, 2}, {-1.5F, -1.5F, 1, 1});
  const NDArray y = array({1, 2, 1, 2}, {3, 0, 4, 5});
  const float all = std::sqrt(50.0F);
  expect_call("L2Normalization", {y}, {}, {1, 2, 1, 2}, {3 / all, 0, 4 / all, 5 / all});
  expect_call("L2Normalization", {y}, {{"mode", "channel"}}, {1, 2, 1, 2}, {0.6F, 0, 0.8F, 1});
  expect_call("L2Normalization", {y}, {{"mode", "spatial"}}, {1, 2, 1, 2},
              {1, 0, 4 / std::sqrt(41.0F), 5 / std::sqrt(41.0F)});
  const NDArray channels = array({1, 3, 1, 1}, {1, 2, 3});
  const auto lrn = [](float value, float sum) { return value * std::pow(2 + 0.3F / 3 * sum, -0.5F); };
  expect_call("LRN", {channels}, {{"nsize", "3"}, {"alpha", "0.3"}, {"beta", "0.5"}}, {1, 3, 1, 1},
              {lrn(1, 5), lrn(2, 14), lrn(3, 13)});
}

TEST(MxLayers, UpSampling) {
  const NDArray x = array({1, 1, 1, 2}, {1, 2});
  expect_call("UpSampling", {x}, {{"scale", "2"}, {"sample_type", "nearest"}}, {1, 1, 2, 4},
              {1, 1, 2, 2, 1, 1, 2, 2});
  const NDArray y = array({1, 1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  expect_call("UpSampling", {x, y}, {{"scale", "2"}, {"sample_type", "nearest"}, {"multi_input_mode", "sum"}},
              {1, 1, 2, 4}, {2, 3, 5, 6, 6, 7, 9, 10});
  EXPECT_EQ(call("UpSampling", {x, y}, {{"scale", "2"}, {"sample_type", "nearest"}}).shape(),
            (Shape{1, 2, 2, 4}));
  // The kernel of a bilinear filter of scale 2: [.25 .75 .75 .25] in both directions.
  std::vector<float> kernel;
  for (const float a : {0.25F, 0.75F, 0.75F, 0.25F}) {
    for (const float b : {0.25F, 0.75F, 0.75F, 0.25F}) kernel.push_back(a * b);
  }
  expect_call("UpSampling", {array({1, 1, 1, 2}, {4, 8}), array({1, 1, 4, 4}, kernel)},
              {{"scale", "2"}, {"sample_type", "bilinear"}, {"num_filter", "1"}, {"num_args", "2"}},
              {1, 1, 2, 4}, {2.25F, 3.75F, 5.25F, 4.5F, 2.25F, 3.75F, 5.25F, 4.5F});
}

TEST(MxLayers, EndsOfNetworks) {
  const NDArray x = array({1, 2, 2}, {0, 0, 1, 1});
  const float e = std::exp(1.0F);
  const float low = 1 / (1 + e);
  expect_call("SoftmaxOutput", {array({1, 2}, {0, 1}), array({1}, {0})}, {}, {1, 2}, {low, 1 - low});
  expect_call("SoftmaxOutput", {x, array({1, 2}, {0, 0})}, {{"multi_output", "True"}}, {1, 2, 2},
              {low, low, 1 - low, 1 - low});
  expect_call("SoftmaxOutput", {x, array({1, 2}, {0, 0})}, {}, {1, 2, 2},
              {low / 2, low / 2, (1 - low) / 2, (1 - low) / 2});
  expect_call("SoftmaxOutput", {x, array({1, 2}, {0, 0})}, {{"preserve_shape", "True"}}, {1, 2, 2},
              {0.5F, 0.5F, 0.5F, 0.5F});
  expect_call("SoftmaxActivation", {x}, {}, {1, 2, 2}, {0.5F, 0.5F, 0.5F, 0.5F});
  expect_call("SoftmaxActivation", {x}, {{"mode", "channel"}}, {1, 2, 2}, {low, low, 1 - low, 1 - low});
  expect_call("Dropout", {x}, {{"p", "0.9"}}, {1, 2, 2}, {0, 0, 1, 1});
  expect_call("LogisticRegressionOutput", {array({1}, {1}), array({1}, {0})}, {}, {1}, {1 - low});
  expect_refused("Dropout", {x}, {{"mode", "always"}}, "attribute mode: got always",
                 StatusCode::kUnsupported);
}

}  // namespace
}  // namespace inflight::mx
