// SPDX-License-Identifier: Apache-2.0
#include "inflight/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <latch>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine_test_support.h"
#include "engine/start.h"
#include "inflight/executor.h"

namespace inflight {
namespace {

// Long enough that one stack frame an operation would not fit.
constexpr int kChain = 200'000;

// ---- What both engines promise
// ------------------------------------------------------------------------------

INSTANTIATE_TEST_SUITE_P(Engines, EngineTest,
                         testing::Values(EngineKind{"naive", 0}, EngineKind{"one_thread", 1},
                                         EngineKind{"four_threads", 4}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

TEST_P(EngineTest, ReadsSeeTheWriteBeforeThemAndNoneAfter) {
  const Var x = Var::make();
  int value = 0;  // stands for what x is
  std::vector<int> seen(200, -1);
  for (int i = 0; i < 100; ++i) {
    push(
        [&value, i] {
          value = i;  // before every read that was pushed before: WAR; two at once: WAW
          return Status();
        },
        {.writes = {x}});
    for (int reader = 0; reader < 2; ++reader) {
      push(
          [&value, &seen, i, reader] {
            seen[static_cast<std::size_t>(2 * i + reader)] = value;  // RAW
            return Status();
          },
          {.reads = {x}});
    }
  }
  engine_->drain();
  for (int i = 0; i < 200; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i / 2);
  EXPECT_EQ(engine_->pending(), 0U);
}

TEST_P(EngineTest, AnUpdateInheritsAnErrorAndAnOverwriteEndsIt) {
  const Var x = Var::make();
  int ran = 0;
  push([] { return failure("broken"); }, {.writes = {x}});
  engine_->drain();
  EXPECT_EQ(x.status().message(), "broken");
  const auto count = [&ran] {
    ++ran;
    return Status();
  };
  push(count, {.reads = {x}, .writes = {x}});
  engine_->drain();
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(x.status().message(), "broken");
  push(count, {.writes = {x}});
  engine_->drain();
  EXPECT_EQ(ran, 1);
  EXPECT_TRUE(x.status().ok());
  push(count, {.reads = {x}, .writes = {x}});
  engine_->drain();
  EXPECT_EQ(ran, 2);
}

TEST_P(EngineTest, TheFirstCauseFlowsThroughChainsAndJoinsAndStays) {
  const Var good = Var::make(), bad = Var::make(), joined = Var::make();
  std::vector<Var> chain;
  push(ok_op(), {.writes = {good}});
  push([] { return failure("first cause"); }, {.writes = {bad}});
  Var last = bad;
  for (int i = 0; i < 10; ++i) {
    chain.push_back(Var::make());
    push([] { return failure("must not run"); }, {.reads = {last}, .writes = {chain.back()}});
    last = chain.back();
  }
  push([] { return failure("must not run"); }, {.reads = {good, last}, .writes = {joined, good}});
  engine_->drain();
  for (int again = 0; again < 3; ++again) {
    for (const Var& var : chain) EXPECT_EQ(var.status().to_string(), failure("first cause").to_string());
    EXPECT_EQ(joined.status().message(), "first cause");
    EXPECT_EQ(good.status().message(), "first cause");
  }
}

TEST_P(EngineTest, OfSeveralErrorsTheFirstNamedReadsIsInherited) {
  // Enough variables that no order of addresses agrees with the order of naming by luck.
  std::vector<Var> vars;
  for (int i = 0; i < 8; ++i) {
    vars.push_back(Var::make());
    push([i] { return failure(std::to_string(i)); }, {.writes = {vars.back()}});
  }
  for (std::size_t first = 0; first < vars.size(); ++first) {
    const Var result = Var::make();
    std::vector<Var> reads(vars);
    std::swap(reads[0], reads[first]);
    push(ok_op(), {.reads = reads, .writes = {result}});
    engine_->drain();
    EXPECT_EQ(result.status().message(), std::to_string(first));
  }
}

TEST_P(EngineTest, OnFinishIsCalledOnceWithTheStatusBeforeDependentsStart) {
  const Var x = Var::make(), y = Var::make();
  Log log;
  const auto finish = [&log](std::string name) {
    return [&log, name](const Status& status) { log.add(name + " " + status.to_string()); };
  };
  push(
      [&log] {
        log.add("1 ran");
        return Status();
      },
      {.writes = {x}, .on_finish = finish("1")});
  push(
      [&log] {
        log.add("2 ran");
        return failure("e");
      },
      {.reads = {x}, .writes = {y}, .on_finish = finish("2")});
  push(
      [&log] {
        log.add("3 ran");
        return Status();
      },
      {.reads = {y}, .writes = {x}, .on_finish = finish("3")});
  push(
      [&log] {
        log.add("4 ran");
        return Status();
      },
      {.reads = {x}, .on_finish = finish("4")});
  engine_->drain();
  EXPECT_EQ(log.lines(),
            (Lines{"1 ran", "1 ok", "2 ran", "2 device error: e", "3 device error: e", "4 device error: e"}));
}

TEST_P(EngineTest, AnAsynchronousOperationEndsWhenItsTokenIsCompletedOnAnyThread) {
  const Var x = Var::make();
  Log log;
  std::vector<std::thread> threads(20);
  for (int i = 0; i < 20; ++i) {
    const Status pushed = engine_->push_async(
        [&threads, &log, i](OpToken token) {
          threads[static_cast<std::size_t>(i)] = std::thread([&log, i, held = std::move(token)]() mutable {
            log.add("end " + std::to_string(i));
            held.complete(Status());
          });
        },
        {.writes = {x}});
    ASSERT_TRUE(pushed.ok());
    push(
        [&log, i] {
          log.add("read " + std::to_string(i));
          return Status();
        },
        {.reads = {x}});
  }
  engine_->drain();
  Lines wanted;
  for (int i = 0; i < 20; ++i) {
    wanted.push_back("end " + std::to_string(i));
    wanted.push_back("read " + std::to_string(i));
  }
  EXPECT_EQ(log.lines(), wanted);
  engine_.reset();  // an operation's end does not wait for its closure, which writes to `threads`
  for (std::thread& thread : threads) thread.join();
}

TEST_P(EngineTest, ADroppedTokenIsAnInternalError) {
  const Var x = Var::make();
  Status told;
  ASSERT_TRUE(
      engine_
          ->push_async([](OpToken) {}, {.writes = {x}, .on_finish = [&told](const Status& s) { told = s; }})
          .ok());
  engine_->drain();
  EXPECT_EQ(told.code(), StatusCode::kInternal);
  EXPECT_EQ(x.status().code(), StatusCode::kInternal);
  // Overwriting a token drops the duty that it held.
  ASSERT_TRUE(engine_->push_async([](OpToken token) { token = OpToken(); }, {.writes = {x}}).ok());
  engine_->drain();
  EXPECT_EQ(x.status().code(), StatusCode::kInternal);
}

TEST_P(EngineTest, AVariableMayBeNamedSeveralTimes) {
  const Var x = Var::make(), y = Var::make();
  int ran = 0;
  const auto count = [&ran] {
    ++ran;
    return Status();
  };
  push(count, {.writes = {x, x, y, x}});
  push(count, {.reads = {x, y, x}});
  push(count, {.reads = {x, x, y}, .writes = {y, x, y}});
  push(count, {.reads = {y, x}, .writes = {x, y}});
  engine_->drain();
  EXPECT_EQ(ran, 4);
  // Named among the writes alone, twice: an overwrite all the same.
  push([] { return failure("e"); }, {.writes = {x}});
  push(count, {.writes = {x, x}});
  engine_->drain();
  EXPECT_EQ(ran, 5);
  EXPECT_TRUE(x.status().ok());
}

TEST_P(EngineTest, AnOperationMayNameNothing) {
  int ran = 0;
  push(
      [&ran] {
        ++ran;
        return Status();
      },
      {});
  engine_->drain();
  EXPECT_EQ(ran, 1);
}

TEST_P(EngineTest, AnEmptyVarIsRefused) {
  const Var x = Var::make();
  bool told = false;
  for (int where = 0; where < 2; ++where) {
    OpOptions options{.reads = {x}, .writes = {Var::make()}};
    (where == 0 ? options.reads : options.writes).push_back(Var());
    options.on_finish = [&told](const Status&) { told = true; };
    EXPECT_EQ(engine_->push(ok_op(), std::move(options)).code(), StatusCode::kInvalidArgument);
  }
  engine_->drain();
  EXPECT_FALSE(told);
  EXPECT_EQ(engine_->pending(), 0U);
}

TEST_P(EngineTest, WhatAnOperationPushesOnItsOwnVariableComesAfterIt) {
  const Var x = Var::make();
  Log log;
  push(
      [&] {
        log.add("outer begins");
        EXPECT_TRUE(engine_
                        ->push(
                            [&log] {
                              log.add("inner");
                              return failure("inner");
                            },
                            {.writes = {x}})
                        .ok());
        log.add("outer ends");
        return Status();
      },
      {.writes = {x}});
  engine_->drain();
  EXPECT_EQ(log.lines(), (Lines{"outer begins", "outer ends", "inner"}));
  EXPECT_EQ(x.status().message(), "inner");  // the later write has the last word
}

TEST_P(EngineTest, OnFinishMayPush) {
  const Var x = Var::make();
  std::atomic<int> ran{0};
  struct Again {
    Engine& engine;
    const Var& x;
    std::atomic<int>& ran;
    int left;
    void operator()(const Status&) const {
      if (left == 0) return;
      auto& count = ran;
      EXPECT_TRUE(engine
                      .push(
                          [&count] {
                            ++count;
                            return Status();
                          },
                          {.writes = {x}, .on_finish = Again{engine, x, ran, left - 1}})
                      .ok());
    }
  };
  push(ok_op(), {.writes = {x}, .on_finish = Again{*engine_, x, ran, 1000}});
  engine_->drain();
  EXPECT_EQ(ran, 1000);
}

TEST_P(EngineTest, AClosureIsGoneBeforeItsEndIsTold) {
  const Var x = Var::make();
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = held;
  bool gone = false;
  push([share = std::move(held)] { return *share == 1 ? failure("e") : Status(); },
       {.writes = {x}, .on_finish = [&](const Status&) { gone = watch.expired(); }});
  engine_->drain();
  EXPECT_TRUE(gone);
  // And where it is skipped, before anybody can see the engine idle.
  held = std::make_shared<int>(2);
  const std::weak_ptr<int> watch_skipped = held;
  push([share = std::move(held)] { return *share == 2 ? Status() : failure("f"); }, {.reads = {x}});
  engine_->drain();
  EXPECT_TRUE(watch_skipped.expired());
}

TEST_P(EngineTest, AfterShutdownPushesAreRefused) {
  const Var x = Var::make();
  int ran = 0;
  push(
      [&ran] {
        ++ran;
        return Status();
      },
      {.writes = {x}});
  engine_->shutdown(Shutdown::kDrain);
  engine_->shutdown(Shutdown::kDrain);
  engine_->shutdown(Shutdown::kCancel);
  EXPECT_EQ(ran, 1);
  bool told = false;
  EXPECT_EQ(
      engine_->push(ok_op(), {.writes = {x}, .on_finish = [&told](const Status&) { told = true; }}).code(),
      StatusCode::kShuttingDown);
  EXPECT_FALSE(told);
  engine_->drain();
}

TEST_P(EngineTest, ShutdownFromWithinAnOperationCancelsWhatHasNotStarted) {
  const Var x = Var::make();
  Status told;
  bool ran = false;
  push(
      [&] {
        EXPECT_TRUE(engine_
                        ->push(
                            [&ran] {
                              ran = true;
                              return Status();
                            },
                            {.writes = {x}, .on_finish = [&told](const Status& status) { told = status; }})
                        .ok());
        engine_->shutdown(Shutdown::kCancel);
        EXPECT_EQ(engine_->push(ok_op(), {}).code(), StatusCode::kShuttingDown);
        return Status();
      },
      {.writes = {x}});
  engine_->drain();
  EXPECT_FALSE(ran);
  EXPECT_EQ(told.code(), StatusCode::kCancelled);
  EXPECT_EQ(x.status().code(), StatusCode::kCancelled);
}

TEST_P(EngineTest, ShutdownFromOnFinishReturns) {
  const Var x = Var::make();
  push([] { return failure("e"); }, {.writes = {x}});
  // Skipped: no closure is on the stack, only on_finish.
  push(ok_op(), {.reads = {x}, .on_finish = [this](const Status&) { engine_->shutdown(Shutdown::kDrain); }});
  engine_->drain();
  EXPECT_EQ(engine_->push(ok_op(), {}).code(), StatusCode::kShuttingDown);
}

TEST_P(EngineTest, ManyThreadsMayPush) {
  constexpr int kThreads = 4, kOps = 500;
  const Var x = Var::make();
  int value = 0;  // unguarded but for x
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kOps; ++i) {
        EXPECT_TRUE(engine_
                        ->push(
                            [&value] {
                              ++value;
                              return Status();
                            },
                            {.writes = {x}})
                        .ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  engine_->drain();
  EXPECT_EQ(value, kThreads * kOps);
}

// ---- The naive engine
// ---------------------------------------------------------------------------------------

TEST(NaiveEngineTest, RefusesAVariableThatAnotherEngineUses) {
  const auto threaded = make_threaded_engine();
  const auto naive = make_naive_engine();
  const Var x = Var::make();
  Held held;
  ASSERT_TRUE(threaded->push_async(held.closure(), {.writes = {x}}).ok());
  EXPECT_EQ(naive->push(ok_op(), {.reads = {x}}).code(), StatusCode::kInvalidArgument);
  held.end();
  threaded->drain();
  EXPECT_TRUE(naive->push(ok_op(), {.reads = {x}}).ok());
}

TEST(NaiveEngineTest, IgnoresExecutors) {
  const auto engine = make_naive_engine();
  ManualExecutor executor;
  bool ran = false;
  ASSERT_TRUE(engine
                  ->push(
                      [&ran] {
                        ran = true;
                        return Status();
                      },
                      {.executor = &executor})
                  .ok());
  EXPECT_TRUE(ran);
  EXPECT_EQ(executor.size(), 0U);
}

TEST(NaiveEngineTest, PushesFromWithinDoNotNest) {
  const auto engine = make_naive_engine();
  int ran = 0;
  struct Next {
    Engine& engine;
    int& ran;
    Status operator()() const { return ++ran == kChain ? Status() : engine.push(Next{engine, ran}, {}); }
  };
  ASSERT_TRUE(engine->push(Next{*engine, ran}, {}).ok());
  EXPECT_EQ(ran, kChain);
}

TEST(NaiveEngineDeathTest, ATokenIsCompletedOnce) {
  const auto twice = [] {
    const auto engine = make_naive_engine();
    (void)engine->push_async(
        [](OpToken token) {
          token.complete(Status());
          token.complete(Status());
        },
        {});
  };
  EXPECT_DEATH(twice(), "check failed");
}

// ---- The threaded engine
// ------------------------------------------------------------------------------------

TEST(ThreadedEngineTest, ReadersRunTogetherAndAWriterWaitsForAllOfThem) {
  const auto engine = make_threaded_engine({.threads = 1});
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
  const auto engine = make_threaded_engine({.threads = 2});
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
  const auto engine = make_threaded_engine({.threads = 1});
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
  const auto engine = make_threaded_engine({.threads = 1, .pending_limit = 3});
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
    const auto engine = make_threaded_engine({.threads = 1, .pending_limit = kLimit});
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
  const auto engine = make_threaded_engine();
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
  const auto engine = make_threaded_engine({.threads = 0});
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
  const auto engine = make_threaded_engine({.threads = 1});
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
  // The closer has begun when pushes are refused; it cannot be done, as operations are pending.
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
  const auto engine = make_threaded_engine({.threads = 2});
  const Var x = Var::make();
  Held running;
  int ran = 0;
  ASSERT_TRUE(engine->push_async(running.closure(), {.writes = {x}}).ok());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(engine
                    ->push(
                        [&ran] {
                          ++ran;
                          return Status();
                        },
                        {.reads = {x}, .writes = {x}})
                    .ok());
  }
  std::thread closer([&engine] { engine->shutdown(Shutdown::kDrain); });
  running.end();
  closer.join();
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(engine->pending(), 0U);
}

TEST(ThreadedEngineTest, ShutdownFromOnFinishOfAnOperationEndedElsewhereReturns) {
  const auto engine = make_threaded_engine();
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
  auto engine = make_threaded_engine({.threads = 2});
  ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {x}}).ok());
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(engine
                    ->push(
                        [&ran] {
                          ++ran;
                          return Status();
                        },
                        {.writes = {x}})
                    .ok());
  }
  held.end();
  engine.reset();
  EXPECT_EQ(ran, 1000);
}

