// SPDX-License-Identifier: Apache-2.0
// RunLoop: the one thread that drives a run.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cli/annotator.h"
#include "cli/display.h"
#include "cli/frame_bell.h"
#include "cli/report.h"
#include "cli/results.h"
#include "cli/sized_predictors.h"
#include "cli/trace.h"
#include "inflight/clock.h"
#include "inflight/predictor.h"
#include "media/pacing.h"
#include "media/prefetch.h"

namespace inflight::cli {

// When frames are due.
enum class Pace : std::uint8_t {
  kPaced,    // frame k at start + k / rate
  kStamped,  // at start + its time stamp; one without a stamp as kPaced
  kUnpaced,  // each as soon as there are a frame and a place for it
  kLive,     // each when the camera hands it over
};

struct LoopPlan {
  Pace pace = Pace::kPaced;
  FrameRate rate{60, 1};  // of kPaced and kStamped
  std::int64_t frames_max = std::numeric_limits<std::int64_t>::max();
  std::optional<Duration> duration;  // no frame is submitted that is due after it
  std::optional<Duration> deadline;  // of a frame, from when it is due
  OverloadPolicy policy = OverloadPolicy::kReject;
  int in_flight_limit = 8;    // as the predictor was told
  int finished_limit = 1024;  // likewise
  Duration offset{0};         // every frame is due that much later: cameras do not shoot at the same instant
  double shown_fps = 25;      // what tells when frames are shown that do not say so themselves
  bool judge = false;  // the model's only output is a score for each of the truths that the source tells
};

// One source of a run and how its frames are submitted: one stream of the predictor, if there are several.
struct Feed {
  Feed(PrefetchedSource& its_source, const LoopPlan& its_plan, const Clock& clock)
      : source(its_source), plan(its_plan), pacer(its_plan.rate, clock) {}

  PrefetchedSource& source;
  const LoopPlan plan;
  Pacer pacer;
  std::int64_t submitted = 0;
  std::optional<VideoFrame> frame;       // the next one to submit, once it has been decoded
  TimePoint frame_taken;                 // when that was seen
  std::optional<TimePoint> waits_since;  // for a place, under the policy block
  bool ended = false;                    // nothing more comes of it, or is wanted
};

// Sleeps until the next frame is due or a prediction has finished, submits, takes, accounts. Waits for
// nothing else: decoding, writing and printing have their threads. What can be waited for without knowing how
// long is waited for in slices, so that a signal is seen within kSlice.
//   owns    the books of one run
//   thread  the one that calls run()
class RunLoop {
 public:
  static constexpr Duration kSlice = std::chrono::milliseconds(50);
  // How long predictions may take to finish after a signal; then those that have not started are cancelled.
  static constexpr Duration kDrainAfterSignal = std::chrono::seconds(1);

  //   results   null: no results are written
  //   output    null: no frames are written
  //   feeds     at least one, kFeedsMax at most. Several are the streams of the predictor, in this order.
  //   trace     null: no trace is written
  static constexpr std::size_t kFeedsMax = 256;
  RunLoop(SizedPredictors& predictor, std::vector<Feed> feeds, ResultsWriter* results, Annotator* output,
          Display& display, TraceWriter* trace = nullptr);

  // Runs to the end and returns when nothing is in flight any more. Once.
  Tally run();

 private:
  // What stands between the loop and the next submission.
  enum class Need : std::uint8_t {
    kNothing,
    kDue,
    kFrame,
    kPlace,
    kResultsRoom,
    kOutputRoom,
    kTraceRoom,
    kAnything,
    kEnd
  };

  void take_first_frames();
  Need advance_one();
  Need advance();
  std::size_t feed_index() const noexcept { return static_cast<std::size_t>(feed_ - feeds_.data()); }
  FeedTally& feed_tally() noexcept { return tally_.feeds[feed_index()]; }
  Need take_frame(Taken taken);
  TimePoint due(const VideoFrame& frame) const;
  Need need_place();
  Duration shown_at(const VideoFrame& video, TimePoint due) const;
  void submit(TimePoint due);
  void refuse(const VideoFrame& video, TimePoint due, const Status& why);
  void lose(const VideoFrame& video, TimePoint due);
  void trace_end(const Prediction& prediction, int height, int width);
  void put_lost(const VideoFrame& video, TimePoint due, Outcome outcome, const Status& why);
  void wait(Need need);
  void wait_finished_until(TimePoint when);
  void wait_anything_until(TimePoint when);
  void drain();

  void account();
  bool settle(const Prediction& prediction);
  void show_progress();

  SizedPredictors& predictor_;
  std::vector<Feed> feeds_;
  Feed* feed_;                 // the one that the loop looks at
  std::size_t next_feed_ = 0;  // the one that it looks at first
  const LoopPlan plan_;        // of the first feed
  ResultsWriter* const results_;
  Annotator* const output_;
  Display& display_;
  TraceWriter* const trace_;
  const Clock& clock_ = steady_clock();
  TimePoint start_;
  FrameBell bell_;     // of several feeds
  TimePoint wake_at_;  // of several feeds: when the next frame is due

  // What the results and the trace say of a frame in flight beside its prediction.
  struct Shown {
    std::optional<Duration> pts;
    std::shared_ptr<const std::string> file;
    int height = 0;
    int width = 0;
  };
  // By frame and feed; used where there are results or a trace.
  std::unordered_map<std::uint64_t, Shown> shown_;
  std::uint64_t admitted_ = 0;
  std::uint64_t taken_ = 0;
  std::vector<Prediction> finished_;  // taken; those from settled_ on wait for room in the results
  std::size_t settled_ = 0;
  TimePoint taken_at_;  // when finished_ was taken

  struct Sample {
    TimePoint when;
    std::uint64_t completed;
  };
  std::array<Sample, 10> samples_{};  // of the last second, a ring
  std::size_t sample_ = 0;
  TimePoint next_progress_;
  Tally tally_;
};

}  // namespace inflight::cli
