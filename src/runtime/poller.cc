// SPDX-License-Identifier: Apache-2.0
// The poller of a device whose launches do not block: it ends launches and, while it is awake, makes them, too.
#include <algorithm>
#include <utility>

#include "base/scheduling.h"
#include "base/user_code.h"
#include "runtime/runtime_core.h"

namespace inflight::internal {
namespace {

// While launches are out, the poller reads every word in turn: first without a pause, for as long as a short inference
// takes, then with a sleep between the rounds, so that a long inference does not cost a core. A sleep makes an end
// known up to 70 us late, so on a machine with processors to spare it begins after the inferences of most networks.
//
// Once nothing is out, it spins on for as long as a caller may take to see the end and submit the next frame: one that
// slept until the end needs 10 to 60 us. That frame then wakes nobody. On two processors the caller wakes up where the
// poller spins, and later by as much: so the poller only looks kPollsPerLook times there.
struct Spins {
  Duration out;
  Duration nothing_out;
};
constexpr Spins kSpins{std::chrono::milliseconds(2), std::chrono::microseconds(100)};
constexpr Spins kSpinsFew{std::chrono::microseconds(150), Duration(0)};  // on up to kProcessorsFew processors
constexpr int kProcessorsFew = 2;
constexpr int kPollsPerLook = 64;  // at the clock
constexpr Duration kPollSleep = std::chrono::microseconds(20);
// Rounds between two calls of Backend::device_status(): without a pause, and with one. A sleep may last milliseconds on a
// busy machine.
constexpr int kPollsPerDeviceStatus = 1024;
constexpr int kSleepsPerDeviceStatus = 32;

}  // namespace

thread_local RuntimeCore* RuntimeCore::polled_here_ = nullptr;

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
  polled_here_ = this;
  const Spins& spin = usable_processors() > kProcessorsFew ? kSpins : kSpinsFew;
  int idle_rounds = 0;
  TimePoint spins_until{};
  while (true) {
    if (any_launched_.load(std::memory_order_acquire) || (out_.empty() && !watches_)) {
      if (!collect_launched()) return;
      idle_rounds = 0;
    }
    const bool ended = end_what_is_done();
    const bool launched = watches_ && doorbell_.poller_called() && answer(ended);
    if (ended || launched) idle_rounds = 0;
    if (idle_rounds == 0) {
      if (!watches_) watch_doorbell();
      spins_until = steady_clock().now() + (out_.empty() ? spin.nothing_out : spin.out);
    }
    ++idle_rounds;
    if (watches_ && idle_rounds % kPollsPerLook == 0 && steady_clock().now() >= spins_until) leave_doorbell();
    if (!out_.empty() && idle_rounds % (watches_ ? kPollsPerDeviceStatus : kSleepsPerDeviceStatus) == 0) {
      if (const Status lost = call_user([this] { return backend_->device_status(); }); !lost.ok())
        lose_all(lost);
    }
    if (watches_) {
      spin_pause();
    } else if (!out_.empty()) {
      steady_clock().sleep_until(steady_clock().now() + kPollSleep);
    }
  }
}

// Adds what was launched to what is out. If that is nothing, and it does not watch, it sleeps first until something was
// launched.
//   returns   false: nothing is out, and the runtime stops
bool RuntimeCore::collect_launched() noexcept {
  MutexLock lock(launched_mutex_);
  while (!watches_ && out_.empty() && launched_.empty() && !polling_ends_) launched_wake_.wait(lock);
  out_.insert(out_.end(), launched_.begin(), launched_.end());
  launched_.clear();
  any_launched_.store(false, std::memory_order_relaxed);
  return watches_ || !out_.empty();
}

// ---- The doorbell

// Whether there is work that a thread can take now. It may turn out that there is not enough room for it.
bool RuntimeCore::work_waits() const noexcept { return may_launch() && anything_waits(); }

// The launcher has been called for what came before.
void RuntimeCore::watch_doorbell() noexcept {
  const MutexLock lock(mutex_);
  doorbell_.poller_watches(false);
  watches_ = true;
}

// From now on another thread takes the work, also what this one was called for.
void RuntimeCore::leave_doorbell() noexcept {
  Doorbell::Call call;
  {
    const MutexLock lock(mutex_);
    if (doorbell_.poller_leaves() && anything_waits()) call = announce(Doorbell::kLate);
    watches_ = false;
  }
  wake(call);
}

void RuntimeCore::before_user_code() noexcept {
  if (polled_here_ != nullptr && polled_here_->watches_) polled_here_->leave_doorbell();
}

// Makes one launch, so that the words are looked at before the next one. If there is more to launch and launches
// end at the same time, there is enough to do for two threads, and the launcher does the launches.
//   ended     something has just ended
//   returns   whether it made a launch
bool RuntimeCore::answer(bool ended) noexcept {
  Doorbell::Call call;
  bool launched = false;
  {
    MutexLock lock(mutex_);
    launched = launch_next(lock, 0);  // the launcher's number
    const bool more = launched && work_waits();
    if (more && ended) {
      doorbell_.poller_leaves();
      call = announce(Doorbell::kLate);
    }
    doorbell_.poller_watches(more && !ended);
    watches_ = true;
  }
  wake(call);
  return launched;
}

// ---- Ends

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

}  // namespace inflight::internal
