// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/completion.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <latch>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "base/test_stress.h"

namespace inflight::internal {
namespace {

using std::chrono::milliseconds;

constexpr int kRounds = 2'000 * kStress;

TimePoint now() { return steady_clock().now(); }

Status failure() { return Status(StatusCode::kDeviceError, "failed"); }

class CountingWaiter final : public Waiter {
 public:
  void completed() override { calls.fetch_add(1); }
  std::atomic<int> calls{0};
};

// Takes a few nanoseconds to some tens of microseconds, so that waiters are reached while they look, park and
// sleep.
void dawdle(std::minstd_rand& random) {
  const auto spins = (1U << (random() % 14)) - 1;
  for (unsigned i = 0; i < spins; ++i) spin_pause();
  if (random() % 4 == 0) std::this_thread::yield();
}

TEST(CompletionTest, GoesFromPendingToReadyOnceAndKeepsItsStatus) {
  Completion completion;
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(completion.ready());
  completion.complete(failure());
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(completion.ready());
    EXPECT_EQ(completion.status().message(), "failed");
  }
  completion.wait();
  EXPECT_TRUE(completion.ready());
}

TEST(CompletionDeathTest, CompletesOnce) {
  const auto twice = [] {
    Completion completion;
    completion.complete(Status());
    completion.complete(Status());
  };
  EXPECT_DEATH(twice(), "check failed");
}

TEST(CompletionTest, PublishIsSeenByPollersBeforeAnybodyIsNotified) {
  Completion completion;
  CountingWaiter waiter;
  ASSERT_TRUE(completion.add(waiter));
  completion.publish(Status());
  EXPECT_TRUE(completion.ready());
  EXPECT_EQ(waiter.calls, 0);
  completion.wait();  // needs no notification
  CountingWaiter late;
  EXPECT_FALSE(completion.add(late));
  completion.notify(nullptr);
  EXPECT_EQ(waiter.calls, 1);
  EXPECT_EQ(late.calls, 0);
}

TEST(CompletionTest, AWaitEndsAtItsTime) {
  Completion completion;
  EXPECT_FALSE(completion.wait_until(TimePoint::min()));
  EXPECT_FALSE(completion.wait_until(TimePoint()));
  EXPECT_FALSE(completion.wait_until(now()));
  const TimePoint until = now() + milliseconds(2);
  EXPECT_FALSE(completion.wait_until(until));
  EXPECT_GE(now(), until);
  EXPECT_FALSE(completion.ready());
  // A thread slept on it, and none does any more.
  completion.complete(Status());
  EXPECT_TRUE(completion.wait_until(TimePoint::min()));
  EXPECT_TRUE(completion.wait_until(TimePoint::max()));
}

TEST(CompletionTest, WakesEverybodyWhoWaits) {
  std::minstd_rand random(1);
  for (int round = 0; round < kRounds / 20; ++round) {
    Completion completion;
    int value = 0;  // handed over by the completion alone
    std::latch started(4);
    std::atomic<int> saw{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        started.count_down();
        if (t == 0) {
          EXPECT_TRUE(completion.wait_until(TimePoint::max()));
        } else {
          completion.wait();
        }
        saw += value;
      });
    }
    started.arrive_and_wait();
    dawdle(random);
    value = 1;
    completion.complete(Status());
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(saw, 3);
  }
}

// One thread waits again and again, another completes again and again: a lost wake-up hangs here.
TEST(CompletionTest, NoWakeUpIsLost) {
  std::deque<Completion> completions(static_cast<std::size_t>(kRounds));
  std::vector<int> values(completions.size(), 0);
  std::thread completer([&] {
    std::minstd_rand random(2);
    for (std::size_t i = 0; i < completions.size(); ++i) {
      dawdle(random);
      values[i] = 1;
      completions[i].complete(Status());
    }
  });
  std::thread second([&] {
    for (Completion& completion : completions) completion.wait();
  });
  std::size_t sum = 0;
  for (std::size_t i = 0; i < completions.size(); ++i) {
    // Waits that time out leave the word "parked" without a sleeper: that must not confuse the next wait.
    while (i % 3 == 0 && !completions[i].wait_until(now() + std::chrono::microseconds(20))) {
    }
    completions[i].wait();
    sum += static_cast<std::size_t>(values[i]);
  }
  completer.join();
  second.join();
  EXPECT_EQ(sum, completions.size());
}

