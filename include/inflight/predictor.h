// SPDX-License-Identifier: Apache-2.0
// Predictor: keeps many predictions of one model in flight. Submit each frame the moment it arrives; no call
// blocks unless it says so.
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
    std::string name;  // "": the one input of the model
    NDArray array;     // may be pending: the prediction starts when it is ready
  };
  std::vector<Input> inputs;
  std::uint64_t tag = 0;         // the caller's, handed back by Prediction::tag()
  std::optional<TimePoint> due;  // when the frame should have been submitted; latency counts from here
  // A frame that has not started by then expires. Like `due`, a moment of the predictor's clock.
  std::optional<TimePoint> deadline;

  // A frame for a model with one input. Throws std::bad_alloc.
  static Frame of(NDArray array, std::uint64_t tag = 0) {
    return {{{"", std::move(array)}}, tag, std::nullopt, std::nullopt};
  }
};

// How a submission ended. Each ends in exactly one of these.
enum class Outcome : std::uint8_t {
  kPending,    // it has not ended yet
  kCompleted,  // its outputs can be read
  kFailed,     // the model, the device or an input failed: see status()
  kRejected,   // refused by submit(); there is no Prediction
  kDropped,    // removed for a newer frame
  kExpired,    // its deadline passed before it started
  kCancelled,  // cancelled before it started, by cancel() or by the predictor's end
};
// "pending", "completed" and so on. Requires an Outcome of the enum.
std::string_view outcome_name(Outcome outcome);

// What happened to a prediction and when, on the predictor's clock. A step that never came has TimePoint{}: a
// prediction that ended before it started has no `launched`, and one whose inputs never came has no `ready`.
struct PredictionTimes {
  TimePoint due;  // Frame::due, or submitted
  TimePoint submitted;
  TimePoint ready;  // all its inputs were ready
  TimePoint launched;
  TimePoint finished;
};

// One admitted frame and its outcome. A value: copies are handles to the same prediction, whose outputs stay
// unchanged as long as one of them, or of its outputs, lives. May outlive the predictor.
//   thread   any; one handle object is like an int: no thread may assign to it while another one reads it
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
  // Frame::tag.
  std::uint64_t tag() const noexcept;

  // True: finished, with any outcome. One acquire load; never blocks, throws or goes back to false.
  bool can_read() const noexcept { return completion_->ready(); }
  // kPending until can_read().
  Outcome outcome() const noexcept;
  // Ok, or the first cause, the same each time; kNotReady until can_read().
  Status status() const;
  // Output `index`, in the order of the model's outputs; ready when the prediction is. Requires a valid
  // index.
  NDArray output(std::size_t index) const;
  // The output of that name.
  //   errors   kNotFound: the model has no such output
  Result<NDArray> output(std::string_view name) const;
  std::size_t output_count() const noexcept;
  // The width at which it ran; kNarrow until can_read().
  Width width() const noexcept;
  // The slot on which it ran, 0 to Predictor::slots() - 1; -1 until can_read(), and if it never started.
  int slot() const noexcept;
  // Until can_read(), only `due` and `submitted` are set.
  PredictionTimes times() const noexcept;

  // Block until can_read(), or until a time, as NDArray::wait, wait_for and wait_until do.
  Status wait() const;
  Status wait_for(Duration timeout) const;
  Status wait_until(TimePoint when) const;
  // Calls fn(const Prediction&) on the executor once can_read(), as NDArray::on_ready does.
  template <typename Fn>
  void on_ready(Executor& executor, Fn fn) const {
    internal::on_ready(*completion_, executor, [fn = std::move(fn), self = *this]() mutable { fn(self); });
  }

  // Cancels it if it has not started: the outcome is then kCancelled, at once. Never blocks.
  //   returns  false: it has started or finished, and goes on to its own outcome
  bool cancel() const;

  internal::Completion& completion() const noexcept { return *completion_; }
  internal::Version& version() const noexcept;
  friend bool operator==(const Prediction& a, const Prediction& b) noexcept { return a.state_ == b.state_; }

 private:
  internal::Ref<internal::PredictionState> state_;
  internal::Completion* completion_ = nullptr;  // the state's, so that polling needs no other header
};

// What submit() does when in_flight_limit predictions are in flight.
enum class OverloadPolicy : std::uint8_t {
  kReject,  // refuses at once
  kBlock,   // waits for a place, block_timeout at most
};

