// SPDX-License-Identifier: Apache-2.0
// StreamQueue: which frame of a predictor runs next, and which one gives its place away. Pure, as the scheduler.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "predictor/indexed_heap.h"
#include "predictor/job.h"

namespace inflight::internal {

// Something for each priority, the lowest first.
using PerPriority = std::array<double, Predictor::kPriorityMax - Predictor::kPriorityMin + 1>;
constexpr std::size_t index_of(int priority) noexcept {
  return static_cast<std::size_t>(priority - Predictor::kPriorityMin);
}

// The jobs of one predictor that have not started. Streams of higher priority go first; among those of the same
// priority, start-time fair queueing: each stream has a virtual time, which advances by 1 / weight with every
// job that it launches, and the one furthest behind comes next. All frames of a predictor need the same model,
// so each costs the same. A stream that had nothing to launch gets credit for kCredit launches of that time: a
// stream whose next frame comes a moment after several slots became free must not lose its turn by that. Within
// a stream, the oldest job whose inputs are there goes first.
//   bound    capacity jobs; allocates nothing after its construction
//   thread   one at a time: its owner has a lock
//   source   P. Goyal, H. Vin, H. Cheng, Start-Time Fair Queueing (1997)
class StreamQueue {
 public:
  static constexpr double kCredit = 4;

  explicit StreamQueue(std::size_t capacity) : ready_(capacity), victims_(capacity) {}

  bool empty() const noexcept { return ready_.first() == nullptr; }
  // The job whose turn it is; null: none is queued.
  Job* front() const noexcept { return empty() ? nullptr : ready_.first()->queued.front(); }
  // Removes and returns it. Requires that there is one.
  Job& pop() noexcept;

  // The job waits: for its inputs or for its turn. Before push().
  void enter(Job& job) noexcept {
    ++job.stream->waiting_count;
    if (job.stream->drops()) enter_dropping(job);
  }
  // It has ended before it started. After remove(), if it was queued.
  void leave(Job& job) noexcept {
    --job.stream->waiting_count;
    if (job.stream->drops()) leave_dropping(job);
  }
  // Its inputs are there.
  void push(Job& job) noexcept {
    SchedulerStream& stream = *job.stream;
    const bool first = stream.queued.empty();
    stream.queued.push_back(job);
    if (first) make_ready(stream);
  }
  // Removes a queued job.
  void remove(Job& job) noexcept;

  // The job of a stream that drops whose place a new frame of `stream` may take, because its turn would come
  // after the new frame's; null: there is none.
  Job* victim_for(const SchedulerStream& stream) const noexcept;

  // How many of the jobs that have not started come before a new one of `stream`, more or less: those of streams
  // of its priority whose inputs are still to come count as queued.
  //   bound   O(streams with queued jobs)
  int ahead_of(const SchedulerStream& stream) const noexcept;

 private:
  struct ComesFirst {
    static bool before(const SchedulerStream& a, const SchedulerStream& b) noexcept {
      return a.priority != b.priority ? a.priority > b.priority : a.turn < b.turn;
    }
    static std::size_t& place(SchedulerStream& stream) noexcept { return stream.ready_place; }
  };
  // Of the streams that drop, the one whose newest job would run last.
  struct ComesLast {
    static bool before(const SchedulerStream& a, const SchedulerStream& b) noexcept {
      return a.priority != b.priority ? a.priority < b.priority : last_turn(a) > last_turn(b);
    }
    static std::size_t& place(SchedulerStream& stream) noexcept { return stream.victim_place; }
  };
  void enter_dropping(Job& job) noexcept;
  void leave_dropping(Job& job) noexcept;
  void make_ready(SchedulerStream& stream) noexcept;
  static double last_turn(const SchedulerStream& stream) noexcept {
    return stream.turn + (static_cast<double>(stream.waiting_count) - 1) / stream.weight;
  }
  // The virtual time of a priority: the turn of its last launch.
  double& now(int priority) noexcept { return now_[index_of(priority)]; }
  double now(int priority) const noexcept { return now_[index_of(priority)]; }
  double caught_up(const SchedulerStream& stream) const noexcept {
    return std::max(stream.turn, now(stream.priority) - kCredit / stream.weight);
  }
  void catch_up(SchedulerStream& stream) noexcept { stream.turn = caught_up(stream); }

  IndexedHeap<SchedulerStream, ComesFirst> ready_;   // streams with queued jobs
  IndexedHeap<SchedulerStream, ComesLast> victims_;  // streams that drop, with jobs that have not started
  PerPriority now_{};
};

}  // namespace inflight::internal
