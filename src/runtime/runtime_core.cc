// SPDX-License-Identifier: Apache-2.0
#include "runtime/runtime_core.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/scheduling.h"
#include "base/user_code.h"

namespace inflight::internal {
RuntimeCore::RuntimeCore(std::shared_ptr<Mutex> mutex, std::shared_ptr<Backend> backend, int capacity,
                         int threads) noexcept
    : backend_(std::move(backend)),
      launch_blocks_(backend_->launch_blocks()),
      capacity_(capacity),
      threads_wanted_(threads),
      shared_mutex_(std::move(mutex)),
      mutex_(*shared_mutex_),
      units_free_(capacity) {}

Status RuntimeCore::start() {
  try {
    const MutexLock lock(mutex_);
    threads_.reserve(static_cast<std::size_t>(capacity_) + 2);
    const MutexLock launched(launched_mutex_);
    launched_.reserve(static_cast<std::size_t>(capacity_));
    out_.reserve(static_cast<std::size_t>(capacity_));
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("runtime");
  }
  if (!launch_blocks_) {
    INFLIGHT_TRY(start_thread(&RuntimeCore::run_work));
    return start_thread(&RuntimeCore::poll);
  }
  for (int i = 0; i < capacity_; ++i) INFLIGHT_TRY(start_thread(&RuntimeCore::run_work));
  return Status();
}

Status RuntimeCore::start_thread(void (RuntimeCore::*body)()) {
  const BatchScheduling batch;
  try {
    const MutexLock lock(mutex_);
    threads_.emplace_back([this, body] { (this->*body)(); });
    return Status();
  } catch (const std::system_error& error) {
    return Status(StatusCode::kOutOfMemory,
                  std::string("runtime: a thread cannot be started: ") + error.what());
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("runtime: a thread");
  }
}

void RuntimeCore::stop() noexcept {
  std::vector<std::thread> threads;
  {
    const MutexLock lock(mutex_);
    INFLIGHT_CHECK(lanes_.empty());
    stopping_ = true;
    threads.swap(threads_);
  }
  doorbell_.wake_all();
  time_.notify_all();
  {
    const MutexLock lock(launched_mutex_);
    polling_ends_ = true;
  }
  launched_wake_.notify_all();
  for (std::thread& thread : threads) {
    INFLIGHT_CHECK(thread.get_id() != std::this_thread::get_id());
    thread.join();
  }
}

Status RuntimeCore::enter(Lane& lane) {
  const MutexLock lock(mutex_);
  if (!lost_.ok()) return lost_;
  lanes_.push_back(lane);
  doorbell_.add(lane.line_);
  return Status();
}

void RuntimeCore::leave(Lane& lane) noexcept {
  MutexLock lock(mutex_);
  while (lane.calls_ > 0) left_.wait(lock);
  doorbell_.remove(lane.line_);
  fair_share_.remove(lane);
  lanes_.remove(lane);
}

// ---- Which lane runs next

bool RuntimeCore::anything_waits() const noexcept {
  for (const Lane* lane = lanes_.front(); lane != nullptr; lane = lanes_.after(*lane)) {
    if (lane->can_launch()) return true;
  }
  return false;
}

// The lane whose turn it is, even if the device has not enough room for it yet: narrow launches must not
// overtake a wide one for ever. Null: no lane waits.
Lane* RuntimeCore::choose() noexcept {
  fair_share_.begin_look();
  for (Lane* lane = lanes_.front(); lane != nullptr; lane = lanes_.after(*lane)) {
    fair_share_.look(*lane, lane->can_launch(), lane->calls_ > 0);
  }
  return static_cast<Lane*>(fair_share_.choose());
}

// Whether no other lane runs or waits.
bool RuntimeCore::is_alone(const Lane& lane) const noexcept {
  if (units_free_ + lane.units_ < capacity_) return false;
  for (const Lane* other = lanes_.front(); other != nullptr; other = lanes_.after(*other)) {
    if (other != &lane && other->can_launch()) return false;
  }
  return true;
}

// What to launch now, with its units of the device; null: nothing waits, or there is no room.
//   thread   the number of this thread
Work* RuntimeCore::take(int thread) noexcept {
  Lane* const lane = choose();
  if (lane == nullptr || units_free_ == 0) return nullptr;
  const int units = lane->next_units(is_alone(*lane));
  if (units > units_free_) return nullptr;
  Work& work = lane->take(thread);
  work.units = units;
  units_free_ -= units;
  lane->units_ += units;
  work.charged = fair_share_.begin(*lane);
  ++lane->calls_;
  return &work;
}

// Whether a thread can take work now. If the device is full, the thread that makes room takes the work; if a thread
// launches, it looks again after that.
bool RuntimeCore::may_launch() const noexcept { return units_free_ > 0 && !launching_; }

Doorbell::Call RuntimeCore::announce(TimePoint now) noexcept {
  mutex_.assert_held();
  return may_launch() ? doorbell_.announce(now) : Doorbell::Call();
}

Doorbell::Call RuntimeCore::release(Lane& lane, Work& work, Duration cost) noexcept {
  mutex_.assert_held();
  units_free_ += work.units;
  lane.units_ -= work.units;
  fair_share_.end(lane, work.charged, static_cast<double>(cost.count()) * work.units);
  // A worker that releases looks for more itself.
  if (launch_blocks_ || !anything_waits()) return Doorbell::Call();
  return announce(Doorbell::kLate);
}

// Another device that has room and threads that nobody has called, while work for it waits: the work was announced
// on this device, and something else has taken the room. Null: there is none.
RuntimeCore* RuntimeCore::idle_sibling() noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  for (RuntimeCore* const sibling : siblings_) {
    if (sibling->may_launch() && sibling->doorbell_.can_be_called() && sibling->anything_waits())
      return sibling;
  }
  return nullptr;
}

