// SPDX-License-Identifier: Apache-2.0
// Scheduler: decides what becomes of each frame of a predictor. It is pure: events and times go in, decisions
// come out. It has no thread, lock or clock, so a simulator in the tests drives the same code that runs in
// the predictor.
//
//   event                    call                    action that comes out
//   a frame is submitted     ask(), admit()          admitted, also in place of another job; to wait; or
//                            or replace()            refused with a reason
//   its inputs are there     inputs_came()           may be launched: can_launch()
//   a device has room        launch()                this job on that slot at this width
//   a device is lost         lose()                  its slots are gone; after the last one, submitters are refused
//   time passes              expire(), wake_at()     this job has expired; call again at that time
//   a user gives up          withdraw()              this job is to end as cancelled
//   a job has ended          finished()              place and slot are free; waiting submitters are granted
//   the user takes           take()                  the next finished job of those to be delivered
//   the predictor ends       shut_down()             waiting submitters are refused
//
// A free slot of any device takes the next job. If several devices have one, the job is for the device with the
// smallest part of its slots busy, among equals the first in the order of the options. So while jobs wait, the
// device whose slot becomes free first takes the next one, and a faster device serves more.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "inflight/clock.h"
#include "inflight/internal/list.h"
#include "inflight/predictor.h"
#include "predictor/device_slots.h"
#include "predictor/finish_forecast.h"
#include "predictor/in_flight_knee.h"
#include "predictor/indexed_heap.h"
#include "predictor/job.h"
#include "predictor/stream_queue.h"
#include "predictor/width_rule.h"

namespace inflight::internal {

enum class Admission : std::uint8_t {
  kAdmit,
  kReplace,  // victim() gives its place: replace()
  kWait,     // until the scheduler decides: see PlaceWaiter
  kRefuseFull,
  kRefuseShare,  // the stream has as many places as it may have
  kRefuseLate,   // it would finish after its deadline; the owner decides this with would_be_late()
  kRefuseUntaken,
  kRefuseShuttingDown,
  kRefuseLost,  // every device is lost
};

// A submitter that waits for a place. The scheduler changes `decision` once, when it takes it out of the
// list.
struct PlaceWaiter : ListLink<> {
  Admission decision = Admission::kWait;
  SchedulerStream* stream = nullptr;
};
using PlaceWaiters = List<PlaceWaiter>;

struct SchedulerOptions {
  int in_flight_limit = 8;
  std::size_t finished_limit = 1024;
  bool keep_finished = true;                        // finished jobs wait for take()
  OverloadPolicy policy = OverloadPolicy::kReject;  // of frames without a stream
  Delivery delivery = Delivery::kAsCompleted;       // likewise
  WidthPolicy width = WidthPolicy::kNarrow;
  int slots = 1;
  WidthOffer offer = {};
  // The slots of each device and how wide predictions run there, in place of the three above. Empty: one device.
  struct OfDevice {
    int slots = 1;
    WidthPolicy width = WidthPolicy::kNarrow;
    WidthOffer offer = {};
  };
  std::vector<OfDevice> devices = {};
  bool limit_auto = false;  // find the limit; in_flight_limit is the most
};

// One predictor's scheduler. Allocates nothing after its construction.
//   thread   one at a time: its owner has a lock
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // ---- Streams

  // The stream of the frames that name none.
  SchedulerStream& unnamed() noexcept { return unnamed_; }
  bool has_streams() const noexcept { return open_streams_ > 0; }
  void open(SchedulerStream&) noexcept { ++open_streams_; }
  // Requires that nothing refers to the stream.
  void close(SchedulerStream& stream) noexcept;
  // A stream submits a frame. Before ask(), if has_streams(): it has its share of the places from now on.
  void seen(SchedulerStream& stream, TimePoint now) noexcept;

  // ---- Submission

