// SPDX-License-Identifier: Apache-2.0
// What only the threaded engine promises: which operations run at the same time, limits, executors, the end.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine_test_support.h"
#include "engine/start.h"
#include "inflight/executor.h"

namespace inflight {
namespace {

TEST(ThreadedEngineTest, ReadersRunTogetherAndAWriterWaitsForAllOfThem) {
  const auto engine = *make_threaded_engine({.threads = 1});
  const Var x = Var::make();
  Held first, second, late;
  std::atomic<bool> wrote{false};
  ASSERT_TRUE(engine->push_async(first.closure(), {.reads = {x}}).ok());
  ASSERT_TRUE(engine->push_async(second.closure(), {.reads = {x}}).ok());
  ASSERT_TRUE(engine
                  ->push(
                      [&wrote] {
                        wrote = true;
                        return Status();
                      },
                      {.writes = {x}})
                  .ok());
  ASSERT_TRUE(engine->push_async(late.closure(), {.reads = {x}}).ok());
  first.wait_started();
  second.wait_started();  // both are open at once
  EXPECT_FALSE(wrote);
  EXPECT_FALSE(late.started());  // it stands behind the writer
  first.end();
  EXPECT_FALSE(wrote);
  second.end();
  late.wait_started();
  EXPECT_TRUE(wrote);
  late.end();
  engine->drain();
}

TEST(ThreadedEngineTest, AWriterHoldsTheVariableAlone) {
  const auto engine = *make_threaded_engine({.threads = 2});
  const Var x = Var::make();
  Held writer, second_writer, reader;
  ASSERT_TRUE(engine->push_async(writer.closure(), {.writes = {x}}).ok());
  ASSERT_TRUE(engine->push_async(second_writer.closure(), {.writes = {x}}).ok());
  ASSERT_TRUE(engine->push_async(reader.closure(), {.reads = {x}}).ok());
  writer.wait_started();
  EXPECT_FALSE(second_writer.started());
  writer.end();
  second_writer.wait_started();
  EXPECT_FALSE(reader.started());
  second_writer.end();
  reader.end();
  engine->drain();
}

TEST(ThreadedEngineTest, IndependentOperationsDoNotWaitForEachOther) {
  const auto engine = *make_threaded_engine({.threads = 1});
  const Var x = Var::make(), y = Var::make();
  Held held;
  ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {x}}).ok());
  std::latch ran(1);
  ASSERT_TRUE(engine
                  ->push(
                      [&ran] {
                        ran.count_down();
                        return Status();
                      },
                      {.writes = {y}})
                  .ok());
  ran.wait();
  held.end();
  engine->drain();
}

TEST(ThreadedEngineTest, PendingLimitHoldsAtItsValueAndOnePast) {
  const auto engine = *make_threaded_engine({.threads = 1, .pending_limit = 3});
  const Var x = Var::make();
  Held held;
  ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {x}}).ok());
  ASSERT_TRUE(engine->push(ok_op(), {.reads = {x}}).ok());
  ASSERT_TRUE(engine->push(ok_op(), {.reads = {x}}).ok());
  EXPECT_EQ(engine->pending(), 3U);
  int told = 0;
  const Status refused =
      engine->push(ok_op(), {.reads = {x}, .on_finish = [&told](const Status&) { ++told; }});
  EXPECT_EQ(refused.code(), StatusCode::kOverloaded);
  EXPECT_EQ(refused.message(), "push: 3 of 3 operations are pending");
  EXPECT_EQ(engine->pending(), 3U);
  held.end();
  engine->drain();
  EXPECT_EQ(told, 0);
  EXPECT_TRUE(engine->push(ok_op(), {.on_finish = [&told](const Status&) { ++told; }}).ok());
  engine->drain();
  EXPECT_EQ(told, 1);
}

TEST(ThreadedEngineTest, PendingLimitIsExactUnderManyThreads) {
  constexpr std::size_t kLimit = 8;
  for (int round = 0; round < 20 * kStress; ++round) {
    const auto engine = *make_threaded_engine({.threads = 1, .pending_limit = kLimit});
    const Var x = Var::make();
    Held held;
    ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {x}}).ok());
    std::atomic<std::size_t> accepted{1};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 10; ++i) {
          if (engine->push(ok_op(), {.reads = {x}}).ok()) ++accepted;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(accepted, kLimit);
    held.end();
  }
}

