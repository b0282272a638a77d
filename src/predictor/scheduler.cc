// SPDX-License-Identifier: Apache-2.0
#include "predictor/scheduler.h"

#include <algorithm>

#include "base/check.h"

namespace inflight::internal {

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), deadlines_(static_cast<std::size_t>(options.in_flight_limit)) {
  // The last one is handed out first, so that a lone frame always runs on the slot whose memory is warm.
  free_slots_.reserve(static_cast<std::size_t>(options.slots));
  for (int slot = options.slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

// ---- Submission

Admission Scheduler::ask() const noexcept {
  if (shutting_down_) return Admission::kRefuseShuttingDown;
  // Also under kBlock: the thread that would wait here may be the one that takes the finished predictions.
  if (untaken_ >= options_.finished_limit) return Admission::kRefuseUntaken;
  const auto limit = static_cast<std::uint64_t>(options_.in_flight_limit);
  INFLIGHT_CHECK(statistics_.in_flight <= limit);
  // Submitters that wait come first: a place that is free while one waits is about to be granted to it.
  if (statistics_.in_flight < limit && place_waiters_.empty()) return Admission::kAdmit;
  switch (options_.policy) {
    case OverloadPolicy::kReject:
      return Admission::kRefuseFull;
    case OverloadPolicy::kBlock:
      return Admission::kWait;
  }
  check_failed("overload policy", __FILE__, __LINE__);
}

void Scheduler::refuse() noexcept {
  ++statistics_.submitted;
  ++statistics_.rejected;
}

void Scheduler::take_place() noexcept {
  ++statistics_.submitted;
  ++statistics_.in_flight;
  statistics_.in_flight_max = std::max(statistics_.in_flight_max, statistics_.in_flight);
}

void Scheduler::admit(Job& job, TimePoint now) noexcept {
  take_place();
  admit_granted(job, now);
}

void Scheduler::admit_granted(Job& job, TimePoint now) noexcept {
  job.stage = Stage::kAdmitted;
  job.outcome = Outcome::kPending;
  job.slot = -1;
  job.id = next_id_++;
  job.times = {};
  job.times.submitted = now;
  job.times.due = now;
}

bool Scheduler::stop_waiting(PlaceWaiter& waiter) noexcept {
  if (waiter.decision != Admission::kWait) return false;
  place_waiters_.remove(waiter);
  return true;
}

// Decides for the submitters that wait, in the order in which they came, as far as a decision is possible. A
// grant takes the place at once, so a place is never offered to a submitter that does not use it.
void Scheduler::grant_places(PlaceWaiters& granted) noexcept {
  const auto limit = static_cast<std::uint64_t>(options_.in_flight_limit);
  while (PlaceWaiter* const waiter = place_waiters_.front()) {
    if (shutting_down_) {
      waiter->decision = Admission::kRefuseShuttingDown;
    } else if (untaken_ >= options_.finished_limit) {
      waiter->decision = Admission::kRefuseUntaken;
    } else if (statistics_.in_flight < limit) {
      waiter->decision = Admission::kAdmit;
      take_place();
    } else {
      return;
    }
    place_waiters_.remove(*waiter);
    granted.push_back(*waiter);
  }
}

// ---- On the way

void Scheduler::await_inputs(Job& job) noexcept {
  INFLIGHT_CHECK(job.stage == Stage::kAdmitted);
  job.stage = Stage::kAwaitingInputs;
  awaiting_.push_back(job);
  if (job.deadline != TimePoint::max()) deadlines_.add(job);
}

void Scheduler::inputs_came(Job& job, TimePoint now) noexcept {
  if (job.stage == Stage::kAwaitingInputs) {
    awaiting_.remove(job);
  } else {
    INFLIGHT_CHECK(job.stage == Stage::kAdmitted);
    if (job.deadline != TimePoint::max()) deadlines_.add(job);
  }
  job.stage = Stage::kQueued;
  job.times.ready = now;
  queued_.push_back(job);
}

Job* Scheduler::launch(TimePoint now) noexcept {
  if (!can_launch()) return nullptr;
  Job& job = *queued_.pop_front();
  deadlines_.remove(job);
  job.stage = Stage::kRunning;
  job.width = options_.width;
  job.slot = free_slots_.back();
  free_slots_.pop_back();
  job.times.launched = now;
  return &job;
}

// ---- The end of a job

bool Scheduler::withdraw(Job& job) noexcept {
  if (job.stage == Stage::kAwaitingInputs) {
    awaiting_.remove(job);
  } else if (job.stage == Stage::kQueued) {
    queued_.remove(job);
  } else {
    return false;
  }
  deadlines_.remove(job);
  job.stage = Stage::kEnding;
  return true;
}

Job* Scheduler::withdraw_any() noexcept {
  Job* const job = queued_.empty() ? awaiting_.front() : queued_.front();
  if (job != nullptr) withdraw(*job);
  return job;
}

Job* Scheduler::expire(TimePoint now) noexcept {
  Job* const job = deadlines_.earliest();
  if (job == nullptr || job->deadline > now) return nullptr;
  withdraw(*job);
  return job;
}

std::optional<TimePoint> Scheduler::wake_at() const noexcept {
  const Job* const job = deadlines_.earliest();
  if (job == nullptr) return std::nullopt;
  return job->deadline;
}

void Scheduler::finished(Job& job, Outcome outcome, TimePoint now, PlaceWaiters& granted) noexcept {
  INFLIGHT_CHECK(job.stage == Stage::kAdmitted || job.stage == Stage::kRunning ||
                 job.stage == Stage::kEnding);
  if (job.slot >= 0) {
    if (outcome == Outcome::kCompleted || outcome == Outcome::kFailed) {
      ++(job.width == Width::kWide ? statistics_.wide : statistics_.narrow);
    }
    free_slots_.push_back(job.slot);
  }
  job.stage = Stage::kDone;
  job.outcome = outcome;
  job.times.finished = now;
  --statistics_.in_flight;
  count(job);
  if (options_.keep_finished) {
    done_.push_back(job);
    ++untaken_;
  }
  grant_places(granted);
}

void Scheduler::count(const Job& job) noexcept {
  switch (job.outcome) {
    case Outcome::kCompleted:
      ++statistics_.completed;
      break;
    case Outcome::kFailed:
      ++statistics_.failed;
      return;
    case Outcome::kDropped:
      ++statistics_.dropped;
      return;
    case Outcome::kExpired:
      ++statistics_.expired;
      return;
    case Outcome::kCancelled:
      ++statistics_.cancelled;
      return;
    case Outcome::kPending:
    case Outcome::kRejected:
      check_failed("outcome of an admitted job", __FILE__, __LINE__);
  }
  const PredictionTimes& times = job.times;
  const Duration service = times.finished - times.launched;
  service_mean_ += (service - service_mean_) / 8;
  latencies_.input_wait.add((times.ready - times.submitted).count());
  latencies_.slot_wait.add((times.launched - times.ready).count());
  latencies_.running.add(service.count());
  latencies_.total.add((times.finished - times.due).count());
}

// ---- Finished jobs

Job* Scheduler::take() noexcept {
  Job* const job = done_.pop_front();
  if (job != nullptr) --untaken_;
  return job;
}

void Scheduler::shut_down(PlaceWaiters& granted) noexcept {
  shutting_down_ = true;
  grant_places(granted);
}

Duration Scheduler::retry_after() const noexcept {
  if (statistics_.in_flight < static_cast<std::uint64_t>(options_.in_flight_limit)) return Duration(0);
  return service_mean_ / options_.slots;
}

}  // namespace inflight::internal
