// SPDX-License-Identifier: Apache-2.0
// Each head on tensors made by hand, with boxes worked out by hand. The input is 64x96 (height, width), the
// frame twice that and more: 128x192.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>

#include "vision/detector.h"

namespace inflight::vision {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int kHeight = 64, kWidth = 96;
// The cells of the strides 8, 16 and 32: 96 + 24 + 6.
constexpr std::int64_t kCells = 126;

const Geometry kGeometry = Geometry::stretched(128, 192, kHeight, kWidth);

// Outputs of a model, made one after the other.
class Outputs {
 public:
  Outputs& add(const std::string& name, Shape shape, std::vector<float> values) {
    EXPECT_EQ(shape.elements(), values.size());
    memory_.push_back(std::make_shared<std::vector<float>>(std::move(values)));
    specs_.push_back({name, DType::kF32, shape});
    views_.push_back({memory_.back()->data(), DType::kF32, shape});
    return *this;
  }
  Outputs& add_integers(const std::string& name, Shape shape, std::vector<std::int64_t> values) {
    EXPECT_EQ(shape.elements(), values.size());
    integers_.push_back(std::make_shared<std::vector<std::int64_t>>(std::move(values)));
    specs_.push_back({name, DType::kI64, shape});
    views_.push_back({integers_.back()->data(), DType::kI64, shape});
    return *this;
  }
  std::optional<Detector> guess(std::size_t labels = 0) const {
    return guess_detector(specs_, {kHeight, kWidth, labels});
  }
  Result<std::vector<Box>> decode(const Detector& detector) const {
    return decode_boxes(detector, views_, kGeometry, {});
  }
  // The boxes by the head that must be the one guessed.
  std::vector<Box> boxes(Head head, std::size_t labels = 0) const {
    const std::optional<Detector> detector = guess(labels);
    if (!detector) {
      ADD_FAILURE() << "no head was guessed for " << outputs_text(specs_);
      return {};
    }
    EXPECT_EQ(head_name(detector->head), head_name(head));
    return boxes_told(head);
  }
  std::vector<Box> boxes_told(Head head) const {
    const Result<Detector> detector = make_detector(head, specs_, {kHeight, kWidth, 0});
    if (!detector.ok()) {
      ADD_FAILURE() << detector.status().to_string();
      return {};
    }
    Result<std::vector<Box>> result = decode(*detector);
    if (!result.ok()) {
      ADD_FAILURE() << result.status().to_string();
      return {};
    }
    return *result;
  }

 private:
  std::vector<TensorSpec> specs_;
  std::vector<TensorView> views_;
  std::vector<std::shared_ptr<std::vector<float>>> memory_;  // copies share it
  std::vector<std::shared_ptr<std::vector<std::int64_t>>> integers_;
};

void expect_boxes(const std::vector<Box>& got, const std::vector<Box>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_NEAR(got[i].x, want[i].x, 1e-4);
    EXPECT_NEAR(got[i].y, want[i].y, 1e-4);
    EXPECT_NEAR(got[i].width, want[i].width, 1e-4);
    EXPECT_NEAR(got[i].height, want[i].height, 1e-4);
    EXPECT_NEAR(got[i].score, want[i].score, 1e-6);
    EXPECT_EQ(got[i].category, want[i].category);
  }
}

// Rows of `columns` values; all but those given are far below every threshold, each with a centre of its own.
std::vector<float> grid_rows(std::int64_t rows, std::size_t columns,
                             const std::map<std::int64_t, std::vector<float>>& given, float scale = 1) {
  std::vector<float> values;
  for (std::int64_t row = 0; row < rows; ++row) {
    std::vector<float> one(columns, 0.01F);
    one[0] = static_cast<float>(row % kWidth) * scale;
    one[1] = static_cast<float>(row % kHeight) * scale;
    one[2] = one[3] = 4 * scale;
    if (const auto found = given.find(row); found != given.end()) one = found->second;
    EXPECT_EQ(one.size(), columns);
    values.insert(values.end(), one.begin(), one.end());
  }
  return values;
}

std::vector<float> transposed(const std::vector<float>& values, std::size_t rows) {
  const std::size_t columns = values.size() / rows;
  std::vector<float> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) result[(i % columns) * rows + i / columns] = values[i];
  return result;
}