TEST(ThreadedEngineTest, RunsAClosureOnTheGivenExecutor) {
  ManualExecutor executor;
  const auto engine = *make_threaded_engine();
  const Var x = Var::make();
  std::thread::id first, second;
  ASSERT_TRUE(engine
                  ->push(
                      [&first] {
                        first = std::this_thread::get_id();
                        return Status();
                      },
                      {.writes = {x}, .executor = &executor})
                  .ok());
  ASSERT_TRUE(engine
                  ->push(
                      [&second] {
                        second = std::this_thread::get_id();
                        return Status();
                      },
                      {.reads = {x}})
                  .ok());
  EXPECT_EQ(executor.size(), 1U);
  EXPECT_EQ(engine->pending(), 2U);
  EXPECT_EQ(executor.run_all(), 1U);
  engine->drain();
  EXPECT_EQ(first, std::this_thread::get_id());
  EXPECT_NE(second, std::this_thread::get_id());
}

TEST(ThreadedEngineTest, WithoutThreadsEveryPushNamesAnExecutor) {
  ManualExecutor executor;
  const auto engine = *make_threaded_engine({.threads = 0});
  const Var x = Var::make();
  EXPECT_EQ(engine->push(ok_op(), {.writes = {x}}).code(), StatusCode::kInvalidArgument);
  Log log;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(engine
                    ->push(
                        [&log, i] {
                          log.add(std::to_string(i));
                          return Status();
                        },
                        {.reads = {x}, .writes = {x}, .executor = &executor})
                    .ok());
    EXPECT_EQ(executor.size(), 1U);  // the others wait for it in the variable's queue
  }
  EXPECT_EQ(executor.run_all(), 3U);
  EXPECT_EQ(log.lines(), (Lines{"0", "1", "2"}));
  EXPECT_EQ(engine->pending(), 0U);
}

TEST(ThreadedEngineTest, ShutdownCancelFinishesWhatHasNotStartedAndLetsTheRunningOneEnd) {
  ManualExecutor executor;
  const auto engine = *make_threaded_engine({.threads = 1});
  const Var x = Var::make(), y = Var::make();
  Held running;
  Log log;
  const auto finish = [&log](std::string name) {
    return [&log, name](const Status& status) {
      log.add(name + " " + std::string(status_code_name(status.code())));
    };
  };
  const auto must_not_run = [&log] {
    log.add("ran");
    return Status();
  };
  ASSERT_TRUE(engine->push_async(running.closure(), {.writes = {x}, .on_finish = finish("running")}).ok());
  ASSERT_TRUE(engine->push(must_not_run, {.reads = {x}, .writes = {y}, .on_finish = finish("waiting")}).ok());
  ASSERT_TRUE(engine->push(must_not_run, {.executor = &executor, .on_finish = finish("queued")}).ok());
  running.wait_started();
  std::thread closer([&engine] { engine->shutdown(Shutdown::kCancel); });
  // When pushes are refused, the closing thread has begun. It cannot be done, because operations are pending.
  while (engine->push(ok_op(), {.reads = {x}}).ok()) std::this_thread::yield();
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(log.lines(), (Lines{"queued cancelled"}));
  running.end();
  closer.join();
  EXPECT_EQ(log.lines(), (Lines{"queued cancelled", "running ok", "waiting cancelled"}));
  EXPECT_TRUE(x.status().ok());
  EXPECT_EQ(y.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(engine->pending(), 0U);
}

TEST(ThreadedEngineTest, ShutdownDrainRunsEverything) {
  const auto engine = *make_threaded_engine({.threads = 2});
  const Var x = Var::make();
  Held running;
  int ran = 0;
  ASSERT_TRUE(engine->push_async(running.closure(), {.writes = {x}}).ok());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(engine->push(counting(ran), {.reads = {x}, .writes = {x}}).ok());
  }
  std::thread closer([&engine] { engine->shutdown(Shutdown::kDrain); });
  running.end();
  closer.join();
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(engine->pending(), 0U);
}

TEST(ThreadedEngineTest, ShutdownFromOnFinishOfAnOperationEndedElsewhereReturns) {
  const auto engine = *make_threaded_engine();
  const Var x = Var::make();
  Held held;
  ASSERT_TRUE(engine
                  ->push_async(held.closure(),
                               {.writes = {x},
                                .on_finish = [&](const Status&) { engine->shutdown(Shutdown::kDrain); }})
                  .ok());
  held.end();  // on this thread, which runs no closure of the engine
  engine->drain();
  EXPECT_EQ(engine->pending(), 0U);
}