TEST(CompletionTest, AWaiterIsCalledOnceOrTakenBack) {
  Completion completion;
  std::array<CountingWaiter, 5> waiters;
  for (CountingWaiter& waiter : waiters) EXPECT_FALSE(completion.remove(waiter));
  for (CountingWaiter& waiter : waiters) ASSERT_TRUE(completion.add(waiter));
  EXPECT_TRUE(completion.remove(waiters[0]));  // each end and the middle
  EXPECT_TRUE(completion.remove(waiters[2]));
  EXPECT_TRUE(completion.remove(waiters[4]));
  EXPECT_FALSE(completion.remove(waiters[2]));
  EXPECT_TRUE(completion.add(waiters[2]));
  completion.complete(Status());
  const std::array<int, 5> calls = {0, 1, 1, 1, 0};
  for (std::size_t i = 0; i < waiters.size(); ++i) EXPECT_EQ(waiters[i].calls, calls[i]) << i;
  for (CountingWaiter& waiter : waiters) EXPECT_FALSE(completion.remove(waiter));
  EXPECT_FALSE(completion.add(waiters[0]));
}

TEST(CompletionTest, AddAndRemoveRaceWithCompleting) {
  std::minstd_rand random(3);
  for (int round = 0; round < kRounds / 10; ++round) {
    Completion completion;
    std::array<std::array<CountingWaiter, 8>, 2> waiters;
    std::array<std::array<int, 8>, 2> wanted{};
    std::latch start(3);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        start.arrive_and_wait();
        for (std::size_t i = 0; i < waiters[t].size(); ++i) {
          if (!completion.add(waiters[t][i])) continue;
          wanted[t][i] = 1;
          if (i % 2 == 0 && completion.remove(waiters[t][i])) wanted[t][i] = 0;
        }
        for (std::size_t i = 1; i < waiters[t].size(); i += 4) {
          if (completion.remove(waiters[t][i])) wanted[t][i] = 0;
        }
      });
    }
    start.arrive_and_wait();
    dawdle(random);
    completion.complete(Status());
    for (std::thread& thread : threads) thread.join();
    for (std::size_t t = 0; t < 2; ++t) {
      for (std::size_t i = 0; i < waiters[t].size(); ++i) ASSERT_EQ(waiters[t][i].calls, wanted[t][i]);
    }
  }
}

TEST(CompletionTest, AWaiterMayAddAndRemoveOthers) {
  Completion first, second;
  CountingWaiter other;
  struct Moving final : Waiter {
    Completion& second;
    Completion& first;
    CountingWaiter& other;
    bool removed = false;
    Moving(Completion& s, Completion& f, CountingWaiter& o) : second(s), first(f), other(o) {}
    void completed() override {
      removed = first.remove(other);
      EXPECT_TRUE(second.add(other));
    }
  } moving(second, first, other);
  ASSERT_TRUE(first.add(moving));  // the first to come is called first
  ASSERT_TRUE(first.add(other));
  first.complete(Status());
  EXPECT_TRUE(moving.removed);
  EXPECT_EQ(other.calls, 0);
  second.complete(Status());
  EXPECT_EQ(other.calls, 1);
}

TEST(CompletionTest, AResetOneIsPendingAgain) {
  Completion completion;
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(completion.ready());
    CountingWaiter waiter;
    ASSERT_TRUE(completion.add(waiter));
    completion.complete(i == 1 ? failure() : Status());
    EXPECT_EQ(waiter.calls, 1);
    EXPECT_EQ(completion.status().ok(), i != 1);
    completion.reset();
  }
}

