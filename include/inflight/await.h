// SPDX-License-Identifier: Apache-2.0
// co_await for arrays and predictions, in any coroutine type:
//
//   Status status = co_await ready(handle, executor);
//
// It never blocks a thread. examples/coroutine.cpp is a whole program.
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
  //   executor   lives until the coroutine has been resumed
  explicit Resumer(Executor& executor) noexcept : executor_(executor) {}
  ~Resumer() override = default;
  // False: the coroutine goes on at once on this thread. True: it is resumed later, and this object may be
  // gone already.
  bool suspend(Completion& completion, std::coroutine_handle<> coroutine) noexcept;
  // Ok, or why the executor did not take the coroutine.
  const Status& refused() const noexcept { return refused_; }

 private:
  // On the thread that completes the version.
  void completed() noexcept override;
  bool hand_over() noexcept;

  Executor& executor_;
  std::coroutine_handle<> coroutine_;
  Status refused_;
};

// What ready() returns: await it once, at once. It keeps the handle, and so its version, until the coroutine
// goes on.
template <typename Handle>
class [[nodiscard]] ReadyAwaiter final : private Resumer {
 public:
  ReadyAwaiter(const Handle& handle, Executor& executor) : Resumer(executor), handle_(handle) {}
  // A coroutine that is destroyed while it waits is not resumed.
  ~ReadyAwaiter() override {
    if (waiting_) handle_.completion().remove(*this);
  }

  // Never: a handle that is ready already also goes through the executor.
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> coroutine) noexcept {
    waiting_ = true;
    return suspend(handle_.completion(), coroutine);
  }
  // What co_await returns.
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
// on the executor, exactly once. A handle that is ready already goes through the executor, too. Allocates
// nothing itself; the executor may allocate to keep a task.
//   handle     not empty; a reference to its version is kept until the coroutine goes on
//   executor   must live until the coroutine has been resumed, and must run the tasks that it takes: if it
//              drops one, the coroutine stays suspended. If it runs a task inside execute(), as
//              InlineExecutor does, the coroutine goes on after execute() has returned, on the thread that
//              completed the handle, and delays it. So many awaits in a row do not nest calls.
//   returns    from co_await: the handle's status(), ok or why it failed. If the executor refused the task or
//              threw: that status instead, on the thread that completed the handle.
//   thread     any. Destroy a waiting coroutine only if no thread can complete the handle meanwhile and the
//              executor has no task of it.
template <typename Handle>
internal::ReadyAwaiter<Handle> ready(const Handle& handle, Executor& executor) {
  return {handle, executor};
}

}  // namespace inflight
