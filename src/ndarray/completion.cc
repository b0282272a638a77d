// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/completion.h"

#include <array>
#include <memory>
#include <thread>

#include "base/check.h"
#include "base/futex.h"
#include "base/user_code.h"

namespace inflight::internal {
namespace {

// How long a wait looks before it sleeps: about what it costs to sleep and be woken.
constexpr Duration kSpin = std::chrono::microseconds(50);
constexpr int kLooksPerRound = 16;

}  // namespace

// The notifications that nest on one thread. The outermost one keeps a list of those that would nest too
// deep.
class Notifying {
 public:
  static void notify(Completion& completion, RefCounted* owner) noexcept {
    if (outermost_ == nullptr) {
      Notifying outermost;
      outermost.run(completion);
    } else if (depth_ < Completion::kDepthMax || owner == nullptr) {
      ++depth_;
      completion.call_waiters();
      --depth_;
    } else {
      owner->ref();
      completion.owner_ = owner;
      outermost_->later_.push_back(completion);
    }
  }

 private:
  void run(Completion& first) noexcept {
    outermost_ = this;
    depth_ = 1;
    first.call_waiters();
    while (Completion* const completion = later_.pop_front()) {
      const auto owner = Ref<RefCounted>::adopt(std::exchange(completion->owner_, nullptr));
      completion->call_waiters();
    }
    outermost_ = nullptr;
  }

  static thread_local Notifying* outermost_;
  static thread_local int depth_;
  List<Completion, Completion> later_;
};

thread_local Notifying* Notifying::outermost_ = nullptr;
thread_local int Notifying::depth_ = 0;

void Completion::publish(Status status) noexcept {
  status_ = std::move(status);
  const std::uint32_t before = state_.exchange(kReady, std::memory_order_acq_rel);
  INFLIGHT_CHECK(before != kReady);
  was_parked_ = before == kParked;
}

void Completion::notify(RefCounted* owner) noexcept {
  if (was_parked_) futex_wake_all(state_);
  {
    const MutexLock lock(mutex_);
    if (waiters_.empty()) return;  // none is added any more
  }
  Notifying::notify(*this, owner);
}

void Completion::call_waiters() noexcept {
  while (true) {
    Waiter* waiter = nullptr;
    {
      const MutexLock lock(mutex_);
      waiter = waiters_.pop_front();
    }
    if (waiter == nullptr) return;
    waiter->completed();
  }
}

bool Completion::wait_impl(const TimePoint* until) const noexcept {
  if (until != nullptr && *until <= steady_clock().now()) return ready();
  TimePoint enough{};
  for (int round = 0;; ++round) {
    for (int look = 0; look < kLooksPerRound; ++look) {
      if (ready()) return true;
      spin_pause();
    }
    const TimePoint now = steady_clock().now();
    if (round == 0) enough = now + kSpin;
    if (now >= enough || (until != nullptr && now >= *until)) break;
    // The thread that completes it may need this processor.
    std::this_thread::yield();
  }
  while (true) {
    std::uint32_t seen = state_.load(std::memory_order_acquire);
    if (seen >= kReady) return true;
    if (seen == kPending && !state_.compare_exchange_weak(seen, kParked, std::memory_order_acq_rel)) continue;
    if (!futex_wait(state_, kParked, until)) return ready();
  }
}

void Completion::wait() const noexcept { wait_impl(nullptr); }

bool Completion::wait_until(TimePoint when) const noexcept { return wait_impl(&when); }

bool Completion::add(Waiter& waiter) noexcept {
  const MutexLock lock(mutex_);
  if (ready()) return false;
  waiters_.push_back(waiter);
  return true;
}

bool Completion::remove(Waiter& waiter) noexcept {
  const MutexLock lock(mutex_);
  if (!waiter.linked()) return false;
  waiters_.remove(waiter);
  return true;
}

void Completion::reset() noexcept {
  {
    const MutexLock lock(mutex_);
    INFLIGHT_CHECK(waiters_.empty());
  }
  status_ = Status();
  state_.store(kPending, std::memory_order_relaxed);
}

namespace {

class TaskWaiter final : public Waiter {
 public:
  TaskWaiter(Executor& executor, Task task) noexcept : executor_(executor), task_(std::move(task)) {}
  void completed() noexcept override { run(); }
  void run() noexcept {
    // A refusal is dropped: there is no caller to report it to, and nothing depends on the task.
    static_cast<void>(call_user([this] { return executor_.execute(std::move(task_)); }));
    delete this;
  }

 private:
  ~TaskWaiter() override = default;
  Executor& executor_;
  Task task_;
};

// What the waiters of one wait_any() call share. It lives on the stack of that call.
struct AnyWait {
  Mutex mutex;
  CondVar called_changed;
  std::size_t called INFLIGHT_GUARDED_BY(mutex) = 0;  // how many of the waiters have been called
};

class AnyWaiter final : public Waiter {
 public:
  ~AnyWaiter() override = default;
  void completed() noexcept override {
    // All of it under the lock: once that is free, the call may return, and this and `wait` are gone.
    const MutexLock lock(wait->mutex);
    ++wait->called;
    wait->called_changed.notify_one();
  }
  AnyWait* wait = nullptr;
};

}  // namespace

void on_ready(Completion& completion, Executor& executor, Task task) {
  auto* waiter = new TaskWaiter(executor, std::move(task));
  if (!completion.add(*waiter)) waiter->run();
}

std::optional<std::size_t> wait_any(std::size_t count, Completion& (*at)(const void*, std::size_t),
                                    const void* handles, const TimePoint* until) {
  const auto first_ready = [&]() -> std::optional<std::size_t> {
    for (std::size_t i = 0; i < count; ++i) {
      if (at(handles, i).ready()) return i;
    }
    return std::nullopt;
  };
  if (count == 0) return std::nullopt;
  if (const auto ready = first_ready()) return ready;

  AnyWait wait;
  std::array<AnyWaiter, 16> in_place;
  std::unique_ptr<AnyWaiter[]> elsewhere;
  AnyWaiter* waiters = in_place.data();
  if (count > in_place.size()) {
    elsewhere.reset(new AnyWaiter[count]);
    waiters = elsewhere.get();
  }
  std::size_t added = 0;
  for (; added < count; ++added) {
    waiters[added].wait = &wait;
    if (!at(handles, added).add(waiters[added])) break;
  }
  if (added == count) {
    MutexLock lock(wait.mutex);
    while (wait.called == 0) {
      if (until == nullptr) {
        wait.called_changed.wait(lock);
      } else if (!wait.called_changed.wait_until(lock, *until)) {
        break;
      }
    }
  }
  std::size_t late = 0;  // those that have been called or are being called
  for (std::size_t i = 0; i < added; ++i) late += at(handles, i).remove(waiters[i]) ? 0 : 1;
  {
    MutexLock lock(wait.mutex);
    while (wait.called < late) wait.called_changed.wait(lock);
  }
  return first_ready();
}

}  // namespace inflight::internal