std::vector<Completion*> pointers(std::deque<Completion>& completions) {
  std::vector<Completion*> result;
  for (Completion& completion : completions) result.push_back(&completion);
  return result;
}

std::optional<std::size_t> wait_any(const std::vector<Completion*>& all, const TimePoint* until) {
  const auto at = [](const void* first, std::size_t index) -> Completion& {
    return *static_cast<Completion* const*>(first)[index];
  };
  return internal::wait_any(all.size(), at, all.data(), until);
}

TEST(WaitAnyTest, ReturnsTheLowestOfThoseThatAreReady) {
  std::deque<Completion> completions(4);
  const auto all = pointers(completions);
  completions[3].complete(Status());
  EXPECT_EQ(wait_any(all, nullptr), 3U);
  completions[1].complete(failure());
  EXPECT_EQ(wait_any(all, nullptr), 1U);
  const TimePoint past = TimePoint::min();
  EXPECT_EQ(wait_any(all, &past), 1U);
}

TEST(WaitAnyTest, EndsAtItsTimeAndLeavesNoTrace) {
  std::deque<Completion> completions(5'000);
  const auto all = pointers(completions);
  for (const TimePoint until : {TimePoint::min(), TimePoint(), now(), now() + milliseconds(2)}) {
    EXPECT_EQ(wait_any(all, &until), std::nullopt);
    EXPECT_GE(now(), until);
  }
  // reset() stops the process if a waiter is left.
  for (Completion& completion : completions) completion.reset();
  for (Completion& completion : completions) completion.complete(Status());
}

TEST(WaitAnyTest, IsWokenByAnyOfMany) {
  std::minstd_rand random(4);
  for (const std::size_t which : {std::size_t{0}, std::size_t{2'500}, std::size_t{4'999}}) {
    std::deque<Completion> completions(5'000);
    const auto all = pointers(completions);
    std::latch started(1);
    std::thread completer([&] {
      started.wait();
      dawdle(random);
      completions[which].complete(Status());
    });
    started.count_down();
    EXPECT_EQ(wait_any(all, nullptr), which);
    completer.join();
    for (std::size_t i = 0; i < completions.size(); ++i) {
      if (i != which) completions[i].reset();
    }
  }
}

TEST(WaitAnyTest, TheSameCompletionMayStandTwice) {
  Completion completion;
  const std::vector<Completion*> twice = {&completion, &completion};
  const TimePoint until = now() + milliseconds(1);
  EXPECT_EQ(wait_any(twice, &until), std::nullopt);
  std::thread completer([&] { completion.complete(Status()); });
  EXPECT_EQ(wait_any(twice, nullptr), 0U);
  completer.join();
}

// Several threads complete while the call removes its waiters and returns: none may use what was on its
// stack.
TEST(WaitAnyTest, MayReturnWhileOthersComplete) {
  std::minstd_rand random(5);
  for (int round = 0; round < kRounds / 10; ++round) {
    std::deque<Completion> completions(6);
    const auto all = pointers(completions);
    std::latch start(3);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        start.arrive_and_wait();
        for (std::size_t i = t; i < completions.size(); i += 2) completions[i].complete(Status());
      });
    }
    start.arrive_and_wait();
    const auto index = wait_any(all, nullptr);
    ASSERT_TRUE(index.has_value());
    EXPECT_TRUE(completions[*index].ready());
    dawdle(random);
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(OnReadyTest, RunsOnTheGivenExecutorOnceBeforeOrAfter) {
  ManualExecutor executor;
  Completion completion;
  int before = 0, after = 0;
  on_ready(completion, executor, [&before] { ++before; });
  EXPECT_EQ(executor.size(), 0U);
  completion.complete(failure());
  EXPECT_EQ(before, 0);  // the executor decides when
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(before, 1);
  on_ready(completion, executor, [&after] { ++after; });
  EXPECT_EQ(after, 0);
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(after, 1);
  EXPECT_EQ(before, 1);
}

TEST(OnReadyTest, LetsItsTaskGo) {
  InlineExecutor executor;
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> watch = held;
  Completion completion;
  on_ready(completion, executor, [held] { ++*held; });
  completion.complete(Status());
  EXPECT_EQ(*held, 1);
  on_ready(completion, executor, [held] { ++*held; });
  EXPECT_EQ(*held, 2);
  held.reset();
  EXPECT_TRUE(watch.expired());
}

TEST(OnReadyTest, RacesWithCompleting) {
  InlineExecutor executor;
  std::minstd_rand random(6);
  for (int round = 0; round < kRounds / 10; ++round) {
    Completion completion;
    std::atomic<int> ran{0};
    std::latch start(2);
    std::thread adder([&] {
      start.arrive_and_wait();
      for (int i = 0; i < 10; ++i) on_ready(completion, executor, [&ran] { ++ran; });
    });
    start.arrive_and_wait();
    dawdle(random);
    completion.complete(Status());
    adder.join();
    ASSERT_EQ(ran, 10);
  }
}

TEST(CompletionTest, CallsItsWaitersInTheOrderInWhichTheyWereAdded) {
  Completion completion;
  InlineExecutor executor;
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) on_ready(completion, executor, [&order, i] { order.push_back(i); });
  completion.complete(Status());
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

// Runs on a thread with a stack of 256 KiB.
void on_a_small_stack(void (*function)()) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, std::size_t{256} << 10), 0);
  const auto start = [](void* argument) -> void* {
    reinterpret_cast<void (*)()>(argument)();
    return nullptr;
  };
  pthread_t thread{};
  ASSERT_EQ(pthread_create(&thread, &attributes, start, reinterpret_cast<void*>(function)), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

constexpr std::size_t kMany = 100'000 * kStress;  // a million

TEST(CompletionTest, AMillionListenersNeedNoStack) {
  on_a_small_stack([] {
    Completion completion;
    std::deque<CountingWaiter> waiters(kMany);
    for (CountingWaiter& waiter : waiters) ASSERT_TRUE(completion.add(waiter));
    for (std::size_t i = 0; i < kMany; i += 2) ASSERT_TRUE(completion.remove(waiters[i]));
    completion.complete(Status());
    for (std::size_t i = 0; i < kMany; ++i) ASSERT_EQ(waiters[i].calls, static_cast<int>(i % 2));
  });
}

// A completion with an owner, as an array's version is.
struct Owned final : RefCounted {
  void complete() { completion.complete(Status(), this); }
  Completion completion;
};

// Each callback completes the next completion, which only the chain keeps alive.
TEST(CompletionTest, AChainOfAMillionCallbacksNeedsNoStack) {
  on_a_small_stack([] {
    InlineExecutor executor;
    std::size_t called = 0;
    auto first = Ref<Owned>::adopt(new Owned);
    Ref<Owned> last = first;
    for (std::size_t i = 0; i < kMany; ++i) {
      auto next = Ref<Owned>::adopt(new Owned);
      on_ready(last->completion, executor, [next, &called]() mutable {
        ++called;
        std::exchange(next, Ref<Owned>())->complete();
      });
      last = next;
    }
    last = Ref<Owned>();
    first->complete();
    EXPECT_EQ(called, kMany);
  });
}

TEST(CompletionTest, NestedCallbacksRunBeforeCompleteReturnsUpToItsDepth) {
  InlineExecutor executor;
  std::deque<Owned> chain(Completion::kDepthMax + 3);
  std::vector<int> order;
  std::function<void(std::size_t)> complete = [&](std::size_t i) {
    chain[i].complete();
    order.push_back(static_cast<int>(i));  // on the way back
  };
  for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
    on_ready(chain[i].completion, executor, [&complete, i] { complete(i + 1); });
  }
  complete(0);
  // 8 is complete when 7's callback returns; its own callback runs when the outermost is about to return.
  EXPECT_EQ(order, (std::vector<int>{8, 7, 6, 5, 4, 3, 2, 1, 10, 9, 0}));
}

