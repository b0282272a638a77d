// SPDX-License-Identifier: Apache-2.0
// The heads of models as they are published, by the types of their outputs.
#include "vision/detector.h"

#include <gtest/gtest.h>

namespace inflight::vision {
namespace {

constexpr std::int64_t kAny = Shape::kDynamic;

TensorSpec f32(std::string name, Shape shape) { return {std::move(name), DType::kF32, shape}; }
TensorSpec i64(std::string name, Shape shape) { return {std::move(name), DType::kI64, shape}; }

std::string guessed(const std::vector<TensorSpec>& outputs, int height, int width, std::size_t labels = 0) {
  const std::optional<Detector> detector = guess_detector(outputs, {height, width, labels});
  return detector ? std::string(head_name(detector->head)) : "none";
}

TEST(GuessDetector, PublishedModels) {
  EXPECT_EQ(guessed({f32("output0", {1, 84, 8400})}, 640, 640), "yolov8");
  EXPECT_EQ(guessed({f32("output0", {1, 5, 8400})}, 640, 640), "yolov8");
  EXPECT_EQ(guessed({f32("output0", {1, 84, 2100})}, 320, 320), "yolov8");
  EXPECT_EQ(guessed({f32("output0", {1, 84, 6300})}, 480, 640), "yolov8");
  EXPECT_EQ(guessed({f32("output0", {1, 116, 8400}), f32("output1", {1, 32, 160, 160})}, 640, 640), "yolov8");
  EXPECT_EQ(guessed({f32("output0", {1, 84, 8500})}, 640, 640), "yolov8");  // P6
  EXPECT_EQ(guessed({f32("output0", {1, 84, 8450})}, 640, 640), "none");    // no grid of this input
  EXPECT_EQ(guessed({f32("output0", {1, 25200, 85})}, 640, 640), "yolov5");
  EXPECT_EQ(guessed({f32("output0", {1, 25500, 85})}, 640, 640), "yolov5");  // P6
  EXPECT_EQ(guessed({f32("output0", {1, 25200, 6})}, 640, 640), "yolov5");
  EXPECT_EQ(guessed({f32("output", {1, 8400, 85})}, 640, 640), "yolox");
  EXPECT_EQ(guessed({f32("output", {1, 8400, 84})}, 640, 640), "yolov8");
  EXPECT_EQ(guessed({f32("output", {1, 8400, 25})}, 640, 640), "none");
  EXPECT_EQ(guessed({f32("output", {1, 8400, 25})}, 640, 640, 20), "yolox");
  EXPECT_EQ(guessed({f32("output", {1, 8400, 25})}, 640, 640, 21), "yolov8");
  EXPECT_EQ(guessed({f32("output0", {1, 300, 6})}, 640, 640), "yolov10");
  EXPECT_EQ(guessed({f32("output0", {kAny, 300, 6})}, 640, 640), "yolov10");
  EXPECT_EQ(guessed({f32("detection_out", {1, 1, 200, 7})}, 300, 300), "ssd");
  EXPECT_EQ(guessed({f32("detection_out", {1, 1, kAny, 7})}, 300, 300), "ssd");
  EXPECT_EQ(guessed({f32("nms", {kAny, 6}), {"num", DType::kI32, Shape{1}}}, 640, 640), "class-rows");
  EXPECT_EQ(guessed({f32("scores", {1, 4420, 2}), f32("boxes", {1, 4420, 4})}, 240, 320), "scores-boxes");
  EXPECT_EQ(guessed({f32("logits", {1, 100, 92}), f32("pred_boxes", {1, 100, 4})}, 800, 800), "detr");
  EXPECT_EQ(guessed({f32("logits", {1, 300, 80}), f32("pred_boxes", {1, 300, 4})}, 640, 640), "rtdetr");
  EXPECT_EQ(guessed({f32("boxes", {kAny, 4}), i64("labels", {kAny}), f32("scores", {kAny})}, 480, 640),
            "lists");
  EXPECT_EQ(guessed({i64("labels", {1, 300}), f32("boxes", {1, 300, 4}), f32("scores", {1, 300})}, 640, 640),
            "lists");
  EXPECT_EQ(guessed({f32("dets", {1, kAny, 5}), i64("labels", {1, kAny})}, 640, 640), "dets-labels");
  EXPECT_EQ(
      guessed(
          {f32("TFLite_Detection_PostProcess", {1, 10, 4}), f32("TFLite_Detection_PostProcess:1", {1, 10}),
           f32("TFLite_Detection_PostProcess:2", {1, 10}), f32("TFLite_Detection_PostProcess:3", {1})},
          300, 300),
      "tensorflow");
  EXPECT_EQ(guessed({f32("detection_anchor_indices", {1, 100}), f32("detection_boxes", {1, 100, 4}),
                     f32("detection_classes", {1, 100}), f32("detection_multiclass_scores", {1, 100, 91}),
                     f32("detection_scores", {1, 100}), f32("num_detections", {1}),
                     f32("raw_detection_boxes", {1, 1917, 4}), f32("raw_detection_scores", {1, 1917, 91})},
                    300, 300),
            "tensorflow");
}

TEST(GuessDetector, WhatIsNoDetector) {
  EXPECT_EQ(guessed({}, 224, 224), "none");
  EXPECT_EQ(guessed({f32("scores", {1, 1000})}, 224, 224), "none");
  EXPECT_EQ(guessed({f32("scores", {1, 1029})}, 224, 224), "none");
  EXPECT_EQ(guessed({f32("scores", {1, 6})}, 48, 64), "none");
  EXPECT_EQ(guessed({f32("scores", {1, 7})}, 48, 64), "none");
  EXPECT_EQ(guessed({f32("scores", {6})}, 48, 64), "none");
  EXPECT_EQ(guessed({f32("scores", {})}, 48, 64), "none");
  EXPECT_EQ(guessed({f32("y", {1, 3, 240, 320})}, 240, 320), "none");
  EXPECT_EQ(guessed({f32("y", {1, 21, 64, 64})}, 64, 64), "none");
  EXPECT_EQ(guessed({f32("tokens", {1, 197, 768})}, 224, 224), "none");
  EXPECT_EQ(guessed({f32("a", {1, 4}), f32("b", {1, 4})}, 224, 224), "none");
  EXPECT_EQ(guessed({f32("a", {1, 10}), f32("b", {1, 4})}, 224, 224), "none");
  EXPECT_EQ(guessed({{"y", DType::kU8, Shape{1, 84, 8400}}}, 640, 640), "none");
}

TEST(MakeDetector, SaysWhatTheOutputsAre) {
  const std::vector<TensorSpec> outputs = {f32("scores", {1, 1000})};
  const Result<Detector> detector = make_detector(Head::kSsd, outputs, {224, 224, 0});
  ASSERT_FALSE(detector.ok());
  EXPECT_EQ(detector.status().code(), StatusCode::kInvalidModel);
  EXPECT_NE(detector.status().message().find("head ssd: \"scores\" f32[1,1000]"), std::string::npos);
}

TEST(Heads, NamesReadBack) {
  for (int i = 0; i <= static_cast<int>(Head::kRtDetr); ++i) {
    const auto head = static_cast<Head>(i);
    EXPECT_EQ(parse_head(head_name(head)), head);
    EXPECT_NE(head_names().find(head_name(head)), std::string::npos);
  }
  EXPECT_EQ(parse_head("yolo"), std::nullopt);
}

}  // namespace
}  // namespace inflight::vision
