// SPDX-License-Identifier: Apache-2.0
// Scheduler: decides what becomes of each frame of a predictor. It is pure: events and times go in, decisions
// come out. It has no thread, lock or clock, so a simulator in the tests drives the same code that runs in
// the predictor.
//
//   event                    call                    action that comes out
//   a frame is submitted     ask(), admit()          admitted, to wait, or refused with a reason
//   its inputs are there     inputs_came()           may be launched: can_launch()
//   the device has room      launch()                this job on that slot at this width
//   time passes              expire(), wake_at()     this job has expired; call again at that time
//   a user gives up          withdraw()              this job is to end as cancelled
//   a job has ended          finished()              place and slot are free; waiting submitters are granted
//   the user takes           take()                  the oldest finished job
//   the predictor ends       shut_down()             waiting submitters are refused
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "inflight/clock.h"
#include "inflight/internal/list.h"
#include "inflight/predictor.h"
#include "predictor/deadline_heap.h"
#include "predictor/finish_forecast.h"
#include "predictor/in_flight_knee.h"
#include "predictor/width_rule.h"

namespace inflight::internal {

// The stage of a job:
//   kAdmitted -> (kAwaitingInputs ->) kQueued -> kRunning -> kEnding -> kDone
// From each stage before kRunning it may also go straight to kEnding: cancelled, expired, or an input has
// failed.
enum class Stage : std::uint8_t { kAdmitted, kAwaitingInputs, kQueued, kRunning, kEnding, kDone };

// What the scheduler keeps of one prediction. The owner keeps it alive from admit() to take(), or to
// finished() if keep_finished is false.
struct Job : ListLink<>, DeadlineLink {
  Stage stage = Stage::kAdmitted;
  Outcome outcome = Outcome::kPending;
  Width width = Width::kNarrow;
  int slot = -1;                          // from launch() to finished()
  int together = 0;                       // narrow launches that ran when it was launched, itself included
  TimePoint expected = TimePoint::max();  // forecast() at its admission; max(): none was made
  std::uint64_t id = 0;
  PredictionTimes times;
};

enum class Admission : std::uint8_t {
  kAdmit,
  kWait,  // until the scheduler decides: see PlaceWaiter
  kRefuseFull,
  kRefuseLate,  // it would finish after its deadline; the owner decides this with would_be_late()
  kRefuseUntaken,
  kRefuseShuttingDown,
};

// A submitter that waits for a place. The scheduler changes `decision` once, when it takes it out of the
// list.
struct PlaceWaiter : ListLink<> {
  Admission decision = Admission::kWait;
};
using PlaceWaiters = List<PlaceWaiter>;

struct SchedulerOptions {
  int in_flight_limit = 8;
  std::size_t finished_limit = 1024;
  bool keep_finished = true;  // finished jobs wait for take()
  OverloadPolicy policy = OverloadPolicy::kReject;
  WidthPolicy width = WidthPolicy::kNarrow;
  int slots = 1;
  bool limit_auto = false;  // find the limit; in_flight_limit is the most
};

// One predictor's scheduler. Allocates nothing after its construction.
//   thread   one at a time: its owner has a lock
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // ---- Submission

  // What a submission gets at this instant. Each policy is a case here and nowhere else.
  Admission ask() const noexcept;
  // Counts a submission that is refused, for any reason.
  void refuse() noexcept;
  // The same for a submission that found no place: it counts as an arrival for the choice of width.
  void refuse_full(TimePoint now) noexcept;
  // The same for one that would be late.
  void refuse_late(TimePoint now) noexcept;
  // When a prediction that is submitted now is expected to finish; TimePoint::min(): nothing was measured yet.
  TimePoint forecast(TimePoint now) noexcept;
  // Whether one with that forecast would miss the deadline, with the margin that past forecasts ask for.
  bool would_be_late(TimePoint expected, TimePoint deadline) const noexcept {
    return expected != TimePoint::min() && expected + forecast_.margin() > deadline;
  }
  // Gives the job a place, which ask() has granted at this instant.
  void admit(Job& job, TimePoint now) noexcept;
  // Puts a submitter for which ask() returned kWait behind those that wait already. A later event grants or
  // refuses it. A grant takes the place at once, and admit_granted() must follow.
  void wait_for_place(PlaceWaiter& waiter) noexcept { place_waiters_.push_back(waiter); }
  // The submitter gives up waiting. False: it was granted or refused meanwhile.
  bool stop_waiting(PlaceWaiter& waiter) noexcept;
  void admit_granted(Job& job, TimePoint now) noexcept;

  // ---- On the way

  // Some of its inputs are still to come.
  void await_inputs(Job& job) noexcept;
  // All inputs are there: the job joins the queue.
  void inputs_came(Job& job, TimePoint now) noexcept;
  // Whether launch() would return a job.
  bool can_launch() const noexcept { return !queued_.empty() && !free_slots_.empty(); }
  // The width of the next launch. If it is wide while narrow launches run, the launch waits for their end.
  // Requires can_launch().
  //   alone   nothing of another predictor runs or waits on the device
  Width next_width(TimePoint now, bool alone) const noexcept;
  // The device has room for a launch of this width: the job to launch, with its slot and width set; null: there
  // is none.
  Job* launch(TimePoint now, Width width) noexcept;
  // The same at the width of next_width(), with nothing else on the device.
  Job* launch(TimePoint now) noexcept { return can_launch() ? launch(now, next_width(now, true)) : nullptr; }

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

  // The oldest finished job that nobody has taken; null: there is none.
  Job* take() noexcept;
  std::size_t untaken() const noexcept { return untaken_; }

  // Refuses submissions from now on.
  //   granted   receives the submitters that waited, all refused
  void shut_down(PlaceWaiters& granted) noexcept;

  // ---- The counts

  const Statistics& statistics() const noexcept { return statistics_; }
  const StageLatencies& latencies() const noexcept { return latencies_; }
  // In how long a place is expected to be free: 0 if one is.
  Duration retry_after(TimePoint now) const noexcept;
  // In how long a prediction with that much time until its deadline would not be late; max(): never.
  Duration retry_after(TimePoint now, Duration within) noexcept;

 private:
  void take_place() noexcept;
  void count_limit() noexcept;
  TimePoint forecast(TimePoint now, Width width) noexcept;
  Duration service_of(Width width, int together) const noexcept;
  void grant_places(PlaceWaiters& granted) noexcept;
  void count(const Job& job) noexcept;

  const SchedulerOptions options_;
  WidthRule width_rule_;
  int narrow_running_ = 0;
  FinishForecast forecast_;
  std::optional<InFlightKnee> knee_;  // if limit_auto
  Statistics statistics_;
  StageLatencies latencies_;
  Duration service_mean_{0};
  std::uint64_t next_id_ = 0;
  PlaceWaiters place_waiters_;
  List<Job> awaiting_;  // inputs still to come
  List<Job> queued_;    // inputs there, waiting for a slot
  int queued_count_ = 0;
  List<Job> running_;  // launched, in that order
  List<Job> done_;     // finished, waiting to be taken
  std::size_t untaken_ = 0;
  DeadlineHeap<Job> deadlines_;  // of those that have not started
  std::vector<int> free_slots_;
  bool shutting_down_ = false;
};

}  // namespace inflight::internal
