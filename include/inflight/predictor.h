// SPDX-License-Identifier: Apache-2.0
// Predictor: keeps many predictions of one model in flight. Submit each frame the moment it arrives; no call
// blocks unless it says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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
#include "inflight/stream.h"

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
  Stream stream;  // which camera or client it comes from; empty: none in particular

  // A frame for a model with one input. Throws std::bad_alloc.
  static Frame of(NDArray array, std::uint64_t tag = 0) {
    return {{{"", std::move(array)}}, tag, std::nullopt, std::nullopt, {}};
  }
};

// How a submission ended. Each ends in exactly one of these.
enum class Outcome : std::uint8_t {
  kPending,    // it has not ended yet
  kCompleted,  // its outputs can be read
  kFailed,     // the model, the device or an input failed: see status()
  kRejected,   // refused by submit(); there is no Prediction
  kDropped,    // it had not started, and gave its place to another frame
  kExpired,    // its deadline passed before it started
  kCancelled,  // by cancel() or by the predictor's end
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
  // Frame::stream.
  Stream stream() const noexcept;

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

  // Cancels it. If it has not started, the outcome is kCancelled at once. If it runs on a device that can stop
  // an inference (BoundProgram::can_stop()), the outcome will be kCancelled, and its slot is free once the
  // device has stopped: on the CPU, after the operator of the network that is being computed. Never blocks.
  //   returns  false: it has finished, or runs and cannot be stopped, and goes on to its own outcome
  bool cancel() const;

  internal::Completion& completion() const noexcept { return *completion_; }
  internal::Version& version() const noexcept;
  friend bool operator==(const Prediction& a, const Prediction& b) noexcept { return a.state_ == b.state_; }

 private:
  internal::Ref<internal::PredictionState> state_;
  internal::Completion* completion_ = nullptr;  // the state's, so that polling needs no other header
};

// How wide predictions run.
enum class WidthPolicy : std::uint8_t {
  // Chosen for each prediction when it starts, from measured service times and the recent arrivals, so that
  // latency is that of the better width at every load: wide, narrow or, if the device has that, medium. Narrow alone if
  // the device has no other width, or if a wide prediction alone is not clearly faster.
  kElastic,
  kWide,
  kNarrow,
};
// "elastic", "wide", "narrow". Requires a WidthPolicy of the enum.
std::string_view width_policy_name(WidthPolicy policy);
//   errors   kInvalidArgument: another word
Result<WidthPolicy> parse_width_policy(std::string_view text);

