// SPDX-License-Identifier: Apache-2.0
#include "cli/interpretation.h"

#include <fmt/format.h>

#include <tuple>

#include "cli/classify.h"

namespace inflight::cli {
namespace {

using vision::Detector;
using vision::Labels;

// The height and width of the model's image input; the frame's where it takes any.
std::pair<std::int64_t, std::int64_t> input_size(const Model& model) {
  for (const TensorSpec& input : model.inputs()) {
    const Shape& shape = input.shape;
    if (shape.rank() == 4 && (shape[1] == 3 || shape[3] != 3)) return {shape[2], shape[3]};
    if (shape.rank() == 4) return {shape[1], shape[2]};
    if (shape.rank() == 3 && shape[2] == 3) return {shape[0], shape[1]};
  }
  return {Shape::kDynamic, Shape::kDynamic};
}

// What the model carries: inflight's and others' "labels", or "names" as ultralytics writes them.
Labels labels_in(const Model& model) {
  for (const char* const key : {"labels", "names"}) {
    const std::optional<std::string> text = model.metadata(key);
    if (!text) continue;
    const bool structured = text->starts_with('{') || text->starts_with('[');
    Result<Labels> labels = Labels::parse(*text);
    if (labels.ok() && (structured || labels->size() > 1)) return std::move(*labels);
    if (structured) continue;
    // Names with commas between them, on one line.
    Labels listed = Labels::of(parse_labels(*text));
    if (!listed.empty()) return listed;
  }
  return {};
}

Result<Labels> read_labels(const LoadedModel& loaded, const RunOptions& options) {
  if (!options.labels) return labels_in(loaded.model);
  Result<Labels> labels = Labels::read(*options.labels);
  if (labels.ok()) return labels;
  // A file that is no list of names is bad input, not bad usage.
  const Status& status = labels.status();
  const StatusCode code =
      status.code() == StatusCode::kInvalidArgument ? StatusCode::kInvalidModel : status.code();
  return Status(code, fmt::format("--labels: {}", status.message()));
}

// The names by the model's own numbers. A list of names may leave the background out, or have an entry for
// it.
Labels numbered(Labels labels, const Detector& detector) {
  using vision::Head;
  const bool background_first = detector.head == Head::kScoresBoxes || detector.head == Head::kSsdPriors;
  if (background_first && labels.count() + 1 == detector.classes && labels.name(0)) return labels.shifted(1);
  // TensorFlow Lite's labelmap.txt begins with it, and its classes are counted without.
  if (detector.head == Head::kTensorFlow && labels.name(0) == "???") return labels.shifted(-1);
  return labels;
}

Status no_detector(const LoadedModel& loaded, std::span<const TensorSpec> outputs) {
  return {
      StatusCode::kInvalidModel,
      fmt::format(
          "--task detect: model \"{}\" has outputs that fit no head of a detector plainly: {}; --head says "
          "which: {}",
          loaded.title, vision::outputs_text(outputs), vision::head_names())};
}

Status no_classifier(const LoadedModel& loaded, std::span<const TensorSpec> outputs) {
  return {StatusCode::kInvalidModel,
          fmt::format("--task classify: model \"{}\" has outputs {}, want one of a score for each class",
                      loaded.title, vision::outputs_text(outputs))};
}

// What would be accepted and ignored is refused.
Status check_used(const Interpretation& result, const RunOptions& options, const LoadedModel& loaded,
                  std::span<const TensorSpec> outputs) {
  const auto refuse = [&](std::string_view option, std::string_view why) {
    return Status(StatusCode::kInvalidArgument, fmt::format("{}: {}", option, why));
  };
  const bool detects = result.task == Task::kDetect;
  if (options.score && !detects)
    return refuse("--score", "only for detectors, and this model is none that is known");
  if (options.iou && !detects)
    return refuse("--iou", "only for detectors, and this model is none that is known");
  if (options.iou && !vision::needs_suppression(result.detector.head)) {
    return refuse("--iou", fmt::format("the head {} leaves no overlaps to be removed",
                                       vision::head_name(result.detector.head)));
  }
  if (options.output && !result.task) {
    return {
        StatusCode::kInvalidModel,
        fmt::format(
            "--output: model \"{}\" is no classifier, and no detector that is plain: {}; --task detect with "
            "--head says which",
            loaded.title, vision::outputs_text(outputs))};
  }
  return {};
}

bool are_class_scores(std::span<const TensorSpec> outputs) {
  return outputs.size() == 1 && outputs[0].shape.is_static() &&
         are_scores({nullptr, outputs[0].dtype, outputs[0].shape});
}

}  // namespace

std::string Interpretation::class_text(std::int64_t category) const {
  const std::optional<std::string_view> name = labels.name(category);
  return name ? std::string(*name) : fmt::format("class {}", category);
}

Result<std::vector<vision::Box>> Interpretation::boxes_of(const Prediction& prediction, int frame_height,
                                                          int frame_width) const {
  std::vector<TensorView> views;
  for (std::size_t i = 0; i < prediction.output_count(); ++i) {
    INFLIGHT_TRY_ASSIGN(const TensorView view, prediction.output(i).read());
    views.push_back(view);
  }
  const int height = input_height == Shape::kDynamic ? frame_height : static_cast<int>(input_height);
  const int width = input_width == Shape::kDynamic ? frame_width : static_cast<int>(input_width);
  const FitRect rect = fit_rect(fit, frame_height, frame_width, height, width);
  const vision::Geometry geometry{frame_height, frame_width, height,     width,
                                  rect.x,       rect.y,      rect.width, rect.height};
  return vision::decode_boxes(detector, views, geometry, boxes);
}

std::string Interpretation::description() const {
  std::string text = task == Task::kDetect
                         ? fmt::format("detection, head {}", vision::head_name(detector.head))
                         : std::string("classification");
  if (guessed) text += " (guessed)";
  if (!labels.empty()) text += fmt::format(", {} names", labels.size());
  return text;
}

Result<Interpretation> interpret(const LoadedModel& loaded, std::span<const TensorSpec> outputs,
                                 const RunOptions& options, int frame_height, int frame_width) {
  Interpretation result;
  INFLIGHT_TRY_ASSIGN(result.labels, read_labels(loaded, options));
  result.boxes.score_min = options.score.value_or(result.boxes.score_min);
  result.boxes.iou_max = options.iou.value_or(result.boxes.iou_max);
  result.fit = options.fit.value_or(Fit::kStretch);
  std::tie(result.input_height, result.input_width) = input_size(loaded.model);
  const auto known = [](std::int64_t extent, int frame) {
    return extent == Shape::kDynamic ? frame : static_cast<int>(extent);
  };
  const vision::DetectorHints hints{known(result.input_height, frame_height),
                                    known(result.input_width, frame_width), result.labels.count()};
  std::optional<Detector> detector;
  if (options.head) {
    Result<Detector> made = vision::make_detector(*options.head, outputs, hints);
    if (!made.ok()) return made.status().with_context(fmt::format("--head: model \"{}\"", loaded.title));
    detector = *made;
  } else if (options.task != Task::kClassify) {
    detector = vision::guess_detector(outputs, hints);
    if (!detector && options.task) return no_detector(loaded, outputs);
  }
  if (detector) {
    result.task = Task::kDetect;
    result.detector = *detector;
    result.labels = numbered(std::move(result.labels), *detector);
  } else if (are_class_scores(outputs)) {
    result.task = Task::kClassify;
  } else if (options.task) {
    return no_classifier(loaded, outputs);
  }
  result.guessed = detector ? !options.head : !options.task;
  INFLIGHT_TRY(check_used(result, options, loaded, outputs));
  return result;
}

}  // namespace inflight::cli
