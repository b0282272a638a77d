// SPDX-License-Identifier: Apache-2.0
// Image inputs of every kind that models have: what the network gets of a frame, worked out by hand.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <openvino/core/model.hpp>
#include <openvino/op/concat.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <random>

#include "inflight/model.h"
#include "model/fit_graph.h"
#include "model/image_fit.h"
#include "model/network.h"
#include "onnx_writer.h"

namespace inflight {
namespace {

using testing::onnx_node;
using testing::onnx_value;
using testing::OnnxDim;
using testing::OnnxModel;

constexpr int kInt8 = 3;
constexpr int kUint16 = 4;
constexpr int kInt32 = 6;
constexpr int kDouble = 11;

Model from(const OnnxModel& onnx) {
  const std::string bytes = onnx.bytes();
  return Model::load_bytes(std::as_bytes(std::span(bytes.data(), bytes.size())), "m").value();
}

Model identity(int type, const std::vector<OnnxDim>& dims) {
  return from({.nodes = {onnx_node("Identity", {"image"}, {"y"})},
               .inputs = {onnx_value("image", type, dims)},
               .outputs = {onnx_value("y", type, dims)}});
}

template <typename T>
std::vector<double> values(const ov::Tensor& tensor) {
  return {tensor.data<T>(), tensor.data<T>() + tensor.get_size()};
}

// What the model's first output is for a frame.
std::vector<double> run(const Model& model, std::vector<std::uint8_t> frame) {
  ov::Core core;
  auto request = core.compile_model(network(model), "CPU", ov::hint::inference_precision(ov::element::f32))
                     .create_infer_request();
  const auto port = network(model)->input();
  request.set_input_tensor(ov::Tensor(port.get_element_type(), port.get_shape(), frame.data()));
  request.infer();
  const ov::Tensor tensor = request.get_output_tensor(0);
  switch (static_cast<ov::element::Type_t>(tensor.get_element_type())) {
    case ov::element::Type_t::u8:
      return values<std::uint8_t>(tensor);
    case ov::element::Type_t::i8:
      return values<std::int8_t>(tensor);
    case ov::element::Type_t::u16:
      return values<std::uint16_t>(tensor);
    case ov::element::Type_t::i32:
      return values<std::int32_t>(tensor);
    case ov::element::Type_t::i64:
      return values<std::int64_t>(tensor);
    case ov::element::Type_t::f64:
      return values<double>(tensor);
    default:
      return values<float>(tensor);
  }
}

// Two rows, two columns: red, green, blue, and a grey of 100.
const std::vector<std::uint8_t> kFrame = {255, 0, 0, 0, 255, 0, 0, 0, 255, 100, 100, 100};
const std::vector<double> kPlanes = {255, 0, 0, 100, 0, 255, 0, 100, 0, 0, 255, 100};
const std::vector<double> kPixels(kFrame.begin(), kFrame.end());

struct Kind {
  int type;
  std::vector<OnnxDim> dims;
  std::vector<double> wanted;
};

void expect_kind(const Kind& kind, ImageInput image = {}) {
  image.height = 2;
  image.width = 2;
  const Model model = identity(kind.type, kind.dims);
  const Result<Model> converted = model.with_image_input(image);
  ASSERT_TRUE(converted.ok()) << converted.status().to_string();
  EXPECT_EQ(converted->inputs()[0].shape, (Shape{2, 2, 3}));
  EXPECT_EQ(converted->inputs()[0].dtype, DType::kU8);
  const std::vector<double> got = run(*converted, kFrame);
  ASSERT_EQ(got.size(), kind.wanted.size()) << model.inputs()[0].type_string();
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(got[i], kind.wanted[i], 1e-3) << model.inputs()[0].type_string() << " value " << i;
  }
}

std::vector<double> each(const std::vector<double>& from, double (*change)(double)) {
  std::vector<double> made;
  std::transform(from.begin(), from.end(), std::back_inserter(made), change);
  return made;
}

TEST(ImageKinds, IntegersTakeFramesAsTheyAre) {
  for (const int type : {int{testing::kUint8}, kUint16, kInt32, int{testing::kInt64}, kDouble}) {
    expect_kind({type, {1, 3, 2, 2}, kPlanes});
    expect_kind({type, {1, 2, 2, 3}, kPixels});
    expect_kind({type, {3, 2, 2}, kPlanes});
    expect_kind({type, {2, 2, 3}, kPixels});
  }
}

TEST(ImageKinds, SignedBytesAreThePixelLess128) {
  const auto less = [](double pixel) { return pixel - 128; };
  expect_kind({kInt8, {1, 2, 2, 3}, each(kPixels, less)});
  expect_kind({kInt8, {1, 3, 2, 2}, each(kPlanes, less)});
  // A mean that is given stands for it: here 255 comes to the type's bound.
  expect_kind({kInt8, {1, 2, 2, 3}, each(kPixels, [](double pixel) { return std::min(pixel, 127.0); })},
              {.mean = {0}});
}

TEST(ImageKinds, IntegersAreRoundedAndBounded) {
  // (255 - 3) / 2 = 126; (0 - 3) / 2 ends at 0; (100 - 3) / 2 = 48.5 is 48, the even one.
  const auto change = [](double pixel) { return pixel == 255 ? 126.0 : pixel == 100 ? 48.0 : 0.0; };
  expect_kind({testing::kUint8, {1, 2, 2, 3}, each(kPixels, change)}, {.mean = {3}, .scale = {2}});
}

TEST(ImageKinds, OpenExtentsTakeTheFrames) {
  expect_kind({testing::kUint8, {"h", "w", 3}, kPixels});
  expect_kind({testing::kFloat, {"n", 3, "h", "w"}, kPlanes});
  expect_kind({testing::kFloat, {"n", "h", "w", 3}, kPixels});
  expect_kind({testing::kFloat, {3, "h", "w"}, kPlanes});
  // Nothing is known of the channels: as exporters do, floats have them first and bytes last.
  expect_kind({testing::kFloat, {"n", "c", "h", "w"}, kPlanes});
  expect_kind({testing::kUint8, {"n", "h", "w", "c"}, kPixels});
}

TEST(ImageKinds, OneChannelIsGrey) {
  const std::vector<double> grey = {76.245, 149.685, 29.07, 100};
  for (const std::vector<OnnxDim>& dims : std::vector<std::vector<OnnxDim>>{
           {1, 1, 2, 2}, {1, 2, 2, 1}, {1, 2, 2}, {2, 2, 1}, {2, 2}, {"h", "w"}, {"n", 1, "h", "w"}}) {
    expect_kind({testing::kFloat, dims, grey});
  }
  expect_kind({testing::kUint8, {1, 1, 2, 2}, {76, 150, 29, 100}});
  expect_kind({testing::kUint8, {2, 2}, {76, 150, 29, 100}});
}

TEST(ImageKinds, FourChannelsHaveAnAlphaOf255) {
  std::vector<double> planes = kPlanes;
  planes.insert(planes.end(), 4, 255);
  expect_kind({testing::kFloat, {1, 4, 2, 2}, planes});
  expect_kind({testing::kUint8, {4, 2, 2}, planes});
  expect_kind(
      {testing::kUint8, {2, 2, 4}, {255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 100, 100, 100, 255}});
  expect_kind(
      {testing::kFloat, {1, 2, 2, 4}, {0, 0, 255, 255, 0, 255, 0, 255, 255, 0, 0, 255, 100, 100, 100, 255}},
      {.color = ColorOrder::kBgr});
}

TEST(ImageKinds, EachPlaceOfABatchHasTheFrame) {
  std::vector<double> three;
  for (int i = 0; i < 3; ++i) three.insert(three.end(), kPlanes.begin(), kPlanes.end());
  expect_kind({testing::kFloat, {3, 3, 2, 2}, three});
  const Model model =
      identity(testing::kFloat, {3, 3, 2, 2}).with_image_input({.height = 2, .width = 2}).value();
  EXPECT_EQ(model.image_use()->batch, 3);
  ASSERT_EQ(model.conversions().size(), 1U);
  EXPECT_NE(model.conversions()[0].find("the same frame in each of the 3 places"), std::string::npos);
}

TEST(ImageKinds, ChannelsThatTheNetworkTells) {
  // All four extents are open, and the weights want channels last: f32[?,?,?,?] times f32[3,1].
  const Model model = from({.nodes = {onnx_node("MatMul", {"image", "w"}, {"y"})},
                            .inputs = {onnx_value("image", testing::kFloat, {"a", "b", "c", "d"})},
                            .outputs = {onnx_value("y", testing::kFloat, {"a", "b", "c", 1})},
                            .initializers = {testing::onnx_initializer("w", {3, 1}, {1, 2, 3})}});
  const Result<Model> converted = model.with_image_input({.height = 5, .width = 4});
  ASSERT_TRUE(converted.ok()) << converted.status().to_string();
  EXPECT_EQ(converted->outputs()[0].shape, (Shape{1, 5, 4, 1}));
}

TEST(ImageKinds, OtherInputsThatFollowFromThePicture) {
  const OnnxModel onnx{
      .nodes = {onnx_node("ReduceMean", {"image"}, {"m"}), onnx_node("Add", {"m", "im_info"}, {"y"})},
      .inputs = {onnx_value("im_info", testing::kFloat, {1, 3}),
                 onnx_value("image", testing::kFloat, {1, 3, 8, 6})},
      .outputs = {onnx_value("y", testing::kFloat, {1, 1, 1, 3})}};
  const Model model = from(onnx);
  EXPECT_EQ(model.with_image_input({.height = 2, .width = 2})->inputs().size(), 2U);
  const Model filled = model.with_image_input({.height = 2, .width = 2, .fill_others = true}).value();
  ASSERT_EQ(filled.inputs().size(), 1U);
  EXPECT_EQ(filled.inputs()[0].name, "image");
  const std::vector<double> got = run(filled, std::vector<std::uint8_t>(12, 10));
  EXPECT_EQ(got, (std::vector<double>{18, 16, 11}));  // 10 + 8, 6, 1
}

// ---- fit

TEST(FitRect, ByHand) {
  const auto expect = [](Fit fit, int fh, int fw, int ih, int iw, double x, double y, double width,
                         double height) {
    const FitRect rect = fit_rect(fit, fh, fw, ih, iw);
    EXPECT_DOUBLE_EQ(rect.x, x);
    EXPECT_DOUBLE_EQ(rect.y, y);
    EXPECT_DOUBLE_EQ(rect.width, width);
    EXPECT_DOUBLE_EQ(rect.height, height);
  };
  expect(Fit::kStretch, 32, 128, 32, 32, 0, 0, 32, 32);
  expect(Fit::kLetterbox, 32, 128, 32, 32, 0, 12, 32, 8);
  expect(Fit::kCrop, 32, 128, 32, 32, -48, 0, 128, 32);
  expect(Fit::kLetterbox, 480, 640, 640, 640, 0, 80, 640, 480);
  expect(Fit::kLetterbox, 1080, 810, 640, 640, 80, 0, 480, 640);
  expect(Fit::kLetterbox, 1, 1000, 10, 10, 0, 4, 10, 1);  // a side is 1 at least; of 9 the lower border has 5
  expect(Fit::kCrop, 7, 4, 10, 10, 0, -2.5, 10, 17.5);    // of 3 rows one is cut off above, two below
}

std::vector<double> fitted(Fit fit, int height, int width, std::vector<std::uint8_t> frame, int to) {
  const Model model = identity(testing::kFloat, {1, to, to, 3});
  return run(model.with_image_input({.height = height, .width = width, .fit = fit}).value(),
             std::move(frame));
}

TEST(FitRect, TheNetworkAgreesToThePixel) {
  std::mt19937 random(3);
  for (int round = 0; round < 40; ++round) {
    const int height = 1 + static_cast<int>(random() % 40);
    const int width = 1 + static_cast<int>(random() % 40);
    const int to = 4 + static_cast<int>(random() % 24);  // 3 could be channels
    // White: what is 114 in the network's input is border.
    const std::vector<std::uint8_t> white(static_cast<std::size_t>(height) * width * 3, 255);
    const FitRect rect = fit_rect(Fit::kLetterbox, height, width, to, to);
    const std::vector<double> got = fitted(Fit::kLetterbox, height, width, white, to);
    for (int row = 0; row < to; ++row) {
      for (int column = 0; column < to; ++column) {
        const bool inside =
            row >= rect.y && row < rect.y + rect.height && column >= rect.x && column < rect.x + rect.width;
        EXPECT_NEAR(got[(static_cast<std::size_t>(row) * to + column) * 3], inside ? 255 : 114, 1e-3)
            << height << "x" << width << " to " << to << " at " << row << "," << column;
      }
    }
  }
}

TEST(FitRect, CropTakesTheMiddle) {
  // 2 rows, 6 columns, each with its number: the middle two stay.
  std::vector<std::uint8_t> frame;
  for (int row = 0; row < 2; ++row) {
    for (int column = 0; column < 6; ++column)
      frame.insert(frame.end(), 3, static_cast<std::uint8_t>(column));
  }
  EXPECT_EQ(fitted(Fit::kCrop, 2, 6, frame, 2), (std::vector<double>{2, 2, 2, 3, 3, 3, 2, 2, 2, 3, 3, 3}));
}

// One network for frames of any size, against the one for just that size, whose arithmetic was done before.
TEST(AnySize, EqualsTheNetworkForThatSize) {
  std::mt19937 random(5);
  ov::Core core;
  for (const Fit fit : {Fit::kStretch, Fit::kLetterbox, Fit::kCrop}) {
    const Model model = identity(testing::kFloat, {1, 3, 17, 24});
    const Model any = model.with_image_input({.fit = fit}).value();
    EXPECT_EQ(any.inputs()[0].shape, (Shape{Shape::kDynamic, Shape::kDynamic, 3}));
    EXPECT_EQ(any.outputs()[0].shape, (Shape{1, 3, 17, 24}));
    auto request = core.compile_model(network(any), "CPU", ov::hint::inference_precision(ov::element::f32))
                       .create_infer_request();
    for (int round = 0; round < 25; ++round) {
      // Sizes of every order of magnitude, and those of the network.
      const auto side = [&random, round](int own) {
        return round < 2 ? own : 1 + static_cast<int>(random() % (std::size_t{4} << (random() % 9)));
      };
      const int height = side(17);
      const int width = round == 1 ? 48 : side(24);
      std::vector<std::uint8_t> frame(static_cast<std::size_t>(height) * width * 3);
      for (std::uint8_t& byte : frame) byte = static_cast<std::uint8_t>(random());
      request.set_input_tensor(
          ov::Tensor(ov::element::u8, {static_cast<std::size_t>(height), static_cast<std::size_t>(width), 3},
                     frame.data()));
      request.infer();
      const std::vector<double> got = values<float>(request.get_output_tensor());
      const std::vector<double> wanted =
          run(model.with_image_input({.height = height, .width = width, .fit = fit}).value(), frame);
      ASSERT_EQ(got.size(), wanted.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], wanted[i], 2e-3)
            << height << "x" << width << ", fit " << static_cast<int>(fit) << ", " << i;
      }
    }
  }
}

