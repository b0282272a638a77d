// SPDX-License-Identifier: Apache-2.0
#include "inflight/await.h"

#include <gtest/gtest.h>

#include <atomic>
#include <coroutine>
#include <exception>
#include <thread>
#include <vector>

#include "base/test_stress.h"
#include "inflight/ndarray.h"
#include "ndarray/ndarray_test_support.h"

namespace inflight {
namespace {

constexpr int kRounds = 2'000 * kStress;

// A coroutine that starts at once and that nobody waits for.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> coroutine;
};

// Parameters are copied into the frame, so that they live as long as the coroutine.
Detached count_after(NDArray array, Executor& executor, std::atomic<int>& resumed, Status& status) {
  status = co_await ready(array, executor);
  EXPECT_TRUE(array.can_read());
  resumed.fetch_add(1);
}

TEST(AwaitTest, ResumesOnTheExecutorOnce) {
  ManualExecutor executor;
  Pending pending;
  std::atomic<int> resumed{0};
  Status status;
  count_after(pending.array(), executor, resumed, status);
  EXPECT_EQ(executor.size(), 0U);
  pending.complete(Status(StatusCode::kDeviceError, "failed"));
  EXPECT_EQ(resumed, 0);
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(resumed, 1);
  EXPECT_EQ(status.message(), "failed");
  EXPECT_EQ(pending.shares(), 1U);  // the coroutine has let go
}

TEST(AwaitTest, GoesOverTheExecutorWhereItIsReadyAlready) {
  ManualExecutor executor;
  Pending pending;
  pending.complete();
  std::atomic<int> resumed{0};
  Status status(StatusCode::kInternal, "not set");
  count_after(pending.array(), executor, resumed, status);
  EXPECT_EQ(resumed, 0);
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(resumed, 1);
  EXPECT_TRUE(status.ok());
}

TEST(AwaitTest, AnInlineExecutorResumesOnTheThreadThatCompletes) {
  InlineExecutor executor;
  Pending pending;
  std::atomic<int> resumed{0};
  Status status;
  count_after(pending.array(), executor, resumed, status);
  pending.complete();
  EXPECT_EQ(resumed, 1);
  count_after(pending.array(), executor, resumed, status);
  EXPECT_EQ(resumed, 2);
  EXPECT_EQ(pending.shares(), 1U);
}

TEST(AwaitTest, ACoroutineMayBeDestroyedWhileItWaits) {
  ManualExecutor executor;
  Pending pending;
  std::atomic<int> resumed{0};
  Status status;
  const Detached waiting = count_after(pending.array(), executor, resumed, status);
  EXPECT_GT(pending.shares(), 1U);
  waiting.coroutine.destroy();
  EXPECT_EQ(pending.shares(), 1U);
  pending.complete();
  EXPECT_EQ(executor.size(), 0U);
  EXPECT_EQ(resumed, 0);
}

Detached sum(std::vector<NDArray> arrays, Executor& executor, std::atomic<int>& total,
             std::atomic<bool>& done) {
  for (const NDArray& array : arrays) {
    const Status status = co_await ready(array, executor);
    total.fetch_add(status.ok() ? 1 : 0);
  }
  done.store(true);
  done.notify_all();
}

// One thread completes while the coroutine wanders over a pool: a resumption lost hangs, one too many shows.
TEST(AwaitTest, NoResumptionIsLostOrMadeTwice) {
  ThreadPool executor(2);
  std::vector<Pending> pending(static_cast<std::size_t>(kRounds));
  std::vector<NDArray> arrays;
  for (const Pending& one : pending) arrays.push_back(one.array());
  std::atomic<int> total{0};
  std::atomic<bool> done{false};
  std::thread completer([&] {
    for (Pending& one : pending) one.complete();
  });
  sum(std::move(arrays), executor, total, done);
  done.wait(false);
  completer.join();
  EXPECT_EQ(total, kRounds);
}

}  // namespace
}  // namespace inflight
