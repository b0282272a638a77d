// SPDX-License-Identifier: Apache-2.0
// Predictor: keeps many predictions of one model in flight. Submit each frame the moment it arrives; nothing
// blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/backend.h"
#include "inflight/clock.h"
#include "inflight/engine.h"
#include "inflight/executor.h"
#include "inflight/histogram.h"
#include "inflight/model.h"
#include "inflight/ndarray.h"
#include "inflight/runtime.h"
#include "inflight/shutdown.h"
#include "inflight/status.h"

namespace inflight {

namespace internal {
class PredictionState;
class PredictorCore;
}  // namespace internal

// The inputs of one inference.
struct Frame {
  struct Input {
    std::string name;  // "" where the model has one input
    NDArray array;     // may still be on its way: the prediction starts when it is ready
  };
  std::vector<Input> inputs;
  std::uint64_t tag = 0;         // the caller's, handed back by Prediction::tag()
  std::optional<TimePoint> due;  // when the frame should have been submitted; latency counts from here
  std::optional<TimePoint>
      deadline;  // one that has not started by then expires. Both on the predictor's clock.

  static Frame of(NDArray array, std::uint64_t tag = 0) {
    return {{{"", std::move(array)}}, tag, std::nullopt, std::nullopt};
  }
};

// How a submission ended. Each ends in exactly one of these.
enum class Outcome : std::uint8_t {
  kPending,    // not yet
  kCompleted,  // its outputs are there
  kFailed,     // the model, the device or an input failed: see status()
  kRejected,   // refused by submit(); there is no Prediction
  kDropped,    // given up for a newer frame
  kExpired,    // its deadline passed before it started
  kCancelled,  // given up before it started, by cancel() or by the predictor's end
};
std::string_view outcome_name(Outcome outcome);

// When what happened to a prediction, on the predictor's clock. Each is set as it happens; a prediction that ends
// before it starts has no `launched`, and one whose inputs never came no `ready`.
struct PredictionTimes {
  TimePoint due;  // Frame::due, or submitted
  TimePoint submitted;
  TimePoint ready;  // its inputs were there
  TimePoint launched;
  TimePoint finished;
};

// One admitted frame and its outcome. A value: copies are handles to the same prediction, whose outputs stay
// untouched as long as one of them, or of its outputs, lives. May outlive the predictor.
//   thread   any; one handle object is like an int: no writing it while another thread reads it
class Prediction {
 public:
  Prediction() noexcept;  // names nothing: only operator bool may be called
  explicit Prediction(internal::Ref<internal::PredictionState> state) noexcept;
  Prediction(const Prediction&) noexcept;
  Prediction(Prediction&&) noexcept;
  Prediction& operator=(Prediction) noexcept;
  ~Prediction();

  explicit operator bool() const noexcept { return static_cast<bool>(state_); }
  // 0, 1, 2 ... in the order of admission.
  std::uint64_t id() const noexcept;
  std::uint64_t tag() const noexcept;

  // True: finished, whatever the outcome. One acquire load; never blocks, throws or goes back to false.
  bool can_read() const noexcept { return completion_->ready(); }
  // kPending until can_read().
  Outcome outcome() const noexcept;
  // Ok, or the first cause, the same each time; kNotReady until can_read().
  Status status() const;
  // Output `index`, in the order of the model's outputs; ready when the prediction is. Requires a valid
  // index.
  NDArray output(std::size_t index) const;
  //   errors   kNotFound: the model has no such output
  Result<NDArray> output(std::string_view name) const;
  std::size_t output_count() const noexcept;
  // Which width it ran at, and when what happened. Final once can_read().
  Width width() const noexcept;
  PredictionTimes times() const noexcept;

  // As NDArray::wait, wait_for, wait_until, on_ready.
  Status wait() const;
  Status wait_for(Duration timeout) const;
  Status wait_until(TimePoint when) const;
  template <typename Fn>
  void on_ready(Executor& executor, Fn fn) const {
    internal::on_ready(*completion_, executor, [fn = std::move(fn), self = *this]() mutable { fn(self); });
  }

  // Gives it up if it has not started: the outcome is then kCancelled, at once. False: it has started or
  // finished, and goes on to its own outcome.
  bool cancel() const;

  internal::Completion& completion() const noexcept { return *completion_; }
  internal::Version& version() const noexcept;
  friend bool operator==(const Prediction& a, const Prediction& b) noexcept { return a.state_ == b.state_; }

