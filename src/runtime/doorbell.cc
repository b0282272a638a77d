// SPDX-License-Identifier: Apache-2.0
#include "runtime/doorbell.h"

#include <algorithm>
#include <thread>

namespace inflight::internal {
namespace {

// How often a watcher looks for a frame before it yields: for 1 to 2 us.
constexpr int kWatchSpins = 64;

}  // namespace

void Doorbell::remove(Line& line) noexcept {
  mutex_.assert_held();
  lines_.remove(line);
  if (watched_ == &line) watched_ = nullptr;
}

Doorbell::Wake Doorbell::announce(TimePoint now) noexcept {
  mutex_.assert_held();
  const bool watcher = watch_held_ && !watch_called_;
  const bool sleeper = called_ < sleepers_;
  const bool watcher_awake = watcher && watch_from_ == TimePoint::min();
  if (poller_ == Poller::kWatches && !watcher_awake && (watcher || sleeper)) {
    poller_ = Poller::kCalled;
    return Wake::kPoller;
  }
  if (watcher) {
    watch_called_ = true;
    // Waking it costs the caller 25 to 60 us, and as much as the prediction if the host runs both processors
    // on one.
    const bool long_asleep = watch_from_ > now + ArrivalWatch::kNap;
    return long_asleep ? Wake::kWatchAsleep : Wake::kWatchAwake;
  }
  if (!sleeper) return Wake::kNobody;  // every thread runs work, or is about to look for it
  ++called_;
  return Wake::kSleeper;
}

void Doorbell::wake(Wake whom) noexcept {
  switch (whom) {
    case Wake::kNobody:
      return;
    case Wake::kWatchAwake:
      call_.store(true, std::memory_order_release);
      return;
    case Wake::kWatchAsleep:
      watch_.notify_one();
      return;
    case Wake::kSleeper:
      work_.notify_one();
      return;
    case Wake::kPoller:
      poller_call_.store(true, std::memory_order_release);
      return;
  }
}

void Doorbell::wake_all() noexcept {
  work_.notify_all();
  watch_.notify_all();
  call_.store(true, std::memory_order_release);
}

Doorbell::Next Doorbell::next_watch(TimePoint now) const noexcept {
  Next next;
  for (Line* line = lines_.front(); line != nullptr; line = lines_.after(*line)) {
    const std::optional<Watch> watch = line->watch.next(now);
    if (watch && (next.line == nullptr || watch->from < next.watch.from)) next = {line, *watch};
  }
  return next;
}

void Doorbell::spend(Duration awake) noexcept {
  if (watched_ != nullptr) watched_->watch.spent(awake);
}

void Doorbell::wait(MutexLock& lock, bool may_watch) noexcept {
  mutex_.assert_held();
  Next next;
  TimePoint now;
  if (may_watch && !watch_held_ && !lines_.empty()) {
    now = clock_.now();
    next = next_watch(now);
  }
  if (next.line == nullptr) {
    ++sleepers_;
    work_.wait(lock);
    --sleepers_;
    if (called_ > 0) --called_;
    return;
  }
  watch_held_ = true;
  watch_called_ = false;
  watched_ = next.line;
  const bool sleeps = now < next.watch.from;
  watch_from_ = sleeps ? next.watch.from : TimePoint::min();
  if (sleeps) {
    watch_.wait_until(lock, next.watch.from);
    if (next.watch.nap()) spend(ArrivalWatch::kNapCost);
  } else {
    stay_awake(now, next.watch.until, lock);
  }
  watch_held_ = false;
  watched_ = nullptr;
}

// Stays awake until it is called or `until` comes. Releases the mutex meanwhile. Clang's analysis cannot
// follow a lock that is passed in.
//   began   the time now, before `until`
void Doorbell::stay_awake(TimePoint began, TimePoint until,
                          MutexLock& lock) noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  call_.store(false, std::memory_order_relaxed);
  lock.unlock();
  TimePoint now = began;
  bool called = false;
  while (!called && now < until) {
    for (int i = 0; i < kWatchSpins && !called; ++i) {
      spin_pause();
      called = call_.load(std::memory_order_acquire);
    }
    if (!called) std::this_thread::yield();
    now = clock_.now();
  }
  lock.lock();
  spend(std::min(now, until) - began);  // after `until` it was held up, not awake
}

}  // namespace inflight::internal
