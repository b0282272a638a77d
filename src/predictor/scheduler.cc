// SPDX-License-Identifier: Apache-2.0
#include "predictor/scheduler.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace inflight::internal {

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      width_rule_(options.slots),
      forecast_(options.slots),
      deadlines_(static_cast<std::size_t>(options.in_flight_limit)) {
  // The last one is handed out first, so that a lone frame always runs on the slot whose memory is warm.
  free_slots_.reserve(static_cast<std::size_t>(options.slots));
  if (options.limit_auto) knee_.emplace(options.slots, options.in_flight_limit);
  count_limit();
  for (int slot = options.slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

// ---- Submission

Admission Scheduler::ask() const noexcept {
  if (shutting_down_) return Admission::kRefuseShuttingDown;
  // Also under kBlock: the thread that would wait here may be the one that takes the finished predictions.
  if (untaken_ >= options_.finished_limit) return Admission::kRefuseUntaken;
  const auto limit = static_cast<std::uint64_t>(statistics_.in_flight_limit);
  INFLIGHT_CHECK(statistics_.in_flight <= static_cast<std::uint64_t>(options_.in_flight_limit));
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

void Scheduler::refuse_full(TimePoint now) noexcept {
  refuse();
  if (knee_) knee_->reached();
  if (options_.width == WidthPolicy::kElastic) width_rule_.arrived(now, false);
}

void Scheduler::refuse_late(TimePoint now) noexcept {
  refuse();
  ++statistics_.late;
  if (options_.width == WidthPolicy::kElastic) width_rule_.arrived(now, false);
}

void Scheduler::count_limit() noexcept {
  statistics_.in_flight_limit = knee_ ? knee_->limit() : options_.in_flight_limit;
  statistics_.limit_reason = knee_ ? knee_->reason() : LimitReason::kFixed;
}

void Scheduler::take_place() noexcept {
  ++statistics_.submitted;
  ++statistics_.in_flight;
  statistics_.in_flight_max = std::max(statistics_.in_flight_max, statistics_.in_flight);
  if (knee_ && statistics_.in_flight >= static_cast<std::uint64_t>(knee_->limit())) knee_->reached();
}

void Scheduler::admit(Job& job, TimePoint now) noexcept {
  take_place();
  admit_granted(job, now);
}

void Scheduler::admit_granted(Job& job, TimePoint now) noexcept {
  job.stage = Stage::kAdmitted;
  job.outcome = Outcome::kPending;
  job.expected = TimePoint::max();
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
  const auto limit = static_cast<std::uint64_t>(statistics_.in_flight_limit);
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
  if (options_.width == WidthPolicy::kElastic) width_rule_.arrived(now, queued_.empty() && running_.empty());
  queued_.push_back(job);
  ++queued_count_;
}

Width Scheduler::next_width(TimePoint now, bool alone) const noexcept {
  if (options_.width != WidthPolicy::kElastic)
    return options_.width == WidthPolicy::kWide ? Width::kWide : Width::kNarrow;
  return width_rule_.choose({now, queued_count_, narrow_running_,
                             statistics_.in_flight >= static_cast<std::uint64_t>(statistics_.in_flight_limit),
                             alone});
}

Job* Scheduler::launch(TimePoint now, Width width) noexcept {
  if (!can_launch()) return nullptr;
  Job& job = *queued_.pop_front();
  --queued_count_;
  deadlines_.remove(job);
  job.stage = Stage::kRunning;
  job.width = width;
  if (width == Width::kNarrow) job.together = ++narrow_running_;
  width_rule_.started(width, now);
  job.slot = free_slots_.back();
  free_slots_.pop_back();
  job.times.launched = now;
  running_.push_back(job);
  return &job;
}

// ---- The end of a job

bool Scheduler::withdraw(Job& job) noexcept {
  if (job.stage == Stage::kAwaitingInputs) {
    awaiting_.remove(job);
  } else if (job.stage == Stage::kQueued) {
    queued_.remove(job);
    --queued_count_;
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
    const int together = std::max(job.together, narrow_running_);
    if (outcome == Outcome::kCompleted) width_rule_.ended(job.width, together, now - job.times.launched);
    if (job.width == Width::kNarrow) --narrow_running_;
    running_.remove(job);
    if (outcome == Outcome::kCompleted && job.expected != TimePoint::max())
      forecast_.ended(job.expected, now, now - job.times.launched);
    free_slots_.push_back(job.slot);
    job.slot = -1;
  }
  job.stage = Stage::kDone;
  job.outcome = outcome;
  job.times.finished = now;
  --statistics_.in_flight;
  count(job);
  if (knee_ && outcome == Outcome::kCompleted) {
    knee_->completed(now);
    count_limit();
  }
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

// ---- What is to come

Duration Scheduler::service_of(Width width, int together) const noexcept {
  const ServiceTimes& times = width_rule_.times();
  return Duration(std::llround(width == Width::kWide ? times.wide() : times.narrow(together)));
}

TimePoint Scheduler::forecast(TimePoint now, Width width) noexcept {
  const bool elastic = options_.width == WidthPolicy::kElastic;
  // An elastic wide launch has the device for itself.
  const bool one = elastic && width == Width::kWide;
  const int servers = one ? 1 : options_.slots;
  forecast_.clear();
  TimePoint last = now;
  int running = 0;
  for (const Job* job = running_.front(); job != nullptr; job = running_.after(*job), ++running) {
    const TimePoint end = job->times.launched + service_of(job->width, job->together);
    last = std::max(last, end);
    if (one || (elastic && job->width == Width::kWide)) continue;
    forecast_.runs_until(end);
  }
  const bool waits_for_all = one || (elastic && running > 0 && running_.front()->width == Width::kWide);
  if (waits_for_all && running > 0) {
    for (int i = 0; i < servers; ++i) forecast_.runs_until(last);
  }
  const int together = std::min(running + queued_count_ + 1, options_.slots);
  return forecast_.finish({now, servers, queued_count_, service_of(width, together)});
}

TimePoint Scheduler::forecast(TimePoint now) noexcept {
  const ServiceTimes& times = width_rule_.times();
  const bool wide = options_.width != WidthPolicy::kNarrow && times.wide() > 0;
  const bool narrow = options_.width != WidthPolicy::kWide && times.narrow(1) > 0;
  const bool follows_wide =
      options_.width == WidthPolicy::kWide || (wide && width_rule_.follows() == Width::kWide);
  if (!wide && !narrow) return TimePoint::min();
  if (!narrow) return forecast(now, Width::kWide);
  if (!follows_wide) return forecast(now, Width::kNarrow);
  return std::min(forecast(now, Width::kWide), forecast(now, Width::kNarrow));
}

Duration Scheduler::retry_after(TimePoint now) const noexcept {
  if (statistics_.in_flight < static_cast<std::uint64_t>(statistics_.in_flight_limit)) return Duration(0);
  TimePoint first = TimePoint::max();
  for (const Job* job = running_.front(); job != nullptr; job = running_.after(*job)) {
    first = std::min(first, job->times.launched + service_of(job->width, job->together));
  }
  // Nothing runs or was measured, or what runs is overdue: a part of a service time, so that nobody spins.
  if (first == TimePoint::max()) return std::max(service_mean_, Duration(1));
  return std::max({first - now, service_mean_ / 16, Duration(1)});
}

// The queue ahead shrinks as time passes, so the forecast for a later submission is nearer by that time.
Duration Scheduler::retry_after(TimePoint now, Duration within) noexcept {
  const Duration place = retry_after(now);
  const TimePoint expected = forecast(now);
  if (expected == TimePoint::min()) return place;
  const bool wide = options_.width == WidthPolicy::kWide ||
                    (options_.width == WidthPolicy::kElastic && width_rule_.follows() == Width::kWide &&
                     width_rule_.times().wide() > 0);
  if (service_of(wide ? Width::kWide : Width::kNarrow, 1) + forecast_.margin() > within)
    return Duration::max();
  return std::max(place, expected - now + forecast_.margin() - within);
}

}  // namespace inflight::internal
