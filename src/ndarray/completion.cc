// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/completion.h"

#include <deque>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/futex.h"

namespace inflight::internal {
namespace {

// How long a wait looks before it parks: about what it costs to sleep and be woken.
constexpr Duration kSpin = std::chrono::microseconds(50);
constexpr int kLooksPerRound = 16;

}  // namespace

void Completion::publish(Status status) noexcept {
  status_ = std::move(status);
  const std::uint32_t before = state_.exchange(kReady, std::memory_order_acq_rel);
  INFLIGHT_CHECK(before != kReady);
  was_parked_ = before == kParked;
}

void Completion::tell() noexcept {
  if (was_parked_) futex_wake_all(state_);
  while (true) {
    Waiter* waiter = nullptr;
    {
      const std::lock_guard lock(lock_);
      waiter = head_;
      if (waiter == nullptr) return;
      head_ = waiter->next_;
      if (head_ != nullptr) head_->prev_ = nullptr;
      waiter->linked_ = false;
    }
    waiter->completed();
  }
}

bool Completion::wait_impl(const TimePoint* until) const noexcept {
  if (until != nullptr && *until <= steady_clock().now()) return ready();
  TimePoint enough{};
  for (int round = 0;; ++round) {
    for (int look = 0; look < kLooksPerRound; ++look) {
      if (ready()) return true;
      SpinLock::pause();
    }
    const TimePoint now = steady_clock().now();
    if (round == 0) enough = now + kSpin;
    if (now >= enough || (until != nullptr && now >= *until)) break;
    // Whoever is to complete it may have been put on this very processor.
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
  const std::lock_guard lock(lock_);
  if (ready()) return false;
  waiter.prev_ = nullptr;
  waiter.next_ = head_;
  if (head_ != nullptr) head_->prev_ = &waiter;
  head_ = &waiter;
  waiter.linked_ = true;
  return true;
}

bool Completion::remove(Waiter& waiter) noexcept {
  const std::lock_guard lock(lock_);
  if (!waiter.linked_) return false;
  (waiter.prev_ == nullptr ? head_ : waiter.prev_->next_) = waiter.next_;
  if (waiter.next_ != nullptr) waiter.next_->prev_ = waiter.prev_;
  waiter.linked_ = false;
  return true;
}

void Completion::reset() noexcept {
  INFLIGHT_CHECK(head_ == nullptr);
  status_ = Status();
  state_.store(kPending, std::memory_order_relaxed);
}

namespace {

class TaskWaiter final : public Waiter {
 public:
  TaskWaiter(Executor& executor, Task task) : executor_(executor), task_(std::move(task)) {}
  void completed() override { run(); }
  void run() {
    executor_.execute(std::move(task_));
    delete this;
  }

 private:
  ~TaskWaiter() override = default;
  Executor& executor_;
  Task task_;
};

// One completion's part in a wait_any() call, which sleeps on `woken`.
class AnyWaiter final : public Waiter {
 public:
  explicit AnyWaiter(std::atomic<std::uint32_t>& woken) : woken_(woken) {}
  void completed() override {
    woken_.store(1, std::memory_order_release);
    futex_wake_all(woken_);
    done_.store(true,
                std::memory_order_release);  // the last touch: the call may return as soon as it sees this
  }
  bool done() const { return done_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::uint32_t>& woken_;
  std::atomic<bool> done_{false};
};

std::optional<std::size_t> first_ready(std::span<Completion* const> completions) {
  for (std::size_t i = 0; i < completions.size(); ++i) {
    if (completions[i]->ready()) return i;
  }
  return std::nullopt;
}

}  // namespace

void on_ready(Completion& completion, Executor& executor, Task task) {
  auto* waiter = new TaskWaiter(executor, std::move(task));
  if (!completion.add(*waiter)) waiter->run();
}

std::optional<std::size_t> wait_any(std::span<Completion* const> completions, const TimePoint* until) {
  INFLIGHT_CHECK(!completions.empty());
  if (const auto ready = first_ready(completions)) return ready;
  std::atomic<std::uint32_t> woken{0};
  std::deque<AnyWaiter> waiters;  // never moves its elements
  for (Completion* completion : completions) {
    if (!completion->add(waiters.emplace_back(woken))) {
      waiters.pop_back();
      break;
    }
  }
  if (waiters.size() == completions.size()) {
    while (woken.load(std::memory_order_acquire) == 0 && futex_wait(woken, 0, until)) {
    }
  }
  for (std::size_t i = 0; i < waiters.size(); ++i) {
    if (completions[i]->remove(waiters[i])) continue;
    while (!waiters[i].done()) std::this_thread::yield();
  }
  return first_ready(completions);
}

}  // namespace inflight::internal
