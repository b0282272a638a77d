// SPDX-License-Identifier: Apache-2.0
#include "runtime/doorbell.h"

#include <algorithm>
#include <thread>

#include "base/futex.h"

namespace inflight::internal {
namespace {

// How often a watcher looks for a frame before it yields: for 1 to 2 us.
constexpr int kWatchSpins = 64;

}  // namespace

// A thread that sleeps, on its stack. It sleeps until it was woken, so whoever takes it from the list can wake it after
// the mutex was released.
class Doorbell::Sleeper : public ListLink<> {
 public:
  void sleep() noexcept {
    while (woken_.load(std::memory_order_acquire) == 0) futex_wait(woken_, 0, nullptr);
  }
  // Once. After the store the thread may go on and the sleeper be gone: futex_wake_one() only passes its address.
  void wake() noexcept {
    woken_.store(1, std::memory_order_release);
    futex_wake_one(woken_);
  }

 private:
  std::atomic<std::uint32_t> woken_{0};
};

void Doorbell::remove(Line& line) noexcept {
  mutex_.assert_held();
  lines_.remove(line);
  if (watched_ == &line) watched_ = nullptr;
}

Doorbell::Call Doorbell::announce(TimePoint now) noexcept {
  mutex_.assert_held();
  const bool watcher = watch_held_ && !watch_called_;
  const bool watcher_awake = watcher && watch_from_ == TimePoint::min();
  if (poller_ == Poller::kWatches && !watcher_awake && (watcher || !sleepers_.empty())) {
    poller_ = Poller::kCalled;
    return {Whom::kPoller};
  }
  if (watcher) {
    watch_called_ = true;
    // Waking it costs the caller 25 to 60 us, and as much as the prediction if the host runs both processors
    // on one.
    const bool long_asleep = watch_from_ > now + ArrivalWatch::kNap;
    return {long_asleep ? Whom::kWatchAsleep : Whom::kWatchAwake};
  }
  Sleeper* const sleeper = sleepers_.pop_front();
  if (sleeper == nullptr) return {};  // every thread runs work, or is about to look for it
  ++called_;
  return {Whom::kSleeper, sleeper};
}

void Doorbell::wake(Call call) noexcept {
  switch (call.whom) {
    case Whom::kNobody:
      return;
    case Whom::kWatchAwake:
      call_.store(true, std::memory_order_release);
      return;
    case Whom::kWatchAsleep:
      watch_.notify_one();
      return;
    case Whom::kSleeper:
      call.sleeper->wake();
      return;
    case Whom::kPoller:
      poller_call_.store(true, std::memory_order_release);
      return;
  }
}

void Doorbell::wake_all() noexcept {
  {
    const MutexLock lock(mutex_);
    while (Sleeper* const sleeper = sleepers_.pop_front()) {
      ++called_;
      sleeper->wake();
    }
  }
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
    sleep(lock);
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

// Sleeps until it is called. Releases the mutex meanwhile. Clang's analysis cannot follow a lock that is passed in.
void Doorbell::sleep(MutexLock& lock) noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  Sleeper self;
  sleepers_.push_front(self);
  lock.unlock();
  self.sleep();
  lock.lock();
  --called_;
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
