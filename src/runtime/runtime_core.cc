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
namespace {

// While launches are out, the poller reads every word in turn: first without a pause, for as long as a short inference
// takes, then with a sleep between the rounds, so that a long inference does not cost a core. A sleep makes an end
// known up to 70 us late, so on a machine with processors to spare it begins after the inferences of most networks.
constexpr Duration kPollSpin = std::chrono::milliseconds(2);
constexpr Duration kPollSpinFew = std::chrono::microseconds(150);  // on up to kProcessorsFew processors
constexpr int kProcessorsFew = 2;
constexpr int kPollsPerLook = 64;  // at the clock
constexpr Duration kPollSleep = std::chrono::microseconds(20);
// Rounds between two calls of Backend::device_status(): without a pause, and with one. A sleep may last milliseconds on a
// busy machine.
constexpr int kPollsPerDeviceStatus = 1024;
constexpr int kSleepsPerDeviceStatus = 32;

}  // namespace

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
Work* RuntimeCore::take() noexcept {
  Lane* const lane = choose();
  if (lane == nullptr || units_free_ == 0) return nullptr;
  const int units = lane->next_units(is_alone(*lane));
  if (units > units_free_) return nullptr;
  Work& work = lane->take();
  work.units = units;
  units_free_ -= units;
  lane->units_ += units;
  work.charged = fair_share_.begin(*lane);
  ++lane->calls_;
  return &work;
}

Doorbell::Wake RuntimeCore::announce(TimePoint now) noexcept {
  mutex_.assert_held();
  // If the device is full, the thread that makes room takes the work.
  return units_free_ > 0 ? doorbell_.announce(now) : Doorbell::Wake::kNobody;
}

Doorbell::Wake RuntimeCore::release(Lane& lane, Work& work, Duration cost) noexcept {
  mutex_.assert_held();
  units_free_ += work.units;
  lane.units_ -= work.units;
  fair_share_.end(lane, work.charged, static_cast<double>(cost.count()) * work.units);
  // A worker that releases looks for more itself.
  if (launch_blocks_ || !anything_waits()) return Doorbell::Wake::kNobody;
  return doorbell_.announce(Doorbell::kLate);
}

// Another device that has room and threads that nobody has called, while work for it waits: the work was announced
// on this device, and something else has taken the room. Null: there is none.
RuntimeCore* RuntimeCore::idle_sibling() noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  for (RuntimeCore* const sibling : siblings_) {
    if (sibling->has_room() && sibling->doorbell_.can_be_called() && sibling->anything_waits())
      return sibling;
  }
  return nullptr;
}

void RuntimeCore::end_call(Lane& lane) noexcept {
  if (--lane.calls_ == 0) left_.notify_all();
}

// On each worker, or on the launcher.
void RuntimeCore::run_work() {
  name_thread(launch_blocks_ ? "inflight-worker" : "inflight-launch");
  wake_on_time();
  MutexLock lock(mutex_);
  while (true) {
    Work* const work = take();
    if (work == nullptr) {
      if (stopping_) return;
      doorbell_.wait(lock, !anything_waits());
      continue;
    }
    // If a wide launch has ended, there may be room for more than one.
    const bool more = launch_blocks_ && units_free_ > 0 && doorbell_.all_asleep() && anything_waits();
    const Doorbell::Wake whom = more ? doorbell_.announce(Doorbell::kLate) : Doorbell::Wake::kNobody;
    RuntimeCore* const sibling = siblings_.empty() ? nullptr : idle_sibling();
    const Doorbell::Wake of_sibling =
        sibling == nullptr ? Doorbell::Wake::kNobody : sibling->doorbell_.announce(Doorbell::kLate);
    Lane& lane = work->lane;
    lock.unlock();
    wake(whom);
    if (sibling != nullptr) sibling->wake(of_sibling);
    if (work->start()) {
      hand_to_poller(*work);
      lock.lock();
    } else {
      lock.lock();
      end_call(lane);
    }
  }
}

// ---- Launches that are out

void RuntimeCore::hand_to_poller(Work& work) noexcept {
  {
    const MutexLock lock(launched_mutex_);
    launched_.push_back(&work);
    any_launched_.store(true, std::memory_order_release);
  }
  launched_wake_.notify_one();
}

void RuntimeCore::poll() {
  name_thread("inflight-poll");
  wake_on_time();
  const Duration spin = usable_processors() > kProcessorsFew ? kPollSpin : kPollSpinFew;
  int idle_rounds = 0;
  bool sleeps = false;
  TimePoint sleeps_from{};
  while (true) {
    if (out_.empty() || any_launched_.load(std::memory_order_acquire)) {
      MutexLock lock(launched_mutex_);
      while (out_.empty() && launched_.empty() && !polling_ends_) launched_wake_.wait(lock);
      out_.insert(out_.end(), launched_.begin(), launched_.end());
      launched_.clear();
      any_launched_.store(false, std::memory_order_relaxed);
      if (out_.empty()) return;
      idle_rounds = 0;
    }
    if (end_what_is_done()) {
      idle_rounds = 0;
      continue;
    }
    if (idle_rounds == 0) {
      sleeps = false;
      sleeps_from = steady_clock().now() + spin;
    }
    ++idle_rounds;
    if (!sleeps && idle_rounds % kPollsPerLook == 0) sleeps = steady_clock().now() >= sleeps_from;
    if (idle_rounds % (sleeps ? kSleepsPerDeviceStatus : kPollsPerDeviceStatus) == 0) {
      if (const Status lost = call_user([this] { return backend_->device_status(); }); !lost.ok())
        lose_all(lost);
    }
    if (sleeps) {
      steady_clock().sleep_until(steady_clock().now() + kPollSleep);
    } else {
      spin_pause();
    }
  }
}

// Ends the launches whose words show that they are done, in the order in which they were made: if one comes
// after another on the device, the word of the other has changed by then, and its end comes first. True: one
// was done.
bool RuntimeCore::end_what_is_done() noexcept {
  const auto last = std::find_if(out_.rbegin(), out_.rend(), [](const Work* work) { return work->done(); });
  if (last == out_.rend()) return false;
  for (auto work = out_.begin(); work != last.base(); ++work) {
    if ((*work)->done()) end_one(*std::exchange(*work, nullptr));
  }
  out_.erase(std::remove(out_.begin(), out_.end(), nullptr), out_.end());
  return true;
}

// After work.end(), the slot may be launched again at once.
void RuntimeCore::end_one(Work& work) noexcept {
  Lane& lane = work.lane;
  work.end();
  const MutexLock lock(mutex_);
  end_call(lane);
}

// No word will change any more: the launches that are out fail.
void RuntimeCore::lose_all(const Status& why) noexcept {
  lose(why);
  for (Work* const work : out_) {
    Lane& lane = work->lane;
    work->lose(why);
    const MutexLock lock(mutex_);
    end_call(lane);
  }
  out_.clear();
}

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