 private:
  internal::Ref<internal::PredictionState> state_;
  internal::Completion* completion_ = nullptr;  // the state's, so that polling needs no other header
};

// What submit() does when every place in flight is taken.
enum class OverloadPolicy : std::uint8_t {
  kReject,  // refuses at once
  kBlock,   // waits for a place, block_timeout at most
};

struct PredictorOptions {
  // Where it runs: a runtime that other predictors share, or, where there is none, one of its own on `device`.
  Runtime runtime = {};
  Device device = Device::cpu();
  int threads = 0;  // RuntimeOptions::threads, for a runtime of its own; 0 with one that is shared
  // Its share of a runtime that has too much to do, against those of the other predictors: above 0, to 1,000.
  double weight = 1;
  int in_flight_limit = 8;  // predictions admitted and not finished, at most; 1 to kInFlightLimitMax
  OverloadPolicy overload = OverloadPolicy::kReject;
  Duration block_timeout = Duration::max();  // for kBlock
  Precision precision = Precision::kAuto;
  Width width = Width::kNarrow;  // how much of the device each prediction uses
  // Predictions that run at once; 0: as many as the program has use for. Never more than the runtime runs at once.
  int slots = 0;
  // Finished predictions wait for take_finished() if this is set; a caller that keeps its handles and never takes
  // clears it. While finished_limit of them wait, submit() refuses.
  bool keep_finished = true;
  int finished_limit = 1024;
  // Share of one processor that an idle thread may spend awake before a frame expected from a steady stream, so that
  // submit() need not wake it: a system call of tens of microseconds on a virtual machine, and now and then of
  // milliseconds. 0: off; to 1. A frame that is late by milliseconds may begin up to 0.3 ms later, as the thread then
  // naps. Once frames stop, 25 ms more are spent at most. Next to nothing is spent on irregular frames, and nothing
  // where the share leaves less than 80 us a frame (by default, past 625 frames a second) or the process may use one
  // processor only.
  double watch_share = 0.05;
  // For PredictionTimes and deadlines. On a clock that is not real (Clock::real()) no thread watches, and deadlines
  // are looked at when something else happens.
  const Clock* clock = &steady_clock();
};

// How many submissions ended how. At every instant that a caller can observe,
// submitted == completed + failed + rejected + dropped + expired + cancelled + in_flight.
struct Statistics {
  std::uint64_t submitted = 0, completed = 0, failed = 0, rejected = 0, dropped = 0, expired = 0,
                cancelled = 0;
  std::uint64_t in_flight = 0;
  std::uint64_t in_flight_max = 0;     // the most there ever were
  std::uint64_t wide = 0, narrow = 0;  // of those that ran, by width
};

// Where the time of completed predictions went, in ns.
struct StageLatencies {
  Histogram input_wait;  // from submitted to ready
  Histogram slot_wait;   // from ready to launched
  Histogram running;     // from launched to finished
  Histogram total;       // from due to finished
};

// Keeps up to in_flight_limit predictions of one model in flight.
//   thread   any number may submit, take and wait
//   owns     the program, its slots and a pool of output buffers; a share in its runtime
//   errors   after it was moved from, a call that can fail answers kInvalidArgument, and the others find nothing
class Predictor {
 public:
  static constexpr int kInFlightLimitMax = 1 << 16;
  static constexpr int kFinishedLimitMax = 1 << 20;
  static constexpr int kSlotsMax = 1024;
  static constexpr double kWeightMax = 1000;

  // Compiles the model and binds the slots.
  //   errors   kInvalidArgument: an option out of bounds; kOutOfMemory: memory or threads ran out, and nothing is
  //            left behind; what Runtime::open(), Backend::compile() and Program::bind() answer
  static Result<Predictor> create(const Model& model, PredictorOptions options = {});

  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;
  // Cancels what has not started and waits for the rest. Not from an inline callback of its own predictions.
  ~Predictor();

  // Submits one frame. Never blocks, unless the policy is kBlock.
  //   frame    an input for each of the model's, each of exactly its dtype and shape; moved from only on success
  //   returns  the prediction; its outputs are ready when it is
  //   thread   any
  //   bound    in_flight_limit
  //   errors   each leaves the frame as it was, and the outcome is kRejected.
  //            kOverloaded: every place is taken (retry_after() says when to try again), or finished_limit
  //            predictions wait to be taken; kInvalidArgument: the frame does not fit; kDeadlineExceeded: its
  //            deadline has passed; kOutOfMemory; kShuttingDown
  Result<Prediction> submit(Frame&& frame);

  // Every prediction that finished since the last call, in the order in which they finished; each is handed out once.
  // Never blocks. Empty where keep_finished is not set.
  //   errors   throws std::bad_alloc, having changed nothing
  std::vector<Prediction> take_finished();
  // The same into `finished`, which is cleared first: no allocation once it has grown.
  void take_finished(std::vector<Prediction>& finished);
  // Waits until take_finished() has something to give, or nothing is in flight any more.
  //   returns  true: there is something to take
  bool wait_any();
  // The same, until `when` at most, which is on the real steady clock.
  bool wait_any_until(TimePoint when);

  // A descriptor that can be read as long as take_finished() has something to give: for epoll (level triggered), poll,
  // select and the loops built on them. It coalesces: one write when the first prediction finishes, one read when they
  // are taken, however many there are. Made at the first call; a predictor that is never asked makes no system call
  // for it.
  //   returns  the same one each time. It is the predictor's: do not read, write or close it. Valid as long as the
  //            predictor lives; take it out of an epoll set before that ends.
  //   thread   any
  //   errors   kUnsupported: keep_finished is not set, so there is never anything to take; kOverloaded: no descriptor
  //            is left, may be tried again
  Result<int> event_fd();

  // Waits until nothing is in flight.
  void drain();
  // Refuses submissions from now on. kCancel: cancels what has not started. Waits for the rest. Idempotent.
  void shutdown(Shutdown how);

  // The books, as they are at this instant: one lock.
  Statistics statistics() const;
  // Where the time of completed predictions went: one lock, and a copy of 70 KiB.
  StageLatencies latencies() const;
  // An estimate of when a place will be free: 0 if one is, else from the mean service time of late.
  Duration retry_after() const;
  std::span<const TensorSpec> inputs() const noexcept;
  std::span<const TensorSpec> outputs() const noexcept;
  // "" after it was moved from.
  std::string device_description() const;
  int slots() const noexcept;

 private:
  explicit Predictor(std::shared_ptr<internal::PredictorCore> core) noexcept;
  std::shared_ptr<internal::PredictorCore> core_;
};

}  // namespace inflight
