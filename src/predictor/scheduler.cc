// SPDX-License-Identifier: Apache-2.0
#include "predictor/scheduler.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace inflight::internal {

namespace {

// The count of those that ran at each width.
constexpr std::array<std::uint64_t Statistics::*, kWidthCount> kRanAt = {
    &Statistics::wide, &Statistics::medium, &Statistics::narrow};

// For how long after a submission a stream keeps its share of the places.
constexpr Duration kShareKept = std::chrono::seconds(2);

StreamOptions unnamed_options(const SchedulerOptions& options) {
  return {.policy = options.policy, .delivery = options.delivery};
}

std::vector<DeviceSlots> make_devices(const SchedulerOptions& options) {
  std::vector<DeviceSlots> devices;
  devices.reserve(std::max<std::size_t>(options.devices.size(), 1));
  if (options.devices.empty()) devices.emplace_back(options.width, 0, options.slots, options.offer);
  int first = 0;
  for (const SchedulerOptions::OfDevice& device : options.devices) {
    devices.emplace_back(device.width, std::exchange(first, first + device.slots), device.slots,
                         device.offer);
  }
  return devices;
}

int slots_of(const std::vector<DeviceSlots>& devices) {
  return std::accumulate(devices.begin(), devices.end(), 0,
                         [](int sum, const DeviceSlots& device) { return sum + device.slots; });
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      devices_(make_devices(options)),
      devices_left_(devices_.size()),
      free_slots_(slots_of(devices_)),
      forecast_(free_slots_),
      unnamed_(unnamed_options(options), options.in_flight_limit, false),
      queue_(static_cast<std::size_t>(options.in_flight_limit)),
      deadlines_(static_cast<std::size_t>(options.in_flight_limit)) {
  INFLIGHT_CHECK(devices_.size() <= Runtime::kDevicesMax);
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    slot_devices_.insert(slot_devices_.end(), static_cast<std::size_t>(devices_[i].slots),
                         static_cast<std::uint8_t>(i));
    any_elastic_ = any_elastic_ || devices_[i].elastic();
  }
  if (options.limit_auto) knee_.emplace(free_slots_, options.in_flight_limit);
  count_limit();
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
  if (closed_ != Admission::kAdmit) return closed_;
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
  if (any_elastic_) arrived(now);
}

void Scheduler::refuse_late(SchedulerStream& stream, TimePoint now) noexcept {
  refuse(stream);
  ++statistics_.late;
  if (stream.named) ++stream.books.late;
  if (any_elastic_) arrived(now);
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
    if (closed_ != Admission::kAdmit) {
      waiter->decision = closed_;
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
  if (any_elastic_) arrived(now);
  queue_.push(job);
  ++queued_count_;
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
      const auto ran = kRanAt[index_of(job.width)];
      ++(statistics_.*ran);
      if (stream.named) ++(stream.books.*ran);
    }
    DeviceSlots& device = device_of(job.slot);
    const int together = std::max(job.together, device.running);
    if (outcome == Outcome::kCompleted) {
      device.width_rule.ended(job.width, together, job.warmth, now - job.times.launched);
      ++device.completed;
    } else if (outcome == Outcome::kFailed) {
      ++device.failed;
    }
    --device.running;
    device.last_end = now;
    running_.remove(job);
    if (outcome == Outcome::kCompleted && job.expected != TimePoint::max())
      forecast_.ended(job.expected, now, now - job.times.launched);
    if (!device.lost) {
      device.free.push_back(job.slot);
      ++free_slots_;
    }
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
  closed_ = Admission::kRefuseShuttingDown;
  grant_places(granted);
}

// ---- The counts

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

}  // namespace inflight::internal