  // What a submission gets at this instant. Each policy is a case here and nowhere else.
  Admission ask(const SchedulerStream& stream) const noexcept;
  Admission ask() const noexcept { return ask(unnamed_); }
  // The job that gives its place. Requires that ask() has returned kReplace at this instant.
  Job& victim(const SchedulerStream& stream) const noexcept;
  // Counts a submission that is refused, for any reason.
  void refuse(SchedulerStream& stream) noexcept;
  void refuse() noexcept { refuse(unnamed_); }
  // The same for a submission that found no place: it counts as an arrival for the choice of width.
  void refuse_full(SchedulerStream& stream, TimePoint now) noexcept;
  void refuse_full(TimePoint now) noexcept { refuse_full(unnamed_, now); }
  // The same for one that would be late.
  void refuse_late(SchedulerStream& stream, TimePoint now) noexcept;
  void refuse_late(TimePoint now) noexcept { refuse_late(unnamed_, now); }
  // When a prediction of the stream that is submitted now is expected to finish; TimePoint::min(): nothing was
  // measured yet.
  //   replaced   the job that gives its place to it; null: none does
  TimePoint forecast(const SchedulerStream& stream, TimePoint now, const Job* replaced = nullptr) noexcept;
  TimePoint forecast(TimePoint now) noexcept { return forecast(unnamed_, now); }
  // Whether one with that forecast is refused because it would miss the deadline: FinishForecast::would_be_late().
  bool would_be_late(TimePoint now, TimePoint expected, TimePoint deadline) noexcept {
    if (expected == TimePoint::min()) return false;
    return forecast_.would_be_late(now, expected, deadline, statistics_.in_flight == 0);
  }
  // Gives the job a place, which ask() has granted at this instant. job.stream is set; null: unnamed().
  void admit(Job& job, TimePoint now) noexcept;
  // Ends victim() as dropped, and gives its place to the job. job.stream is set, as for admit().
  void replace(Job& victim, Job& job, TimePoint now) noexcept;
  // Puts a submitter for which ask() returned kWait behind those that wait already. A later event grants or
  // refuses it. A grant takes the place at once, and admit_granted() must follow. waiter.stream is
  // set; null: unnamed().
  void wait_for_place(PlaceWaiter& waiter) noexcept;
  // The submitter gives up waiting. False: it was granted or refused meanwhile.
  bool stop_waiting(PlaceWaiter& waiter) noexcept;
  void admit_granted(Job& job, TimePoint now) noexcept;

  // ---- On the way

  // Some of its inputs are still to come.
  void await_inputs(Job& job) noexcept;
  // All inputs are there: the job joins the queue.
  void inputs_came(Job& job, TimePoint now) noexcept;
  // Whether launch() would return a job.
  bool can_launch() const noexcept { return !queue_.empty() && free_slots_ > 0; }
  // The same on that device.
  bool can_launch(std::size_t device) const noexcept {
    return !queue_.empty() && !devices_[device].free.empty();
  }
  // The device that the next job is for; kNoDevice: none has a free slot.
  //   room   bit i: device i has room, as far as other predictors are concerned
  static constexpr std::size_t kNoDevice = ~std::size_t{0};
  std::size_t next_device(std::uint32_t room = ~0U) const noexcept;
  // The width of the next launch on the device. If launches of another width run there, it waits for their end. Requires
  // can_launch(device).
  //   alone   nothing of another predictor runs or waits on the device
  Width next_width(std::size_t device, TimePoint now, bool alone) const noexcept;
  // How many launches of the width the device can run at once.
  int at_once(std::size_t device, Width width) const noexcept { return devices_[device].at_once(width); }
  // Whether launches run on the device, the newest of them at another width.
  bool runs_other_width(std::size_t device, Width width) const noexcept {
    return devices_[device].running > 0 && devices_[device].running_width != width;
  }
  // The device has room for a launch of this width: the job to launch, with its slot and width set; null: there
  // is none.
  //   thread   which one launches it: it gets the slot that it used last, if that is free, since its processor's caches
  //            hold that slot's memory
  Job* launch(std::size_t device, TimePoint now, Width width, int thread = 0) noexcept;
  // The same on next_device() at the width of next_width(), with nothing else on the device.
  Job* launch(TimePoint now) noexcept {
    if (!can_launch()) return nullptr;
    const std::size_t device = next_device();
    return launch(device, now, next_width(device, now, true));
  }
  // A device is lost: its free slots are gone, and those of its jobs go when the jobs have ended. If no device is
  // left, submissions are refused from now on, and the owner ends as failed what has not started.
  //   granted   receives the submitters that waited, all refused, if no device is left
  void lose(std::size_t device, PlaceWaiters& granted) noexcept;
  bool all_lost() const noexcept { return devices_left_ == 0; }
  std::span<const DeviceSlots> devices() const noexcept { return devices_; }

