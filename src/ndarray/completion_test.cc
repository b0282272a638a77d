// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/completion.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <latch>
#include <memory>
#include <random>
#include <thread>
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

// A few nanoseconds to a few tens of microseconds: reaches waiters while they spin, park and sleep.
void dawdle(std::minstd_rand& random) {
  const auto spins = (1U << (random() % 14)) - 1;
  for (unsigned i = 0; i < spins; ++i) SpinLock::pause();
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

TEST(CompletionTest, PublishIsSeenByPollersBeforeAnybodyIsTold) {
  Completion completion;
  CountingWaiter waiter;
  ASSERT_TRUE(completion.add(waiter));
  completion.publish(Status());
  EXPECT_TRUE(completion.ready());
  EXPECT_EQ(waiter.calls, 0);
  completion.wait();  // needs no telling
  CountingWaiter late;
  EXPECT_FALSE(completion.add(late));
  completion.tell();
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
  // It was slept on, and nobody sleeps on it any more.
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
    // Time-outs on the way leave the word "parked" without a sleeper: that must not confuse the next one.
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
  ASSERT_TRUE(first.add(other));
  ASSERT_TRUE(first.add(moving));  // the last to come is told first
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
  // reset() stops the process where a waiter is left.
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

// Several complete while the call takes its waiters back and returns: none may touch what was on its stack.
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
  EXPECT_EQ(before, 0);  // the executor says when
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

}  // namespace
}  // namespace inflight::internal
