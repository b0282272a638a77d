// SPDX-License-Identifier: Apache-2.0
#include "cli/loop.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/scheduling.h"
#include "cli/classify.h"
#include "cli/stop.h"
#include "inflight/ndarray.h"

namespace inflight::cli {
namespace {

// A prediction's tag carries its frame's number and truth, so nothing has to be looked up when it finishes.
constexpr int kTruthBits = 8;
constexpr int kFeedBits = 8;
static_assert(RunLoop::kFeedsMax == std::size_t{1} << kFeedBits);

std::uint64_t make_tag(std::int64_t frame, std::size_t feed, std::optional<int> truth) {
  const int stored = truth.value_or(-1) + 1;
  INFLIGHT_CHECK(stored >= 0 && stored < (1 << kTruthBits));
  const std::uint64_t frame_and_feed = (static_cast<std::uint64_t>(frame) << kFeedBits) | feed;
  return (frame_and_feed << kTruthBits) | static_cast<std::uint64_t>(stored);
}

std::uint64_t frame_and_feed_of(std::uint64_t tag) { return tag >> kTruthBits; }
std::int64_t frame_of(std::uint64_t tag) {
  return static_cast<std::int64_t>(tag >> (kTruthBits + kFeedBits));
}
std::size_t feed_of(std::uint64_t tag) { return (tag >> kTruthBits) & ((1U << kFeedBits) - 1); }

std::optional<int> truth_of(std::uint64_t tag) {
  const int stored = static_cast<int>(tag & ((1 << kTruthBits) - 1));
  if (stored == 0) return std::nullopt;
  return stored - 1;
}

// While predictions are out, a decoder is waited for in slices this long: what finishes meanwhile gives its
// memory back soon. Its latency is the predictor's own measure and does not depend on this.
constexpr Duration kFrameSlice = std::chrono::milliseconds(5);

}  // namespace

RunLoop::RunLoop(SizedPredictors& predictor, std::vector<Feed> feeds, ResultsWriter* results,
                 Annotator* output, Display& display, TraceWriter* trace)
    : predictor_(predictor),
      feeds_(std::move(feeds)),
      feed_(&feeds_.front()),
      plan_(feed_->plan),
      results_(results),
      output_(output),
      display_(display),
      trace_(trace) {}

Tally RunLoop::run() {
  internal::wake_on_time();  // frames are due to the microsecond
  tally_.feeds.resize(feeds_.size());
  take_first_frames();
  if (feeds_.size() > 1) {
    for (Feed& feed : feeds_) bell_.listen(feed.source);
  }
  for (Feed& feed : feeds_) {
    feed.pacer.restart();
    feed.frame_taken = feed.pacer.start();
  }
  start_ = feeds_.front().pacer.start();
  if (results_ != nullptr) results_->set_start(start_);
  if (trace_ != nullptr) trace_->set_start(start_);
  next_progress_ = start_ + Display::kRefresh;
  samples_.fill({start_, 0});
  while (true) {
    tally_.signal = stop_signal();
    if (tally_.signal != 0 || !tally_.submit_error.ok()) break;
    const Need need = advance_one();
    account();
    if (need == Need::kEnd) break;
    if (need != Need::kNothing) wait(need);
  }
  for (Feed& feed : feeds_) feed.frame.reset();
  drain();
  tally_.source_ended = true;
  for (std::size_t i = 0; i < feeds_.size(); ++i) {
    const Feed& feed = feeds_[i];
    const SourceLosses losses = feed.source.source().losses();
    tally_.frames += feed.submitted;
    tally_.losses.skipped += losses.skipped;
    tally_.losses.ended_early = tally_.losses.ended_early || losses.ended_early;
    tally_.losses.notes.insert(tally_.losses.notes.end(), losses.notes.begin(), losses.notes.end());
    tally_.source_ended = tally_.source_ended && tally_.feeds[i].source_ended;
  }
  tally_.latencies = predictor_.latencies();
  tally_.wall = clock_.now() - start_;
  return std::move(tally_);
}

// The clock starts when there is something to predict on: what a decoder or a camera needs to get going is no
// latency of a prediction's.
void RunLoop::take_first_frames() {
  for (Feed& feed : feeds_) {
    feed_ = &feed;
    while (stop_signal() == 0 && !feed.frame) {
      if (take_frame(feed.source.wait_next_until(clock_.now() + kSlice)) == Need::kEnd) break;
    }
  }
}

// Submits a frame of the first feed that can; each time it begins with the next one. If none can, wake_at_ is
// when the next frame is due.
RunLoop::Need RunLoop::advance_one() {
  if (feeds_.size() == 1) return advance();
  bell_.silence();
  Need what = Need::kEnd;
  wake_at_ = TimePoint::max();
  for (std::size_t i = 0; i < feeds_.size(); ++i) {
    feed_ = &feeds_[(next_feed_ + i) % feeds_.size()];
    if (feed_->ended) continue;
    const Need need = advance();
    if (need == Need::kNothing) {
      next_feed_ = (next_feed_ + i + 1) % feeds_.size();
      return need;
    }
    if (need == Need::kEnd) {
      feed_->ended = true;
      feed_->frame.reset();
      continue;
    }
    if (need == Need::kDue) wake_at_ = std::min(wake_at_, due(*feed_->frame));
    // What the writers have no room for holds up all feeds.
    if (need == Need::kResultsRoom || need == Need::kOutputRoom) return need;
    what = Need::kAnything;
  }
  return what;
}

// When the frame is due; one that is not paced is due when it can be submitted.
TimePoint RunLoop::due(const VideoFrame& frame) const {
  switch (feed_->plan.pace) {
    case Pace::kPaced:
      return feed_->pacer.due(frame.index) + feed_->plan.offset;
    case Pace::kStamped:
      return (frame.pts ? feed_->pacer.due_at(*frame.pts) : feed_->pacer.due(frame.index)) +
             feed_->plan.offset;
    case Pace::kUnpaced:
      return clock_.now();
    case Pace::kLive:
      return feed_->frame_taken;
  }
  return clock_.now();
}

// Submits the next frame if nothing stands in its way.
RunLoop::Need RunLoop::advance() {
  if (feed_->submitted >= feed_->plan.frames_max) return Need::kEnd;
  const TimePoint now = clock_.now();
  const bool paced = feed_->plan.pace == Pace::kPaced || feed_->plan.pace == Pace::kStamped;
  // What is live may give nothing until then.
  const bool by_the_clock = !paced || feed_->source.source().live();
  if (by_the_clock && feed_->plan.duration && now - feed_->pacer.start() >= *feed_->plan.duration)
    return Need::kEnd;
  if (!feed_->frame) {
    if (const Need need = take_frame(feed_->source.try_next()); need != Need::kNothing) return need;
  }
  if (paced && feed_->plan.duration && due(*feed_->frame) - feed_->pacer.start() >= *feed_->plan.duration)
    return Need::kEnd;
  if (paced && now < due(*feed_->frame)) return Need::kDue;
  if (results_ != nullptr && !results_->has_room_for_refusal()) return Need::kResultsRoom;
  if (trace_ != nullptr && !trace_->has_room()) return Need::kTraceRoom;
  const bool waits = feed_->plan.pace == Pace::kUnpaced || plan_.policy == OverloadPolicy::kBlock;
  const VideoFrame& frame = *feed_->frame;
  if (frame.damage.ok() && waits && !predictor_.has_place(frame.height, frame.width, feed_index()))
    return need_place();
  // Where nothing may be lost, frames wait for the output as well.
  if (output_ != nullptr && output_->pace() == OutputPace::kKeepsPace && !output_->has_room())
    return Need::kOutputRoom;
  submit(due(*feed_->frame));
  return Need::kNothing;
}

// Waits for a place. Of a live source the newest frame waits, for it is the one worth a prediction.
RunLoop::Need RunLoop::need_place() {
  if (feed_->plan.pace != Pace::kUnpaced && !feed_->waits_since) feed_->waits_since = clock_.now();
  if (feed_->plan.pace != Pace::kLive) return Need::kPlace;
  Taken newer = feed_->source.try_next();
  if (newer.state != Taken::State::kFrame) return Need::kPlace;
  if (newer.frame.damage.ok()) {
    feed_->frame->damage = Status(StatusCode::kOverloaded, "no place was free before a newer frame came");
    feed_->frame->pixels = Buffer();
    std::swap(*feed_->frame, newer.frame);
  }
  lose(newer.frame, feed_->frame_taken);
  feed_->frame_taken = clock_.now();
  return Need::kNothing;
}

RunLoop::Need RunLoop::take_frame(Taken taken) {
  switch (taken.state) {
    case Taken::State::kFrame:
      feed_->frame = std::move(taken.frame);
      feed_->frame_taken = clock_.now();
      return Need::kNothing;
    case Taken::State::kNotYet:
      return Need::kFrame;
    case Taken::State::kError:
      if (tally_.source_error.ok()) tally_.source_error = taken.status;
      [[fallthrough]];
    case Taken::State::kEnd:
      feed_tally().source_ended = true;
      return Need::kEnd;
  }
  return Need::kEnd;
}

void RunLoop::submit(TimePoint due) {
  VideoFrame video = *std::exchange(feed_->frame, std::nullopt);
  // A size that the model cannot take is a fault of this frame, not of the run.
  if (video.damage.ok()) video.damage = predictor_.prepare(video.height, video.width);
  if (!video.damage.ok()) return lose(video, due);
  ++feed_->submitted;
  Result<NDArray> pixels =
      NDArray::from_buffer(video.pixels, DType::kU8, Shape{video.height, video.width, 3});
  if (!pixels.ok()) {
    tally_.submit_error = pixels.status();
    return;
  }
  if (output_ != nullptr) output_->begin(video.index, video, shown_at(video, due));
  const std::uint64_t tag = make_tag(video.index, feed_index(), video.label);
  Frame frame = Frame::of(std::move(*pixels), tag);
  frame.due = due;
  if (plan_.deadline) frame.deadline = due + *plan_.deadline;
  const TimePoint called = clock_.now();
  const Result<Prediction> prediction =
      predictor_.submit(std::move(frame), video.height, video.width, feed_index());
  const TimePoint returned = clock_.now();
  const TimePoint since = std::exchange(feed_->waits_since, std::nullopt).value_or(called);
  tally_.submit_ns.add((returned - since).count());
  tally_.late_max = std::max(tally_.late_max, called - due);
  if (prediction.ok()) {
    ++admitted_;
    if (results_ != nullptr || trace_ != nullptr)
      shown_.emplace(frame_and_feed_of(tag), Shown{video.pts, video.file, video.height, video.width});
    return;
  }
  if (output_ != nullptr) output_->end(video.index, std::nullopt);
  refuse(video, due, prediction.status());
}

// When the frame is shown, counted from the first one: as the media says, else by its number; a camera's when
// it came.
Duration RunLoop::shown_at(const VideoFrame& video, TimePoint due) const {
  if (video.pts) return *video.pts;
  if (feed_->plan.pace == Pace::kLive) return due - feed_->pacer.start();
  return Duration(std::llround(static_cast<double>(video.index) * 1e9 / feed_->plan.shown_fps));
}

// A frame that came without its picture has an outcome like every other one: one of a live source that was
// too old has been dropped, others have failed.
void RunLoop::lose(const VideoFrame& video, TimePoint due) {
  ++feed_->submitted;
  feed_->waits_since.reset();
  const bool dropped = video.damage.code() == StatusCode::kOverloaded;
  if (dropped)
    ++feed_tally().dropped;
  else if (feed_tally().damaged++ == 0 && tally_.first_damage.ok())
    tally_.first_damage = video.damage;
  put_lost(video, due, dropped ? Outcome::kDropped : Outcome::kFailed, video.damage);
}

void RunLoop::put_lost(const VideoFrame& video, TimePoint due, Outcome outcome, const Status& why) {
  if (trace_ != nullptr)
    trace_->put({.frame = video.index,
                 .stream = static_cast<int>(feed_index()),
                 .outcome = outcome,
                 .due = due,
                 .delivered = clock_.now()});
  if (results_ == nullptr) return;
  FrameResult result{video.index, video.label, due, std::nullopt, why, outcome, video.file, video.pts};
  if (feeds_.size() > 1) result.stream = feed_index();
  const bool put = results_->put(result);
  INFLIGHT_CHECK(put);  // advance() has asked for room
}

void RunLoop::refuse(const VideoFrame& video, TimePoint due, const Status& why) {
  put_lost(video, due, Outcome::kRejected, why);
  const bool too_late = why.code() == StatusCode::kDeadlineExceeded;
  if (why.code() != StatusCode::kOverloaded && !too_late) tally_.submit_error = why;
}

void RunLoop::wait(Need need) {
  const TimePoint slice = clock_.now() + kSlice;
  switch (need) {
    case Need::kDue:
      return wait_finished_until(std::min(due(*feed_->frame), slice));
    case Need::kPlace:
      return wait_finished_until(slice);
    case Need::kResultsRoom:
      return results_->wait_room_until(slice);
    case Need::kTraceRoom:
      return trace_->wait_room_until(slice);
    case Need::kOutputRoom:
      return output_->wait_room_until(admitted_ > taken_ ? slice - kSlice + kFrameSlice : slice);
    case Need::kFrame: {
      const bool outstanding = admitted_ > taken_ || settled_ < finished_.size();
      // The end and an error are answered again by the next look.
      Taken taken = feed_->source.wait_next_until(outstanding ? slice - kSlice + kFrameSlice : slice);
      if (taken.state == Taken::State::kFrame) take_frame(std::move(taken));
      return;
    }
    case Need::kAnything:
      return wait_anything_until(std::min(wake_at_, slice));
    case Need::kNothing:
    case Need::kEnd:
      return;
  }
}

// Of several feeds: until a prediction has finished or a source has a frame.
void RunLoop::wait_anything_until(TimePoint when) {
  if (settled_ < finished_.size()) return wait_finished_until(when);
  // Without a descriptor the sources are looked at each millisecond.
  if (bell_.descriptor() < 0) when = std::min(when, clock_.now() + std::chrono::milliseconds(1));
  predictor_.wait_any_until(when, bell_.descriptor());
}

// Waits until account() has something to do, `when` at most.
void RunLoop::wait_finished_until(TimePoint when) {
  if (settled_ < finished_.size())
    results_->wait_room_until(when);
  else if (admitted_ > taken_)
    predictor_.wait_any_until(when);
  else
    clock_.sleep_until(when);
}

// Until every admitted prediction has its outcome, and that is accounted for.
void RunLoop::drain() {
  std::optional<TimePoint> cancel_at;
  for (account(); admitted_ > taken_ || settled_ < finished_.size(); account()) {
    const TimePoint now = clock_.now();
    if (tally_.signal == 0) tally_.signal = stop_signal();
    if (tally_.signal != 0 && !cancel_at) cancel_at = now + kDrainAfterSignal;
    if (cancel_at && now >= *cancel_at) {
      predictor_.shutdown(Shutdown::kCancel);
      cancel_at = TimePoint::max();
    }
    wait_finished_until(now + kSlice);
  }
}

// Takes what has finished and enters it in the books. What the results have no room for stays here, and then
// in the predictor, which refuses new frames when that gets too much: nothing is lost, nothing grows.
void RunLoop::account() {
  if (settled_ == finished_.size()) {
    predictor_.take_finished(finished_);
    settled_ = 0;
    taken_ += finished_.size();
    if (trace_ != nullptr && !finished_.empty()) taken_at_ = clock_.now();
  }
  while (settled_ < finished_.size() && settle(finished_[settled_])) ++settled_;
  if (settled_ == finished_.size()) {
    finished_.clear();  // lets go of the outputs
    settled_ = 0;
  }
  if (clock_.now() >= next_progress_) show_progress();
}

bool RunLoop::settle(const Prediction& prediction) {
  const PredictionTimes times = prediction.times();
  const std::optional<int> truth = truth_of(prediction.tag());
  const auto shown = shown_.find(frame_and_feed_of(prediction.tag()));
  if (results_ != nullptr) {
    FrameResult result{frame_of(prediction.tag()), truth, times.due, prediction, Status()};
    if (feeds_.size() > 1) result.stream = feed_of(prediction.tag());
    if (shown != shown_.end()) {
      result.file = shown->second.file;
      result.pts = shown->second.pts;
      result.height = shown->second.height;
      result.width = shown->second.width;
    }
    if (!results_->put(result)) return false;
  }
  if (output_ != nullptr) output_->end(frame_of(prediction.tag()), prediction);
  if (trace_ != nullptr) {
    const Shown size = shown != shown_.end() ? shown->second : Shown();
    trace_end(prediction, size.height, size.width);
  }
  if (shown != shown_.end()) shown_.erase(shown);
  if (prediction.outcome() == Outcome::kCompleted) {
    if (plan_.judge && truth) {
      const Result<TensorView> scores = prediction.output(std::size_t{0}).read();
      if (scores.ok() && best_class(*scores) == static_cast<std::size_t>(*truth)) ++tally_.correct;
    }
  } else if (prediction.outcome() == Outcome::kFailed && tally_.first_failure.ok()) {
    tally_.first_failure = prediction.status();
  }
  return true;
}

void RunLoop::trace_end(const Prediction& prediction, int height, int width) {
  const PredictionTimes times = prediction.times();
  trace_->put({.frame = frame_of(prediction.tag()),
               .stream = static_cast<int>(feed_of(prediction.tag())),
               .outcome = prediction.outcome(),
               .ran_at = prediction.width(),
               .slot = prediction.slot(),
               .height = height,
               .width = width,
               .due = times.due,
               .launched = times.launched,
               .finished = times.finished,
               .delivered = taken_at_});
}

void RunLoop::show_progress() {
  const TimePoint now = clock_.now();
  next_progress_ = std::max(next_progress_ + Display::kRefresh, now);
  const Statistics statistics = predictor_.statistics();
  const StageLatencies latencies = predictor_.latencies();
  const Sample oldest = std::exchange(samples_[sample_], {now, statistics.completed});
  sample_ = (sample_ + 1) % samples_.size();
  const double seconds = std::chrono::duration<double>(now - oldest.when).count();
  const auto completed = static_cast<double>(statistics.completed - oldest.completed);
  display_.show({.elapsed = now - start_,
                 .rate = seconds > 0 ? completed / seconds : 0,
                 .in_flight = statistics.in_flight,
                 .p50_ns = latencies.total.quantile(0.5),
                 .p99_ns = latencies.total.quantile(0.99),
                 .age_ns = latencies.age.quantile(0.99),
                 .refused = statistics.rejected});
}

}  // namespace inflight::cli
