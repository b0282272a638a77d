// SPDX-License-Identifier: Apache-2.0
// Detector: how the outputs of a detector are laid out (its head), and the boxes that they mean.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/status.h"
#include "inflight/tensor.h"
#include "vision/boxes.h"

namespace inflight::vision {

// The layouts that are known. N candidates, C classes; "pixels" are those of the network's input, "corners"
// are x1,y1,x2,y2. Where it says "pixels or 0 to 1", coordinates that are nowhere above 2 are taken as 0 to
// 1.
enum class Head : std::uint8_t {
  // [1,N,5+C]: cx,cy,w,h (pixels or 0 to 1), objectness, a score for each class; their product counts.
  //   source   ultralytics/yolov5 models/yolo.py (Detect.forward, inference); WongKinYiu/yolov7 the same
  kYoloV5,
  // [1,4+C,N] or [1,N,4+C]: cx,cy,w,h (pixels or 0 to 1), a score for each class. With a second output
  // [1,M,h,w] (masks), M columns more, which are left out.
  //   source   ultralytics/ultralytics nn/modules/head.py (Detect, Segment), YOLOv8, v9, 11, 12
  kYoloV8,
  // [1,N,5+C] as YOLOv5, but one candidate for each cell of the strides 8, 16, 32; cx,cy,w,h may be relative
  // to their cell (w,h as logarithms), as exported by default.
  //   source   Megvii-BaseDetection/YOLOX models/yolo_head.py (decode_outputs), utils/demo_utils.py
  kYoloX,
  // [1,N,6] or [N,6]: corners (pixels or 0 to 1), score, class. The model has removed overlaps.
  //   source   THU-MIG/yolov10 (v10postprocess), ultralytics YOLO26 and exports with nms=True
  kYoloV10,
  // [1,1,N,7] or [N,7]: image, class, score, corners (0 to 1); image -1 ends. The model has removed overlaps.
  //   source   OpenVINO's operation DetectionOutput-8; Caffe SSD, layer DetectionOutput
  kSsd,
  // [N,6] or [1,N,6]: class, score, corners (pixels or 0 to 1); class -1 is none. The model has removed
  // overlaps.
  //   source   PaddleDetection multiclass_nms; MXNet MultiBoxDetection
  kClassRows,
  // Boxes [1,N,4] as y1,x1,y2,x2 (0 to 1), classes [1,N], scores [1,N], count [1]. Overlaps are removed.
  //   source   TensorFlow Object Detection API exporter; TensorFlow Lite TFLite_Detection_PostProcess
  kTensorFlow,
  // Boxes [N,4] as corners (pixels or 0 to 1), labels [N], scores [N], in any order, perhaps a count.
  // Overlaps are removed.
  //   source   torchvision models/detection; RT-DETR's exported postprocessor; EfficientNMS_TRT
  kLists,
  // Boxes and scores in one [N,5] or [1,N,5] as corners (pixels or 0 to 1), score; labels [N]. Overlaps are
  // removed.
  //   source   mmdeploy and OpenVINO Training Extensions: `dets` or `boxes`, `labels`
  kDetsLabels,
  // Scores [1,N,C] and boxes [1,N,4] as corners (pixels or 0 to 1). Where the scores of every candidate sum
  // to 1, class 0 is the background.
  //   source   Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB; Deci-AI YOLO-NAS
  kScoresBoxes,
  // Scores, offsets [1,N,4] and priors ([N,4] as cx,cy,w,h, or [1,2,4N] as corners and variances; 0 to 1),
  // with the variances 0.1, 0.1, 0.2, 0.2 unless the priors have their own. Class 0 is the background.
  //   source   W. Liu et al., SSD (2016), and its Caffe code (bbox_util.cpp, CENTER_SIZE);
  //            amdegroot/ssd.pytorch
  kSsdPriors,
  // Logits [1,N,C+1] and boxes [1,N,4] as cx,cy,w,h (0 to 1): softmax, the last class is none.
  //   source   facebookresearch/detr models/detr.py (PostProcess); transformers DetrForObjectDetection, Yolos
  kDetr,
  // Logits [1,N,C] and boxes [1,N,4] as cx,cy,w,h (0 to 1): sigmoid.
  //   source   lyuwenyu/RT-DETR; transformers RTDetrForObjectDetection, DeformableDetr, DFine
  kRtDetr,
};

// "yolov8"
std::string_view head_name(Head head);
std::optional<Head> parse_head(std::string_view name);
// "yolov5, yolov8, ... or rtdetr"
std::string head_names();
// Whether the boxes still overlap, so that BoxOptions::iou_max matters.
bool needs_suppression(Head head);

// What is known beside the outputs' types.
struct DetectorHints {
  int input_height = 0;  // of the network's image input
  int input_width = 0;
  std::size_t labels = 0;  // how many class names there are; 0: unknown
};

// A head, and which outputs play its parts.
struct Detector {
  static constexpr std::size_t kParts = 4;
  Head head = Head::kYoloV8;
  // Indices of outputs, as the head lists them (kYoloV8: predictions; kScoresBoxes and the DETRs: scores,
  // boxes; kTensorFlow and kLists: boxes, classes, scores, count; kDetsLabels: dets, labels; kSsdPriors:
  // scores, offsets, priors).
  std::array<std::size_t, kParts> parts{};
  std::size_t part_count = 0;
  bool columns = false;     // kYoloV8: [1,4+C,N]
  std::size_t masks = 0;    // kYoloV8: columns after the classes
  bool any_order = false;   // the names do not say which of the lists are the classes and which the scores
  std::size_t classes = 0;  // C, as columns of scores; 0: the outputs do not tell
};

// The head of a model with these outputs, where it is plain: nothing where none fits, or where two fit that
// would give different boxes.
std::optional<Detector> guess_detector(std::span<const TensorSpec> outputs, const DetectorHints& hints);

// The model as a detector with this head.
//   errors   kInvalidModel: the outputs do not fit it; the message names them
Result<Detector> make_detector(Head head, std::span<const TensorSpec> outputs, const DetectorHints& hints);

// `"scores" f32[1,4420,2], "boxes" f32[1,4420,4]`
std::string outputs_text(std::span<const TensorSpec> outputs);

// The boxes of one frame. Pure, and safe to call from any thread.
//   outputs   all of the model's, in its order, in memory of the host
//   errors    kInvalidModel: an output's actual shape does not fit the head, or its values cannot be what the
//             head says
Result<std::vector<Box>> decode_boxes(const Detector& detector, std::span<const TensorView> outputs,
                                      const Geometry& geometry, const BoxOptions& options);

}  // namespace inflight::vision