void RuntimeCore::end_call(Lane& lane) noexcept {
  if (--lane.calls_ == 0) left_.notify_all();
}

// Takes a piece of work and launches it, and ends it if launches block or it cannot be launched. Releases the lock
// meanwhile. Clang's analysis cannot follow a lock that is passed in.
//   thread    the number of this thread
//   returns   false: there is nothing that this thread can take now
bool RuntimeCore::launch_next(MutexLock& lock, int thread) noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  if (launching_) return false;
  Work* const work = take(thread);
  if (work == nullptr) return false;
  launching_ = !launch_blocks_;
  // If a wide launch has ended, there may be room for more than one.
  const bool more = launch_blocks_ && units_free_ > 0 && doorbell_.all_asleep() && anything_waits();
  const Doorbell::Call call = more ? doorbell_.announce(Doorbell::kLate) : Doorbell::Call();
  RuntimeCore* const sibling = siblings_.empty() ? nullptr : idle_sibling();
  const Doorbell::Call sibling_call =
      sibling == nullptr ? Doorbell::Call() : sibling->doorbell_.announce(Doorbell::kLate);
  Lane& lane = work->lane;
  lock.unlock();
  wake(call);
  if (sibling != nullptr) sibling->wake(sibling_call);
  const bool is_out = work->start();
  if (is_out) hand_to_poller(*work);
  lock.lock();
  launching_ = false;
  if (!is_out) end_call(lane);
  return true;
}

// On each worker, or on the launcher.
void RuntimeCore::run_work() {
  name_thread(launch_blocks_ ? "inflight-worker" : "inflight-launch");
  wake_on_time();
  MutexLock lock(mutex_);
  const int thread = numbered_++;
  while (true) {
    if (launch_next(lock, thread)) continue;
    if (stopping_) return;
    doorbell_.wait(lock, !anything_waits());
  }
}

// ---- The loss of the device

void RuntimeCore::look_for_loss() noexcept {
  if (const Status lost = call_user([this] { return backend_->device_status(); }); !lost.ok()) lose(lost);
}

// Before any launch shows as failed for that reason: a caller that sees it also sees that the device takes no more.
void RuntimeCore::lose(const Status& why) noexcept {
  MutexLock lock(mutex_);
  if (!lost_.ok()) return;
  lost_ = why;
  for (Lane* lane = lanes_.front(); lane != nullptr; lane = lanes_.after(*lane)) {
    lane->lost(why);
    lane->loss_is_over_ = false;
  }
  while (true) {
    Lane* lane = lanes_.front();
    while (lane != nullptr && lane->loss_is_over_) lane = lanes_.after(*lane);
    if (lane == nullptr) return;
    lane->loss_is_over_ = true;
    ++lane->calls_;
    lock.unlock();
    lane->after_loss();
    lock.lock();
    end_call(*lane);
  }
}

// ---- The timekeeper

Status RuntimeCore::need_timekeeper() {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(timekeeper_started_, true)) return Status();
  }
  Status started = start_thread(&RuntimeCore::keep_time);
  if (!started.ok()) {
    const MutexLock lock(mutex_);
    timekeeper_started_ = false;
  }
  return started;
}

void RuntimeCore::wake_at_changed(TimePoint when) noexcept {
  mutex_.assert_held();
  if (when < sleeps_until_) time_.notify_one();
}

void RuntimeCore::keep_time() {
  name_thread("inflight-time");
  wake_on_time();
  MutexLock lock(mutex_);
  while (!stopping_) {
    Lane* first = lanes_.front();
    for (Lane* lane = first; lane != nullptr; lane = lanes_.after(*lane)) {
      if (lane->wake_at() < first->wake_at()) first = lane;
    }
    sleeps_until_ = first == nullptr ? TimePoint::max() : first->wake_at();
    if (sleeps_until_ == TimePoint::max()) {
      time_.wait(lock);
    } else if (sleeps_until_ > steady_clock().now()) {
      time_.wait_until(lock, sleeps_until_);
    } else {
      ++first->calls_;
      lock.unlock();
      first->time_passed();
      lock.lock();
      end_call(*first);
    }
  }
}

}  // namespace inflight::internal