TEST(ThreadedEngineTest, TheDestructorDrains) {
  const Var x = Var::make();
  int ran = 0;
  Held held;
  auto engine = *make_threaded_engine({.threads = 2});
  ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {x}}).ok());
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(engine->push(counting(ran), {.writes = {x}}).ok());
  }
  held.end();
  engine.reset();
  EXPECT_EQ(ran, 1000);
}

// The last step of a completing thread makes pending() zero: the engine may be destroyed at that moment.
TEST(ThreadedEngineTest, MayBeDestroyedWhileTheLastTokenIsBeingCompleted) {
  for (int round = 0; round < 300 * kStress; ++round) {
    Held held;
    const Var x = Var::make();
    auto engine = *make_threaded_engine({.threads = 1});
    ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {x}}).ok());
    ASSERT_TRUE(engine->push(ok_op(), {.reads = {x}}).ok());
    std::thread completer([&held] { held.end(); });
    engine.reset();
    completer.join();
  }
}

// An operation of one engine may make an operation of another engine runnable. The thread that starts it must
// have left that other engine before its destructor returns, however soon the operation ends. The same holds
// for the executor that ran it.
TEST(ThreadedEngineTest, MayBeDestroyedWhileAnotherEngineStartsItsOperations) {
  const auto first = *make_threaded_engine({.threads = 1});
  for (int round = 0; round < 300 * kStress; ++round) {
    Held held;
    const Var x = Var::make();
    auto executor = ThreadPool::make(1).value();
    auto second = *make_threaded_engine({.threads = 1});
    ASSERT_TRUE(first->push_async(held.closure(), {.writes = {x}}).ok());
    ASSERT_TRUE(second->push(ok_op(), {.reads = {x}}).ok());
    ASSERT_TRUE(second->push(ok_op(), {.reads = {x}, .executor = executor.get()}).ok());
    std::thread completer([&held] { held.end(); });
    second->drain();
    executor.reset();
    second.reset();
    completer.join();
  }
}

TEST(ThreadedEngineTest, ALongChainOfSkippedOperationsNeedsNoStack) {
  const auto engine = *make_threaded_engine({.threads = 1});
  const Var x = Var::make();
  Held held;
  int told = 0;
  ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {x}}).ok());
  for (int i = 0; i < kChain; ++i) {
    ASSERT_TRUE(engine
                    ->push([] { return failure("must not run"); },
                           {.reads = {x},
                            .writes = {x},
                            .on_finish = [&told](const Status& status) { told += status.message() == "e"; }})
                    .ok());
  }
  held.end(failure("e"));
  engine->drain();
  EXPECT_EQ(told, kChain);
  EXPECT_EQ(x.status().message(), "e");
}

TEST(ThreadedEngineTest, ALongChainOfCancelledOperationsNeedsNoStack) {
  const auto engine = *make_threaded_engine({.threads = 1});
  Var last = Var::make();
  Held held;
  ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {last}}).ok());
  for (int i = 0; i < kChain; ++i) {
    const Var next = Var::make();
    ASSERT_TRUE(engine->push(ok_op(), {.reads = {last}, .writes = {next}}).ok());
    last = next;
  }
  held.wait_started();
  std::thread closer([&engine] { engine->shutdown(Shutdown::kCancel); });
  while (engine->push(ok_op(), {.reads = {last}}).ok()) std::this_thread::yield();
  held.end();
  closer.join();
  EXPECT_EQ(last.status().code(), StatusCode::kCancelled);
}

TEST(ThreadedEngineTest, ALongChainThroughAnInlineExecutorNeedsNoStack) {
  InlineExecutor executor;
  const auto engine = *make_threaded_engine({.threads = 0});
  ManualExecutor first;
  const Var x = Var::make();
  int ran = 0;
  const auto count = counting(ran);
  ASSERT_TRUE(engine->push(count, {.writes = {x}, .executor = &first}).ok());
  for (int i = 1; i < kChain; ++i) {
    ASSERT_TRUE(engine->push(count, {.reads = {x}, .writes = {x}, .executor = &executor}).ok());
  }
  EXPECT_EQ(ran, 0);
  first.run_all();
  engine->drain();
  EXPECT_EQ(ran, kChain);
}

TEST(ThreadedEngineTest, InlineOperationsThatPushTheNextNeedNoStack) {
  InlineExecutor executor;
  const auto engine = *make_threaded_engine({.threads = 0});
  int ran = 0;
  struct Next {
    Engine& engine;
    Executor& executor;
    int& ran;
    Status operator()() const {
      return ++ran == kChain ? Status() : engine.push(Next{engine, executor, ran}, {.executor = &executor});
    }
  };
  ASSERT_TRUE(engine->push(Next{*engine, executor, ran}, {.executor = &executor}).ok());
  engine->drain();
  EXPECT_EQ(ran, kChain);
}

