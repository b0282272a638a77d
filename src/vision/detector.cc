// SPDX-License-Identifier: Apache-2.0
// Which head the outputs of a model are: by their shapes, and by their names where shapes are not enough.
#include "vision/detector.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "vision/values.h"

namespace inflight::vision {
namespace {

struct HeadRow {
  Head head;
  std::string_view name;
  bool needs_suppression;
};

constexpr std::array<HeadRow, 13> kHeads = {{{Head::kYoloV5, "yolov5", true},
                                             {Head::kYoloV8, "yolov8", true},
                                             {Head::kYoloX, "yolox", true},
                                             {Head::kYoloV10, "yolov10", false},
                                             {Head::kSsd, "ssd", false},
                                             {Head::kClassRows, "class-rows", false},
                                             {Head::kTensorFlow, "tensorflow", false},
                                             {Head::kLists, "lists", false},
                                             {Head::kDetsLabels, "dets-labels", false},
                                             {Head::kScoresBoxes, "scores-boxes", true},
                                             {Head::kSsdPriors, "ssd-priors", true},
                                             {Head::kDetr, "detr", false},
                                             {Head::kRtDetr, "rtdetr", false}}};

const HeadRow& row_of(Head head) {
  return *std::find_if(kHeads.begin(), kHeads.end(), [&](const HeadRow& row) { return row.head == head; });
}

using Specs = std::span<const TensorSpec>;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool name_has(const TensorSpec& spec, std::string_view part) {
  return lower(spec.name).find(part) != std::string::npos;
}

// The shape without leading extents of 1 (and unknown ones that stand for a batch), down to `rank` extents.
// Nothing where more than that is left.
std::optional<std::array<std::int64_t, 2>> matrix_of(const TensorSpec& spec) {
  const Shape& shape = spec.shape;
  if (shape.rank() < 2) return std::nullopt;
  for (std::size_t axis = 0; axis + 2 < shape.rank(); ++axis) {
    if (shape[axis] != 1 && shape[axis] != Shape::kDynamic) return std::nullopt;
  }
  return std::array{shape[shape.rank() - 2], shape[shape.rank() - 1]};
}

bool is_boxes(const TensorSpec& spec) {
  if (!is_floating(spec.dtype) || spec.shape.rank() > 3) return false;
  const auto matrix = matrix_of(spec);
  return matrix && (*matrix)[1] == 4;
}

// One value for each candidate: [N], [1,N] or [1,N,1].
bool is_list(const TensorSpec& spec) {
  const Shape& shape = spec.shape;
  if (shape.rank() == 1) return shape[0] != 1;
  if (shape.rank() == 2) return (shape[0] == 1 || shape[0] == Shape::kDynamic) && shape[1] != 1;
  return shape.rank() == 3 && shape[2] == 1 && shape[1] != 1 &&
         (shape[0] == 1 || shape[0] == Shape::kDynamic);
}

bool is_count(const TensorSpec& spec) { return spec.shape.is_static() && spec.shape.elements() == 1; }

// How many cells the feature maps of a detector with these strides have; 0 where the input is no multiple of
// them.
std::int64_t cells(const DetectorHints& hints, std::int64_t first_stride, std::int64_t last_stride) {
  std::int64_t count = 0;
  for (std::int64_t stride = first_stride; stride <= last_stride; stride *= 2) {
    if (hints.input_height % stride != 0 || hints.input_width % stride != 0) return 0;
    count += (hints.input_height / stride) * (hints.input_width / stride);
  }
  return count;
}

bool is_grid(std::int64_t candidates, const DetectorHints& hints, std::int64_t anchors) {
  if (candidates <= 0 || hints.input_height <= 0 || hints.input_width <= 0) return false;
  // Strides 8 to 32 as most, to 64 as the large ones (P6), from 4 (P2) or from 16 (tiny).
  constexpr std::array<std::pair<int, int>, 4> kStrides = {{{8, 32}, {8, 64}, {4, 32}, {16, 32}}};
  return std::any_of(kStrides.begin(), kStrides.end(), [&](const std::pair<int, int>& strides) {
    return candidates == anchors * cells(hints, strides.first, strides.second);
  });
}

Detector of(Head head, std::initializer_list<std::size_t> parts) {
  Detector detector;
  detector.head = head;
  std::copy(parts.begin(), parts.end(), detector.parts.begin());
  detector.part_count = parts.size();
  return detector;
}

// ---- One output: its rows are candidates ------------------------------------------------------------------

using Match = std::optional<Detector>;

// The output of predictions [.,A,B], beside which there may be one of masks [1,M,h,w].
struct Predictions {
  std::size_t index = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t masks = 0;
};

std::optional<Predictions> predictions_of(Specs outputs) {
  if (outputs.empty() || outputs.size() > 2) return std::nullopt;
  Predictions found;
  std::size_t count = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Shape& shape = outputs[i].shape;
    if (!is_floating(outputs[i].dtype)) return std::nullopt;
    if (outputs.size() == 2 && shape.rank() == 4 && shape[1] > 1) {
      found.masks = shape[1];
      continue;
    }
    const auto matrix = shape.rank() <= 3 ? matrix_of(outputs[i]) : std::nullopt;
    if (!matrix) return std::nullopt;
    found.index = i;
    found.rows = (*matrix)[0];
    found.columns = (*matrix)[1];
    ++count;
  }
  if (count != 1) return std::nullopt;
  return found;
}

Match as_yolov8(Specs outputs, const DetectorHints& hints) {
  const std::optional<Predictions> found = predictions_of(outputs);
  if (!found) return std::nullopt;
  const std::int64_t fixed = 4 + found->masks;
  // Candidates are many, columns are few; where the extents do not tell, the grid of the input does.
  bool columns = found->columns == Shape::kDynamic || (found->rows > 0 && found->rows < found->columns);
  if (is_grid(found->columns, hints, 1)) columns = true;
  if (is_grid(found->rows, hints, 1)) columns = false;
  const std::int64_t width = columns ? found->rows : found->columns;
  if (width <= fixed) return std::nullopt;
  Detector detector = of(Head::kYoloV8, {found->index});
  detector.columns = columns;
  detector.masks = static_cast<std::size_t>(found->masks);
  detector.classes = static_cast<std::size_t>(width - fixed);
  return detector;
}

// [.,N,5+C]
Match as_objectness(Head head, Specs outputs) {
  const std::optional<Predictions> found = predictions_of(outputs);
  if (!found || found->columns <= 5 + found->masks) return std::nullopt;
  Detector detector = of(head, {found->index});
  detector.masks = static_cast<std::size_t>(found->masks);
  detector.classes = static_cast<std::size_t>(found->columns - 5 - found->masks);
  return detector;
}

Match as_rows(Head head, std::int64_t columns, Specs outputs) {
  // Beside the rows there may be a count, which they do not need.
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto matrix = matrix_of(outputs[i]);
    if (!matrix || (*matrix)[1] != columns || !is_floating(outputs[i].dtype)) continue;
    if (outputs.size() == 1) return of(head, {i});
    if (outputs.size() != 2) return std::nullopt;
    const TensorSpec& other = outputs[1 - i];
    if (is_count(other) || (other.shape.rank() <= 1 && !is_floating(other.dtype))) return of(head, {i});
  }
  return std::nullopt;
}

