// SPDX-License-Identifier: Apache-2.0
// What a Runtime is inside: for each of its devices the threads, the budget, and which lane runs next.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "inflight/internal/mutex.h"
#include "inflight/runtime.h"
#include "runtime/doorbell.h"
#include "runtime/fair_share.h"
#include "runtime/lane.h"

namespace inflight::internal {

// One device of a runtime. One mutex guards all devices of the runtime and what their lanes keep: a thread that
// takes work reads and changes the predictor's scheduler in one step, so there is only one view of what is ready.
// The mutex is held for a few hundred instructions at most, and never while code of a user or a device runs.
//
//   thread      how many                       may block on
//   worker      capacity, if launches block    the doorbell; the inference itself
//   launcher    one, if they do not            the doorbell; never the device
//   poller      one, if they do not            sleeps when nothing is out; else polls every word, first
//                                              without a pause, then every 20 us
//   timekeeper  one, once it was asked for     the next deadline
//
// While the poller looks without a pause, and for a short time after the last end, it also answers the doorbell and
// launches: so a frame that is submitted then wakes no thread. The launcher launches otherwise, and while code of a
// user runs on the poller. Only one of them launches at a time.
class RuntimeCore {
 public:
  RuntimeCore(std::shared_ptr<Mutex> mutex, std::shared_ptr<Backend> backend, int capacity,
              int threads) noexcept;
  RuntimeCore(const RuntimeCore&) = delete;
  RuntimeCore& operator=(const RuntimeCore&) = delete;

  // Another device of the same runtime: both may have lanes of one predictor. Before start().
  //   errors   throws std::bad_alloc
  void add_sibling(RuntimeCore& core) { siblings_.push_back(&core); }
  // Starts the threads. Once.
  //   errors   kOutOfMemory: no more threads; stop() must be called all the same
  Status start();
  // Ends the threads. Requires that every lane has left. Idempotent; may be called on one of the threads.
  void stop() noexcept;

  Mutex& mutex() noexcept { return mutex_; }
  Backend& backend() noexcept { return *backend_; }
  int capacity() const noexcept { return capacity_; }
  int threads() const noexcept { return threads_wanted_; }

  //   errors   why the device is lost
  Status enter(Lane& lane);
  // Returns when no thread is in a call into the lane any more. Requires that it has nothing to launch.
  void leave(Lane& lane) noexcept;

  // Ok: as far as this has been told, the device is not lost.
  Status why_lost() noexcept {
    const MutexLock lock(mutex_);
    return lost_;
  }
  // Tells every lane, once, if the device is lost. Called after something failed on it, without locks, on a thread
  // that is in a call into a lane, or on the poller.
  void look_for_loss() noexcept;

  // ---- Under the mutex

  // Whether anything more can be launched now, if it needs no more than one unit.
  bool has_room() const noexcept {
    mutex_.assert_held();
    return units_free_ > 0;
  }
  // A frame has come, for the watch.
  //   when   as the submitting thread read it, on steady_clock()
  void arrived(Lane& lane, TimePoint when) noexcept {
    mutex_.assert_held();
    lane.line_.watch.arrived(when);
  }
  // The same for a line beside the lane's: frames of one stream of the predictor.
  void arrived(Doorbell::Line& line, TimePoint when) noexcept {
    mutex_.assert_held();
    line.watch.arrived(when);
  }
  void add_line(Doorbell::Line& line) noexcept { doorbell_.add(line); }
  void remove_line(Doorbell::Line& line) noexcept { doorbell_.remove(line); }
  // The lane has something new to launch. wake() must follow, after the mutex was released.
  Doorbell::Call announce(TimePoint now) noexcept;
  // A launch has ended: its units of the device are free.
  //   cost     how long the device was busy with it; 0: it did not run
  //   returns  for wake()
  Doorbell::Call release(Lane& lane, Work& work, Duration cost) noexcept;

  void wake(Doorbell::Call call) noexcept { doorbell_.wake(call); }

  // Called without locks before the end of a launch runs code of a user, which may take any time: if this thread is
  // a poller, another one launches meanwhile.
  static void before_user_code() noexcept;

  // ---- The timekeeper

  // Starts the timekeeper, unless it runs already.
  //   errors   kOutOfMemory: no more threads
  Status need_timekeeper();
  // A lane's wake_at() may be earlier than before.
  void wake_at_changed(TimePoint when) noexcept;

