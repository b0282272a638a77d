// SPDX-License-Identifier: Apache-2.0
// Mutex, MutexLock and CondVar: the one lock of the library, and how a thread waits under it. Nothing here
// fails or allocates.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "inflight/clock.h"
#include "inflight/internal/thread_annotations.h"

namespace inflight::internal {

// Tells the processor that this is a spin: it saves power and lets the other thread of the core run.
inline void spin_pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// A lock in four bytes, for critical sections of a few instructions. A thread that finds it held spins for at
// most kSpinsMax pauses (2 to 5 us) and then sleeps until the holder unlocks, so a real-time thread never
// keeps the processor from a holder of lower priority.
//
// An unlock is a plain store and a load. The thread that is about to sleep pays for that: it counts itself as
// a sleeper, and then makes every processor that runs this process pass a barrier (membarrier(2)). After it,
// either the sleeper sees the unlock, or the unlocking thread sees the sleeper. If the system refuses that
// call, each unlock has a barrier of its own. tests/formal/mutex.pml checks this.
//   bound    of a wait: the spin, plus the sections of the threads before it, once these run. Priorities are
//            not inherited: a thread of a priority in between that never sleeps delays both.
//   source   U. Drepper, Futexes Are Tricky (2011); D. Dice, H. Huang and M. Yang, Asymmetric Dekker
//            Synchronization (2001)
class INFLIGHT_CAPABILITY("mutex") Mutex {
 public:
  Mutex() noexcept = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  // Blocks until the calling thread holds the mutex. Not recursive.
  void lock() noexcept INFLIGHT_ACQUIRE() {
    if (!try_lock()) lock_contended();
  }
  // Never blocks. False: another thread holds it.
  bool try_lock() noexcept INFLIGHT_TRY_ACQUIRE(true) {
    std::uint32_t expected = kFree;
    return state_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }
  // Tells clang's analysis that the caller holds it. Does nothing.
  void assert_held() const noexcept INFLIGHT_ASSERT_CAPABILITY(this) {}
  // Requires that the calling thread holds it. Another thread may lock it at once and destroy it: nothing
  // here reads the mutex after the store.
  void unlock() noexcept INFLIGHT_RELEASE() {
    Sleepers& sleepers = sleepers_of(this);
    state_.store(kFree, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the compiler keeps this order
    if (sleepers.word.load(std::memory_order_relaxed) != 0) wake(state_, sleepers);
  }

 private:
  static constexpr std::uint32_t kFree = 0;
  static constexpr std::uint32_t kHeld = 1;
  static constexpr int kSpinsMax = 128;
  static constexpr std::size_t kBuckets = 256;

  static constexpr std::uint32_t kNoBarrier = std::uint32_t{1} << 31U;

  // Those of the mutexes whose addresses share a bucket. Outside of the mutex, which may be gone when the
  // thread that unlocked it looks.
  struct Sleepers {
    // How many threads sleep or are about to; and kNoBarrier, unless the system has the barrier.
    std::atomic<std::uint32_t> word{kNoBarrier};
  };
  static Sleepers& sleepers_of(const Mutex* mutex) noexcept {
    return sleepers_[reinterpret_cast<std::uintptr_t>(mutex) / 64 % kBuckets];
  }
  static bool use_barrier() noexcept;

  void lock_contended() noexcept;
  // Reads nothing of the mutex: it may be gone.
  static void wake(const std::atomic<std::uint32_t>& state, Sleepers& sleepers) noexcept;

  static Sleepers sleepers_[kBuckets];
  static const bool uses_barrier_;

  std::atomic<std::uint32_t> state_{kFree};
};

// Holds a mutex for a scope. unlock() and lock() release and take it in between.
class INFLIGHT_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) noexcept INFLIGHT_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() INFLIGHT_RELEASE() {
    if (held_) mutex_.unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void lock() noexcept INFLIGHT_ACQUIRE() {
    mutex_.lock();
    held_ = true;
  }
  void unlock() noexcept INFLIGHT_RELEASE() {
    held_ = false;
    mutex_.unlock();
  }

 private:
  friend class CondVar;
  Mutex& mutex_;
  bool held_ = true;
};

// A condition variable in eight bytes. Change the condition under the mutex, then notify, with the mutex held
// or after it. Without waiters, notifying makes no system call. A wait may return for no reason: wait in a
// loop over the condition.
class CondVar {
 public:
  CondVar() noexcept = default;
  CondVar(const CondVar&) = delete;
  CondVar& operator=(const CondVar&) = delete;

  // Releases the lock, sleeps until notified, and takes the lock again.
  void wait(MutexLock& lock) noexcept { wait_impl(lock, nullptr); }
  // The same, until `when` at most, a moment of steady_clock().
  //   returns  false: the time came
  bool wait_until(MutexLock& lock, TimePoint when) noexcept { return wait_impl(lock, &when); }

  // Wakes one thread that waits, or all. The mutex need not be held.
  void notify_one() noexcept {
    if (waiters_.load(std::memory_order_relaxed) > 0) notify(1);
  }
  void notify_all() noexcept {
    if (waiters_.load(std::memory_order_relaxed) > 0) notify(kAll);
  }

 private:
  static constexpr int kAll = 1 << 30;

  bool wait_impl(MutexLock& lock, const TimePoint* until) noexcept;
  void notify(int count) noexcept;

  std::atomic<std::uint32_t> notified_{0};  // how often; the waiters sleep on it
  std::atomic<std::uint32_t> waiters_{0};   // raised under the mutex, so a thread that notifies sees it
};

}  // namespace inflight::internal
