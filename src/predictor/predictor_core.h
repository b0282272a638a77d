// SPDX-License-Identifier: Apache-2.0
// What a Predictor is inside: the scheduler, and what carries its decisions out.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "inflight/internal/event_fd.h"
#include "inflight/internal/mutex.h"
#include "inflight/predictor.h"
#include "predictor/device_lane.h"
#include "predictor/scheduler.h"
#include "predictor/slot.h"
#include "predictor/stream_state.h"
#include "runtime/runtime_core.h"

namespace inflight::internal {

// Why a prediction ended before it started.
Status cancelled();
Status expired();
// Why one ended while it ran.
Status stopped();

// A thin shell around the scheduler: it takes the lock (its runtime's), passes events in, and carries out
// what the scheduler decides. It has no thread: the runtime's threads call it by its lanes, one for each device. It
// lives as long as a handle to one of its predictions; after shutdown() no thread of the runtime calls it.
class PredictorCore final : public std::enable_shared_from_this<PredictorCore> {
 public:
  // May throw std::bad_alloc.
  //   parts   one for each device, at least one, whose programs have the same inputs and outputs
  PredictorCore(PredictorOptions options, std::shared_ptr<RuntimeOwner> runtime,
                std::vector<DevicePart> parts, bool limit_auto);

  // Binds and warms up the slots, makes the memory for the first frames, and enters the runtime. Once, before
  // anything else. May throw std::bad_alloc.
  Status start();

  Result<Stream> open_stream(StreamOptions&& options);
  // When its last handle and its last prediction have gone.
  void close(StreamState& stream) noexcept;
  Mutex& mutex() const noexcept { return mutex_; }
  const PredictorOptions& options() const noexcept { return options_; }

  Result<Prediction> submit(Frame&& frame);
  void take_finished(std::vector<Prediction>& finished);
  // Releases the finished predictions that were not taken: they refer to the core, and the core to them.
  void discard_finished() noexcept;
  bool wait_any(const TimePoint* until);
  Result<int> event_fd();
  void close_event_fd();
  void drain();
  void shutdown(Shutdown how);
  bool cancel(PredictionState& state);
  bool has_place(SchedulerStream& stream);
  Statistics statistics() const;
  Statistics statistics(const SchedulerStream& stream) const;
  StageLatencies latencies() const;
  Duration retry_after() const;
  Duration retry_after(Duration within);
  int places() const noexcept { return options_.in_flight_limit; }

  std::span<const TensorSpec> inputs() const noexcept { return inputs_; }
  std::span<const TensorSpec> outputs() const noexcept { return outputs_; }
  std::string device_description() const;
  std::vector<DeviceStatistics> device_statistics() const;
  int slots() const noexcept { return slots_count_; }
  WidthPolicy width() const noexcept { return options_.width; }
  bool chains() const noexcept { return chains_; }

  // The end of every admitted frame: settles the counts, frees its place and its slot, and publishes, in one
  // step; then notifies.
  //   slot   where it ran; null: it had none
  void finish(PredictionState& state, Slot* slot, Outcome outcome, const Status& status) noexcept;
  // Takes a state back when its last handle has gone.
  void recycle(PredictionState* state) noexcept;
  ~PredictorCore();

 private:
  friend class PredictionState::InputWaiter;
  friend class DeviceLane;
  struct BlockedSubmitter;

  // What the lanes do.
  Status bind_slots(DeviceLane& lane);
  Work& take(std::size_t device, Width width, int thread) noexcept INFLIGHT_REQUIRES(mutex_);
  TimePoint wake_at() const noexcept INFLIGHT_REQUIRES(mutex_);
  void time_passed() noexcept;
  void device_lost(std::size_t device, const Status& why) noexcept INFLIGHT_REQUIRES(mutex_);
  void after_loss() noexcept;
  void end_what_waits() noexcept;