// How a predictor is made. create() checks every bound.
struct PredictorOptions {
  // Where it runs: a runtime that other predictors share; empty: one of its own on `device`, or on `devices`.
  Runtime runtime = {};
  Device device = Device::cpu();
  // Several, in place of `device`: there is one queue and one limit, and slots on each of them. A free slot of any
  // device takes the next frame. If several devices have one, the frame is for the device with the smallest part of
  // its slots busy, among equals the first one named here; so under load a faster device serves more. A device that
  // is lost fails what it holds, and the others go on; when the last is lost, submissions are refused with the
  // cause. The devices may be of different kinds, if the compiled model has the same inputs and outputs on each, and
  // these lie in the host's memory.
  std::vector<Device> devices = {};
  int threads = 0;  // RuntimeOptions::threads, for a runtime of its own; 0 with one that is shared
  // Its part of a runtime that has more work than it can do, relative to the other predictors: above 0, to
  // 1,000.
  double weight = 1;
  // Predictions admitted and not finished, at most: 1 to kInFlightLimitMax; or Predictor::kInFlightLimitAuto, the
  // smallest number that keeps 97 % of the throughput, measured while the limit is what holds frames back.
  int in_flight_limit = 8;
  // True: submit() refuses a frame that, by the service times measured so far, would not *finish* by its deadline.
  // If these would refuse every frame, a few are admitted now and then, one at a time, to measure again.
  // False: it is admitted, and expires if it has not started by then.
  bool refuse_late = false;
  // For frames without a stream, as of StreamOptions.
  OverloadPolicy overload = OverloadPolicy::kReject;
  Duration block_timeout = Duration::max();
  Delivery delivery = Delivery::kAsCompleted;  // other than kAsCompleted only with keep_finished
  Precision precision = Precision::kAuto;
  // How much of the device each prediction uses. kElastic compiles the model twice where that pays; the other
  // two compile it once.
  WidthPolicy width = WidthPolicy::kElastic;
  // Predictions that run at once on each device, 0 to kSlotsMax; 0: as many as the program can use. Never more than
  // the device's capacity or in_flight_limit.
  int slots = 0;
  // True: outputs stay in the memory of the device, where it has its own: NDArray::copy_to() brings them to the host, and
  // another predictor on that device, or another library, reads them there. False: the device leaves them in memory of
  // the host. Not with several devices.
  bool outputs_on_device = false;
  // True: finished predictions wait for take_finished(). Set it to false if you keep the handles and never
  // take. While finished_limit of them wait, submit() refuses.
  bool keep_finished = true;
  int finished_limit = 1024;
  // Share of one processor that an idle thread may spend awake before a frame expected from a steady stream,
  // so that submit() need not wake it: a system call that takes tens of microseconds on a virtual machine,
  // and now and then milliseconds. 0 to 1; 0: off. A frame that is late by milliseconds may begin up to
  // 0.3 ms later, because the thread naps then. When frames stop, at most 25 ms more are spent. Irregular
  // frames cost almost nothing. There is no watch if the share is less than 80 us a frame (by default, past
  // 625 frames a second) or if the process may use only one processor. With several devices, each has its part of
  // it, for the frames that it gets.
  double watch_share = 0.05;
  // For PredictionTimes and deadlines; outlives the predictor and its predictions. If it is not real
  // (Clock::real()), no thread keeps watch, and a deadline is checked only in submit() and when the frame
  // gets its slot.
  const Clock* clock = &steady_clock();
  // How long create() may look for faster ways to compute the model, where the device offers several.
  TuneLevel tune = TuneLevel::kFast;
  // Told how far that is, while create() runs: by the thread that called create() or one that it waits for, one call at
  // a time. If it throws, create() fails with kException. Not called once create() has returned.
  std::function<void(const TuneProgress&)> tune_progress = {};
};

// Where the time of completed predictions went, in ns.
struct StageLatencies {
  Histogram input_wait;  // from submitted to ready
  Histogram slot_wait;   // from ready to launched
  Histogram running;     // from launched to finished
  Histogram total;       // from due to finished
  Histogram age;         // Stream::age() of all streams together, frames without a stream among them
};

// What one device of a predictor did.
struct DeviceStatistics {
  Device device;
  std::string description;                  // in words, such as "cpu (AMD EPYC, 2 threads)"
  int slots = 0;                            // Prediction::slot() counts on from one device to the next
  std::uint64_t completed = 0, failed = 0;  // of the predictions that ran there
  Status lost;                              // why the device is lost; ok: it is not
};

// Keeps up to in_flight_limit predictions of one model in flight.
//   thread   any number may submit, take and wait
//   owns     the program, its slots and a pool of output buffers; a reference to its runtime
//   errors   after it was moved from, a call that can fail returns kInvalidArgument, and the others return
//            nothing
class Predictor {
 public:
  static constexpr int kInFlightLimitMax = 1 << 16;
  static constexpr int kInFlightLimitAuto = -1;
  static constexpr int kFinishedLimitMax = 1 << 20;
  static constexpr int kSlotsMax = 1024;
  static constexpr double kWeightMax = 1000;
  static constexpr int kStreamsMax = 1 << 16;
  static constexpr int kPriorityMin = -8;
  static constexpr int kPriorityMax = 7;

