// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/mutex.h"

#include "base/futex.h"

namespace inflight::internal {

// Clang's analysis does not see that state_ is the lock.
void Mutex::lock_contended() noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  for (int spins = 0; spins < kSpinsMax; ++spins) {
    if (state_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
    spin_pause();
  }
  // From here on the mutex is marked contended, also when this thread gets it: another thread may still
  // sleep.
  while (state_.exchange(kContended, std::memory_order_acquire) != kFree) {
    futex_wait(state_, kContended, nullptr);
  }
}

void Mutex::wake() noexcept { futex_wake_one(state_); }

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