// The operation runs in the loop that starts operations. What it pushes must not wait in that loop's list.
TEST(ThreadedEngineTest, AnInlineOperationMayPushAndWait) {
  InlineExecutor executor;
  const auto engine = *make_threaded_engine({.threads = 1});
  const Var broken = Var::make();
  ASSERT_TRUE(engine->push([] { return failure("e"); }, {.writes = {broken}}).ok());
  engine->drain();
  int waited = 0;
  ASSERT_TRUE(
      engine
          ->push(
              [&] {
                for (const std::vector<Var>& reads : {std::vector<Var>{}, std::vector<Var>{broken}}) {
                  std::latch ended(1);  // run by the engine's thread; skipped
                  EXPECT_TRUE(
                      engine
                          ->push(ok_op(), {.reads = reads,
                                           .on_finish = [&ended](const Status&) { ended.count_down(); }})
                          .ok());
                  ended.wait();
                  ++waited;
                }
                return Status();
              },
              {.executor = &executor})
          .ok());
  engine->drain();
  EXPECT_EQ(waited, 2);
}

// Two threads name the same variables in opposite orders: many variables, so that the two threads overlap.
TEST(ThreadedEngineTest, OppositeOrdersOfNamingNeverDeadlock) {
  for (const std::size_t count : {std::size_t{2}, std::size_t{64}}) {
    const auto engine = *make_threaded_engine({.threads = 2});
    std::vector<Var> vars(count);
    for (Var& var : vars) var = Var::make();
    int value = 0;  // guarded by each of the variables
    const int ops = 4'000 * kStress;
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        std::vector<Var> names = vars;
        if (t == 1) std::reverse(names.begin(), names.end());
        const auto half = names.begin() + static_cast<std::ptrdiff_t>(names.size() / 2);
        for (int i = 0; i < ops; ++i) {
          OpOptions options{.writes = names};
          // Each operation writes both halves, or reads one and writes the other.
          if (i % 3 == 1)
            options = {.reads = std::vector<Var>(names.begin(), half),
                       .writes = std::vector<Var>(half, names.end())};
          if (i % 3 == 2)
            options = {.reads = std::vector<Var>(half, names.end()),
                       .writes = std::vector<Var>(names.begin(), half)};
          EXPECT_TRUE(engine
                          ->push(
                              [&value] {
                                ++value;
                                return Status();
                              },
                              std::move(options))
                          .ok());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    engine->drain();
    EXPECT_EQ(value, 2 * ops);
  }
}

TEST(ThreadedEngineTest, AClaimThatIsNoOperationTakesPartInTheOrder) {
  const auto engine = *make_threaded_engine({.threads = 1});
  const Var x = Var::make();
  internal::Access claim{.op = nullptr, .var = x.state(), .next = nullptr, .write = true, .read = false};
  ASSERT_TRUE(x.state()->acquire(claim));
  Log log;
  Status told;
  ASSERT_TRUE(engine
                  ->push(
                      [&log] {
                        log.add("ran");
                        return Status();
                      },
                      {.reads = {x}, .on_finish = [&told](const Status& status) { told = status; }})
                  .ok());
  EXPECT_EQ(engine->pending(), 1U);
  EXPECT_TRUE(log.lines().empty());
  internal::release_and_start(claim, Status());
  engine->drain();
  EXPECT_EQ(log.lines(), (Lines{"ran"}));
  // With an error: operations that read it are skipped.
  ASSERT_TRUE(x.state()->acquire(claim));
  ASSERT_TRUE(
      engine->push(ok_op(), {.reads = {x}, .on_finish = [&told](const Status& status) { told = status; }})
          .ok());
  internal::release_and_start(claim, failure("from outside"));
  engine->drain();
  EXPECT_EQ(told.message(), "from outside");
}

TEST(ThreadedEngineDeathTest, DrainFromWithinAnOperationIsAMistake) {
  const auto drain_within = [] {
    InlineExecutor executor;
    const auto engine = *make_threaded_engine({.threads = 0});
    (void)engine->push(
        [&engine] {
          engine->drain();
          return Status();
        },
        {.executor = &executor});
  };
  EXPECT_DEATH(drain_within(), "check failed");
}

}  // namespace
}  // namespace inflight
