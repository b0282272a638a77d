// SPDX-License-Identifier: Apache-2.0
// One frame's line in the file of --results.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/interpretation.h"
#include "inflight/clock.h"
#include "inflight/predictor.h"
#include "inflight/status.h"

namespace inflight::cli {

// What the lines are made of, besides the predictions.
struct ResultsFormat {
  std::vector<TensorSpec> outputs;  // of the model; the shapes of a prediction's own count
  Interpretation meaning;           // of the outputs
  std::vector<std::string> truths;  // names of the truths a source tells; may be empty
  int top = 5;
};

// The end of one frame.
struct FrameResult {
  std::int64_t frame = 0;
  std::optional<int> truth;
  TimePoint due;
  std::optional<Prediction> prediction;               // nothing: refused, or it came without a picture
  Status refusal;                                     // why, then
  Outcome outcome = Outcome::kRejected;               // likewise
  std::shared_ptr<const std::string> file = nullptr;  // of a directory; null elsewhere
  std::optional<Duration> pts = {};                   // where the media says
  int height = 0;                                     // of the frame; of those that were predicted
  int width = 0;
  std::optional<std::size_t> stream = {};  // where there are several
};

// Appends the line with its line end; formats without allocating once `out` has grown.
//   source   shortest round-trip floats: fmt's Dragonbox
class ResultLine {
 public:
  // Outputs of up to this many elements are written out, others summed up.
  static constexpr std::size_t kValuesMax = 65'536;

  explicit ResultLine(ResultsFormat format) : format_(std::move(format)) {}
  void append(const FrameResult& result, TimePoint start, fmt::memory_buffer& out);

 private:
  void append_outputs(const FrameResult& result, fmt::memory_buffer& out);
  void append_boxes(const FrameResult& result, fmt::memory_buffer& out);
  void append_top(const TensorView& scores, fmt::memory_buffer& out);

  const ResultsFormat format_;
  std::vector<std::size_t> classes_;
};

}  // namespace inflight::cli
