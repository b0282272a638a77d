// SPDX-License-Identifier: Apache-2.0
#include "predictor/scheduler.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace inflight::internal {

namespace {

// For how long after a submission a stream keeps its share of the places.
constexpr Duration kShareKept = std::chrono::seconds(2);

StreamOptions unnamed_options(const SchedulerOptions& options) {
  return {.policy = options.policy, .delivery = options.delivery};
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      width_rule_(options.slots),
      forecast_(options.slots),
      unnamed_(unnamed_options(options), options.in_flight_limit, false),
      queue_(static_cast<std::size_t>(options.in_flight_limit)),
      deadlines_(static_cast<std::size_t>(options.in_flight_limit)) {
  // The last one is handed out first, so that a lone frame always runs on the slot whose memory is warm.
  free_slots_.reserve(static_cast<std::size_t>(options.slots));
  if (options.limit_auto) knee_.emplace(options.slots, options.in_flight_limit);
  count_limit();
  for (int slot = options.slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

// ---- Streams

void Scheduler::close(SchedulerStream& stream) noexcept {
  INFLIGHT_CHECK(stream.in_flight == 0 && stream.submitters == 0 && stream.undelivered.empty());
  --open_streams_;
  forget(stream);
}

void Scheduler::forget(SchedulerStream& stream) noexcept {
  if (!stream.linked()) return;
  active_.remove(stream);
  double& weight = active_weights_[index_of(stream.priority)];
  weight -= stream.weight;
  if (active_.empty()) active_weights_.fill(0);  // no error of rounding stays
}

void Scheduler::seen(SchedulerStream& stream, TimePoint now) noexcept {
  if (stream.linked()) {
    active_.remove(stream);
  } else {
    active_weights_[index_of(stream.priority)] += stream.weight;
  }
  active_.push_back(stream);
  stream.seen = now;
  while (now - active_.front()->seen > kShareKept) forget(*active_.front());
}

// Of the places that streams of its priority and higher ones have, by weight.
bool Scheduler::share_allows(const SchedulerStream& stream) const noexcept {
  const double weights =
      std::accumulate(active_weights_.begin() + static_cast<std::ptrdiff_t>(index_of(stream.priority)),
                      active_weights_.end(), 0.0);
  const double share = statistics_.in_flight_limit * stream.weight / std::max(weights, stream.weight);
  // The next place is part of the share if no more than a rounding error is missing.
  return static_cast<double>(stream.in_flight + 1) <= share + 1e-6;
}

// ---- Submission

Admission Scheduler::ask(const SchedulerStream& stream) const noexcept {
  if (shutting_down_) return Admission::kRefuseShuttingDown;
  // Also under kBlock: the thread that would wait here may be the one that takes the finished predictions.
  if (untaken_ >= options_.finished_limit) return Admission::kRefuseUntaken;
  INFLIGHT_CHECK(statistics_.in_flight <= static_cast<std::uint64_t>(options_.in_flight_limit));
  if (stream.policy == OverloadPolicy::kKeepLatest && !stream.waiting.empty()) return Admission::kReplace;
  const bool share = has_share(stream);
  // Submitters that wait come first. A place that is free while some wait is for none of them (their streams
  // have their shares), or it is about to be granted.
  if (has_room() && share && stream.submitters == 0) return Admission::kAdmit;
  if (find_victim(stream) != nullptr) return Admission::kReplace;
  if (stream.policy == OverloadPolicy::kBlock) return Admission::kWait;
  return share || !has_room() ? Admission::kRefuseFull : Admission::kRefuseShare;
}

// The job that gives its place to a new one of `stream`, for which there is no place; null: none does. First
// one of another stream that has more waiting than its part, then the stream's own oldest.
Job* Scheduler::find_victim(const SchedulerStream& stream) const noexcept {
  Job* const own = stream.waiting.front();
  if (own != nullptr && stream.policy == OverloadPolicy::kKeepLatest) return own;
  Job* const others = has_share(stream) && stream.submitters == 0 ? queue_.victim_for(stream) : nullptr;
  return others != nullptr ? others : own;
}

Job& Scheduler::victim(const SchedulerStream& stream) const noexcept { return *find_victim(stream); }

void Scheduler::refuse(SchedulerStream& stream) noexcept {
  ++statistics_.submitted;
  ++statistics_.rejected;
  if (!stream.named) return;
  ++stream.books.submitted;
  ++stream.books.rejected;
}

void Scheduler::replace(Job& victim, Job& job, TimePoint now) noexcept {
  const bool withdrawn = withdraw(victim);
  INFLIGHT_CHECK(withdrawn);
  settle(victim, Outcome::kDropped, now);
  admit(job, now);
}

// The limit holds a frame of the stream back: it is reached, or the stream has its share of it. What only the
// stream's own limit holds back says nothing about the predictor's.
void Scheduler::held_back(const SchedulerStream& stream) noexcept {
  if (knee_ && stream.in_flight < stream.limit) knee_->reached();
}

void Scheduler::refuse_full(SchedulerStream& stream, TimePoint now) noexcept {
  refuse(stream);
  held_back(stream);
  if (options_.width == WidthPolicy::kElastic) width_rule_.arrived(now, false);
}

void Scheduler::refuse_late(SchedulerStream& stream, TimePoint now) noexcept {
  refuse(stream);
  ++statistics_.late;
  if (stream.named) ++stream.books.late;
  if (options_.width == WidthPolicy::kElastic) width_rule_.arrived(now, false);
}

void Scheduler::count_limit() noexcept {
  statistics_.in_flight_limit = knee_ ? knee_->limit() : options_.in_flight_limit;
  statistics_.limit_reason = knee_ ? knee_->reason() : LimitReason::kFixed;
}

void Scheduler::wait_for_place(PlaceWaiter& waiter) noexcept {
  if (waiter.stream == nullptr) waiter.stream = &unnamed_;
  held_back(*waiter.stream);
  ++waiter.stream->submitters;
  place_waiters_.push_back(waiter);
}

bool Scheduler::stop_waiting(PlaceWaiter& waiter) noexcept {
  if (waiter.decision != Admission::kWait) return false;
  --waiter.stream->submitters;
  place_waiters_.remove(waiter);
  return true;
}

// The submitter for which a free place is: of the highest priority among those whose stream may have one more,
// the one that has waited longest. Null: there is none.
PlaceWaiter* Scheduler::next_waiter() const noexcept {
  PlaceWaiter* next = place_waiters_.front();
  if (open_streams_ == 0 || next == nullptr) return next;
  next = nullptr;
  for (PlaceWaiter* waiter = place_waiters_.front(); waiter != nullptr;
       waiter = place_waiters_.after(*waiter)) {
    if (!has_share(*waiter->stream)) continue;
    if (next == nullptr || waiter->stream->priority > next->stream->priority) next = waiter;
  }
  return next;
}

// Decides for the submitters that wait, in their order, as far as a decision is possible. A grant takes the
// place at once, so a place is never offered to a submitter that does not use it.
void Scheduler::grant_places(PlaceWaiters& granted) noexcept {
  while (!place_waiters_.empty()) {
    PlaceWaiter* waiter = place_waiters_.front();
    if (shutting_down_) {
      waiter->decision = Admission::kRefuseShuttingDown;
    } else if (untaken_ >= options_.finished_limit) {
      waiter->decision = Admission::kRefuseUntaken;
    } else {
      waiter = has_room() ? next_waiter() : nullptr;
      if (waiter == nullptr) return;
      waiter->decision = Admission::kAdmit;
      take_place(*waiter->stream);
    }
    --waiter->stream->submitters;
    place_waiters_.remove(*waiter);
    granted.push_back(*waiter);
  }
}

// ---- On the way

void Scheduler::await_inputs(Job& job) noexcept {
  INFLIGHT_CHECK(job.stage == Stage::kAdmitted);
  job.stage = Stage::kAwaitingInputs;
  awaiting_.push_back(job);
  queue_.enter(job);
  if (job.deadline != TimePoint::max()) deadlines_.add(job);
}

void Scheduler::inputs_came(Job& job, TimePoint now) noexcept {
  if (job.stage == Stage::kAwaitingInputs) {
    awaiting_.remove(job);
  } else {
    INFLIGHT_CHECK(job.stage == Stage::kAdmitted);
    queue_.enter(job);
    if (job.deadline != TimePoint::max()) deadlines_.add(job);
  }
  job.stage = Stage::kQueued;
  job.times.ready = now;
  const bool idle = queue_.empty() && running_.empty();
  if (options_.width == WidthPolicy::kElastic) width_rule_.arrived(now, idle);
  queue_.push(job);
  ++queued_count_;
}

Width Scheduler::next_width(TimePoint now, bool alone) const noexcept {
  if (options_.width != WidthPolicy::kElastic)
    return options_.width == WidthPolicy::kWide ? Width::kWide : Width::kNarrow;
  return width_rule_.choose({now, queued_count_, narrow_running_, !has_room(), alone});
}

Job* Scheduler::launch(TimePoint now, Width width) noexcept {
  if (!can_launch()) return nullptr;
  Job& job = queue_.pop();
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

Job* Scheduler::older_of_waiting(const SchedulerStream& stream) const noexcept {
  Job* const first = stream.waiting.front();
  Job* const second = stream.waiting.after(*first);
  return first->id < second->id ? first : second;
}

// ---- The end of a job

bool Scheduler::withdraw(Job& job) noexcept {
  if (job.stage == Stage::kAwaitingInputs) {
    awaiting_.remove(job);
  } else if (job.stage == Stage::kQueued) {
    queue_.remove(job);
    --queued_count_;
  } else {
    return false;
  }
  queue_.leave(job);
  deadlines_.remove(job);
  job.stage = Stage::kEnding;
  return true;
}

Job* Scheduler::withdraw_any() noexcept {
  Job* const job = queue_.empty() ? awaiting_.front() : queue_.front();
  if (job != nullptr) withdraw(*job);
  return job;
}

Job* Scheduler::expire(TimePoint now) noexcept {
  Job* const job = deadlines_.first();
  if (job == nullptr || job->deadline > now) return nullptr;
  withdraw(*job);
  return job;
}

std::optional<TimePoint> Scheduler::wake_at() const noexcept {
  const Job* const job = deadlines_.first();
  if (job == nullptr) return std::nullopt;
  return job->deadline;
}

void Scheduler::finished(Job& job, Outcome outcome, TimePoint now, PlaceWaiters& granted) noexcept {
  settle(job, outcome, now);
  grant_places(granted);
}

// All of finished(), but for who gets the place.
void Scheduler::settle(Job& job, Outcome outcome, TimePoint now) noexcept {
  INFLIGHT_CHECK(job.stage == Stage::kAdmitted || job.stage == Stage::kRunning ||
                 job.stage == Stage::kEnding);
  SchedulerStream& stream = *job.stream;
  if (job.slot >= 0) {
    if (outcome == Outcome::kCompleted || outcome == Outcome::kFailed) {
      const auto ran = job.width == Width::kWide ? &Statistics::wide : &Statistics::narrow;
      ++(statistics_.*ran);
      if (stream.named) ++(stream.books.*ran);
    }
    const int together = std::max(job.together, narrow_running_);
    if (outcome == Outcome::kCompleted) width_rule_.ended(job.width, together, now - job.times.launched);
    if (job.width == Width::kNarrow) --narrow_running_;
    running_.remove(job);
    if (outcome == Outcome::kCompleted && job.expected != TimePoint::max())
      forecast_.ended(job.expected, now, now - job.times.launched);
    free_slots_.push_back(job.slot);
  }
  job.stage = Stage::kDone;
  job.outcome = outcome;
  job.times.finished = now;
  --statistics_.in_flight;
  --stream.in_flight;
  count(job);
  if (knee_ && outcome == Outcome::kCompleted) {
    knee_->completed(now);
    count_limit();
  }
  if (options_.keep_finished) deliver(job);
}

void Scheduler::count(const Job& job) noexcept {
  const auto counter = [&job] {
    switch (job.outcome) {
      case Outcome::kCompleted:
        return &Statistics::completed;
      case Outcome::kFailed:
        return &Statistics::failed;
      case Outcome::kDropped:
        return &Statistics::dropped;
      case Outcome::kExpired:
        return &Statistics::expired;
      case Outcome::kCancelled:
        return &Statistics::cancelled;
      case Outcome::kPending:
      case Outcome::kRejected:
        break;
    }
    check_failed("outcome of an admitted job", __FILE__, __LINE__);
  }();
  ++(statistics_.*counter);
  SchedulerStream& stream = *job.stream;
  if (stream.named) {
    ++(stream.books.*counter);
    stream.books.in_flight = stream.in_flight;
  }
  if (job.outcome == Outcome::kCompleted) count_times(job);
}

void Scheduler::count_times(const Job& job) noexcept {
  const PredictionTimes& times = job.times;
  const Duration service = times.finished - times.launched;
  service_mean_ += (service - service_mean_) / 8;
  latencies_.input_wait.add((times.ready - times.submitted).count());
  latencies_.slot_wait.add((times.launched - times.ready).count());
  latencies_.running.add(service.count());
  latencies_.total.add((times.finished - times.due).count());
  SchedulerStream& stream = *job.stream;
  const bool newest = stream.result_age.came(times.due, times.finished);
  if (newest) stream.result_age.enter(latencies_.age);
  if (!stream.named) return;
  stream.latency.add((times.finished - times.due).count());
  if (newest) stream.result_age.enter(stream.age);
}

// ---- Finished jobs

void Scheduler::put_takeable(Job& job) noexcept {
  done_.push_back(job);
  ++takeable_;
}

void Scheduler::deliver(Job& job) noexcept {
  SchedulerStream& stream = *job.stream;
  switch (stream.delivery) {
    case Delivery::kAsCompleted:
      ++untaken_;
      return put_takeable(job);
    case Delivery::kInOrder:
      ++untaken_;
      while (Job* const first = stream.undelivered.front()) {
        if (first->stage != Stage::kDone) return;
        stream.undelivered.remove(*first);
        put_takeable(*first);
      }
      return;
    case Delivery::kNewestOnly:
      return deliver_newest(job);
  }
}

void Scheduler::deliver_newest(Job& job) noexcept {
  SchedulerStream& stream = *job.stream;
  const bool result = job.outcome == Outcome::kCompleted || job.outcome == Outcome::kFailed;
  const bool newer = result && job.id >= stream.delivered_ids;
  Job* const older = newer ? std::exchange(stream.newest, &job) : nullptr;
  if (newer) stream.delivered_ids = job.id + 1;
  if (older != nullptr) {
    done_.remove(*older);
    superseded_.push_back(*older);
  } else if (newer) {
    ++untaken_;
    ++takeable_;
  }
  if (newer) {
    done_.push_back(job);
  } else {
    superseded_.push_back(job);
  }
  if (!result || (newer && older == nullptr)) return;
  ++statistics_.superseded;
  if (stream.named) ++stream.books.superseded;
}

Job* Scheduler::take() noexcept {
  Job* const job = done_.pop_front();
  if (job == nullptr) return nullptr;
  --untaken_;
  --takeable_;
  if (job->stream->newest == job) job->stream->newest = nullptr;
  return job;
}

void Scheduler::shut_down(PlaceWaiters& granted) noexcept {
  shutting_down_ = true;
  grant_places(granted);
}

// ---- The counts and what is to come

// A stream's limit is its own or, where that is smaller, the predictor's at this moment.
Statistics Scheduler::statistics(const SchedulerStream& stream) const noexcept {
  Statistics books = stream.books;
  books.in_flight_limit = static_cast<int>(stream.limit);
  if (statistics_.in_flight_limit < books.in_flight_limit) {
    books.in_flight_limit = statistics_.in_flight_limit;
    books.limit_reason = statistics_.limit_reason;
  }
  return books;
}

Duration Scheduler::service_of(Width width, int together) const noexcept {
  const ServiceTimes& times = width_rule_.times();
  return Duration(std::llround(width == Width::kWide ? times.wide() : times.narrow(together)));
}

// How many of those that wait run before a new prediction of the stream.
int Scheduler::ahead_of(const SchedulerStream& stream, const Job* replaced) const noexcept {
  const int ahead = open_streams_ == 0 ? queued_count_ : std::min(queue_.ahead_of(stream), queued_count_);
  const bool one_less =
      replaced != nullptr && replaced->stream == &stream && replaced->stage == Stage::kQueued && ahead > 0;
  return one_less ? ahead - 1 : ahead;
}

TimePoint Scheduler::forecast(TimePoint now, Width width, int ahead) noexcept {
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
  return forecast_.finish({now, servers, ahead, service_of(width, together)});
}

TimePoint Scheduler::forecast(const SchedulerStream& stream, TimePoint now, const Job* replaced) noexcept {
  const ServiceTimes& times = width_rule_.times();
  const bool wide = options_.width != WidthPolicy::kNarrow && times.wide() > 0;
  const bool narrow = options_.width != WidthPolicy::kWide && times.narrow(1) > 0;
  const bool follows_wide =
      options_.width == WidthPolicy::kWide || (wide && width_rule_.follows() == Width::kWide);
  if (!wide && !narrow) return TimePoint::min();
  const int ahead = ahead_of(stream, replaced);
  if (!narrow) return forecast(now, Width::kWide, ahead);
  if (!follows_wide) return forecast(now, Width::kNarrow, ahead);
  return std::min(forecast(now, Width::kWide, ahead), forecast(now, Width::kNarrow, ahead));
}

Duration Scheduler::retry_after(TimePoint now) const noexcept {
  if (has_room()) return Duration(0);
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