// Two that overlap by far, one of another class, and one that is no number.
const std::map<std::int64_t, std::vector<float>> kYoloV8Rows = {{3, {20, 30, 10, 20, 0.1F, 0.9F, 0.2F}},
                                                                {4, {21, 30, 10, 20, 0.1F, 0.8F, 0.2F}},
                                                                {70, {20, 30, 10, 20, 0.1F, 0.2F, 0.7F}},
                                                                {80, {kNan, 30, 10, 20, 0.9F, 0.2F, 0.1F}},
                                                                {81, {50, 30, 10, 20, kNan, 0.3F, kNan}}};
const std::vector<Box> kYoloV8Boxes = {
    {30, 40, 20, 40, 0.9F, 1}, {30, 40, 20, 40, 0.7F, 2}, {90, 40, 20, 40, 0.3F, 1}};

TEST(Decode, YoloV8ByColumns) {
  const std::vector<float> rows = grid_rows(kCells, 7, kYoloV8Rows);
  expect_boxes(Outputs().add("output0", {1, 7, kCells}, transposed(rows, kCells)).boxes(Head::kYoloV8),
               kYoloV8Boxes);
}

TEST(Decode, YoloV8ByRows) {
  const Outputs outputs = Outputs().add("output0", {1, kCells, 7}, grid_rows(kCells, 7, kYoloV8Rows));
  expect_boxes(outputs.boxes(Head::kYoloV8, 3), kYoloV8Boxes);
  EXPECT_FALSE(outputs.guess());  // it could be YOLOX as well
}

TEST(Decode, YoloV8From0To1) {
  std::map<std::int64_t, std::vector<float>> rows = kYoloV8Rows;
  for (auto& [row, values] : rows) {
    for (std::size_t i = 0; i < 4; ++i) values[i] /= i % 2 == 0 ? kWidth : kHeight;
  }
  const std::vector<float> values = grid_rows(kCells, 7, rows, 0.01F);
  expect_boxes(Outputs().add("output0", {1, 7, kCells}, transposed(values, kCells)).boxes(Head::kYoloV8),
               kYoloV8Boxes);
}

TEST(Decode, YoloV8WithMasks) {
  std::map<std::int64_t, std::vector<float>> rows = kYoloV8Rows;
  for (auto& [row, values] : rows) values.insert(values.end(), {9.0F, -9.0F});  // of masks
  const Outputs outputs = Outputs()
                              .add("output0", {1, 9, kCells}, transposed(grid_rows(kCells, 9, rows), kCells))
                              .add("output1", {1, 2, 8, 8}, std::vector<float>(128));
  expect_boxes(outputs.boxes(Head::kYoloV8), kYoloV8Boxes);
}

TEST(Decode, YoloV5) {
  // Objectness times the class's score: 0.8 * 0.9; 0.9 * 0.25 is below 0.25.
  const std::vector<float> rows = grid_rows(
      3 * kCells, 7, {{3, {20, 30, 10, 20, 0.8F, 0.9F, 0.2F}}, {9, {60, 30, 10, 20, 0.9F, 0.1F, 0.25F}}});
  expect_boxes(Outputs().add("output", {1, 3 * kCells, 7}, rows).boxes(Head::kYoloV5),
               {{30, 40, 20, 40, 0.72F, 0}});
}

TEST(Decode, YoloV5OfOneClassIsNotTakenForRows) {
  const std::vector<float> rows = grid_rows(3 * kCells, 6, {{3, {20, 30, 10, 20, 0.8F, 0.9F}}});
  expect_boxes(Outputs().add("output", {1, 3 * kCells, 6}, rows).boxes(Head::kYoloV5),
               {{30, 40, 20, 40, 0.72F, 0}});
}

// Cell (row 1, column 2) of stride 16 is row 96 + 6 + 2: its centre is (2 + 0.5, 1 + 0.25) * 16 = (40, 20),
// its size (16 * 2, 16 * 1).
TEST(Decode, YoloXRelativeToItsCells) {
  std::vector<float> rows(static_cast<std::size_t>(kCells) * 7, 0.0F);
  const std::vector<float> one = {0.5F, 0.25F, std::log(2.0F), 0, 0.8F, 0.1F, 0.9F};
  std::copy(one.begin(), one.end(), rows.begin() + 104 * 7);
  expect_boxes(Outputs().add("output", {1, kCells, 7}, rows).boxes(Head::kYoloX, 2),
               {{48, 24, 64, 32, 0.72F, 1}});
}

