// SPDX-License-Identifier: Apache-2.0
// The scheduler's oracle: it keeps every list that scheduler.h describes, and searches all of them at each step.
#pragma once

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "predictor/scheduler.h"

namespace inflight::internal {

struct OracleStream;

// A job and what the oracle knows of it.
struct Simulated {
  Job job;
  Stage stage = Stage::kAdmitted;
  TimePoint deadline = TimePoint::max();
  int slot = -1;
  OracleStream* stream = nullptr;
};

struct Submitter {
  PlaceWaiter waiter;
  OracleStream* stream = nullptr;
};

struct OracleStream {
  explicit OracleStream(SchedulerStream& the_stream) : stream(the_stream) {}
  SchedulerStream& stream;
  Statistics books;
  std::optional<TimePoint> seen;
  double turn = 0;
  std::deque<Simulated*> queued, waiting, undelivered;
  Simulated* newest = nullptr;
  std::uint64_t delivered_ids = 0;

  double last_turn() const { return turn + (static_cast<double>(waiting.size()) - 1) / stream.weight; }
};

struct OracleDevice {
  WidthPolicy width = WidthPolicy::kNarrow;
  std::vector<int> slots, free;
  bool lost = false;
  std::uint64_t completed = 0, failed = 0;

  bool has(int slot) const { return std::find(slots.begin(), slots.end(), slot) != slots.end(); }
  double busy_part() const {
    return 1 - static_cast<double>(free.size()) / static_cast<double>(slots.size());
  }
};

class SchedulerOracle {
 public:
  explicit SchedulerOracle(const SchedulerOptions& options) : options_(options) {
    std::vector<SchedulerOptions::OfDevice> wanted = options.devices;
    if (wanted.empty()) wanted.push_back({options.slots, options.width});
    int next = 0;
    for (const auto& each : wanted) {
      devices.emplace_back().width = each.width;
      while (static_cast<int>(devices.back().slots.size()) < each.slots)
        devices.back().slots.push_back(next++);
      devices.back().free = devices.back().slots;
    }
  }

