// SPDX-License-Identifier: Apache-2.0
// Interpretation: what a model's outputs say of a frame: its class, or the boxes in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/load.h"
#include "cli/options.h"
#include "inflight/predictor.h"
#include "inflight/status.h"
#include "model/image_fit.h"
#include "vision/boxes.h"
#include "vision/detector.h"
#include "vision/labels.h"

namespace inflight::cli {

// Never changes once it is made, so any thread may read it.
struct Interpretation {
  std::optional<Task> task;   // nothing: neither a classifier nor a detector that is known
  bool guessed = false;       // the task or the head, not told by the user
  vision::Detector detector;  // of kDetect
  vision::BoxOptions boxes;
  vision::Labels labels;
  Fit fit = Fit::kStretch;
  // Of the network's image input, as declared; kDynamic where it takes the frame's own.
  std::int64_t input_height = Shape::kDynamic;
  std::int64_t input_width = Shape::kDynamic;

  // `person`, or `class 7` where the class has no name.
  std::string class_text(std::int64_t category) const;
  // The boxes of a completed prediction on a frame of this size, in its pixels. Requires kDetect.
  //   thread   any
  //   errors   those of decode_boxes
  Result<std::vector<vision::Box>> boxes_of(const Prediction& prediction, int frame_height,
                                            int frame_width) const;
  // For the summary: `detection, head yolov8 (guessed), 80 names`.
  std::string description() const;
};

// Says what the outputs mean, by the options, else by a guess where that is plain.
//   outputs   of the model as it runs
//   errors    kInvalidModel: the outputs do not fit the task or the head; kInvalidArgument: options that this
//             model has no use for; kNotFound: the label file
Result<Interpretation> interpret(const LoadedModel& loaded, std::span<const TensorSpec> outputs,
                                 const RunOptions& options, int frame_height, int frame_width);

}  // namespace inflight::cli