 private:
  Status start_thread(void (RuntimeCore::*body)());
  void run_work();
  bool anything_waits() const noexcept INFLIGHT_REQUIRES(mutex_);
  Lane* choose() noexcept INFLIGHT_REQUIRES(mutex_);
  bool may_launch() const noexcept INFLIGHT_REQUIRES(mutex_);
  bool is_alone(const Lane& lane) const noexcept INFLIGHT_REQUIRES(mutex_);
  Work* take(int thread) noexcept INFLIGHT_REQUIRES(mutex_);
  void end_call(Lane& lane) noexcept INFLIGHT_REQUIRES(mutex_);
  bool launch_next(MutexLock& lock, int thread) noexcept INFLIGHT_REQUIRES(mutex_);
  RuntimeCore* idle_sibling() noexcept INFLIGHT_REQUIRES(mutex_);
  void lose(const Status& why) noexcept;
  void keep_time();

  // The poller (poller.cc).
  void hand_to_poller(Work& work) noexcept;
  void poll();
  bool collect_launched() noexcept;
  bool work_waits() const noexcept INFLIGHT_REQUIRES(mutex_);
  void watch_doorbell() noexcept;
  void leave_doorbell() noexcept;
  bool answer(bool ended) noexcept;
  bool end_what_is_done() noexcept;
  void end_one(Work& work) noexcept;
  void lose_all(const Status& why) noexcept;

  const std::shared_ptr<Backend> backend_;
  const bool launch_blocks_;
  const int capacity_;
  const int threads_wanted_;

  const std::shared_ptr<Mutex> shared_mutex_;
  Mutex& mutex_;
  std::vector<RuntimeCore*> siblings_;  // constant after start()
  Doorbell doorbell_{mutex_};
  FairShare fair_share_ INFLIGHT_GUARDED_BY(mutex_){capacity_};
  List<Lane> lanes_ INFLIGHT_GUARDED_BY(mutex_);
  int units_free_ INFLIGHT_GUARDED_BY(mutex_);
  // Where launches do not block: a thread launches, and will look for more. So launches come to the poller in their
  // order.
  bool launching_ INFLIGHT_GUARDED_BY(mutex_) = false;
  int numbered_ INFLIGHT_GUARDED_BY(mutex_) = 0;  // threads that launch
  bool stopping_ INFLIGHT_GUARDED_BY(mutex_) = false;
  Status lost_ INFLIGHT_GUARDED_BY(mutex_);  // why the device is lost
  CondVar left_;                             // the last call into a lane has ended
  CondVar time_;                             // wakes the timekeeper: an earlier wake_at(), or stopping_
  TimePoint sleeps_until_ INFLIGHT_GUARDED_BY(mutex_) = TimePoint::min();  // of the timekeeper
  std::vector<std::thread> threads_ INFLIGHT_GUARDED_BY(mutex_);
  bool timekeeper_started_ INFLIGHT_GUARDED_BY(mutex_) = false;

  // From the thread that launches to the poller.
  Mutex launched_mutex_;
  CondVar launched_wake_;
  std::vector<Work*> launched_ INFLIGHT_GUARDED_BY(launched_mutex_);
  bool polling_ends_ INFLIGHT_GUARDED_BY(launched_mutex_) = false;
  std::atomic<bool> any_launched_{false};
  // The poller's own.
  std::vector<Work*> out_;  // in the order of the launches
  bool watches_ = false;    // it looks without a pause, also whether the doorbell calls it
  static thread_local RuntimeCore* polled_here_;  // whose poller this thread is
};

// The owner of the cores, one for each device, shared by handles and predictors. Ends the threads when the last of
// them has gone.
class RuntimeOwner {
 public:
  using Cores = std::vector<std::shared_ptr<RuntimeCore>>;
  explicit RuntimeOwner(Cores cores) noexcept : cores_(std::move(cores)) {}
  ~RuntimeOwner() {
    for (const auto& core : cores_) core->stop();
  }
  RuntimeOwner(const RuntimeOwner&) = delete;
  RuntimeOwner& operator=(const RuntimeOwner&) = delete;
  const Cores& cores() const noexcept { return cores_; }

 private:
  const Cores cores_;
};

}  // namespace inflight::internal
