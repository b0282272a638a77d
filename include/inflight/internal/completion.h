// SPDX-License-Identifier: Apache-2.0
// Completion: the one mechanism behind every way to wait.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "inflight/clock.h"
#include "inflight/executor.h"
#include "inflight/internal/spin_lock.h"
#include "inflight/status.h"

namespace inflight::internal {

// A place in a completion's list of those to tell. Its owner keeps it alive until it was told or removed.
class Waiter {
 public:
  // Called once, by the completing thread, with no lock of ours held. The waiter may be gone when it returns.
  virtual void completed() = 0;

 protected:
  virtual ~Waiter() = default;  // never deleted through this type

 private:
  friend class Completion;
  Waiter* prev_ = nullptr;
  Waiter* next_ = nullptr;
  bool linked_ = false;  // guarded by the completion's lock
};

// Something that happens once: pending, then ready with a status, for ever.
//
// Publishing and telling are two steps, so that an owner can make its own books agree with the new state
// before anybody acts on it: publish() is a store that pollers see at once; tell() wakes and calls everybody
// else.
class Completion {
 public:
  Completion() noexcept = default;
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // One acquire load. True once, true for ever; everything written before publish() is visible.
  bool ready() const noexcept { return state_.load(std::memory_order_acquire) >= kReady; }
  // How it went. Requires ready().
  const Status& status() const noexcept { return status_; }

  // Makes it ready. Exactly once; tell() must follow.
  void publish(Status status) noexcept;
  // Wakes those who wait and calls every Waiter. Exactly once, after publish(), with no lock held by the
  // caller that a waiter could want. The caller keeps the completion alive meanwhile.
  void tell() noexcept;
  void complete(Status status) noexcept {
    publish(std::move(status));
    tell();
  }

  // Spins briefly, then parks until ready.
  void wait() const noexcept;
  // False: the time came first.
  bool wait_until(TimePoint when) const noexcept;

  // False: already ready, and the waiter was not taken and will not be called.
  bool add(Waiter& waiter) noexcept;
  // True: taken back, and will not be called. False: it has been called, or is being called right now.
  bool remove(Waiter& waiter) noexcept;

  // For a pooled owner: pending again. Requires that nobody else knows this completion.
  void reset() noexcept;

 private:
  // kPending -> (kParked ->) kReady; no other step exists.
  static constexpr std::uint32_t kPending = 0;
  static constexpr std::uint32_t kParked = 1;  // pending, and somebody sleeps on state_
  static constexpr std::uint32_t kReady = 2;

  bool wait_impl(const TimePoint* until) const noexcept;

  mutable std::atomic<std::uint32_t> state_{kPending};
  bool was_parked_ = false;  // from publish() to tell(), both the completer's
  SpinLock lock_;
  Waiter* head_ = nullptr;  // guarded by lock_
  Status status_;           // written once, before state_ becomes kReady
};

// Calls `task` on `executor` once `completion` is ready, at once where it is. The task must keep the
// completion's owner alive (by capturing a share).
void on_ready(Completion& completion, Executor& executor, Task task);

// The lowest index among those that are ready, waiting for one if none is; nothing where `until` passes
// first.
//   until    null: for ever
//   requires at least one completion
std::optional<std::size_t> wait_any(std::span<Completion* const> completions, const TimePoint* until);

// The same for what has completions.
//   completion   tells the completion of one of `handles`
template <typename Handle, typename CompletionOf>
std::optional<std::size_t> wait_any(std::span<const Handle> handles, const TimePoint* until,
                                    CompletionOf completion) {
  std::vector<Completion*> completions;
  completions.reserve(handles.size());
  for (const Handle& handle : handles) completions.push_back(&completion(handle));
  return wait_any(std::span<Completion* const>(completions), until);
}

// Waits until all are ready. Touches no list and allocates nothing.
//   until        null: for ever
//   completion   tells the completion of one of `handles`
//   returns      the failure of the lowest index that has one, or ok; kDeadlineExceeded: the time came first
template <typename Handle, typename CompletionOf>
Status wait_all(std::span<const Handle> handles, const TimePoint* until, CompletionOf completion) {
  // From the back: what was ordered last mostly ends last, and those before it then cost a load each instead
  // of a sleep each.
  for (std::size_t i = handles.size(); i-- > 0;) {
    const Completion& waited = completion(handles[i]);
    if (until == nullptr) {
      waited.wait();
    } else if (!waited.wait_until(*until)) {
      return Status(StatusCode::kDeadlineExceeded, "not all were ready in time");
    }
  }
  for (const Handle& handle : handles) {
    if (const Status& status = completion(handle).status(); !status.ok()) return status;
  }
  return Status();
}

}  // namespace inflight::internal