  // A keep-latest stream has more than one job that waits, since several threads submit to it: the older one.
  // Null: it has not.
  Job* overtaken(const SchedulerStream& stream) const noexcept {
    const bool several = stream.policy == OverloadPolicy::kKeepLatest && stream.waiting_count > 1;
    return several ? older_of_waiting(stream) : nullptr;
  }

  // ---- The end of a job. Each is followed by finished().

  // Takes a job that has not started out of its list. False: it has started or ended.
  bool withdraw(Job& job) noexcept;
  // The same for any job that has not started; null: there is none.
  Job* withdraw_any() noexcept;
  // Takes out a job that has not started and whose deadline has passed; null: there is none.
  Job* expire(TimePoint now) noexcept;
  // When to call expire() next; nothing: no job has a deadline.
  std::optional<TimePoint> wake_at() const noexcept;
  // Settles the counts: place and slot are free.
  //   granted   receives the submitters that this grants or refuses, for the owner to wake
  void finished(Job& job, Outcome outcome, TimePoint now, PlaceWaiters& granted) noexcept;

  // ---- Finished jobs

  // The next finished job to hand out; null: there is none.
  Job* take() noexcept;
  // How many take() would return now.
  std::size_t takeable() const noexcept { return takeable_; }
  // The same, and those that wait for older ones of their stream: counts towards finished_limit.
  std::size_t untaken() const noexcept { return untaken_; }
  // A finished job that will not be handed out, since a newer one of its stream has overtaken it; null: none.
  // The owner asks after each finished() and replace() until there is none.
  Job* take_superseded() noexcept { return superseded_.pop_front(); }

  // Refuses submissions from now on.
  //   granted   receives the submitters that waited, all refused
  void shut_down(PlaceWaiters& granted) noexcept;
  bool is_shutting_down() const noexcept { return closed_ == Admission::kRefuseShuttingDown; }

  // ---- The counts

  const Statistics& statistics() const noexcept { return statistics_; }
  Statistics statistics(const SchedulerStream& stream) const noexcept;
  const StageLatencies& latencies() const noexcept { return latencies_; }
  // In how long a place is expected to be free: 0 if one is; max(): every device is lost.
  Duration retry_after(TimePoint now) const noexcept;
  // In how long a prediction with that much time until its deadline would not be late; max(): never.
  Duration retry_after(TimePoint now, Duration within) noexcept;