TEST(Decode, YoloXInPixels) {
  std::vector<float> rows = grid_rows(kCells, 7, {{104, {40, 20, 32, 16, 0.8F, 0.1F, 0.9F}}});
  expect_boxes(Outputs().add("output", {1, kCells, 7}, rows).boxes(Head::kYoloX, 2),
               {{48, 24, 64, 32, 0.72F, 1}});
}

// No suppression: the model has done that.
TEST(Decode, YoloV10) {
  const std::vector<float> rows = {10, 20, 30, 40, 0.9F, 2, 11, 20, 31, 40, 0.8F, 2, 0, 0, 0, 0, 0, 0};
  expect_boxes(Outputs().add("output0", {1, 3, 6}, rows).boxes(Head::kYoloV10),
               {{20, 40, 40, 40, 0.9F, 2}, {22, 40, 40, 40, 0.8F, 2}});
}

TEST(Decode, ClassRows) {
  const std::vector<float> rows = {2, 0.9F, 10, 20, 30, 40, -1, 0.9F, 11, 20, 31, 40};
  expect_boxes(Outputs().add("nms", {2, 6}, rows).boxes(Head::kClassRows), {{20, 40, 40, 40, 0.9F, 2}});
  // MXNet's shape is YOLOv10's; its values fit one only.
  const std::vector<float> shares = {2, 0.9F, 0.1F, 0.25F, 0.3F, 0.75F, 0, 0.3F, 0.5F, 0.5F, 0.75F, 1};
  expect_boxes(Outputs().add("det", {1, 2, 6}, shares).boxes(Head::kYoloV10),
               {{19.2, 32, 38.4, 64, 0.9F, 2}, {96, 64, 48, 64, 0.3F, 0}});
}

TEST(Decode, Ssd) {
  const std::vector<float> rows = {0,    1, 0.9F, 0.25F, 0.25F, 0.5F,  0.5F,  //
                                   0,    7, 0.1F, 0.25F, 0.25F, 0.5F,  0.5F,  // below the threshold
                                   0,    2, 0.8F, 0.75F, -0.5F, 1.25F, 0.5F,  // sticks out
                                   -1.F, 3, 0.9F, 0.25F, 0.25F, 0.5F,  0.5F,  // the end
                                   0,    4, 0.9F, 0.25F, 0.25F, 0.5F,  0.5F};
  const std::vector<Box> want = {{48, 32, 48, 32, 0.9F, 1}, {144, 0, 48, 64, 0.8F, 2}};
  expect_boxes(Outputs().add("detection_out", {1, 1, 5, 7}, rows).boxes(Head::kSsd), want);
  expect_boxes(Outputs().add("detection_out", {5, 7}, rows).boxes(Head::kSsd), want);
}

TEST(Decode, TensorFlow) {
  const std::vector<float> corners = {0.25F, 0.5F, 0.75F, 1, 0, 0, 1, 0.5F, 0, 0, 1, 1};  // y1, x1, y2, x2
  const std::vector<Box> want = {{96, 32, 96, 64, 0.9F, 17}, {0, 0, 96, 128, 0.5F, 0}};
  expect_boxes(Outputs()
                   .add("detection_boxes", {1, 3, 4}, corners)
                   .add("detection_classes", {1, 3}, {17, 0, 5})
                   .add("detection_scores", {1, 3}, {0.9F, 0.5F, 0.9F})
                   .add("num_detections", {1}, {2})
                   .boxes(Head::kTensorFlow),
               want);
  // In another order, without names that say it: the numbers do.
  expect_boxes(Outputs()
                   .add("StatefulPartitionedCall:1", {1, 3}, {0.9F, 0.5F, 0.9F})
                   .add("StatefulPartitionedCall:3", {1, 3, 4}, corners)
                   .add("StatefulPartitionedCall:0", {1}, {2})
                   .add("StatefulPartitionedCall:2", {1, 3}, {17, 0, 5})
                   .boxes(Head::kTensorFlow),
               want);
}

TEST(Decode, TensorFlowCountIsNotTrusted) {
  const auto with_count = [](float count) {
    return Outputs()
        .add("detection_boxes", {1, 2, 4}, {0, 0, 1, 1, 0, 0, 1, 1})
        .add("detection_classes", {1, 2}, {1, 2})
        .add("detection_scores", {1, 2}, {0.9F, 0.8F})
        .add("num_detections", {1}, {count})
        .boxes(Head::kTensorFlow)
        .size();
  };
  EXPECT_EQ(with_count(1), 1U);
  EXPECT_EQ(with_count(1e30F), 2U);
  EXPECT_EQ(with_count(-1), 0U);
  EXPECT_EQ(with_count(kNan), 0U);
}

