// SPDX-License-Identifier: Apache-2.0
// co_await for arrays and predictions, in any coroutine type: Status status = co_await ready(handle,
// executor);
#pragma once

#include <coroutine>
#include <utility>

#include "inflight/executor.h"
#include "inflight/internal/completion.h"
#include "inflight/status.h"

namespace inflight {

namespace internal {

// Lives in the coroutine's frame, and is itself the listener: waiting allocates nothing.
template <typename Handle>
class [[nodiscard]] ReadyAwaiter final : private Waiter {
 public:
  ReadyAwaiter(const Handle& handle, Executor& executor) : handle_(handle), executor_(executor) {}
  ReadyAwaiter(const ReadyAwaiter&) = delete;
  ReadyAwaiter& operator=(const ReadyAwaiter&) = delete;
  // A coroutine that is destroyed while it waits is not told any more.
  ~ReadyAwaiter() override {
    if (waiting_) handle_.version().completion.remove(*this);
  }

  // Never at once: what follows runs on the executor, also where the handle is ready already.
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) {
    coroutine_ = coroutine;
    waiting_ = true;
    // Once it is added, another thread may resume the coroutine, and this awaiter may be gone.
    if (!handle_.version().completion.add(*this)) resume();
  }
  Status await_resume() {
    waiting_ = false;
    return handle_.status();
  }

 private:
  void completed() override { resume(); }
  void resume() {
    const std::coroutine_handle<> coroutine = coroutine_;
    executor_.execute([coroutine] { coroutine.resume(); });  // an inline executor ends this awaiter meanwhile
  }

  const Handle handle_;
  Executor& executor_;
  std::coroutine_handle<> coroutine_;
  bool waiting_ = false;
};

}  // namespace internal

// To be awaited: suspends the coroutine until `handle` (an NDArray or a Prediction) is ready, then resumes it
// on the executor, exactly once; a handle that is ready already goes over the executor, too. Allocates
// nothing but what the executor does to keep a task.
//   handle     not empty; shared until the coroutine goes on
//   executor   must outlive that, and run its tasks: one that ends without doing so leaves the coroutine
//              suspended. With an InlineExecutor the coroutine goes on on the thread that completes, which it
//              holds up, and awaiting many that are ready already nests as many calls.
//   returns    from co_await: the handle's status(), ok or why it failed
//   thread     any. The coroutine may be destroyed while it waits only if nothing can complete the handle
//              meanwhile, and no task of it is left with the executor.
template <typename Handle>
internal::ReadyAwaiter<Handle> ready(const Handle& handle, Executor& executor) {
  return {handle, executor};
}

}  // namespace inflight