// ---- Several outputs: each has a part ---------------------------------------------------------------------

// Boxes, classes, scores and, where there is one, their count.
Match as_lists(Head head, Specs outputs) {
  std::array<std::vector<std::size_t>, 4> parts;  // boxes, lists that are classes, scores or either, counts
  std::vector<std::size_t> either;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const TensorSpec& output = outputs[i];
    // A detector of TensorFlow's has raw outputs beside those that are meant; torchvision's may have masks.
    if (name_has(output, "raw") || name_has(output, "anchor") || name_has(output, "multiclass")) continue;
    if (output.shape.rank() >= 4) continue;
    if (is_boxes(output))
      parts[0].push_back(i);
    else if (is_count(output))
      parts[3].push_back(i);
    else if (!is_list(output))
      return std::nullopt;
    else if (name_has(output, "class") || name_has(output, "label") || !is_floating(output.dtype))
      parts[1].push_back(i);
    else if (name_has(output, "score") || name_has(output, "conf"))
      parts[2].push_back(i);
    else
      either.push_back(i);
  }
  bool any_order = false;
  if (either.size() == 2 && parts[1].empty() && parts[2].empty()) {
    parts[1].push_back(either[0]);
    parts[2].push_back(either[1]);
    any_order = true;
  } else if (either.size() == 1) {
    (parts[1].empty() ? parts[1] : parts[2]).push_back(either[0]);
  } else if (!either.empty()) {
    return std::nullopt;
  }
  if (parts[0].size() != 1 || parts[1].size() != 1 || parts[2].size() != 1 || parts[3].size() > 1)
    return std::nullopt;
  Detector detector = of(head, {parts[0][0], parts[1][0], parts[2][0]});
  detector.any_order = any_order;
  if (!parts[3].empty()) detector.parts[detector.part_count++] = parts[3][0];
  return detector;
}