  // Submission (submission.cc).
  Status check_fits(const Frame& frame) const;
  Result<PredictionState*> admit(const Frame& frame, const Status& fits);
  // A prediction that ended for another one, and what is still to be done about it.
  struct Dropped {
    PredictionState* state = nullptr;
    bool superseded = false;  // it will not be handed out
  };
  Admission admit_otherwise(Admission decision, const Frame& frame, PredictionState& state, MutexLock& lock,
                            Dropped& dropped) noexcept INFLIGHT_REQUIRES(mutex_);
  void replace(Dropped& dropped, PredictionState& state, TimePoint now) noexcept INFLIGHT_REQUIRES(mutex_);
  SchedulerStream& stream_of(const Frame& frame) noexcept INFLIGHT_REQUIRES(mutex_);
  TimePoint block_until(const Frame& frame) const noexcept;
  const Status& refusal(Admission decision, SchedulerStream& stream, const Frame& frame) noexcept
      INFLIGHT_REQUIRES(mutex_);
  Admission unless_late(Admission decision, const SchedulerStream& stream, const Frame& frame,
                        TimePoint& expected) noexcept INFLIGHT_REQUIRES(mutex_);
  PredictionState* take_idle_state() noexcept INFLIGHT_REQUIRES(mutex_);
  Admission wait_for_place(SchedulerStream& stream, TimePoint until, MutexLock& lock) noexcept
      INFLIGHT_REQUIRES(mutex_);
  void fill(PredictionState& state, Frame& frame) noexcept;
  void await_inputs(PredictionState& state) noexcept;
  Completion& available(const NDArray& input) const noexcept;
  void input_came(PredictionState& state) noexcept;
  DeviceLane& lane_of_next() noexcept INFLIGHT_REQUIRES(mutex_);
  void arrived(const PredictionState& state, DeviceLane& lane, TimePoint now) noexcept
      INFLIGHT_REQUIRES(mutex_);
  PredictionState* withdraw_overtaken(const SchedulerStream& stream) noexcept INFLIGHT_REQUIRES(mutex_);
  void enqueue(PredictionState& state) noexcept;
  static void wake_granted(PlaceWaiters& granted) noexcept;

  // The end (predictor_core.cc).
  void release_inputs(PredictionState& state) noexcept;
  void publish_end(PredictionState& state, const Status& status) noexcept INFLIGHT_REQUIRES(mutex_);
  void raise_event_fd(std::size_t takeable_before) noexcept INFLIGHT_REQUIRES(mutex_);
  void notify_end(PredictionState& state, const Status& status) noexcept;
  void end_dropped(const Dropped& dropped) noexcept;

  // Streams (stream.cc).
  void watch(StreamState& stream) noexcept INFLIGHT_REQUIRES(mutex_);
  void share_watch() noexcept INFLIGHT_REQUIRES(mutex_);

  const PredictorOptions options_;
  const std::vector<TensorSpec> inputs_;
  const std::vector<TensorSpec> outputs_;
  const double watch_share_;  // of each lane
  const std::vector<std::unique_ptr<DeviceLane>> lanes_;
  DeviceLane& first_;   // of the lanes
  const bool several_;  // lanes
  const bool chains_;   // an input may come from a launch that is out
  const int slots_count_;
  const Status full_;     // made at the start, so that a refusal allocates nothing
  const Status untaken_;  // likewise
  const Status share_;    // likewise
  const Status streams_full_;
  const Status too_late_;   // likewise
  const Status dropped_;    // likewise
  const Status late_;       // likewise
  const Status shut_down_;  // likewise
  // Until shutdown() has ended.
  std::shared_ptr<RuntimeOwner> runtime_;
  std::vector<std::unique_ptr<Slot>> slots_;

  Mutex& mutex_;  // the runtime's
  Scheduler scheduler_ INFLIGHT_GUARDED_BY(mutex_);
  // The core holds a reference to each prediction from its admission until it is finished or, if
  // keep_finished is set, until it is taken.
  List<Job> idle_states_ INFLIGHT_GUARDED_BY(mutex_);
  EventFd event_fd_ INFLIGHT_GUARDED_BY(mutex_);  // raised exactly while something is untaken
  bool cancelling_ INFLIGHT_GUARDED_BY(mutex_) = false;
  bool nothing_starts_ INFLIGHT_GUARDED_BY(mutex_) = false;  // any more: cancelling_, or every device is lost
  PlaceWaiters refused_by_loss_ INFLIGHT_GUARDED_BY(mutex_);  // to be woken
  Status lost_ INFLIGHT_GUARDED_BY(mutex_);                   // why the last device is
  int open_streams_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  // The streams that have a line in the arrival watch.
  static constexpr std::size_t kWatchedStreamsMax = 32;
  std::array<StreamState*, kWatchedStreamsMax> watched_ INFLIGHT_GUARDED_BY(mutex_){};
  int watched_count_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  enum class Ending : std::uint8_t { kNotYet, kNow, kDone };
  Ending ending_ INFLIGHT_GUARDED_BY(mutex_) = Ending::kNotYet;
  CondVar finished_;  // a prediction finished, or ending_ is kDone
};

}  // namespace inflight::internal
