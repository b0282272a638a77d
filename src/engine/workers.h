// SPDX-License-Identifier: Apache-2.0
// The engine's own threads, and which operation each of them takes next.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "engine/op.h"
#include "inflight/clock.h"
#include "inflight/internal/spin_lock.h"

namespace inflight::internal {

// Runs runnable operations, those of higher priority first and equal ones in the order in which they came, as
// far as several threads have an order.
//
// What comes is put into one queue. A worker takes a few at a time from there to a queue of its own. A worker
// without work looks for some until there has been none in sight for a while, and then sleeps; it takes what
// is stuck, also in the queue of another that is held up, and leaves the rest to those who are at work.
// Whoever adds work wakes a sleeper, unless somebody looks already, and who finds work wakes the next if
// there is more.
class Workers {
 public:
  // What a worker does with an operation.
  class Runner {
   public:
    // Runs it. Returns one that this worker should run next, because of its end, or null.
    virtual Op* run(Op& op, std::size_t worker) = 0;
    // The worker has nothing to do, for now.
    virtual void out_of_work(std::size_t worker) = 0;

   protected:
    ~Runner() = default;
  };

  Workers(Runner& runner, int threads, Duration spin);
  // Requires that nothing is left to run. Must not be called from an operation.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Takes an operation that may run. Any thread.
  void add(Op* op);

 private:
  // First in, first out.
  class Queue {
   public:
    // Without the lock, hints: how many there are, and how many times one was taken.
    std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
    std::uint32_t taken() const noexcept { return taken_.load(std::memory_order_relaxed); }
    void push(Op* op) noexcept;
    Op* pop() noexcept;
    // Moves the first `count` of them, which there are, to `other`.
    void move_to(Queue& other, std::size_t count) noexcept;

   private:
    Op* head_ = nullptr;
    Op* tail_ = nullptr;
    std::atomic<std::size_t> size_{0};
    std::atomic<std::uint32_t> taken_{0};
  };
  // A queue at one look: whether something was in it, and how much had been taken.
  struct Mark {
    bool some = false;
    std::uint32_t taken = 0;
    friend bool operator==(const Mark&, const Mark&) = default;
  };
  struct alignas(64) Worker {
    SpinLock lock;
    Queue queue;  // guarded by lock
    // Its own.
    bool woken = false;   // has not been out of work since it slept
    std::size_t ran = 0;  // operations since it was out of work
    std::vector<Mark> marks;
    std::thread thread;
  };
  // Those with a priority other than 0: a heap, the next one at its front.
  using Heap = std::vector<Op*>;

  [[gnu::noinline]] void add_ranked(Op* op);
  void work(std::size_t self);
  // The next operation, once there is one; null: the end.
  Op* find(std::size_t self);
  // The next operation, or null where there is none to take in that way.
  Op* take(std::size_t self);
  Op* take_ranked(Heap& heap, std::atomic<std::size_t>& size);
  Op* take_batch(std::size_t self);
  static Op* take_from(Worker& worker);
  bool work_in_sight() const noexcept;
  bool call_one() noexcept;
  bool start_looking() noexcept;
  void stop_looking() noexcept;
  Op* look(std::size_t self);
  Op* take_stalled(std::size_t self);
  Op* steal(std::size_t self);
  bool fall_asleep() noexcept;
  void sleep(std::size_t self);

  Runner& runner_;
  const Duration spin_;
  const std::size_t looking_max_;

  // On a line of their own: looked at before each operation, rarely written.
  alignas(64) std::atomic<std::size_t> urgent_size_{0};
  std::atomic<std::size_t> deferred_size_{0};
  std::atomic<bool> stopping_{false};
  // How many workers sleep or look for work. Written under lock_.
  std::atomic<std::size_t> idle_{0};

  alignas(64) SpinLock lock_;
  // Guarded by lock_.
  Queue queue_;
  std::size_t asleep_ = 0;
  std::size_t looking_ = 0;
  std::uint64_t sequence_ = 0;
  Heap urgent_;    // of positive priority
  Heap deferred_;  // of negative priority

  // How many sleepers may get up; they sleep on it.
  alignas(64) std::atomic<std::uint32_t> calls_{0};
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace inflight::internal