Match as_dets_labels(Specs outputs) {
  std::optional<std::size_t> dets, labels;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto matrix = matrix_of(outputs[i]);
    if (outputs[i].shape.rank() >= 4) continue;  // masks
    std::optional<std::size_t>& part =
        matrix && (*matrix)[1] == 5 && is_floating(outputs[i].dtype) ? dets : labels;
    if (part || (&part == &labels && !is_list(outputs[i]))) return std::nullopt;
    part = i;
  }
  if (!dets || !labels) return std::nullopt;
  return of(Head::kDetsLabels, {*dets, *labels});
}

// Scores [1,N,C] and boxes [1,N,4].
Match as_scores_and_boxes(Head head, Specs outputs) {
  if (outputs.size() != 2) return std::nullopt;
  std::array<std::array<std::int64_t, 2>, 2> sizes{};
  for (std::size_t i = 0; i < 2; ++i) {
    const auto matrix = outputs[i].shape.rank() <= 3 ? matrix_of(outputs[i]) : std::nullopt;
    if (!matrix || !is_floating(outputs[i].dtype)) return std::nullopt;
    sizes[i] = *matrix;
  }
  if (sizes[0][0] != sizes[1][0]) return std::nullopt;
  std::size_t boxes = 0;
  const std::array<bool, 2> four = {sizes[0][1] == 4, sizes[1][1] == 4};
  if (four[0] && four[1]) {
    const auto named = [&](std::size_t i) { return name_has(outputs[i], "box"); };
    if (named(0) == named(1)) return std::nullopt;
    boxes = named(0) ? 0 : 1;
  } else if (four[0] || four[1]) {
    boxes = four[0] ? 0 : 1;
  } else {
    return std::nullopt;
  }
  const std::size_t scores = 1 - boxes;
  if (sizes[scores][1] < (head == Head::kDetr ? 2 : 1)) return std::nullopt;
  Detector detector = of(head, {scores, boxes});
  detector.classes = static_cast<std::size_t>(sizes[scores][1]);
  return detector;
}

