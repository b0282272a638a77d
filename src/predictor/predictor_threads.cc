// SPDX-License-Identifier: Apache-2.0
// The predictor's threads: from the queue onto a slot, and from the completion word to the end.
#include <algorithm>

#include "base/check.h"
#include "base/scheduling.h"
#include "predictor/predictor_core.h"

namespace inflight::internal {
namespace {

// While launches are out, the poller looks at every word in turn: first without pause, as many rounds as a
// short inference takes, then with a sleep between the rounds, so that a long one does not cost a core.
constexpr int kPollSpins = 4096;
constexpr Duration kPollSleep = std::chrono::microseconds(20);
// How many rounds pass between two questions whether the device is still there.
constexpr int kPollsPerDeviceStatus = 1024;
// How often a watcher looks for a frame before it lets others run: for 1 to 2 us.
constexpr int kWatchSpins = 64;

}  // namespace

Status PredictorCore::start() {
  const int wanted = options_.slots > 0 ? options_.slots : program_->concurrency(options_.width);
  slots_count_ = std::clamp(wanted, 1, options_.in_flight_limit);
  for (int i = 0; i < slots_count_; ++i) {
    INFLIGHT_TRY_ASSIGN(std::unique_ptr<BoundProgram> bound, program_->bind());
    INFLIGHT_TRY(bound->warm_up());
    slots_.push_back(std::make_unique<Slot>(*program_, std::move(bound)));
  }
  for (int i = 0; i < options_.in_flight_limit; ++i)
    idle_states_.push_back(new PredictionState(inputs_.size()));
  for (const TensorSpec& output : outputs_) {
    if (!output.shape.is_static()) continue;
    INFLIGHT_TRY(output_pool_.reserve(output.bytes(), static_cast<std::size_t>(slots_count_)));
  }
  if (program_->launch_blocks()) {
    for (const auto& slot : slots_) threads_.emplace_back([this, &slot = *slot] { work(slot); });
  } else {
    for (const auto& slot : slots_) free_slots_.push_back(slot.get());
    launched_.reserve(slots_.size());
    threads_.emplace_back([this] { launch_loop(); });
    threads_.emplace_back([this] { poll_loop(); });
  }
  return Status();
}

void PredictorCore::work(Slot& slot) {
  wake_on_time();
  Lock lock(mutex_);
  while (true) {
    while (!stopping_ && queued_.empty()) wait_for_work(lock);
    if (queued_.empty()) return;
    launch_next(slot, lock);
  }
}

void PredictorCore::launch_loop() {
  wake_on_time();
  Lock lock(mutex_);
  while (true) {
    while (!stopping_ && (queued_.empty() || free_slots_.empty())) wait_for_work(lock);
    if (queued_.empty() || free_slots_.empty()) return;
    Slot& slot = *free_slots_.back();
    free_slots_.pop_back();
    launch_next(slot, lock);
  }
}

// Waits once for something to change; may return for no reason. One waiter at a time waits for the next frame
// as arrivals_ says, so that submit() finds it awake; the others sleep until they are woken.
void PredictorCore::wait_for_work(Lock& lock) {
  std::optional<Watch> watch;
  TimePoint now;
  if (!watch_held_ && queued_.empty()) {
    now = steady_clock().now();
    watch = arrivals_.next(now);
  }
  if (!watch) {
    work_.wait(lock);
    return;
  }
  watch_held_ = true;
  watch_called_ = false;
  const bool sleeps = now < watch->from;
  watch_from_ = sleeps ? watch->from : TimePoint::min();
  if (sleeps) {
    watch_.wait_until(lock, watch->from);
    if (watch->nap()) arrivals_.spent(ArrivalWatch::kNapCost);
  } else {
    keep_watch(now, watch->until, lock);
  }
  watch_held_ = false;
}

// Stays awake until it is called or the time comes. Unlocks meanwhile.
//   began   the time now, before `until`
void PredictorCore::keep_watch(TimePoint began, TimePoint until, Lock& lock) {
  watch_call_.store(false, std::memory_order_relaxed);
  lock.unlock();
  TimePoint now = began;
  bool called = false;
  while (!called && now < until) {
    for (int i = 0; i < kWatchSpins && !called; ++i) {
      SpinLock::pause();
      called = watch_call_.load(std::memory_order_acquire);
    }
    if (!called) std::this_thread::yield();
    now = steady_clock().now();
  }
  lock.lock();
  arrivals_.spent(std::min(now, until) - began);  // past its end it was held up, not awake
}

// Puts the oldest queued prediction on the slot. Where launch() blocks, it is finished on return. Unlocks
// meanwhile.
void PredictorCore::launch_next(Slot& slot, Lock& lock) {
  PredictionState& state = *queued_.pop_front();
  state.stage = Stage::kRunning;
  state.width = options_.width;
  ++(state.width == Width::kWide ? statistics_.wide : statistics_.narrow);
  lock.unlock();
  state.times.launched = options_.clock->now();
  slot.current = &state;
  const bool blocks = program_->launch_blocks();
  const Status status = slot.launch(state, output_pool_);
  if (!status.ok()) {
    finish(state, blocks ? nullptr : &slot, Outcome::kFailed, status);
  } else if (blocks) {
    complete(slot);
  } else {
    {
      const std::lock_guard launched_lock(launched_mutex_);
      launched_.push_back(&slot);
      any_launched_.store(true, std::memory_order_release);
    }
    launched_wake_.notify_one();
  }
  lock.lock();
}

void PredictorCore::complete(Slot& slot) {
  PredictionState& state = *slot.current;
  const Status status = slot.collect(state, output_pool_);
  const Outcome outcome = status.ok() ? Outcome::kCompleted : Outcome::kFailed;
  finish(state, program_->launch_blocks() ? nullptr : &slot, outcome, status);
}

void PredictorCore::poll_loop() {
  std::vector<Slot*> active;
  active.reserve(slots_.size());
  int idle_rounds = 0;
  while (true) {
    if (active.empty() || any_launched_.load(std::memory_order_acquire)) {
      std::unique_lock lock(launched_mutex_);
      if (active.empty()) launched_wake_.wait(lock, [this] { return polling_ends_ || !launched_.empty(); });
      active.insert(active.end(), launched_.begin(), launched_.end());
      launched_.clear();
      any_launched_.store(false, std::memory_order_relaxed);
      if (active.empty()) return;
      idle_rounds = 0;
    }
    if (poll_once(active)) {
      idle_rounds = 0;
      continue;
    }
    ++idle_rounds;
    if (idle_rounds % kPollsPerDeviceStatus == 0) {
      if (const Status lost = program_->device_status(); !lost.ok()) fail_all(active, lost);
    }
    if (idle_rounds < kPollSpins) {
      SpinLock::pause();
    } else {
      steady_clock().sleep_until(steady_clock().now() + kPollSleep);
    }
  }
}

// True: something was done.
bool PredictorCore::poll_once(std::vector<Slot*>& active) {
  const auto finished =
      std::partition(active.begin(), active.end(), [](const Slot* slot) { return !slot->done(); });
  if (finished == active.end()) return false;
  std::for_each(finished, active.end(), [this](Slot* slot) { complete(*slot); });
  active.erase(finished, active.end());
  return true;
}

// No word will change any more: whatever is out fails. What is still queued fails when it is launched.
void PredictorCore::fail_all(std::vector<Slot*>& active, const Status& why) {
  for (Slot* slot : active) finish(*slot->current, slot, Outcome::kFailed, why);
  active.clear();
}

}  // namespace inflight::internal