TEST(Decode, Lists) {
  // torchvision's
  expect_boxes(Outputs()
                   .add("boxes", {2, 4}, {10, 20, 30, 40, 50, 20, 60, 40})
                   .add_integers("labels", {2}, {1, 18})
                   .add("scores", {2}, {0.4F, 0.9F})
                   .boxes(Head::kLists),
               {{100, 40, 20, 40, 0.9F, 18}, {20, 40, 40, 40, 0.4F, 1}});
  // EfficientNMS_TRT's: corners in this order although there is a count.
  expect_boxes(Outputs()
                   .add_integers("num_dets", {1, 1}, {1})
                   .add("det_boxes", {1, 2, 4}, {10, 20, 30, 40, 50, 20, 60, 40})
                   .add("det_scores", {1, 2}, {0.4F, 0.9F})
                   .add_integers("det_classes", {1, 2}, {1, 18})
                   .boxes(Head::kLists),
               {{20, 40, 40, 40, 0.4F, 1}});
}

TEST(Decode, DetsLabels) {
  expect_boxes(Outputs()
                   .add("dets", {1, 2, 5}, {10, 20, 30, 40, 0.4F, 50, 20, 60, 40, 0.9F})
                   .add_integers("labels", {1, 2}, {1, 18})
                   .boxes(Head::kDetsLabels),
               {{100, 40, 20, 40, 0.9F, 18}, {20, 40, 40, 40, 0.4F, 1}});
}

TEST(Decode, ScoresBoxesWithABackground) {
  expect_boxes(Outputs()
                   .add("scores", {1, 3, 2}, {0.1F, 0.9F, 0.9F, 0.1F, 0.2F, 0.8F})
                   .add("boxes", {1, 3, 4}, {0.25F, 0.25F, 0.5F, 0.5F, 0, 0, 1, 1, 0.26F, 0.25F, 0.5F, 0.5F})
                   .boxes(Head::kScoresBoxes),
               {{48, 32, 48, 32, 0.9F, 1}});
}

// Sigmoids in pixels: every column is a class.
TEST(Decode, ScoresBoxesWithoutABackground) {
  expect_boxes(Outputs()
                   .add("bboxes", {1, 2, 4}, {10, 20, 30, 40, 50, 20, 60, 40})
                   .add("scores", {1, 2, 3}, {0.9F, 0.6F, 0, 0, 0, 0.3F})
                   .boxes(Head::kScoresBoxes),
               {{20, 40, 40, 40, 0.9F, 0}, {20, 40, 40, 40, 0.6F, 1}, {100, 40, 20, 40, 0.3F, 2}});
}

TEST(Decode, ScoresThatAreNoneAreAnError) {
  const Outputs outputs = Outputs().add("scores", {1, 1, 2}, {-3, 5}).add("boxes", {1, 1, 4}, {0, 0, 1, 1});
  const Result<std::vector<Box>> boxes = outputs.decode(*outputs.guess());
  ASSERT_FALSE(boxes.ok());
  EXPECT_NE(boxes.status().message().find("got a score of -3, want 0 to 1"), std::string::npos);
}

// The prior is at (0.5, 0.5), 0.2 x 0.4. The centre moves by 1 * 0.1 * 0.2 to 0.52 and by -1 * 0.1 * 0.4 to
// 0.46; the size becomes 0.2 * e^(0.2 * ln 2 / 0.2) = 0.4 and 0.4.
TEST(Decode, SsdPriors) {
  const float log_2 = std::log(2.0F) / 0.2F;
  const std::vector<Box> want = {{(0.52 - 0.2) * 192, (0.46 - 0.2) * 128, 0.4 * 192, 0.4 * 128, 0.7F, 2}};
  expect_boxes(Outputs()
                   .add("loc", {1, 1, 4}, {1, -1, log_2, 0})
                   .add("conf", {1, 1, 3}, {0.2F, 0.1F, 0.7F})
                   .add("priors", {1, 4}, {0.5F, 0.5F, 0.2F, 0.4F})
                   .boxes(Head::kSsdPriors),
               want);
  // Caffe's: flat, corners and variances; logits, whose softmax is e^(ln 7) / (2 + 1 + 7). The second is
  // background.
  expect_boxes(Outputs()
                   .add("mbox_loc", {1, 8}, {1, -1, log_2, 0, 0, 0, 0, 0})
                   .add("mbox_conf", {1, 6}, {std::log(2.0F), 0, std::log(7.0F), 9, 0, 0})
                   .add("mbox_priorbox", {1, 2, 8},
                        {0.4F, 0.3F, 0.6F, 0.7F, 0, 0, 1, 1, 0.1F, 0.1F, 0.2F, 0.2F, 0.1F, 0.1F, 0.2F, 0.2F})
                   .boxes(Head::kSsdPriors),
               want);
}