// A waiter that the outermost call will call can still be removed.
TEST(CompletionTest, AWaiterWhoseCallWasPutOffCanBeRemoved) {
  InlineExecutor executor;
  std::deque<Owned> chain(Completion::kDepthMax + 1);
  CountingWaiter waiter;
  ASSERT_TRUE(chain.back().completion.add(waiter));
  bool removed = false;
  for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
    on_ready(chain[i].completion, executor, [&chain, &removed, &waiter, i] {
      chain[i + 1].complete();
      if (i + 2 == chain.size()) removed = chain.back().completion.remove(waiter);
    });
  }
  chain[0].complete();
  EXPECT_TRUE(removed);
  EXPECT_EQ(waiter.calls, 0);
}

TEST(OnReadyTest, WhatACallbackOrAnExecutorThrowsEndsThere) {
  struct Throwing final : Executor {
    Status execute(Task) override { throw std::runtime_error("executor"); }
  } throwing;
  struct Refusing final : Executor {
    Status execute(Task) override { return failure(); }
  } refusing;
  InlineExecutor at_once;
  for (const bool ready_before : {false, true}) {
    Completion completion;
    int called = 0;
    const auto held = std::make_shared<int>(0);
    if (ready_before) completion.complete(Status());
    on_ready(completion, throwing, [held] {});
    on_ready(completion, refusing, [held] {});
    on_ready(completion, at_once, [held] { throw std::runtime_error("callback"); });
    on_ready(completion, at_once, std::function<void()>());
    on_ready(completion, at_once, [&called] { ++called; });
    if (!ready_before) completion.complete(Status());
    EXPECT_EQ(called, 1);
    EXPECT_EQ(held.use_count(), 1) << "every task is destroyed";
  }
}

