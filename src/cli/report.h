// SPDX-License-Identifier: Apache-2.0
// What a run comes to: the summary for people and the object for programs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inflight/clock.h"
#include "inflight/histogram.h"
#include "inflight/predictor.h"
#include "inflight/status.h"
#include "media/source.h"

namespace inflight::cli {

// What the loop counts of one source.
struct FeedTally {
  bool source_ended = false;  // it has no more frames, or broke
  std::uint64_t dropped = 0;  // of a live source, too old when they came: they count as submitted and dropped
  std::uint64_t damaged = 0;  // frames that came without a picture: they count as submitted and failed
};

// What the loop counts, beside the predictor's own statistics.
struct Tally {
  std::int64_t frames = 0;    // of the sources, submitted
  StageLatencies latencies;   // of completed ones, as the predictor counted them
  Histogram submit_ns;        // how long each submission took its caller
  Duration late_max{0};       // the longest from due to the submission
  std::uint64_t correct = 0;  // completed ones whose best class was the truth
  Duration wall{0};           // from the first frame's due time until nothing was in flight
  bool source_ended = false;  // every source has
  std::vector<FeedTally> feeds;
  SourceLosses losses;   // of the sources
  Status first_damage;   // why, of the first
  Status first_failure;  // of a prediction
  Status source_error;   // why the source ended early
  Status submit_error;   // why submitting had to stop, other than for want of room
  int signal = 0;        // that ended the run; 0: none
};

// One stream, where there are several.
struct StreamReport {
  std::string source;
  Statistics statistics;
  Histogram latency_ns, age_ns;
};

// The frames of --output.
struct OutputReport {
  std::string path, description;
  std::int64_t written = 0;
  std::int64_t dropped = 0;  // because drawing and encoding were behind
};

struct RunReport {
  std::string model, source, device;
  std::string policy, precision;
  int slots = 0;
  std::optional<Tuning> tuning;        // nothing: the device does not tune
  std::optional<Duration> deadline;    // of a frame, from when it was due
  std::optional<double> fps;           // asked for or the source's own; nothing: as fast as accepted
  std::string task;                    // what the outputs mean; empty: nothing that is known
  std::optional<OutputReport> output;  // nothing: no frames are written
  bool judged = false;                 // the truth is known, so there is an accuracy
  int exit_code = 0;
  Statistics statistics;
  std::vector<StreamReport> streams;      // empty: there is one source
  std::vector<DeviceStatistics> devices;  // empty: there is one
  Tally tally;
};

// Several lines, each ended.
std::string summary_text(const RunReport& report);
// One JSON object, with a line end.
std::string json_text(const RunReport& report);

}  // namespace inflight::cli