 private:
  bool has_room() const noexcept {
    return statistics_.in_flight < static_cast<std::uint64_t>(statistics_.in_flight_limit);
  }
  // Whether the stream may have one more place, as far as the other streams are concerned.
  bool has_share(const SchedulerStream& stream) const noexcept {
    if (stream.in_flight >= stream.limit) return false;
    // What a stream would drop gives way to others when they need it.
    return open_streams_ == 0 || stream.drops() || stream.in_flight == 0 || share_allows(stream);
  }
  bool share_allows(const SchedulerStream& stream) const noexcept;
  Job* older_of_waiting(const SchedulerStream& stream) const noexcept;
  Job* find_victim(const SchedulerStream& stream) const noexcept;
  void take_place(SchedulerStream& stream) noexcept;
  PlaceWaiter* next_waiter() const noexcept;
  void held_back(const SchedulerStream& stream) noexcept;
  void count_limit() noexcept;
  int ahead_of(const SchedulerStream& stream, const Job* replaced) const noexcept;
  DeviceSlots& device_of(int slot) noexcept {
    return devices_[slot_devices_[static_cast<std::size_t>(slot)]];
  }
  const DeviceSlots& device_of(int slot) const noexcept {
    return devices_[slot_devices_[static_cast<std::size_t>(slot)]];
  }
  int waiting_for_one() const noexcept;
  void arrived(TimePoint now) noexcept;
  Width usual_width(const DeviceSlots& device) const noexcept;
  TimePoint forecast(TimePoint now, Width width, int ahead) noexcept;
  void forecast_runs(const DeviceSlots& device, Width width, int servers) noexcept;
  Duration shortest_service() const noexcept;
  void grant_places(PlaceWaiters& granted) noexcept;
  void settle(Job& job, Outcome outcome, TimePoint now) noexcept;
  void count(const Job& job) noexcept;
  void count_times(const Job& job) noexcept;
  void deliver(Job& job) noexcept;
  void deliver_newest(Job& job) noexcept;
  void put_takeable(Job& job) noexcept;
  void forget(SchedulerStream& stream) noexcept;

  const SchedulerOptions options_;
  std::vector<DeviceSlots> devices_;
  std::vector<std::uint8_t> slot_devices_;  // the device of each slot
  std::size_t devices_left_ = 0;            // not lost
  int free_slots_ = 0;                      // of all devices
  std::size_t arrival_turn_ = 0;            // of the devices, for arrivals that find none free
  bool any_elastic_ = false;
  FinishForecast forecast_;
  std::optional<InFlightKnee> knee_;  // if limit_auto
  Statistics statistics_;
  StageLatencies latencies_;
  Duration service_mean_{0};
  std::uint64_t next_id_ = 0;
  SchedulerStream unnamed_;
  int open_streams_ = 0;
  List<SchedulerStream> active_;  // that have submitted lately, the one that is silent for longest first
  PerPriority active_weights_{};  // of their weights, the sums
  PlaceWaiters place_waiters_;
  List<Job> awaiting_;  // inputs still to come
  StreamQueue queue_;   // inputs there, waiting for a slot
  int queued_count_ = 0;
  List<Job> running_;  // launched, in that order
  List<Job> done_;     // finished, waiting to be taken
  List<Job> superseded_;
  std::size_t untaken_ = 0;
  std::size_t takeable_ = 0;
  DeadlineHeap<Job> deadlines_;           // of those that have not started
  Admission closed_ = Admission::kAdmit;  // or why all submissions are refused
};

inline void Scheduler::take_place(SchedulerStream& stream) noexcept {
  ++statistics_.submitted;
  ++statistics_.in_flight;
  statistics_.in_flight_max = std::max(statistics_.in_flight_max, statistics_.in_flight);
  ++stream.in_flight;
  if (knee_ && !has_room()) knee_->reached();
  if (!stream.named) return;
  Statistics& books = stream.books;
  ++books.submitted;
  books.in_flight = stream.in_flight;
  books.in_flight_max = std::max(books.in_flight_max, books.in_flight);
}

inline void Scheduler::admit_granted(Job& job, TimePoint now) noexcept {
  job.stage = Stage::kAdmitted;
  job.outcome = Outcome::kPending;
  job.expected = TimePoint::max();
  job.slot = -1;
  job.id = next_id_++;
  job.times = {};
  job.times.submitted = now;
  job.times.due = now;
  if (job.stream->delivery == Delivery::kInOrder) job.stream->undelivered.push_back(job);
}

inline void Scheduler::admit(Job& job, TimePoint now) noexcept {
  if (job.stream == nullptr) job.stream = &unnamed_;
  take_place(*job.stream);
  admit_granted(job, now);
}

}  // namespace inflight::internal