// Where products come near to 2^31 and f32 has lost their last bits.
TEST(AnySize, TheArithmeticIsExactAtTheBounds) {
  std::mt19937 random(6);
  ov::Core core;
  // The frame's values are not looked at: its 3 GiB are there, and take no memory.
  const std::size_t bytes = std::size_t{3} << 30;
  void* const memory = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  for (const auto& [to_height, to_width] : {std::pair{640, 640}, std::pair{32767, 32768}, std::pair{3, 7}}) {
    const auto frame = std::make_shared<ov::op::v0::Parameter>(ov::element::u8, ov::PartialShape{-1, -1, 3});
    const internal::RectInGraph box = internal::letterbox_in_graph(frame, to_height, to_width);
    const internal::RectInGraph cut = internal::crop_in_graph(frame, to_height, to_width);
    const auto all = std::make_shared<ov::op::v0::Concat>(
        ov::OutputVector{box.x, box.y, box.width, box.height, cut.x, cut.y, cut.width, cut.height}, 0);
    auto request =
        core.compile_model(std::make_shared<ov::Model>(ov::OutputVector{all}, ov::ParameterVector{frame}),
                           "CPU")
            .create_infer_request();
    for (int round = 0; round < 300; ++round) {
      const int height =
          round % 3 == 0 ? 32768 - static_cast<int>(random() % 4) : 1 + static_cast<int>(random() % 32768);
      const int width =
          round % 5 == 0 ? 32768 - static_cast<int>(random() % 4) : 1 + static_cast<int>(random() % 32768);
      request.set_input_tensor(ov::Tensor(
          ov::element::u8, {static_cast<std::size_t>(height), static_cast<std::size_t>(width), 3}, memory));
      request.infer();
      const auto* const got = request.get_output_tensor().data<std::int32_t>();
      const auto letterbox = internal::letterbox_rect(height, width, to_height, to_width);
      const auto crop = internal::crop_rect(height, width, to_height, to_width);
      const std::int64_t wanted[] = {letterbox.x, letterbox.y, letterbox.width, letterbox.height,
                                     crop.x,      crop.y,      crop.width,      crop.height};
      for (std::size_t i = 0; i < 8; ++i) {
        ASSERT_EQ(got[i], wanted[i]) << height << "x" << width << " to " << to_height << "x" << to_width
                                     << ", " << i;
      }
    }
  }
  munmap(memory, bytes);
}

TEST(AnySize, WantsANetworkWithASizeOfItsOwn) {
  const Result<Model> open = identity(testing::kFloat, {1, 3, "h", "w"}).with_image_input({});
  EXPECT_EQ(open.status().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(identity(testing::kFloat, {1, 3, 4, 4}).with_image_input({.height = 4}).ok());
}

}  // namespace
}  // namespace inflight