  bool has_room() const { return books.in_flight < static_cast<std::uint64_t>(options_.in_flight_limit); }
  bool has_share(const OracleStream& stream) const {
    const std::uint64_t mine = stream.books.in_flight;
    if (mine >= stream.stream.limit) return false;
    if (streams.size() == 1 || stream.stream.drops() || mine == 0) return true;
    double weights = 0;
    for (const auto& each : streams) {
      if (each->seen && each->stream.priority >= stream.stream.priority) weights += each->stream.weight;
    }
    weights = std::max(weights, stream.stream.weight);
    return static_cast<double>(mine + 1) <= options_.in_flight_limit * stream.stream.weight / weights + 1e-6;
  }
  bool has_submitters(const OracleStream& stream) const {
    return std::any_of(waiters.begin(), waiters.end(),
                       [&](const Submitter* s) { return s->stream == &stream; });
  }
  void seen(OracleStream& stream, TimePoint now) {
    if (streams.size() == 1) return;
    stream.seen = now;
    for (const auto& each : streams) {
      if (each->seen && now - *each->seen > std::chrono::seconds(2)) each->seen.reset();
    }
  }
  // The stream one of whose jobs gives way to a new one of `stream`; null: none does.
  OracleStream* victim_stream(OracleStream& stream) const {
    OracleStream* const own = stream.stream.drops() && !stream.waiting.empty() ? &stream : nullptr;
    if (own != nullptr && stream.stream.policy == OverloadPolicy::kKeepLatest) return own;
    if (!has_share(stream) || has_submitters(stream)) return own;
    OracleStream* last = nullptr;
    for (const auto& each : streams) {
      if (!each->stream.drops() || each->waiting.empty()) continue;
      if (last == nullptr || each->stream.priority < last->stream.priority ||
          (each->stream.priority == last->stream.priority && each->last_turn() > last->last_turn()))
        last = each.get();
    }
    if (last == nullptr || last == &stream || last->stream.priority > stream.stream.priority) return own;
    const double turn = stream.turn + static_cast<double>(stream.waiting.size()) / stream.stream.weight;
    return last->stream.priority == stream.stream.priority && turn >= last->last_turn() ? own : last;
  }
  bool all_lost() const {
    return std::all_of(devices.begin(), devices.end(), [](const auto& each) { return each.lost; });
  }
  bool any_free() const {
    return std::any_of(devices.begin(), devices.end(), [](const auto& each) { return !each.free.empty(); });
  }
  // Whether it may be this device's turn: of those with a free slot none has a smaller part of its slots busy, and
  // none before it an equal one.
  bool is_turn_of(std::size_t device, std::uint32_t room) const {
    const auto may = [&](std::size_t i) { return !devices[i].free.empty() && (room >> i) % 2 == 1; };
    bool is = may(device);
    for (std::size_t i = 0; i < devices.size(); ++i) {
      const double other = devices[i].busy_part();
      const double mine = devices[device].busy_part();
      if (may(i) && (other < mine - 1e-9 || (i < device && other < mine + 1e-9))) is = false;
    }
    return is;
  }
  OracleDevice& device_of(int slot) {
    return *std::find_if(devices.begin(), devices.end(), [&](const auto& each) { return each.has(slot); });
  }
  void lose(std::size_t device) {
    devices[device].lost = true;
    devices[device].free.clear();
  }
  Admission ask(OracleStream& stream) const {
    if (shutting_down) return Admission::kRefuseShuttingDown;
    if (all_lost()) return Admission::kRefuseLost;
    if (untaken() >= options_.finished_limit) return Admission::kRefuseUntaken;
    if (stream.stream.policy == OverloadPolicy::kKeepLatest && !stream.waiting.empty())
      return Admission::kReplace;
    if (has_room() && has_share(stream) && !has_submitters(stream)) return Admission::kAdmit;
    if (victim_stream(stream) != nullptr) return Admission::kReplace;
    if (stream.stream.policy == OverloadPolicy::kBlock) return Admission::kWait;
    return has_share(stream) || !has_room() ? Admission::kRefuseFull : Admission::kRefuseShare;
  }
  void refuse(OracleStream& stream) {
    for (Statistics* each : {&books, &stream.books}) {
      ++each->submitted;
      ++each->rejected;
    }
  }
  void take_place(OracleStream& stream) {
    for (Statistics* each : {&books, &stream.books}) {
      ++each->submitted;
      ++each->in_flight;
      each->in_flight_max = std::max(each->in_flight_max, each->in_flight);
    }
  }
  void admitted(Simulated& job) {
    if (job.stream->stream.delivery == Delivery::kInOrder) job.stream->undelivered.push_back(&job);
  }
  // The submitters that are decided now, and the decision for each.
  std::vector<std::pair<Submitter*, Admission>> decide_waiting() {
    std::vector<std::pair<Submitter*, Admission>> decided;
    while (!waiters.empty()) {
      auto chosen = waiters.begin();
      Admission decision = Admission::kAdmit;
      if (shutting_down) {
        decision = Admission::kRefuseShuttingDown;
      } else if (all_lost()) {
        decision = Admission::kRefuseLost;
      } else if (untaken() >= options_.finished_limit) {
        decision = Admission::kRefuseUntaken;
      } else {
        chosen = waiters.end();
        for (auto it = waiters.begin(); has_room() && it != waiters.end(); ++it) {
          if (!has_share(*(*it)->stream)) continue;
          const bool first = chosen == waiters.end();
          if (first || (*it)->stream->stream.priority > (*chosen)->stream->stream.priority) chosen = it;
        }
        if (chosen == waiters.end()) break;
      }
      if (decision == Admission::kAdmit) take_place(*(*chosen)->stream);
      decided.emplace_back(*chosen, decision);
      waiters.erase(chosen);
    }
    return decided;
  }