Match as_ssd_priors(Specs outputs) {
  if (outputs.size() != 3) return std::nullopt;
  std::optional<std::size_t> priors;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!is_floating(outputs[i].dtype) || !outputs[i].shape.is_static()) return std::nullopt;
    if (!name_has(outputs[i], "prior") && !name_has(outputs[i], "anchor")) continue;
    if (priors) return std::nullopt;
    priors = i;
  }
  if (!priors) return std::nullopt;
  const Shape& shape = outputs[*priors].shape;
  const bool caffe = shape.rank() == 3 && shape[1] == 2 && shape[2] != 4;
  const std::size_t count = shape.elements() / (caffe ? 8 : 4);
  if (count == 0 || shape.elements() % (caffe ? 8 : 4) != 0) return std::nullopt;
  if (!caffe && !is_boxes(outputs[*priors])) return std::nullopt;
  std::size_t a = *priors == 0 ? 1 : 0;
  std::size_t b = *priors == 2 ? 1 : 2;
  const auto is_offsets = [&](std::size_t i) { return outputs[i].shape.elements() == count * 4; };
  // With four classes both have as many elements: the names decide.
  if (is_offsets(a) && (!is_offsets(b) || name_has(outputs[a], "loc") || name_has(outputs[a], "box")))
    std::swap(a, b);
  if (!is_offsets(b) || outputs[a].shape.elements() % count != 0) return std::nullopt;
  Detector detector = of(Head::kSsdPriors, {a, b, *priors});
  detector.classes = outputs[a].shape.elements() / count;
  if (detector.classes < 2) return std::nullopt;
  return detector;
}

Match match(Head head, Specs outputs, const DetectorHints& hints) {
  switch (head) {
    case Head::kYoloV5:
    case Head::kYoloX:
      return as_objectness(head, outputs);
    case Head::kYoloV8:
      return as_yolov8(outputs, hints);
    case Head::kYoloV10:
    case Head::kClassRows:
      return as_rows(head, 6, outputs);
    case Head::kSsd:
      return as_rows(head, 7, outputs);
    case Head::kTensorFlow:
    case Head::kLists:
      return as_lists(head, outputs);
    case Head::kDetsLabels:
      return as_dets_labels(outputs);
    case Head::kScoresBoxes:
    case Head::kDetr:
    case Head::kRtDetr:
      return as_scores_and_boxes(head, outputs);
    case Head::kSsdPriors:
      return as_ssd_priors(outputs);
  }
  return std::nullopt;
}

// ---- The guess --------------------------------------------------------------------------------------------

// One output of rows: the number of candidates tells the YOLOs apart, for it follows from the input's size.
std::optional<Head> guess_rows(Specs outputs, const DetectorHints& hints) {
  const auto as_matrix = matrix_of(outputs[0]);
  // One row of numbers is a classifier's.
  if (outputs.size() == 1 && outputs[0].shape.rank() == 2 && outputs[0].shape[0] == 1) return std::nullopt;
  if (outputs.size() == 1 && as_matrix && (*as_matrix)[1] == 7 &&
      (outputs[0].shape.rank() == 4 || outputs[0].shape.rank() == 2))
    return Head::kSsd;
  if (outputs.size() <= 2) {
    const bool first = as_matrix && (*as_matrix)[1] == 6;
    const Match rows = as_rows(Head::kYoloV10, 6, outputs);
    const std::int64_t count = rows ? (*matrix_of(outputs[rows->parts[0]]))[0] : 0;
    constexpr std::int64_t kRowsMax = 1000;  // what removes overlaps leaves some hundred
    if (rows && count <= kRowsMax && !is_grid(count, hints, 3) && !is_grid(count, hints, 1)) {
      const bool plain = outputs[rows->parts[0]].shape.rank() == 3 && first;
      return plain ? Head::kYoloV10 : Head::kClassRows;
    }
  }
  const std::optional<Predictions> found = predictions_of(outputs);
  if (!found || found->rows == Shape::kDynamic) return std::nullopt;
  if (is_grid(found->rows, hints, 3) && found->columns >= 6) return Head::kYoloV5;
  if (is_grid(found->columns, hints, 1) && found->rows >= 5) return Head::kYoloV8;
  if (!is_grid(found->rows, hints, 1) || found->columns < 5) return std::nullopt;
  // One candidate a cell, a row each: YOLOX with its objectness, or a YOLOv8 that has been transposed.
  const std::int64_t others = found->columns - found->masks;
  const auto labels = static_cast<std::int64_t>(hints.labels);
  if (labels == others - 4 || (labels == 0 && others == 84)) return Head::kYoloV8;
  if (labels == others - 5 || (labels == 0 && others == 85)) return Head::kYoloX;
  return std::nullopt;
}