// How a predictor is made. create() checks every bound.
struct PredictorOptions {
  // Where it runs: a runtime that other predictors share; empty: one of its own on `device`.
  Runtime runtime = {};
  Device device = Device::cpu();
  int threads = 0;  // RuntimeOptions::threads, for a runtime of its own; 0 with one that is shared
  // Its part of a runtime that has more work than it can do, relative to the other predictors: above 0, to
  // 1,000.
  double weight = 1;
  int in_flight_limit = 8;  // predictions admitted and not finished, at most; 1 to kInFlightLimitMax
  OverloadPolicy overload = OverloadPolicy::kReject;
  Duration block_timeout = Duration::max();  // for kBlock
  Precision precision = Precision::kAuto;
  Width width = Width::kNarrow;  // how much of the device each prediction uses
  // Predictions that run at once, 0 to kSlotsMax; 0: as many as the program can use. Never more than the
  // runtime's capacity or in_flight_limit.
  int slots = 0;
  // True: finished predictions wait for take_finished(). Set it to false if you keep the handles and never
  // take. While finished_limit of them wait, submit() refuses.
  bool keep_finished = true;
  int finished_limit = 1024;
  // Share of one processor that an idle thread may spend awake before a frame expected from a steady stream,
  // so that submit() need not wake it: a system call that takes tens of microseconds on a virtual machine,
  // and now and then milliseconds. 0 to 1; 0: off. A frame that is late by milliseconds may begin up to
  // 0.3 ms later, because the thread naps then. When frames stop, at most 25 ms more are spent. Irregular
  // frames cost almost nothing. There is no watch if the share is less than 80 us a frame (by default, past
  // 625 frames a second) or if the process may use only one processor.
  double watch_share = 0.05;
  // For PredictionTimes and deadlines; outlives the predictor and its predictions. If it is not real
  // (Clock::real()), no thread keeps watch, and a deadline is checked only in submit() and when the frame
  // gets its slot.
  const Clock* clock = &steady_clock();
};

// How many submissions had which outcome. At every instant that a caller can observe,
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
//   owns     the program, its slots and a pool of output buffers; a reference to its runtime
//   errors   after it was moved from, a call that can fail returns kInvalidArgument, and the others return
//            nothing
class Predictor {
 public:
  static constexpr int kInFlightLimitMax = 1 << 16;
  static constexpr int kFinishedLimitMax = 1 << 20;
  static constexpr int kSlotsMax = 1024;
  static constexpr double kWeightMax = 1000;

  // Compiles the model and binds the slots. It may take seconds.
  //   errors   kInvalidArgument: an option out of bounds; kOutOfMemory: memory or threads ran out, and
  //            nothing is left behind; what Runtime::open(), Backend::compile() and Program::bind() return
  static Result<Predictor> create(const Model& model, PredictorOptions options = {});

  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;
  // Cancels what has not started and waits for what runs. Not from an inline callback of its own predictions.
  ~Predictor();

  // Submits one frame. Never blocks, unless the policy is kBlock.
  //   frame    one input for each of the model's inputs, of exactly its dtype and shape; moved from only on
  //            success
  //   returns  the prediction; its outputs are ready when it is
  //   thread   any
  //   bound    in_flight_limit
  //   errors   each leaves the frame as it was, and the outcome is kRejected.
  //            kOverloaded: every place is taken (retry_after() says when to try again), or finished_limit
  //            predictions wait to be taken; kInvalidArgument: the frame does not fit; kDeadlineExceeded: its
  //            deadline has passed; kOutOfMemory; kShuttingDown
  Result<Prediction> submit(Frame&& frame);

  // Every prediction that finished since the last call, in the order in which they finished; each is handed
  // out once. Never blocks. Empty if keep_finished is false.
  //   errors   throws std::bad_alloc, having changed nothing
  std::vector<Prediction> take_finished();
  // The same into `finished`, which is cleared first: no allocation once it has grown.
  void take_finished(std::vector<Prediction>& finished);
  // Blocks until take_finished() has something to give, or nothing is in flight any more.
  //   returns  true: there is something to take
  bool wait_any();
  // The same, until `when` at most, a moment of steady_clock().
  bool wait_any_until(TimePoint when);

  // A descriptor that is readable while take_finished() has something to give: for epoll (level triggered),
  // poll, select and the loops built on them. One write when the first prediction finishes, one read when
  // they are taken, however many there are. It is made at the first call.
  //   returns  the same one each time. The predictor owns it: do not read, write or close it. Valid as long
  //            as the predictor lives; remove it from an epoll set before that.
  //   thread   any
  //   errors   kUnsupported: keep_finished is false, so there is never anything to take; kOutOfMemory: no
  //            descriptor is left; you may try again
  Result<int> event_fd();

  // Blocks until nothing is in flight. Not from an inline callback of its own predictions.
  void drain();
  // Refuses submissions from now on. kCancel also cancels what has not started. Then as drain(). It may be
  // called again, on any thread.
  void shutdown(Shutdown how);

  // The counts at this instant. Takes one lock, shortly.
  Statistics statistics() const;
  // Where the time of completed predictions went. Takes one lock, for a copy of about 70 KiB.
  StageLatencies latencies() const;
  // An estimate of how long it takes until a place is free: 0 if one is, else the recent mean of the time
  // that a prediction runs, divided by the slots.
  Duration retry_after() const;
  // What submit() expects and what a prediction has, in the order of the model. Valid as long as the
  // predictor; empty after it was moved from.
  std::span<const TensorSpec> inputs() const noexcept;
  std::span<const TensorSpec> outputs() const noexcept;
  // The device in words, such as "cpu (AMD EPYC, 2 threads)"; "" after it was moved from.
  std::string device_description() const;
  // How many predictions run at once; 0 after it was moved from.
  int slots() const noexcept;

 private:
  explicit Predictor(std::shared_ptr<internal::PredictorCore> core) noexcept;
  std::shared_ptr<internal::PredictorCore> core_;
};

}  // namespace inflight
