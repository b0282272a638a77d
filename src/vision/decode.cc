// SPDX-License-Identifier: Apache-2.0
// From the outputs of a detector to boxes: one function for each head. vision/detector.h says where each
// layout is from.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vision/detector.h"
#include "vision/matrix.h"
#include "vision/values.h"

namespace inflight::vision {
namespace {

// What decoders read, beside the outputs.
struct Inputs {
  const Detector& detector;
  std::span<const TensorView> outputs;
  const Geometry& geometry;
  std::array<std::vector<float>, Detector::kParts> memory{};

  const TensorView& view(std::size_t part) const { return outputs[detector.parts[part]]; }
  std::span<const float> floats(std::size_t part) { return as_floats(view(part), memory[part]); }
};

Status misfit(const Inputs& in, std::size_t part, std::string_view want) {
  return {
      StatusCode::kInvalidModel,
      fmt::format("head {}: output {} is {}{}, want {}", head_name(in.detector.head), in.detector.parts[part],
                  dtype_name(in.view(part).dtype), in.view(part).shape.to_string(), want)};
}

// The part as [.,rows,columns]; `columns` 0: any.
Result<Matrix> matrix(Inputs& in, std::size_t part, std::size_t columns) {
  const Shape& shape = in.view(part).shape;
  const std::size_t rank = shape.rank();
  bool fits = rank >= 2;
  for (std::size_t axis = 0; axis + 2 < rank; ++axis) fits = fits && shape[axis] == 1;
  if (fits && columns != 0) fits = static_cast<std::size_t>(shape[rank - 1]) == columns;
  if (!fits) return misfit(in, part, columns == 0 ? "[1,rows,columns]" : fmt::format("[1,rows,{}]", columns));
  Matrix result;
  result.rows = static_cast<std::size_t>(shape[rank - 2]);
  result.columns = static_cast<std::size_t>(shape[rank - 1]);
  result.values = in.floats(part);
  return result;
}

// ---- The YOLO family --------------------------------------------------------------------------------------

Status decode_yolov8(Inputs& in, BoxCollector& boxes) {
  INFLIGHT_TRY_ASSIGN(Matrix rows, matrix(in, 0, 0));
  if (in.detector.columns) {
    std::swap(rows.rows, rows.columns);
    rows.transposed = true;
  }
  const std::size_t classes = in.detector.classes;
  if (rows.columns != 4 + classes + in.detector.masks) {
    return misfit(in, 0, fmt::format("{} values for each candidate", 4 + classes + in.detector.masks));
  }
  const Units units = units_of(rows, 0, 2, in.geometry, every_row);
  for (std::size_t row = 0; row < rows.rows; ++row) {
    const std::size_t best = best_column(rows, row, 4, classes);
    const double score = rows.at(row, best);
    if (!(score >= boxes.score_min())) continue;
    boxes.add_centred(rows.at(row, 0) * units.x, rows.at(row, 1) * units.y, rows.at(row, 2) * units.x,
                      rows.at(row, 3) * units.y, score, static_cast<double>(best - 4));
  }
  return {};
}

Status decode_yolov5(Inputs& in, BoxCollector& boxes) {
  INFLIGHT_TRY_ASSIGN(const Matrix rows, matrix(in, 0, 5 + in.detector.classes + in.detector.masks));
  const Units units = units_of(rows, 0, 2, in.geometry, every_row);
  for (std::size_t row = 0; row < rows.rows; ++row) {
    const double objectness = rows.at(row, 4);
    if (!(objectness >= boxes.score_min())) continue;  // no score of a class is above 1
    const std::size_t best = best_column(rows, row, 5, in.detector.classes);
    boxes.add_centred(rows.at(row, 0) * units.x, rows.at(row, 1) * units.y, rows.at(row, 2) * units.x,
                      rows.at(row, 3) * units.y, objectness * rows.at(row, best),
                      static_cast<double>(best - 5));
  }
  return {};
}

Status decode_yolox(Inputs& in, BoxCollector& boxes) {
  INFLIGHT_TRY_ASSIGN(const Matrix rows, matrix(in, 0, 5 + in.detector.classes + in.detector.masks));
  double largest = 0;
  for (std::size_t row = 0; row < rows.rows; ++row) {
    if (std::isfinite(rows.at(row, 0))) largest = std::max(largest, rows.at(row, 0));
  }
  // Relative to its cell a centre is a few cells away at most; in pixels the last column's is near the right
  // border.
  const bool relative = largest < in.geometry.input_width / 4.0;
  std::size_t row = 0;
  for (int stride = 8; stride <= 32; stride *= 2) {
    for (int y = 0; y < in.geometry.input_height / stride; ++y) {
      for (int x = 0; x < in.geometry.input_width / stride; ++x, ++row) {
        if (row >= rows.rows) return misfit(in, 0, "a row for each cell of the strides 8, 16 and 32");
        const std::size_t best = best_column(rows, row, 5, in.detector.classes);
        const double score = rows.at(row, 4) * rows.at(row, best);
        if (!(score >= boxes.score_min())) continue;
        const auto category = static_cast<double>(best - 5);
        const double a = rows.at(row, 0), b = rows.at(row, 1), c = rows.at(row, 2), d = rows.at(row, 3);
        if (relative)
          boxes.add_centred((a + x) * stride, (b + y) * stride, std::exp(c) * stride, std::exp(d) * stride,
                            score, category);
        else
          boxes.add_centred(a, b, c, d, score, category);
      }
    }
  }
  if (row != rows.rows) return misfit(in, 0, "a row for each cell of the strides 8, 16 and 32");
  return {};
}

// ---- Rows that are boxes already --------------------------------------------------------------------------

bool is_whole(double value) { return value == std::rint(value); }
bool is_share(double value) { return value >= 0 && value <= 1; }

// Whether `whole` is a column of class numbers and `share` one of scores, in every row.
bool are_classes_and_scores(const Matrix& rows, std::size_t whole, std::size_t share) {
  for (std::size_t row = 0; row < rows.rows; ++row) {
    if (!is_whole(rows.at(row, whole)) || !is_share(rows.at(row, share))) return false;
  }
  return true;
}

Status decode_six(Inputs& in, BoxCollector& boxes) {
  INFLIGHT_TRY_ASSIGN(const Matrix rows, matrix(in, 0, 6));
  // Both orders are in use with both shapes; where the values fit only the other one, it is that.
  const bool class_first = are_classes_and_scores(rows, 0, 1);
  const bool class_last = are_classes_and_scores(rows, 5, 4);
  const bool first = class_first != class_last ? class_first : in.detector.head == Head::kClassRows;
  const std::size_t category = first ? 0 : 5, score = first ? 1 : 4, corner = first ? 2 : 0;
  const Units units =
      units_of(rows, corner, 4, in.geometry, [&](std::size_t row) { return rows.at(row, score) > 0; });
  for (std::size_t row = 0; row < rows.rows; ++row) {
    boxes.add(rows.at(row, corner) * units.x, rows.at(row, corner + 1) * units.y,
              rows.at(row, corner + 2) * units.x, rows.at(row, corner + 3) * units.y, rows.at(row, score),
              rows.at(row, category));
  }
  return {};
}

Status decode_ssd(Inputs& in, BoxCollector& boxes) {
  INFLIGHT_TRY_ASSIGN(const Matrix rows, matrix(in, 0, 7));
  const Units units = normalised(in.geometry);
  for (std::size_t row = 0; row < rows.rows && rows.at(row, 0) >= 0; ++row) {
    boxes.add(rows.at(row, 3) * units.x, rows.at(row, 4) * units.y, rows.at(row, 5) * units.x,
              rows.at(row, 6) * units.y, rows.at(row, 2), rows.at(row, 1));
  }
  return {};
}

// Which of the parts 1 and 2 are the classes and which the scores, where names do not say.
void sort_lists(std::span<const float>& classes, std::span<const float>& scores) {
  const auto all = [](std::span<const float> values, bool (*holds)(double)) {
    return std::all_of(values.begin(), values.end(), [&](float value) { return holds(value); });
  };
  const bool as_they_are = all(classes, is_whole) && all(scores, is_share);
  const bool exchanged = all(scores, is_whole) && all(classes, is_share);
  if (exchanged && !as_they_are) std::swap(classes, scores);
}

Status decode_lists(Inputs& in, BoxCollector& boxes) {
  INFLIGHT_TRY_ASSIGN(const Matrix corners, matrix(in, 0, 4));
  std::span<const float> classes = in.floats(1);
  std::span<const float> scores = in.floats(2);
  if (in.detector.any_order) sort_lists(classes, scores);
  std::size_t count = std::min({corners.rows, classes.size(), scores.size()});
  if (in.detector.part_count == 4) {
    const std::span<const float> counted = in.floats(3);
    if (counted.size() != 1) return misfit(in, 3, "one number");
    if (!(counted[0] >= 0)) return {};
    if (counted[0] < static_cast<float>(count)) count = static_cast<std::size_t>(counted[0]);
  } else if (classes.size() != corners.rows || scores.size() != corners.rows) {
    return misfit(in, classes.size() != corners.rows ? 1 : 2, fmt::format("{} values", corners.rows));
  }
  const bool rows_first = in.detector.head == Head::kTensorFlow;
  const Units units = rows_first ? normalised(in.geometry)
                                 : units_of(corners, 0, 4, in.geometry,
                                            [&](std::size_t row) { return row < count && scores[row] > 0; });
  for (std::size_t row = 0; row < count; ++row) {
    const double a = corners.at(row, 0), b = corners.at(row, 1), c = corners.at(row, 2),
                 d = corners.at(row, 3);
    if (rows_first)
      boxes.add(b * units.x, a * units.y, d * units.x, c * units.y, scores[row], classes[row]);
    else
      boxes.add(a * units.x, b * units.y, c * units.x, d * units.y, scores[row], classes[row]);
  }
  return {};
}

Status decode_dets_labels(Inputs& in, BoxCollector& boxes) {
  INFLIGHT_TRY_ASSIGN(const Matrix rows, matrix(in, 0, 5));
  const std::span<const float> labels = in.floats(1);
  if (labels.size() != rows.rows) return misfit(in, 1, fmt::format("{} values", rows.rows));
  const Units units = units_of(rows, 0, 4, in.geometry, [&](std::size_t row) { return rows.at(row, 4) > 0; });
  for (std::size_t row = 0; row < rows.rows; ++row) {
    boxes.add(rows.at(row, 0) * units.x, rows.at(row, 1) * units.y, rows.at(row, 2) * units.x,
              rows.at(row, 3) * units.y, rows.at(row, 4), labels[row]);
  }
  return {};
}

// ---- Scores and boxes of every candidate ------------------------------------------------------------------

// Whether the scores are a softmax: each row sums to 1. What is no probability at all is an error.
Result<bool> is_softmax(const Inputs& in, const Matrix& scores) {
  bool sums_to_one = scores.columns >= 2;
  for (std::size_t row = 0; row < scores.rows; ++row) {
    double sum = 0;
    for (std::size_t column = 0; column < scores.columns; ++column) {
      const double value = scores.at(row, column);
      constexpr double kSlack = 1e-2;  // of f16 and bf16
      if (value < -kSlack || value > 1 + kSlack) {
        return Status(
            StatusCode::kInvalidModel,
            fmt::format("head {}: got a score of {}, want 0 to 1; logits are for the heads detr and "
                        "rtdetr",
                        head_name(in.detector.head), value));
      }
      sum += value;
    }
    constexpr double kSumSlack = 2e-2;
    if (std::abs(sum - 1) > kSumSlack) sums_to_one = false;
  }
  return sums_to_one;
}

Status decode_scores_boxes(Inputs& in, BoxCollector& boxes) {
  INFLIGHT_TRY_ASSIGN(const Matrix scores, matrix(in, 0, in.detector.classes));
  INFLIGHT_TRY_ASSIGN(const Matrix corners, matrix(in, 1, 4));
  if (scores.rows != corners.rows) return misfit(in, 1, fmt::format("[1,{},4]", scores.rows));
  INFLIGHT_TRY_ASSIGN(const bool softmax, is_softmax(in, scores));
  const Units units = units_of(corners, 0, 4, in.geometry, every_row);
  for (std::size_t row = 0; row < scores.rows; ++row) {
    for (std::size_t category = softmax ? 1 : 0; category < scores.columns; ++category) {
      const double score = scores.at(row, category);
      if (!(score >= boxes.score_min())) continue;
      boxes.add(corners.at(row, 0) * units.x, corners.at(row, 1) * units.y, corners.at(row, 2) * units.x,
                corners.at(row, 3) * units.y, score, static_cast<double>(category));
    }
  }
  return {};
}

Status decode_detr(Inputs& in, BoxCollector& boxes) {
  INFLIGHT_TRY_ASSIGN(const Matrix logits, matrix(in, 0, in.detector.classes));
  INFLIGHT_TRY_ASSIGN(const Matrix centred, matrix(in, 1, 4));
  if (logits.rows != centred.rows) return misfit(in, 1, fmt::format("[1,{},4]", logits.rows));
  const bool none_last = in.detector.head == Head::kDetr;
  const std::size_t classes = logits.columns - (none_last ? 1 : 0);
  const Units units = normalised(in.geometry);
  for (std::size_t row = 0; row < logits.rows; ++row) {
    const std::size_t best = best_column(logits, row, 0, classes);
    const double score = none_last ? softmax_of(logits, row, best) : sigmoid(logits.at(row, best));
    boxes.add_centred(centred.at(row, 0) * units.x, centred.at(row, 1) * units.y,
                      centred.at(row, 2) * units.x, centred.at(row, 3) * units.y, score,
                      static_cast<double>(best));
  }
  return {};
}

// A prior by its centre and size, and the variances of its offsets.
struct Prior {
  double cx = 0, cy = 0, width = 0, height = 0;
  std::array<double, 4> variances = {0.1, 0.1, 0.2, 0.2};
};

Prior prior_of(std::span<const float> values, std::size_t count, bool caffe, std::size_t row) {
  const float* const four = values.data() + row * 4;
  Prior prior;
  if (!caffe) {
    prior.cx = four[0], prior.cy = four[1], prior.width = four[2], prior.height = four[3];
    return prior;
  }
  prior.cx = (double{four[0]} + four[2]) / 2, prior.cy = (double{four[1]} + four[3]) / 2;
  prior.width = double{four[2]} - four[0], prior.height = double{four[3]} - four[1];
  const float* const variances = values.data() + (count + row) * 4;
  for (std::size_t i = 0; i < 4; ++i) prior.variances[i] = variances[i];
  return prior;
}

Status decode_ssd_priors(Inputs& in, BoxCollector& boxes) {
  const std::size_t classes = in.detector.classes;
  const std::span<const float> offsets = in.floats(1);
  const std::span<const float> priors = in.floats(2);
  const Shape& shape = in.view(2).shape;
  const bool caffe = shape.rank() == 3 && shape[1] == 2 && shape[2] != 4;
  Matrix scores;
  scores.values = in.floats(0);
  scores.rows = offsets.size() / 4;
  scores.columns = classes;
  if (scores.values.size() != scores.rows * classes)
    return misfit(in, 0, fmt::format("{} values", scores.rows * classes));
  if (priors.size() != offsets.size() * (caffe ? 2 : 1))
    return misfit(in, 2, fmt::format("{} priors", scores.rows));
  // Exported with its softmax or without: probabilities are nowhere below 0 or above 1.
  const bool logits = std::any_of(scores.values.begin(), scores.values.end(),
                                  [](float value) { return value < 0 || value > 1.01F; });
  const Units units = normalised(in.geometry);
  for (std::size_t row = 0; row < scores.rows; ++row) {
    const Prior prior = prior_of(priors, scores.rows, caffe, row);
    const float* const t = offsets.data() + row * 4;
    const double cx = prior.cx + t[0] * prior.variances[0] * prior.width;
    const double cy = prior.cy + t[1] * prior.variances[1] * prior.height;
    const double width = prior.width * std::exp(t[2] * prior.variances[2]);
    const double height = prior.height * std::exp(t[3] * prior.variances[3]);
    for (std::size_t category = 1; category < classes; ++category) {
      const double score = logits ? softmax_of(scores, row, category) : scores.at(row, category);
      if (!(score >= boxes.score_min())) continue;
      boxes.add_centred(cx * units.x, cy * units.y, width * units.x, height * units.y, score,
                        static_cast<double>(category));
    }
  }
  return {};
}

Status decode(Inputs& in, BoxCollector& boxes) {
  switch (in.detector.head) {
    case Head::kYoloV5:
      return decode_yolov5(in, boxes);
    case Head::kYoloV8:
      return decode_yolov8(in, boxes);
    case Head::kYoloX:
      return decode_yolox(in, boxes);
    case Head::kYoloV10:
    case Head::kClassRows:
      return decode_six(in, boxes);
    case Head::kSsd:
      return decode_ssd(in, boxes);
    case Head::kTensorFlow:
    case Head::kLists:
      return decode_lists(in, boxes);
    case Head::kDetsLabels:
      return decode_dets_labels(in, boxes);
    case Head::kScoresBoxes:
      return decode_scores_boxes(in, boxes);
    case Head::kSsdPriors:
      return decode_ssd_priors(in, boxes);
    case Head::kDetr:
    case Head::kRtDetr:
      return decode_detr(in, boxes);
  }
  return {};
}

}  // namespace

Result<std::vector<Box>> decode_boxes(const Detector& detector, std::span<const TensorView> outputs,
                                      const Geometry& geometry, const BoxOptions& options) {
  for (std::size_t part = 0; part < detector.part_count; ++part) {
    if (detector.parts[part] < outputs.size()) continue;
    return Status(StatusCode::kInvalidModel, fmt::format("head {}: got {} outputs, want more",
                                                         head_name(detector.head), outputs.size()));
  }
  Inputs in{detector, outputs, geometry};
  BoxCollector boxes(geometry, options);
  INFLIGHT_TRY(decode(in, boxes));
  return boxes.take(!needs_suppression(detector.head));
}

}  // namespace inflight::vision
