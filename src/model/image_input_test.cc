// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <openvino/core/model.hpp>
#include <openvino/core/preprocess/pre_post_process.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <random>

#include "inflight/model.h"
#include "model/network.h"
#include "onnx_writer.h"

namespace inflight {
namespace {

using testing::onnx_node;
using testing::onnx_value;
using testing::OnnxDim;
using testing::OnnxModel;

Model identity_model(int type, const std::vector<OnnxDim>& dims) {
  const std::string bytes = OnnxModel{
      .nodes = {onnx_node("Relu", {"image"}, {"y"})},
      .inputs = {onnx_value("image", type, dims)},
      .outputs = {onnx_value(
          "y", type, dims)}}.bytes();
  return Model::load_bytes(std::as_bytes(std::span(bytes.data(), bytes.size())), "m").value();
}

std::vector<std::uint8_t> random_frame(int height, int width, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::uint8_t> frame(static_cast<std::size_t>(height) * width * 3);
  for (std::uint8_t& byte : frame) byte = static_cast<std::uint8_t>(random());
  return frame;
}

// Runs a network of one input on bytes, by OpenVINO's own interface.
std::vector<std::vector<float>> run(const std::shared_ptr<const ov::Model>& network,
                                    std::vector<std::uint8_t> frame) {
  ov::Core core;
  auto request = core.compile_model(network, "CPU", ov::hint::inference_precision(ov::element::f32))
                     .create_infer_request();
  const auto port = network->input();
  request.set_input_tensor(ov::Tensor(port.get_element_type(), port.get_shape(), frame.data()));
  request.infer();
  std::vector<std::vector<float>> outputs;
  for (std::size_t i = 0; i < network->outputs().size(); ++i) {
    const ov::Tensor tensor = request.get_output_tensor(i);
    outputs.emplace_back(tensor.data<float>(), tensor.data<float>() + tensor.get_size());
  }
  return outputs;
}

// What the frame should become, computed the slow way: f32[3,to_height,to_width], negatives made 0 (the
// model's Relu).
std::vector<float> expected(const std::vector<std::uint8_t>& frame, const ImageInput& image, int to_height,
                            int to_width) {
  const auto pixel = [&](int row, int column, int channel) {
    row = std::clamp(row, 0, image.height - 1);
    column = std::clamp(column, 0, image.width - 1);
    return static_cast<float>(frame[(static_cast<std::size_t>(row) * image.width + column) * 3 + channel]);
  };
  const auto per_channel = [](const std::vector<float>& values, int channel) {
    if (values.empty()) return 0.0F;
    return values.size() == 1 ? values[0] : values[static_cast<std::size_t>(channel)];
  };
  std::vector<float> result;
  for (int channel = 0; channel < 3; ++channel) {
    const int source = image.color == ColorOrder::kBgr ? 2 - channel : channel;
    for (int row = 0; row < to_height; ++row) {
      for (int column = 0; column < to_width; ++column) {
        // Half-pixel centres; beyond the edge stands the edge.
        const float y = std::max((static_cast<float>(row) + 0.5F) * image.height / to_height - 0.5F, 0.0F);
        const float x = std::max((static_cast<float>(column) + 0.5F) * image.width / to_width - 0.5F, 0.0F);
        const int y0 = static_cast<int>(y);
        const int x0 = static_cast<int>(x);
        const float fy = y - static_cast<float>(y0);
        const float fx = x - static_cast<float>(x0);
        const float top = pixel(y0, x0, source) * (1 - fx) + pixel(y0, x0 + 1, source) * fx;
        const float bottom = pixel(y0 + 1, x0, source) * (1 - fx) + pixel(y0 + 1, x0 + 1, source) * fx;
        const float value = top * (1 - fy) + bottom * fy;
        result.push_back(
            std::max((value - per_channel(image.mean, channel)) / per_channel(image.scale, channel), 0.0F));
      }
    }
  }
  return result;
}

float max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  float most = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

TEST(ImageInput, ConvertsAsTheSlowWayDoes) {
  const ImageInput cases[] = {
      {.height = 8, .width = 12},
      {.height = 8, .width = 12, .color = ColorOrder::kBgr, .mean = {10, 20, 30}, .scale = {2, 4, 8}},
      {.height = 16, .width = 24, .mean = {127}, .scale = {128}},
      {.height = 5, .width = 7, .color = ColorOrder::kBgr, .mean = {1}, .scale = {0.5F, 1, 2}},
      {.height = 33, .width = 19},
  };
  const Model model = identity_model(testing::kFloat, {1, 3, 8, 12});
  for (const ImageInput& image : cases) {
    const Result<Model> converted = model.with_image_input(image);
    ASSERT_TRUE(converted.ok()) << converted.status().to_string();
    EXPECT_EQ(converted->inputs()[0], (TensorSpec{"image", DType::kU8, {image.height, image.width, 3}}));
    EXPECT_EQ(converted->outputs()[0], model.outputs()[0]);
    const auto frame = random_frame(image.height, image.width, 3);
    EXPECT_LE(max_difference(run(network(*converted), frame)[0], expected(frame, image, 8, 12)), 1e-3F)
        << image.height << "x" << image.width;
  }
  EXPECT_EQ(model.inputs()[0], (TensorSpec{"image", DType::kF32, {1, 3, 8, 12}}))
      << "the model itself has changed";
}

TEST(ImageInput, DynamicBatchHeightAndWidthTakeTheFrames) {
  const Model model = identity_model(testing::kFloat, {"N", 3, "H", "W"});
  const Result<Model> converted = model.with_image_input({.height = 6, .width = 10});
  ASSERT_TRUE(converted.ok()) << converted.status().to_string();
  EXPECT_EQ(converted->inputs()[0].shape, (Shape{6, 10, 3}));
  EXPECT_EQ(converted->outputs()[0].shape, (Shape{1, 3, 6, 10}));
}

TEST(ImageInput, ChannelsLastAndHalfPrecision) {
  const Result<Model> last =
      identity_model(testing::kFloat, {1, 8, 12, 3}).with_image_input({.height = 8, .width = 12});
  ASSERT_TRUE(last.ok()) << last.status().to_string();
  const auto frame = random_frame(8, 12, 5);
  const std::vector<float> same(frame.begin(), frame.end());
  EXPECT_EQ(max_difference(run(network(*last), frame)[0], same), 0.0F);
  const Result<Model> half =
      identity_model(testing::kFloat16, {1, 3, 8, 12}).with_image_input({.height = 8, .width = 12});
  ASSERT_TRUE(half.ok()) << half.status().to_string();
  EXPECT_EQ(half->outputs()[0].dtype, DType::kF16);
}

void expect_refused(const Model& model, const ImageInput& image, std::string_view wanted) {
  const Result<Model> converted = model.with_image_input(image);
  ASSERT_FALSE(converted.ok()) << wanted;
  EXPECT_EQ(converted.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(converted.status().message().find(wanted), std::string_view::npos)
      << converted.status().message();
}

TEST(ImageInput, RefusesWhatMakesNoSense) {
  const Model model = identity_model(testing::kFloat, {1, 3, 8, 12});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  expect_refused(model, {.height = 0, .width = 12}, "frame: got 0x12");
  expect_refused(model, {.height = 1 << 16, .width = 12}, "frame: got 65536x12");
  expect_refused(model, {.height = 8, .width = 12, .scale = {}}, "scale: got 0 values");
  expect_refused(model, {.height = 8, .width = 12, .mean = {1, 2}}, "mean: got 2 values");
  expect_refused(model, {.height = 8, .width = 12, .mean = {nan}}, "mean: got nan");
  expect_refused(model, {.height = 8, .width = 12, .scale = {1, 0, 1}}, "scale: got 0");
  expect_refused(model, {.height = 8, .width = 12, .scale = {INFINITY}}, "scale: got inf");
  expect_refused(model, {.height = 8, .width = 12, .input = "nope"},
                 "input \"nope\": no such input; there is \"image\"");
  expect_refused(identity_model(testing::kFloat, {1, 4}), {.height = 8, .width = 12}, "no image input");
  expect_refused(identity_model(testing::kFloat, {1, 2, 8, 12}), {.height = 8, .width = 12},
                 "no image input");
  expect_refused(identity_model(testing::kInt64, {8, 12}), {.height = 8, .width = 12}, "no image input");
  expect_refused(identity_model(testing::kFloat, {1, 2, 8, 12}), {.height = 8, .width = 12, .input = "image"},
                 "not an image input");
  expect_refused(identity_model(testing::kFloat, {1, 1, 8, 12}),
                 {.height = 8, .width = 12, .mean = {1, 2, 3}}, "mean: got 3 values, want 1");
  expect_refused(identity_model(testing::kFloat, {1, 4, 8, 12}),
                 {.height = 8, .width = 12, .scale = {1, 2, 3}}, "scale: got 3 values, want 1 or 4");
}

TEST(ImageInput, SeveralImagesMustBeTold) {
  const std::string bytes = OnnxModel{.nodes = {onnx_node("Add", {"a", "b"}, {"y"})},
                                      .inputs = {onnx_value("a", testing::kFloat, {1, 3, 4, 4}),
                                                 onnx_value("b", testing::kFloat, {1, 3, 4, 4})},
                                      .outputs = {onnx_value("y", testing::kFloat, {1, 3, 4, 4})}}
                                .bytes();
  const Model model = Model::load_bytes(std::as_bytes(std::span(bytes.data(), bytes.size())), "m").value();
  expect_refused(model, {.height = 4, .width = 4}, "several image inputs");
  const Result<Model> converted = model.with_image_input({.height = 4, .width = 4, .input = "b"});
  ASSERT_TRUE(converted.ok()) << converted.status().to_string();
  EXPECT_EQ(converted->inputs()[0], model.inputs()[0]);
  EXPECT_EQ(converted->inputs()[1], (TensorSpec{"b", DType::kU8, {4, 4, 3}}));
}

// The face detector with its preprocessing, against the program that a user of OpenVINO would write.
TEST(ImageInput, EqualsOpenVinoWrittenByHand) {
  const std::string path = std::string(INFLIGHT_SHARED_DATA_DIR) + "/face_rfb_320.onnx";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  const Model model = Model::load(path).value();
  for (const auto& [height, width] : {std::pair{240, 320}, std::pair{480, 640}, std::pair{123, 457}}) {
    const Result<Model> converted =
        model.with_image_input({.height = height, .width = width, .mean = {127}, .scale = {128}});
    ASSERT_TRUE(converted.ok()) << converted.status().to_string();
    ov::Core core;
    ov::preprocess::PrePostProcessor steps(core.read_model(path));
    steps.input()
        .tensor()
        .set_element_type(ov::element::u8)
        .set_layout("NHWC")
        .set_spatial_static_shape(height, width);
    steps.input().model().set_layout("NCHW");
    steps.input().preprocess().convert_element_type(ov::element::f32);
    if (height != 240) steps.input().preprocess().resize(ov::preprocess::ResizeAlgorithm::RESIZE_LINEAR);
    steps.input().preprocess().mean(127.0F).scale(128.0F);
    const std::shared_ptr<ov::Model> by_hand = steps.build();
    for (unsigned seed = 0; seed < 3; ++seed) {
      const auto frame = random_frame(height, width, seed);
      const auto ours = run(network(*converted), frame);
      const auto theirs = run(by_hand, frame);
      ASSERT_EQ(ours.size(), 2U);
      for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_LE(max_difference(ours[i], theirs[i]), 1e-4F);
    }
  }
}

}  // namespace
}  // namespace inflight
