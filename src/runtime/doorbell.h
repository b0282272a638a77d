// SPDX-License-Identifier: Apache-2.0
// Doorbell: how idle threads wait for work, and how whoever brings some wakes one of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "inflight/internal/list.h"
#include "inflight/internal/mutex.h"
#include "runtime/arrival_watch.h"

namespace inflight::internal {

// Idle threads sleep, but for one: where frames come at a steady rate, it holds the watch, asleep until shortly
// before the next frame is expected and then awake, so that the frame's submitter need not wake a sleeper.
//
// No wake-up is lost: every thread looks for work under the mutex before it waits, and work is announced under
// that mutex.
//   thread   any; what needs the mutex says so
class Doorbell {
 public:
  // One stream of frames whose arrivals are foreseen.
  struct Line : ListLink<> {
    explicit Line(double watch_share) noexcept : watch(watch_share) {}
    ArrivalWatch watch;
  };
  // Whom a piece of work needs: nobody; the watcher, who is awake or soon will be; the watcher, who is long asleep;
  // or a sleeper.
  enum class Wake : std::uint8_t { kNobody, kWatchAwake, kWatchAsleep, kSleeper };

  explicit Doorbell(Mutex& mutex) noexcept : mutex_(mutex) {}

  void add(Line& line) noexcept {
    mutex_.assert_held();
    lines_.push_back(line);
  }
  void remove(Line& line) noexcept;

  // A piece of work has come. wake() must follow, after the mutex was released: the thread that is woken takes it
  // next.
  Wake announce(TimePoint now) noexcept;
  void wake(Wake whom) noexcept;
  void wake_all() noexcept;
  // Some threads sleep and none of them is on its way.
  bool all_asleep() const noexcept {
    mutex_.assert_held();
    return sleepers_ > 0 && called_ == 0;
  }

  // Waits once for something to change; may return for no reason. Requires that the caller has just found nothing
  // that it can do.
  //   may_watch   nothing is there to be done, so the next frame is what is waited for
  void wait(MutexLock& lock, bool may_watch) noexcept;

 private:
  struct Next {
    Line* line = nullptr;
    Watch watch;
  };
  Next next_watch(TimePoint now) const noexcept INFLIGHT_REQUIRES(mutex_);
  void stay_awake(TimePoint began, TimePoint until, MutexLock& lock) noexcept INFLIGHT_REQUIRES(mutex_);
  void spend(Duration awake) noexcept INFLIGHT_REQUIRES(mutex_);

  Mutex& mutex_;
  CondVar work_;   // a sleeper is wanted
  CondVar watch_;  // the watcher is wanted, though it sleeps
  List<Line> lines_ INFLIGHT_GUARDED_BY(mutex_);
  std::size_t sleepers_ INFLIGHT_GUARDED_BY(mutex_) = 0;  // in work_
  std::size_t called_ INFLIGHT_GUARDED_BY(mutex_) = 0;    // of them: already called, and not up yet
  bool watch_held_ INFLIGHT_GUARDED_BY(mutex_) = false;
  bool watch_called_ INFLIGHT_GUARDED_BY(mutex_) = false;  // by the first piece of work
  Line* watched_ INFLIGHT_GUARDED_BY(mutex_) = nullptr;    // null: removed meanwhile
  TimePoint watch_from_ INFLIGHT_GUARDED_BY(mutex_);       // asleep until then; min(): awake

  // Calls the watcher that is awake. Stored after the mutex was released, so it may come late, to the next watch:
  // a watcher that is called for nothing looks, and begins again.
  std::atomic<bool> call_{false};
};

}  // namespace inflight::internal
