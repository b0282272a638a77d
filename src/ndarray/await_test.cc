// SPDX-License-Identifier: Apache-2.0
#include "inflight/await.h"

#include <gtest/gtest.h>

#include <atomic>
#include <coroutine>
#include <exception>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/test_stress.h"
#include "inflight/ndarray.h"
#include "ndarray/ndarray_test_support.h"

namespace inflight {
namespace {

constexpr int kRounds = 2'000 * kStress;

// A coroutine that starts at once and that no code waits for.
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
  EXPECT_EQ(pending.shares(), 1U);  // the coroutine holds it no more
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

// One thread completes while the coroutine moves between the threads of a pool. If a resumption is lost, the
// test hangs; if there is one too many, a count is wrong.
TEST(AwaitTest, NoResumptionIsLostOrMadeTwice) {
  const auto pool = ThreadPool::make(2).value();
  ThreadPool& executor = *pool;
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

TEST(AwaitTest, AwaitingManyThatAreReadyNeedsNoStack) {
  InlineExecutor executor;
  Pending pending;
  pending.complete();
  std::atomic<int> total{0};
  std::atomic<bool> done{false};
  constexpr int kMany = 1'000'000;
  sum(std::vector<NDArray>(kMany, pending.array()), executor, total, done);
  EXPECT_TRUE(done);
  EXPECT_EQ(total, kMany);
}

// Each coroutine completes what the next one waits for.
Detached complete_after(NDArray array, Executor& executor, Pending& next, std::atomic<int>& resumed) {
  const Status status = co_await ready(array, executor);
  if (status.ok()) resumed.fetch_add(1);
  next.complete();
}

TEST(AwaitTest, AChainOfCoroutinesNeedsNoStack) {
  InlineExecutor executor;
  std::vector<Pending> pending(100'001);
  std::atomic<int> resumed{0};
  for (std::size_t i = 0; i + 1 < pending.size(); ++i) {
    complete_after(pending[i].array(), executor, pending[i + 1], resumed);
  }
  pending[0].complete();
  EXPECT_EQ(resumed, 100'000);
}

TEST(AwaitTest, WhereTheExecutorRefusesTheCoroutineGoesOnWithItsStatus) {
  struct Refusing final : Executor {
    Status execute(Task) override {
      if (throws) throw std::runtime_error("executor");
      return failure("refused");
    }
    bool throws = false;
  } executor;
  for (const bool ready_before : {false, true}) {
    for (const bool throws : {false, true}) {
      executor.throws = throws;
      Pending pending;
      if (ready_before) pending.complete();
      std::atomic<int> resumed{0};
      Status status;
      count_after(pending.array(), executor, resumed, status);
      if (!ready_before) pending.complete();
      EXPECT_EQ(resumed, 1);
      EXPECT_EQ(status.message(), throws ? "executor" : "refused");
    }
  }
}

}  // namespace
}  // namespace inflight