  // Compiles the model and binds the slots. It may take seconds.
  //   errors   kInvalidArgument: an option out of bounds; kOutOfMemory: memory or threads ran out, and
  //            nothing is left behind; what Runtime::open(), Backend::compile() and Program::bind() return;
  //            kUnsupported: the devices differ in the inputs or outputs of the compiled model, one of several
  //            leaves outputs in memory of its own, or outputs_on_device with an output whose shape is not static
  static Result<Predictor> create(const Model& model, PredictorOptions options = {});

  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;
  // Cancels what has not started and waits for what runs. Not from an inline callback of its own predictions.
  ~Predictor();

  // Opens a stream of frames (Frame::stream). While streams are open, each that has submitted a frame in the
  // last two seconds has its share of the places, at least one: a part by weight among the streams of its
  // priority and higher ones. Where the policy is kReject or kBlock, a stream takes no more than its share.
  // Frames of kDropOldest and kKeepLatest streams take any free place, and give it to a frame of another stream
  // whose turn comes before theirs.
  //   thread   any
  //   bound    kStreamsMax open at a time
  //   errors   kInvalidArgument: an option out of bounds; kOverloaded: kStreamsMax are open; kOutOfMemory;
  //            kShuttingDown
  Result<Stream> open_stream(StreamOptions options = {});

  // Submits one frame. Never blocks, unless the policy is kBlock.
  //   frame    one input for each of the model's inputs, of exactly its dtype and shape; moved from only on
  //            success
  //   returns  the prediction; its outputs are ready when it is
  //   thread   any
  //   bound    in_flight_limit
  //   errors   each leaves the frame as it was, and the outcome is kRejected.
  //            kOverloaded: every place that the stream may have is taken (retry_after() says when to try
  //            again), or finished_limit predictions wait to be taken, or (refuse_late) it would finish after
  //            its deadline; kInvalidArgument: the frame does not fit, or its stream is another predictor's;
  //            kDeadlineExceeded: its deadline has passed; kOutOfMemory; kShuttingDown; the cause, if every
  //            device is lost
  Result<Prediction> submit(Frame&& frame);

  // Every prediction that finished since the last call, in the order in which they finished or as the delivery
  // of their stream says; each is handed out once. Never blocks. Empty if keep_finished is false.
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
  // What each device did, in the order of the options; empty after it was moved from. Takes one lock, shortly.
  //   errors   throws std::bad_alloc
  std::vector<DeviceStatistics> device_statistics() const;
  // Where the time of completed predictions went. Takes one lock, for a copy of about 70 KiB.
  StageLatencies latencies() const;
  // In how long a place is expected to be free, from the measured service times and what runs now: 0 if one is.
  // It holds as long as nobody else takes the place. Duration::max(): never, every device is lost.
  Duration retry_after() const;
  // With refuse_late: in how long a frame that has `within` until its deadline is expected to be admitted. 0: now.
  // Duration::max(): never, the service time alone is longer.
  Duration retry_after(Duration within) const;
  // What submit() expects and what a prediction has, in the order of the model. Valid as long as the
  // predictor; empty after it was moved from.
  std::span<const TensorSpec> inputs() const noexcept;
  std::span<const TensorSpec> outputs() const noexcept;
  // The device in words, such as "cpu (AMD EPYC, 2 threads)", several with ", " between them; "" after it was moved
  // from.
  std::string device_description() const;
  // The most predictions that may be in flight: in_flight_limit, or the bound of kInFlightLimitAuto, which is two
  // for each slot; 0 after it was moved from.
  int places() const noexcept;
  // How predictions choose their width: what was asked for, or kNarrow where elastic pays on no device; kNarrow
  // after it was moved from.
  WidthPolicy width() const noexcept;
  // How many predictions run at once; 0 after it was moved from.
  int slots() const noexcept;
  // What tuning came to when the model was compiled, on the first device that tunes; nothing where none does, and
  // after it was moved from.
  std::optional<Tuning> tuning() const noexcept { return core_ == nullptr ? std::nullopt : tuning_; }

 private:
  explicit Predictor(std::shared_ptr<internal::PredictorCore> core) noexcept;
  std::shared_ptr<internal::PredictorCore> core_;
  std::optional<Tuning> tuning_;
};

}  // namespace inflight
