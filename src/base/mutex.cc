// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/mutex.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/futex.h"

namespace inflight::internal {

namespace {

// How long a sleeper waits before it looks again, if no unlock is sure to wake it.
constexpr Duration kLookAgain = std::chrono::milliseconds(1);

}  // namespace

constinit Mutex::Sleepers Mutex::sleepers_[kBuckets];
const bool Mutex::uses_barrier_ = use_barrier();

// Before the barrier is in use, and if the system refuses it, each unlock takes the slow path of wake().
bool Mutex::use_barrier() noexcept {
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0) return false;
  for (Sleepers& sleepers : sleepers_) sleepers.word.fetch_and(~kNoBarrier);
  return true;
}

// Clang's analysis does not see that state_ is the lock.
void Mutex::lock_contended() noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  for (int spins = 0; spins < kSpinsMax; ++spins) {
    if (state_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
    spin_pause();
  }
  Sleepers& sleepers = sleepers_of(this);
  const bool unlocks_wake =
      (sleepers.word.fetch_add(1) & kNoBarrier) != 0 ||
      // After the barrier, this thread sees every unlock whose thread has not seen this sleeper.
      syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
  while (!try_lock()) {
    // A program may forbid itself the call once it has started (seccomp); then this thread looks by itself.
    const TimePoint look_again = std::chrono::steady_clock::now() + kLookAgain;
    futex_wait(state_, kHeld, unlocks_wake ? nullptr : &look_again);
  }
  sleepers.word.fetch_sub(1, std::memory_order_relaxed);
}

void Mutex::wake(const std::atomic<std::uint32_t>& state, Sleepers& sleepers) noexcept {
  // Without the barrier: this comes after the sleeper counted itself, or the sleeper sees the unlock.
  if ((sleepers.word.fetch_add(0) & ~kNoBarrier) != 0) futex_wake_one(state);
}

// Clang's analysis does not see that the caller's lock is held again at the end.
bool CondVar::wait_impl(MutexLock& lock, const TimePoint* until) noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  const std::uint32_t seen = notified_.load(std::memory_order_relaxed);
  waiters_.fetch_add(1, std::memory_order_relaxed);
  lock.mutex_.unlock();
  const bool in_time = futex_wait(notified_, seen, until);
  lock.mutex_.lock();
  waiters_.fetch_sub(1, std::memory_order_relaxed);
  return in_time;
}

void CondVar::notify(int count) noexcept {
  notified_.fetch_add(1, std::memory_order_release);
  if (count == 1) {
    futex_wake_one(notified_);
  } else {
    futex_wake_all(notified_);
  }
}

}  // namespace inflight::internal