std::optional<Head> guess_lists(Specs outputs) {
  const Match lists = as_lists(Head::kLists, outputs);
  if (!lists) return std::nullopt;
  const std::string boxes = lower(outputs[lists->parts[0]].name);
  const bool counted = lists->part_count == 4;
  // EfficientNMS_TRT has a count as well, and corners in the other order.
  if (boxes.find("det_boxes") != std::string::npos) return Head::kLists;
  if (counted || boxes.find("detection_boxes") != std::string::npos) return Head::kTensorFlow;
  return lists->any_order ? std::nullopt : std::optional(Head::kLists);
}

std::optional<Head> guess_pair(Specs outputs, const DetectorHints& hints) {
  const Match pair = as_scores_and_boxes(Head::kScoresBoxes, outputs);
  if (!pair) return std::nullopt;
  const TensorSpec& scores = outputs[pair->parts[0]];
  const std::int64_t count = (*matrix_of(scores))[0];
  const bool named = name_has(scores, "score") || name_has(scores, "conf") || name_has(scores, "prob");
  if (!name_has(scores, "logit")) {
    const bool boxes_named = name_has(outputs[pair->parts[1]], "box");
    return named || boxes_named ? std::optional(Head::kScoresBoxes) : std::nullopt;
  }
  if (hints.labels == pair->classes) return Head::kRtDetr;
  if (hints.labels + 1 == pair->classes) return Head::kDetr;
  // COCO: 91 numbers and the one that is none; 80 names, or 91 numbers.
  if (pair->classes == 92) return Head::kDetr;
  if (pair->classes == 80 || pair->classes == 91) return Head::kRtDetr;
  if (count == 100) return Head::kDetr;
  if (count == 300) return Head::kRtDetr;
  return std::nullopt;
}

}  // namespace

std::string_view head_name(Head head) { return row_of(head).name; }

std::optional<Head> parse_head(std::string_view name) {
  for (const HeadRow& row : kHeads) {
    if (row.name == name) return row.head;
  }
  return std::nullopt;
}

std::string head_names() {
  std::string names;
  for (std::size_t i = 0; i < kHeads.size(); ++i) {
    if (i > 0) names += i + 1 == kHeads.size() ? " or " : ", ";
    names += kHeads[i].name;
  }
  return names;
}

bool needs_suppression(Head head) { return row_of(head).needs_suppression; }

std::optional<Detector> guess_detector(Specs outputs, const DetectorHints& hints) {
  if (outputs.empty()) return std::nullopt;
  std::optional<Head> head = guess_rows(outputs, hints);
  if (!head && as_ssd_priors(outputs)) head = Head::kSsdPriors;
  if (!head) head = guess_pair(outputs, hints);
  if (!head && as_dets_labels(outputs)) head = Head::kDetsLabels;
  if (!head) head = guess_lists(outputs);
  return head ? match(*head, outputs, hints) : std::nullopt;
}

std::string outputs_text(Specs outputs) {
  std::string text;
  for (const TensorSpec& output : outputs) {
    text += fmt::format("{}\"{}\" {}", text.empty() ? "" : ", ", output.name, output.type_string());
  }
  return text;
}

Result<Detector> make_detector(Head head, Specs outputs, const DetectorHints& hints) {
  const Match found = match(head, outputs, hints);
  if (found) return *found;
  return Status(StatusCode::kInvalidModel, fmt::format("its outputs do not fit the head {}: {}",
                                                       head_name(head), outputs_text(outputs)));
}

}  // namespace inflight::vision
