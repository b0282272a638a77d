// SPDX-License-Identifier: Apache-2.0
// Doorbell: how idle threads wait for work, and how a thread that brings work wakes one of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "inflight/internal/list.h"
#include "inflight/internal/mutex.h"
#include "runtime/arrival_watch.h"

namespace inflight::internal {

// All idle threads sleep but one: if frames come at a steady rate, that one holds the watch. It sleeps until
// shortly before the next frame is expected and is then awake, so that the thread that submits the frame need
// not wake a sleeper.
//
// Of those that sleep, the one that fell asleep last is called first: its caches are warm, and the threads of a device's
// library may still be in the place where they computed for it.
//
// One more thread may answer: the poller, which is awake for a reason of its own and looks at a word besides.
// A call of it is a store, so it is called before any thread that sleeps.
//
// No wake-up is lost: every thread looks for work under the mutex before it waits, and work is announced
// under that mutex. The poller looks for work after each call. Once it looks at the word no more, it hands on
// a call that it has not answered.
//   thread   any. All calls but wake(), wake_all() and poller_called() require the mutex; wake_all() takes it.
class Doorbell {
 public:
  // One stream of frames whose arrivals are predicted.
  struct Line : ListLink<> {
    explicit Line(double watch_share) noexcept : watch(watch_share) {}
    ArrivalWatch watch;
  };
  // Which thread to call for a piece of work: none; the watcher, which is awake or soon will be; the watcher,
  // which sleeps for longer; a sleeper; or the poller.
  enum class Whom : std::uint8_t { kNobody, kWatchAwake, kWatchAsleep, kSleeper, kPoller };
  class Sleeper;
  struct Call {
    Whom whom = Whom::kNobody;
    Sleeper* sleeper = nullptr;  // which one
  };

  //   clock   of the times of the watch; while a watcher sleeps, real time must pass
  explicit Doorbell(Mutex& mutex, const Clock& clock = steady_clock()) noexcept
      : mutex_(mutex), clock_(clock) {}

  void add(Line& line) noexcept {
    mutex_.assert_held();
    lines_.push_back(line);
  }
  void remove(Line& line) noexcept;

  // A piece of work has come. wake() must follow, once, after the mutex was released: the thread that is woken
  // takes the mutex next.
  //   now   kLate: the work has waited already, so a watcher that sleeps is woken however soon it would wake
  [[nodiscard]] Call announce(TimePoint now) noexcept;
  static constexpr TimePoint kLate = TimePoint::min();
  void wake(Call call) noexcept;
  void wake_all() noexcept;
  // Whether some threads sleep and none of them has been called.
  bool all_asleep() const noexcept {
    mutex_.assert_held();
    return !sleepers_.empty() && called_ == 0;
  }

  // Whether a thread waits and none has been called.
  bool can_be_called() const noexcept {
    mutex_.assert_held();
    return poller_ == Poller::kWatches || (watch_held_ ? !watch_called_ : !sleepers_.empty());
  }

  // Waits once for something to change; a watcher may return for no reason. Requires that the caller has just found no
  // work that it can take.
  //   may_watch   there is no work at all, so the next frame is the next event
  void wait(MutexLock& lock, bool may_watch) noexcept;

  // ---- For the poller, on its thread

  // From now on it looks at poller_called() all the time.
  //   called   it is to look for work; false: it has found none that it can take, or another thread was called for it
  void poller_watches(bool called) noexcept {
    mutex_.assert_held();
    poller_ = called ? Poller::kCalled : Poller::kWatches;
    poller_call_.store(called, std::memory_order_relaxed);
  }
  // It looks no more.
  //   returns   whether it was called: then it must see to it that a thread looks for work
  bool poller_leaves() noexcept {
    mutex_.assert_held();
    return std::exchange(poller_, Poller::kAway) == Poller::kCalled;
  }
  // Whether it is to look for work. One acquire load.
  bool poller_called() const noexcept { return poller_call_.load(std::memory_order_acquire); }

 private:
  enum class Poller : std::uint8_t { kAway, kWatches, kCalled };
  struct Next {
    Line* line = nullptr;
    Watch watch;
  };
  Next next_watch(TimePoint now) const noexcept INFLIGHT_REQUIRES(mutex_);
  void sleep(MutexLock& lock) noexcept INFLIGHT_REQUIRES(mutex_);
  void stay_awake(TimePoint began, TimePoint until, MutexLock& lock) noexcept INFLIGHT_REQUIRES(mutex_);
  void spend(Duration awake) noexcept INFLIGHT_REQUIRES(mutex_);

  Mutex& mutex_;
  const Clock& clock_;
  CondVar watch_;  // wakes the watcher while it sleeps
  List<Line> lines_ INFLIGHT_GUARDED_BY(mutex_);
  List<Sleeper> sleepers_ INFLIGHT_GUARDED_BY(mutex_);  // that nobody has called, the last one first
  std::size_t called_ INFLIGHT_GUARDED_BY(mutex_) = 0;  // sleepers that were called and are not awake yet
  bool watch_held_ INFLIGHT_GUARDED_BY(mutex_) = false;
  bool watch_called_ INFLIGHT_GUARDED_BY(mutex_) = false;  // by the first piece of work
  Line* watched_ INFLIGHT_GUARDED_BY(mutex_) = nullptr;    // null: removed meanwhile
  TimePoint watch_from_ INFLIGHT_GUARDED_BY(mutex_);       // asleep until then; min(): awake

  Poller poller_ INFLIGHT_GUARDED_BY(mutex_) = Poller::kAway;

  // Calls the watcher that is awake. Stored after the mutex was released, so it may reach the next watch
  // instead: a watcher that is called without work looks, and begins again.
  std::atomic<bool> call_{false};
  // The same for the poller. In a cache line of its own: it reads this all the time.
  alignas(64) std::atomic<bool> poller_call_{false};
};

}  // namespace inflight::internal
