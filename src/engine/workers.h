// SPDX-License-Identifier: Apache-2.0
// The engine's own threads, and which operation each of them takes next.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "engine/op.h"
#include "engine/ranked_ops.h"
#include "inflight/clock.h"
#include "inflight/internal/mutex.h"

namespace inflight::internal {

// Runs runnable operations: those of higher priority first, and equal ones in the order in which they came,
// as far as several threads have an order.
//
// add() puts an operation into the inbox. A worker takes a chunk at a time from there to a queue of its own.
// A worker that runs out looks for work for a while and then sleeps. While it looks, it leaves short
// operations to the workers that are running, as long as these keep up: each further thread would make them
// slower. It takes operations that wait too long, also from the queue of a worker that is held up.
//
// add() wakes a sleeper only if no worker looks; a worker that finds work while it looks wakes the next one
// if more is left.
class Workers {
 public:
  // What a worker does with an operation.
  class Runner {
   public:
    // Runs it. Returns the operations that this worker may run because of its end, linked by `next`.
    virtual Op* run(Op& op, std::size_t worker) noexcept = 0;
    // The worker has nothing to do for now.
    virtual void out_of_work(std::size_t worker) noexcept = 0;

   protected:
    ~Runner() = default;
  };

  Workers(Runner& runner, Duration spin) noexcept : runner_(runner), spin_(spin) {}
  // Starts the threads. Called once.
  //   errors   kOutOfMemory: memory or threads ran out; those that had started are joined
  Status start(int threads);
  // Requires that nothing is left to run. Must not be called from an operation.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Takes an operation that may run. Allocates nothing.
  //   thread   any, workers included
  void add(Op* op) noexcept;

 private:
  // A worker's own operations, linked by `next`. The worker fills it when it is empty; any worker takes from
  // it.
  class Queue {
   public:
    Queue() noexcept = default;
    Queue(Op* first, std::size_t count) noexcept : head_(first), size_(count) {}
    Op* pop() noexcept;
    std::size_t size() const noexcept { return size_; }

   private:
    Op* head_ = nullptr;  // valid while size_ > 0; the last one's `next` may lead anywhere
    std::size_t size_ = 0;
  };

  // The operations that no worker has taken yet, first in, first out. It knows where each chunk begins, so
  // taking a chunk reads no operation: they are in the cache of the thread that added them, and the lock must
  // not be held while they are fetched from there.
  class Inbox {
   public:
    std::size_t size() const noexcept { return size_; }
    void push(Op* op) noexcept;
    // Takes the oldest chunk out, or all.
    Queue take_chunk(bool all) noexcept;

   private:
    static constexpr std::size_t kChunk = 32;
    static constexpr std::size_t kStartsMax = 32;  // even

    Op* head_ = nullptr;
    Op* tail_ = nullptr;
    std::size_t size_ = 0;
    std::size_t chunk_ = kChunk;    // operations in each chunk but the last; it doubles where starts_ is full
    std::size_t in_last_ = 0;       // operations in the last chunk
    std::size_t first_start_ = 0;   // starts_ is a ring
    std::size_t starts_count_ = 0;  // of all chunks but the first
    alignas(64) Op* starts_[kStartsMax];
  };

  // A worker at one look: whether its queue held operations, and its progress.
  struct Mark {
    bool some = false;
    std::uint32_t progress = 0;
  };
  struct alignas(64) Worker {
    Mutex lock;
    Queue queue INFLIGHT_GUARDED_BY(lock);
    // Read by others without the lock, as hints.
    std::atomic<std::size_t> queued{0};      // the size of `queue`; written under the lock
    std::atomic<std::uint32_t> progress{0};  // changes while this worker makes progress; it alone writes it
    // Members of this worker's thread.
    alignas(64) bool woken = false;  // it has not been out of work since it slept
    bool left_some = false;          // the inbox held more than the chunk that it took last
    bool brief = false;              // its operations were short when they were timed last
    bool timed = false;              // took_at is when it took what it runs now
    std::size_t ran = 0;             // operations since it last took some from another queue
    int streak = 0;                  // operations in a row, each made runnable by the one before
    TimePoint took_at;
    Duration each{};  // what an operation took on average then
    std::vector<Mark> marks;
    std::thread thread;

    void get_on() noexcept {
      progress.store(progress.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
  };

  void stop() noexcept;
  void add_list(Op* list) noexcept;
  void fill(Worker& worker, Op* list) noexcept;
  [[gnu::noinline]] void add_ranked(Op* op) noexcept INFLIGHT_REQUIRES(lock_);
  void work(std::size_t self) noexcept;
  // Hands out the operations that the last one made runnable. Returns the one that this worker runs next, if
  // any.
  Op* keep(std::size_t self, Op* freed) noexcept;
  // The next operation, once there is one; null: the end.
  Op* find(std::size_t self) noexcept;
  // The next operation, or null where there is none to take in that way.
  Op* take_urgent() noexcept;
  Op* take_deferred() noexcept;
  Op* take_chunk(Worker& worker) noexcept;
  Op* take_new(Worker& worker) noexcept;
  static Op* take_from(Worker& worker) noexcept;
  Op* take_neglected(std::size_t self) noexcept;
  Op* take_any(std::size_t self) noexcept;
  Op* look(std::size_t self) noexcept;
  bool others_work() const noexcept;
  bool worth_taking(const Worker& worker) const noexcept;
  bool work_in_sight() const noexcept;
  bool call_one() noexcept INFLIGHT_REQUIRES(lock_);
  void count_idle(int asleep, int looking) noexcept INFLIGHT_REQUIRES(lock_);
  bool start_looking() noexcept;
  void stop_looking() noexcept;
  bool fall_asleep() noexcept;
  void sleep(Worker& worker) noexcept;

  Runner& runner_;
  const Duration spin_;
  std::size_t looking_max_ = 1;

  // On a cache line of their own: read before each operation, rarely written. Written under lock_.
  alignas(64) std::atomic<std::size_t> urgent_size_{0};
  std::atomic<std::size_t> deferred_size_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> idle_{0};   // how many workers sleep or look for work
  std::atomic<bool> may_call_{false};  // some sleep, and none looks

  alignas(64) Mutex lock_;
  std::size_t asleep_ INFLIGHT_GUARDED_BY(lock_) = 0;
  std::size_t looking_ INFLIGHT_GUARDED_BY(lock_) = 0;
  std::atomic<std::size_t> waiting_{0};            // the size of inbox_, read without the lock as a hint
  RankedOps urgent_ INFLIGHT_GUARDED_BY(lock_);    // of positive priority
  RankedOps deferred_ INFLIGHT_GUARDED_BY(lock_);  // of negative priority
  alignas(64) Inbox inbox_ INFLIGHT_GUARDED_BY(lock_);

  // How many sleepers may get up; they sleep on it.
  alignas(64) std::atomic<std::uint32_t> calls_{0};
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace inflight::internal