  bool waiting(const Simulated& job) const {
    return job.stage == Stage::kAwaitingInputs || job.stage == Stage::kQueued;
  }
  void enter(Simulated& job) {
    OracleStream& stream = *job.stream;
    if (stream.stream.drops() && stream.waiting.empty()) catch_up(stream);
    stream.waiting.push_back(&job);
  }
  void queue(Simulated& job) {
    OracleStream& stream = *job.stream;
    if (stream.queued.empty()) catch_up(stream);
    job.stage = Stage::kQueued;
    stream.queued.push_back(&job);
  }
  bool any_queued() const {
    return std::any_of(streams.begin(), streams.end(),
                       [](const auto& each) { return !each->queued.empty(); });
  }
  // Whether it may be this stream's turn: none of those with queued jobs comes before it.
  bool is_turn_of(const OracleStream& stream) const {
    return std::none_of(streams.begin(), streams.end(), [&](const auto& each) {
      if (each->queued.empty()) return false;
      if (each->stream.priority != stream.stream.priority)
        return each->stream.priority > stream.stream.priority;
      return each->turn < stream.turn;
    });
  }
  void launch(Simulated& job) {
    OracleStream& stream = *job.stream;
    stream.queued.pop_front();
    std::erase(stream.waiting, &job);
    now_of(stream) = stream.turn;
    stream.turn += 1 / stream.stream.weight;
    job.stage = Stage::kRunning;
  }
  // Removes a job from the lists in which it waits.
  bool withdraw(Simulated& job) {
    if (!waiting(job)) return false;
    std::erase(job.stream->queued, &job);
    std::erase(job.stream->waiting, &job);
    std::erase(awaiting, &job);
    job.stage = Stage::kEnding;
    return true;
  }
  std::optional<TimePoint> wake_at() const {
    std::optional<TimePoint> earliest;
    for (const auto& stream : streams) {
      for (const Simulated* job : stream->waiting) {
        if (job->deadline != TimePoint::max() && (!earliest || job->deadline < *earliest))
          earliest = job->deadline;
      }
    }
    return earliest;
  }
  void finished(Simulated& job, Outcome outcome) {
    OracleDevice* const device = job.slot >= 0 ? &device_of(job.slot) : nullptr;
    if (device != nullptr && !device->lost) device->free.push_back(job.slot);
    const bool ran = device != nullptr && (outcome == Outcome::kCompleted || outcome == Outcome::kFailed);
    if (ran) ++(outcome == Outcome::kCompleted ? device->completed : device->failed);
    for (Statistics* each : {&books, &job.stream->books}) {
      if (ran) ++(device->width == WidthPolicy::kWide ? each->wide : each->narrow);
      --each->in_flight;
      ++(outcome == Outcome::kCompleted   ? each->completed
         : outcome == Outcome::kFailed    ? each->failed
         : outcome == Outcome::kExpired   ? each->expired
         : outcome == Outcome::kCancelled ? each->cancelled
                                          : each->dropped);
    }
    job.slot = -1;
    job.stage = Stage::kDone;
    if (options_.keep_finished) deliver(job, outcome);
  }
  std::size_t untaken() const {
    std::size_t count = done.size();
    for (const auto& stream : streams) {
      for (const Simulated* job : stream->undelivered) count += job->stage == Stage::kDone;
    }
    return count;
  }
  Simulated* take() {
    if (done.empty()) return nullptr;
    Simulated* const job = done.front();
    done.pop_front();
    if (job->stream->newest == job) job->stream->newest = nullptr;
    return job;
  }

  Statistics books;
  std::vector<std::unique_ptr<OracleStream>> streams;  // the first is that of frames without a stream
  std::vector<Statistics> closed;                      // of streams that have gone
  std::deque<Simulated*> awaiting, done, superseded;
  std::deque<Submitter*> waiters;
  std::vector<OracleDevice> devices;
  bool shutting_down = false;

 private:
  double& now_of(const OracleStream& stream) {
    return now_[static_cast<std::size_t>(stream.stream.priority - Predictor::kPriorityMin)];
  }
  void catch_up(OracleStream& stream) {
    stream.turn = std::max(stream.turn, now_of(stream) - 4 / stream.stream.weight);
  }
  void deliver(Simulated& job, Outcome outcome) {
    OracleStream& stream = *job.stream;
    if (stream.stream.delivery == Delivery::kAsCompleted) return done.push_back(&job);
    if (stream.stream.delivery == Delivery::kInOrder) {
      while (!stream.undelivered.empty() && stream.undelivered.front()->stage == Stage::kDone) {
        done.push_back(stream.undelivered.front());
        stream.undelivered.pop_front();
      }
      return;
    }
    if (outcome != Outcome::kCompleted && outcome != Outcome::kFailed) return superseded.push_back(&job);
    Simulated* overtaken = &job;
    if (job.job.id >= stream.delivered_ids) {
      stream.delivered_ids = job.job.id + 1;
      overtaken = std::exchange(stream.newest, &job);
      if (overtaken != nullptr) std::erase(done, overtaken);
      done.push_back(&job);
    }
    if (overtaken == nullptr) return;
    superseded.push_back(overtaken);
    ++books.superseded;
    ++stream.books.superseded;
  }

  const SchedulerOptions options_;
  double now_[Predictor::kPriorityMax - Predictor::kPriorityMin + 1] = {};
};

inline bool same(const Statistics& a, const Statistics& b) {
  return a.submitted == b.submitted && a.completed == b.completed && a.failed == b.failed &&
         a.rejected == b.rejected && a.dropped == b.dropped && a.expired == b.expired &&
         a.cancelled == b.cancelled && a.in_flight == b.in_flight && a.in_flight_max == b.in_flight_max &&
         a.wide == b.wide && a.medium == b.medium && a.narrow == b.narrow && a.superseded == b.superseded;
}

inline bool lawful(const Statistics& s) {
  return s.submitted ==
         s.completed + s.failed + s.rejected + s.dropped + s.expired + s.cancelled + s.in_flight;
}

}  // namespace inflight::internal
