// SPDX-License-Identifier: Apache-2.0
// Completion: the one mechanism behind every way to wait.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "inflight/clock.h"
#include "inflight/executor.h"
#include "inflight/internal/list.h"
#include "inflight/internal/mutex.h"
#include "inflight/internal/ref.h"
#include "inflight/status.h"

namespace inflight::internal {

// What a completion calls when it is ready. Its owner keeps it alive until it was called or removed.
class Waiter : private ListLink<Waiter> {
 public:
  // Called once, on the completing thread, with no lock of ours held. The waiter may be gone when it returns.
  virtual void completed() = 0;

 protected:
  virtual ~Waiter() = default;  // never deleted through this type

 private:
  friend class Completion;
  friend class List<Waiter, Waiter>;
};

// Something that happens once: pending, then ready with a status, for ever.
//
// Publishing and notifying are two steps, so that an owner can update its own state in between:
// publish() is a store that pollers see at once; notify() wakes the threads that wait and calls the waiters,
// in the order in which they were added.
//
// A waiter may complete something else, whose waiters complete the next, and so on. Such calls nest to a
// depth of kDepthMax on one thread. Past it the waiters are called when the outermost of those calls is about
// to return, so no chain of completions overflows the stack.
class Completion : private ListLink<Completion> {
 public:
  static constexpr int kDepthMax = 8;

  Completion() noexcept = default;
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // One acquire load. True once, true for ever; everything written before publish() is visible.
  bool ready() const noexcept { return state_.load(std::memory_order_acquire) >= kReady; }
  // How it ended. Requires ready().
  const Status& status() const noexcept { return status_; }

  // Makes it ready. Exactly once; notify() must follow.
  void publish(Status status) noexcept;
  // Wakes the threads that wait and calls the waiters. Exactly once, after publish(), while the caller holds
  // no lock that a waiter could take. Allocates nothing.
  //   owner   what the completion is a part of. It gets a reference if the waiters are called after this
  //           returns. Null: they are always called before that; then the caller keeps the completion alive,
  //           and nothing bounds the depth.
  void notify(RefCounted* owner) noexcept;
  void complete(Status status, RefCounted* owner = nullptr) noexcept {
    publish(std::move(status));
    notify(owner);
  }

  // Looks for at most 50 us, then sleeps until ready.
  void wait() const noexcept;
  // The same, until `when` at most.
  //   returns  false: the time came first
  bool wait_until(TimePoint when) const noexcept;

  // False: it is ready already; the waiter was not added and will not be called.
  bool add(Waiter& waiter) noexcept INFLIGHT_EXCLUDES(mutex_);
  // True: it was removed and will not be called. False: it has been called, or is being called at this
  // moment.
  bool remove(Waiter& waiter) noexcept INFLIGHT_EXCLUDES(mutex_);

  // Whether there is a waiter to be called. Once it is ready, none is added.
  bool has_waiters() noexcept INFLIGHT_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return !waiters_.empty();
  }

  // For a pooled owner: pending again. Requires that no other code refers to this completion.
  void reset() noexcept;

 private:
  friend class List<Completion, Completion>;
  friend class Notifying;
  // kPending -> (kParked ->) kReady; no other step exists.
  static constexpr std::uint32_t kPending = 0;
  static constexpr std::uint32_t kParked = 1;  // pending, and a thread sleeps on state_
  static constexpr std::uint32_t kReady = 2;

  bool wait_impl(const TimePoint* until) const noexcept;
  void call_waiters() noexcept INFLIGHT_EXCLUDES(mutex_);

  mutable std::atomic<std::uint32_t> state_{kPending};
  bool was_parked_ = false;  // from publish() to notify(), both the completer's
  Mutex mutex_;
  List<Waiter, Waiter> waiters_ INFLIGHT_GUARDED_BY(mutex_);
  RefCounted* owner_ = nullptr;  // referenced, while the waiters wait to be called by an outer notify()
  Status status_;                // written once, before state_ becomes kReady
};

// Gives `task` to `executor` once `completion` is ready, at once if it is. The task keeps the completion's
// owner alive (by capturing a reference). If the executor refuses it or throws, the task is destroyed. Throws
// std::bad_alloc, having changed nothing.
void on_ready(Completion& completion, Executor& executor, Task task);

// The lowest index of those that are ready. If none is, waits for one. Up to 16 handles need no memory; with
// more, it may throw std::bad_alloc, and has then changed nothing.
//   count     0: returns no value at once
//   at        gives the completion of the handle with this index
//   until     null: for ever
//   returns   no value: the time came first
std::optional<std::size_t> wait_any(std::size_t count,
                                    Completion& (*at)(const void* handles, std::size_t index),
                                    const void* handles, const TimePoint* until);

}  // namespace inflight::internal
