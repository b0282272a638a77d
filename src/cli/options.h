// SPDX-License-Identifier: Apache-2.0
// What `inflight run` was asked to do: from the words of the command line to checked values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "inflight/backend.h"
#include "inflight/clock.h"
#include "inflight/model.h"
#include "inflight/predictor.h"
#include "inflight/status.h"
#include "media/open_source.h"
#include "media/pacing.h"
#include "vision/detector.h"

namespace inflight::cli {

// The words as written; nothing where an option was not given.
struct RunWords {
  std::optional<std::string> model, streams, fps, limit, policy, device, precision, width, tune, color, mean,
      scale, frames, duration, deadline_ms, seed, top, json, results, stall_timeout, fit, output, task, head,
      labels, score, iou, trace;
  bool no_rotate = false;
  bool strict = false;
  bool refuse_late = false;
  std::vector<std::string> sources, input_shapes;
};

// What a model does.
enum class Task : std::uint8_t { kClassify, kDetect };

constexpr std::string_view kSynthetic = "synthetic";  // the source that needs no file

struct RunOptions {
  std::optional<std::string> model;  // nothing: the embedded default model
  // What is read: a stream of the predictor each, if there are several; kSourcesMax at most.
  std::vector<std::string> sources = {std::string(kSynthetic)};
  static constexpr std::size_t kSourcesMax = 256;
  bool copies = false;  // they are copies of one
  SourceOptions source_options;
  bool strict = false;           // damage that is passed over makes the run a failed one
  std::optional<FrameRate> fps;  // nothing: the source's own
  // Or Predictor::kInFlightLimitAuto. If it was not given and there are more than four sources, twice their
  // number.
  int limit = 8;
  OverloadPolicy policy = OverloadPolicy::kReject;
  std::vector<Device> devices = {Device::cpu()};
  Precision precision = Precision::kAuto;
  WidthPolicy width = WidthPolicy::kElastic;
  TuneLevel tune = TuneLevel::kFast;
  // How frames become the model's input; nothing: what the model is known to want, else RGB, 0 and 1.
  std::optional<ColorOrder> color;
  std::optional<std::vector<float>> mean, scale;
  std::optional<Fit> fit;
  std::map<std::string, Shape> input_shapes;  // as of ModelOptions
  std::optional<std::int64_t> frames;
  std::optional<Duration> duration;
  std::optional<Duration> deadline;  // of a frame, from when it is due
  bool refuse_late = false;          // refuse at once what would miss it
  int top = 5;
  std::optional<std::string> json, results, trace;  // files to write
  std::optional<std::string> output;  // the file or folder for frames with their results on them
  // What the outputs mean; nothing: guessed where it is plain.
  std::optional<Task> task;
  std::optional<vision::Head> head;
  std::optional<std::string> labels;  // a file; nothing: the model's own
  std::optional<float> score, iou;    // as BoxOptions; nothing: its defaults
};

// Checks every value and the combinations.
//   bound    words may hold any bytes; a message shows 100 of a word at most
//   errors   kInvalidArgument: `--limit: got 0, want auto or 1 to 65536`; kNoSuchDevice: a device of no known kind
Result<RunOptions> parse_run(const RunWords& words);

bool has_synthetic(const RunOptions& options);
bool has_other_than_synthetic(const RunOptions& options);

Result<Duration> parse_deadline(const std::string& word);
// --refuse-late without --deadline-ms.
Status refuse_late_needs_a_deadline();

// Of a command that takes one device.
Result<Device> parse_device(const std::string& word);
// One or several, as in `cuda:0,cuda:1`.
//   errors   kInvalidArgument: one of them twice, or too many; kNoSuchDevice
Result<std::vector<Device>> parse_devices(const std::string& word);
Result<Precision> parse_precision(const std::string& word);
Result<TuneLevel> parse_tune(const std::string& word);

}  // namespace inflight::cli