// The last thing a completing thread does is to say that nothing is pending: the engine may be gone at that
// moment.
TEST(ThreadedEngineTest, MayBeDestroyedWhileTheLastTokenIsBeingCompleted) {
  for (int round = 0; round < 300 * kStress; ++round) {
    Held held;
    const Var x = Var::make();
    auto engine = make_threaded_engine({.threads = 1});
    ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {x}}).ok());
    ASSERT_TRUE(engine->push(ok_op(), {.reads = {x}}).ok());
    std::thread completer([&held] { held.end(); });
    engine.reset();
    completer.join();
  }
}

// An operation of one engine may make another's runnable: the thread that starts it must be out of that other
// engine before its destructor returns, however soon the operation ends. The same for the executor that ran
// it.
TEST(ThreadedEngineTest, MayBeDestroyedWhileAnotherEngineStartsItsOperations) {
  const auto first = make_threaded_engine({.threads = 1});
  for (int round = 0; round < 300 * kStress; ++round) {
    Held held;
    const Var x = Var::make();
    auto executor = std::make_unique<ThreadPool>(1);
    auto second = make_threaded_engine({.threads = 1});
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
  const auto engine = make_threaded_engine({.threads = 1});
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
  const auto engine = make_threaded_engine({.threads = 1});
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
  const auto engine = make_threaded_engine({.threads = 0});
  ManualExecutor first;
  const Var x = Var::make();
  int ran = 0;
  const auto count = [&ran] {
    ++ran;
    return Status();
  };
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
  const auto engine = make_threaded_engine({.threads = 0});
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

// It runs in the loop that starts operations; what it pushes must not wait in that loop's list.
TEST(ThreadedEngineTest, AnInlineOperationMayPushAndWait) {
  InlineExecutor executor;
  const auto engine = make_threaded_engine({.threads = 1});
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

// Two threads name the same variables in opposite orders; many of them, so that the two meet half-way.
TEST(ThreadedEngineTest, OppositeOrdersOfNamingNeverDeadlock) {
  for (const std::size_t count : {std::size_t{2}, std::size_t{64}}) {
    const auto engine = make_threaded_engine({.threads = 2});
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
          // Both halves are written by all of these or read by those that write the other one.
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
  const auto engine = make_threaded_engine({.threads = 1});
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
  // With an error: what reads it is skipped.
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
    const auto engine = make_threaded_engine({.threads = 0});
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