TEST(Decode, Detr) {
  // e^(ln 3) / (3 + 1 + 1) = 0.6; in the second row the class "none" leads and 1 / (1 + 1 + 8) is below.
  const Outputs outputs = Outputs()
                              .add("logits", {1, 2, 3}, {0, std::log(3.0F), 0, 0, 0, std::log(8.0F)})
                              .add("pred_boxes", {1, 2, 4}, {0.5F, 0.5F, 0.25F, 0.5F, 0.5F, 0.5F, 1, 1});
  expect_boxes(outputs.boxes(Head::kDetr, 2), {{72, 32, 48, 64, 0.6F, 1}});
  EXPECT_FALSE(outputs.guess());
}

TEST(Decode, RtDetr) {
  const Outputs outputs = Outputs()
                              .add("logits", {1, 2, 2}, {-5, 0, -5, -5})
                              .add("pred_boxes", {1, 2, 4}, {0.5F, 0.5F, 0.25F, 0.5F, 0.5F, 0.5F, 1, 1});
  expect_boxes(outputs.boxes(Head::kRtDetr, 2), {{72, 32, 48, 64, 0.5F, 1}});
}

// The same in half precision: 0x3800 is 0.5, 0x3400 0.25, 0x4900 10, 0x4D00 20, 0x4F80 30, 0x5100 40.
TEST(Decode, HalfPrecision) {
  const std::vector<std::uint16_t> rows = {0x4900, 0x4D00, 0x4F80, 0x5100, 0x3800, 0x4000};
  const std::vector<TensorSpec> specs = {{"output0", DType::kF16, Shape{1, 1, 6}}};
  const std::vector<TensorView> views = {{rows.data(), DType::kF16, Shape{1, 1, 6}}};
  const std::optional<Detector> detector = guess_detector(specs, {kHeight, kWidth, 0});
  ASSERT_TRUE(detector);
  expect_boxes(*decode_boxes(*detector, views, kGeometry, {}), {{20, 40, 40, 40, 0.5F, 2}});
}

TEST(Decode, ActualShapesAreChecked) {
  const std::vector<TensorSpec> declared = {{"scores", DType::kF32, Shape{1, Shape::kDynamic, 2}},
                                            {"boxes", DType::kF32, Shape{1, Shape::kDynamic, 4}}};
  const std::optional<Detector> detector = guess_detector(declared, {kHeight, kWidth, 0});
  ASSERT_TRUE(detector);
  const std::vector<float> values(16);
  const auto decode = [&](Shape scores, Shape boxes) {
    const std::vector<TensorView> views = {{values.data(), DType::kF32, scores},
                                           {values.data(), DType::kF32, boxes}};
    return decode_boxes(*detector, views, kGeometry, {}).status();
  };
  EXPECT_TRUE(decode({1, 2, 2}, {1, 2, 4}).ok());
  EXPECT_TRUE(decode({1, 0, 2}, {1, 0, 4}).ok());
  EXPECT_EQ(decode({1, 2, 2}, {1, 3, 4}).code(), StatusCode::kInvalidModel);
  EXPECT_EQ(decode({1, 2, 3}, {1, 2, 4}).code(), StatusCode::kInvalidModel);
  EXPECT_EQ(decode({2, 2, 2}, {1, 2, 4}).code(), StatusCode::kInvalidModel);
  EXPECT_EQ(decode({2}, {1, 2, 4}).code(), StatusCode::kInvalidModel);
  EXPECT_EQ(decode_boxes(*detector, {}, kGeometry, {}).status().code(), StatusCode::kInvalidModel);
}

}  // namespace
}  // namespace inflight::vision
