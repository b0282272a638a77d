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
  int slot = -1;  // its own from launch() to finished(); after that, where it ran
  std::uint64_t id = 0;
  PredictionTimes times;
};

enum class Admission : std::uint8_t {
  kAdmit,
  kWait,  // until the scheduler decides: see PlaceWaiter
  kRefuseFull,
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
  Width width = Width::kNarrow;
  int slots = 1;
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
  // The device has room for a launch: the job to launch, with its slot and width set; null: there is none.
  Job* launch(TimePoint now) noexcept;

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
  // How long it takes until a place is free, estimated from the recent mean service time; 0 if one is.
  Duration retry_after() const noexcept;

 private:
  void take_place() noexcept;
  void grant_places(PlaceWaiters& granted) noexcept;
  void count(const Job& job) noexcept;

  const SchedulerOptions options_;
  Statistics statistics_;
  StageLatencies latencies_;
  Duration service_mean_{0};
  std::uint64_t next_id_ = 0;
  PlaceWaiters place_waiters_;
  List<Job> awaiting_;  // inputs still to come
  List<Job> queued_;    // inputs there, waiting for a slot
  List<Job> done_;      // finished, waiting to be taken
  std::size_t untaken_ = 0;
  DeadlineHeap<Job> deadlines_;  // of those that have not started
  std::vector<int> free_slots_;
  bool shutting_down_ = false;
};

}  // namespace inflight::internal
