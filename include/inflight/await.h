// SPDX-License-Identifier: Apache-2.0
// co_await for arrays and predictions, in any coroutine type:
//
//   Status status = co_await ready(handle, executor);
#pragma once

#include <coroutine>
#include <utility>

#include "inflight/executor.h"
#include "inflight/internal/completion.h"
#include "inflight/status.h"

namespace inflight {

namespace internal {

// What resumes a coroutine once a completion is ready. It lives in the coroutine's frame, so waiting
// allocates nothing.
class Resumer : protected Waiter {
 public:
  Resumer(const Resumer&) = delete;
  Resumer& operator=(const Resumer&) = delete;

 protected:
  explicit Resumer(Executor& executor) noexcept : executor_(executor) {}
  ~Resumer() override = default;
  // False: the coroutine goes on at once on this thread. True: it is resumed later, and this may be gone
  // already.
  bool suspend(Completion& completion, std::coroutine_handle<> coroutine) noexcept;
  // Ok, or why the executor did not take the coroutine.
  const Status& refused() const noexcept { return refused_; }

 private:
  void completed() noexcept override;
  bool hand_over() noexcept;

  Executor& executor_;
  std::coroutine_handle<> coroutine_;
  Status refused_;
};

template <typename Handle>
class [[nodiscard]] ReadyAwaiter final : private Resumer {
 public:
  ReadyAwaiter(const Handle& handle, Executor& executor) : Resumer(executor), handle_(handle) {}
  // A coroutine that is destroyed while it waits is not resumed any more.
  ~ReadyAwaiter() override {
    if (waiting_) handle_.completion().remove(*this);
  }

  bool await_ready() const noexcept { return false; }  // also what is ready already goes over the executor
  bool await_suspend(std::coroutine_handle<> coroutine) noexcept {
    waiting_ = true;
    return suspend(handle_.completion(), coroutine);
  }
  Status await_resume() {
    waiting_ = false;
    return refused().ok() ? handle_.status() : refused();
  }

 private:
  const Handle handle_;
  bool waiting_ = false;
};

}  // namespace internal

// To be awaited: suspends the coroutine until `handle` (an NDArray or a Prediction) is ready, then resumes it
// on the executor, exactly once. A handle that is ready already goes over the executor, too. Allocates
// nothing but what the executor needs to keep a task.
//   handle     not empty; kept until the coroutine goes on
//   executor   outlives that, and runs its tasks: one that drops a task that it took leaves the coroutine
//              suspended. Where it runs the task inside execute(), as InlineExecutor does, the coroutine goes
//              on when execute() has returned, on that thread, which it holds up. Awaiting many handles in a
//              row then nests no calls.
//   returns    from co_await: the handle's status(), ok or why it failed. Where the executor refused the task
//              or threw: that status instead, on the thread that completed the handle.
//   thread     any. A coroutine that waits may be destroyed only where nothing can complete the handle
//              meanwhile and the executor has no task of it.
template <typename Handle>
internal::ReadyAwaiter<Handle> ready(const Handle& handle, Executor& executor) {
  return {handle, executor};
}

}  // namespace inflight
