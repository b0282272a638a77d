// SPDX-License-Identifier: Apache-2.0
// Lane and Work: what a runtime knows of the predictors that share it.
#pragma once

#include <atomic>
#include <cstdint>

#include "inflight/clock.h"
#include "inflight/internal/list.h"
#include "inflight/status.h"
#include "runtime/doorbell.h"
#include "runtime/fair_share.h"

namespace inflight::internal {

class Lane;

// One launch, from the moment when a thread of the runtime takes it to its end. It is a slot of a predictor.
class Work {
 public:
  Work(Lane& the_lane, const std::atomic<std::uint64_t>& word) noexcept : lane(the_lane), word_(word) {}
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  // Launches it and, if launches block, ends it. Called on a worker, the launcher or the poller, without locks.
  //   returns  true: it is out, and its completion word will show its end. False: it has ended.
  virtual bool start() noexcept = 0;
  // Called on the poller when its word shows that it is done.
  virtual void end() noexcept = 0;
  // Called on the poller when the device was lost before its word showed its end.
  virtual void lose(const Status& why) noexcept = 0;

  // One acquire load.
  bool done() const noexcept { return word_.load(std::memory_order_acquire) >= generation; }

  Lane& lane;
  std::uint64_t generation = 0;  // of the newest launch
  // Under the runtime's mutex.
  double charged = 0;  // to its lane
  int units = 0;       // of the device's capacity, that the newest launch takes

 protected:
  ~Work() = default;

 private:
  const std::atomic<std::uint64_t>& word_;
};

// One predictor's place on one device of a runtime, from enter() to leave().
class Lane : public ListLink<>, private FairShare::Share {
 public:
  // ---- Called under the runtime's mutex

  // Whether it has something to launch.
  virtual bool can_launch() const noexcept = 0;
  // How much of the device's capacity the next launch needs: it waits until that is free. Requires
  // can_launch().
  //   alone   no other lane of the runtime runs or waits
  virtual int next_units(bool alone) noexcept = 0;
  // The device is lost. Once; launches that were out may still come to their end. after_loss() follows.
  virtual void lost(const Status& why) noexcept = 0;
  // What to launch now, after the mutex is released. Follows next_units(), whose room is free.
  //   thread   the number of the thread that launches it, from 0; the launcher and the poller are one
  virtual Work& take(int thread) noexcept = 0;
  // When to call time_passed() next; max(): never.
  virtual TimePoint wake_at() const noexcept = 0;

  // ---- Called without locks

  // On the timekeeper.
  virtual void time_passed() noexcept = 0;
  // After lost(), on any thread of the runtime.
  virtual void after_loss() noexcept = 0;

 protected:
  Lane(double its_weight, double watch_share) noexcept : line_(watch_share) { weight = its_weight; }
  virtual ~Lane() = default;  // never deleted through this type

  // Under the runtime's mutex.
  void set_watch_share(double share) noexcept { line_.watch.set_share(share); }

 private:
  friend class RuntimeCore;
  // What follows is used under the runtime's mutex.
  Doorbell::Line line_;
  int units_ = 0;  // of the device's capacity that its launches take now
  // Calls of the runtime's threads into the lane and its works that have not ended: those that run, and for
  // each launch that is out the one that will end it.
  int calls_ = 0;
  bool loss_is_over_ = true;  // after_loss() has begun, or the device is not lost
};

}  // namespace inflight::internal
