// SPDX-License-Identifier: Apache-2.0
#include "transfer/device_thread.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/scheduling.h"
#include "inflight/clock.h"

namespace inflight::internal {
namespace {

// It looks without a pause at first, then every so often: as the poller of a runtime.
constexpr int kLooks = 512;
constexpr Duration kPause = std::chrono::microseconds(20);
constexpr int kLooksPerStatus = 256;
constexpr int kPausesPerStatus = 32;
// For what is out when the thread is to end; then it counts as lost.
constexpr Duration kEndsWithin = std::chrono::seconds(1);

Status ended() { return Status(StatusCode::kShuttingDown, "the device's arrays have ended"); }

}  // namespace

struct DeviceThread::State {
  using Works = List<DeviceWork, DeviceWork>;

  Mutex mutex;
  CondVar wake;
  Works pushed INFLIGHT_GUARDED_BY(mutex);
  bool stopping INFLIGHT_GUARDED_BY(mutex) = false;
  std::atomic<bool> any_pushed{false};
  Works out;  // the thread's own
};

Result<std::unique_ptr<DeviceThread>> DeviceThread::start() {
  std::unique_ptr<DeviceThread> made(new DeviceThread(std::make_shared<State>()));
  try {
    const BatchScheduling batch;
    made->thread_ = std::thread([state = made->state_] { run(*state); });
  } catch (const std::system_error&) {
    return Status(StatusCode::kOutOfMemory, "no more threads");
  }
  return made;
}

DeviceThread::~DeviceThread() { stop(); }

void DeviceThread::push(DeviceWork& work) noexcept {
  {
    const MutexLock lock(state_->mutex);
    if (!state_->stopping) {
      state_->pushed.push_back(work);
      state_->any_pushed.store(true, std::memory_order_release);
      state_->wake.notify_one();
      return;
    }
  }
  work.end(ended(), DeviceWork::Fate::kDone);
}

void DeviceThread::stop() noexcept {
  {
    const MutexLock lock(state_->mutex);
    state_->stopping = true;
    state_->any_pushed.store(true, std::memory_order_release);
  }
  state_->wake.notify_one();
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

namespace {

// Ends the work that is done or lost. True: there was any.
template <typename Works>
bool end_what_is_done(Works& out, bool asks_status, bool gives_up) noexcept {
  bool any = false;
  for (DeviceWork* work = out.front(); work != nullptr;) {
    DeviceWork* const next = out.after(*work);
    const Result<bool> done = work->done();
    Status lost = done.status();
    if (lost.ok() && !*done && asks_status) lost = gives_up ? ended() : work->look();
    if (!lost.ok() || *done) {
      any = true;
      out.remove(*work);
      work->end(lost, lost.ok() ? DeviceWork::Fate::kDone : DeviceWork::Fate::kLost);
    }
    work = next;
  }
  return any;
}

}  // namespace

void DeviceThread::run(State& state) noexcept {
  name_thread("inflight-device");
  wake_on_time();
  int rounds = 0;
  bool stopping = false;
  TimePoint gives_up = TimePoint::max();
  while (true) {
    State::Works starting;
    if (state.out.empty() || state.any_pushed.load(std::memory_order_acquire)) {
      MutexLock lock(state.mutex);
      while (state.out.empty() && state.pushed.empty() && !state.stopping) state.wake.wait(lock);
      starting.append(state.pushed);
      state.any_pushed.store(false, std::memory_order_relaxed);
      stopping = state.stopping;
      if (stopping) gives_up = std::min(gives_up, deadline_after(kEndsWithin));
      if (stopping && starting.empty() && state.out.empty()) return;
      rounds = 0;
    }
    while (DeviceWork* const work = starting.pop_front()) {
      Status started = stopping ? ended() : work->start();
      if (started.ok()) {
        state.out.push_back(*work);
      } else {
        work->end(std::move(started), DeviceWork::Fate::kDone);
      }
    }
    const bool pauses = ++rounds >= kLooks;
    const bool asks_status = rounds % (pauses ? kPausesPerStatus : kLooksPerStatus) == 0;
    const bool late = asks_status && stopping && steady_clock().now() >= gives_up;
    if (end_what_is_done(state.out, asks_status, late)) {
      rounds = 0;
    } else if (pauses) {
      steady_clock().sleep_until(steady_clock().now() + kPause);
    } else if (!state.out.empty()) {
      spin_pause();
    }
  }
}

}  // namespace inflight::internal