TEST(WaitAnyTest, OfNothingIsNothingAtOnce) { EXPECT_EQ(wait_any({}, nullptr), std::nullopt); }

// On one processor, a real-time thread waits for a completion of a thread of ordinary priority, and preempts
// that thread in the middle of its notification. If the wait spun or yielded, that thread could not go on
// before the system's real-time limit, after 0.95 s.
TEST(WaitAnyTest, ARealTimeThreadLetsTheCompleterGoOn) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &before)) {
      CPU_SET(cpu, &one);
      break;
    }
  }
  constexpr int kTimes = 200;
  std::deque<Completion> completions(2 * kTimes);
  std::atomic<int> wanted{-1};
  std::atomic<Duration::rep> longest{-1};
  std::thread waiter([&] {
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    const sched_param priority{.sched_priority = 10};
    const bool allowed = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0;
    for (int i = 0; i < kTimes; ++i) {
      const auto at = static_cast<std::size_t>(2 * i);
      wanted = i;
      wanted.notify_one();
      const TimePoint began = now();
      EXPECT_EQ(wait_any({&completions[at], &completions[at + 1]}, nullptr), 1U);
      longest = std::max(longest.load(), (now() - began).count());
    }
    if (!allowed) longest = -1;
  });
  std::thread completer([&] {
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    for (int i = 0; i < kTimes; ++i) {
      for (int seen = wanted; seen < i; seen = wanted) wanted.wait(seen);
      completions[static_cast<std::size_t>(2 * i + 1)].complete(Status());
    }
  });
  waiter.join();
  completer.join();
  if (longest < 0) GTEST_SKIP() << "this process may not use SCHED_FIFO";
  EXPECT_LT(Duration(longest), milliseconds(400));
}

}  // namespace
}  // namespace inflight::internal
