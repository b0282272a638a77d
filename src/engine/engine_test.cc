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
#include "inflight/executor.h"

namespace inflight {
namespace {

// ---- What both engines promise

INSTANTIATE_TEST_SUITE_P(Engines, EngineTest,
                         testing::Values(EngineKind{"naive", 0}, EngineKind{"one_thread", 1},
                                         EngineKind{"four_threads", 4}),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

TEST_P(EngineTest, ReadsSeeTheWriteBeforeThemAndNoneAfter) {
  const Var x = Var::make();
  int value = 0;  // x stands for it
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
  const auto count = counting(ran);
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
  // So many variables that the order of their addresses cannot equal the order of naming by chance.
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
  // Assigning to a token drops the operation that it held.
  ASSERT_TRUE(engine_->push_async([](OpToken token) { token = OpToken(); }, {.writes = {x}}).ok());
  engine_->drain();
  EXPECT_EQ(x.status().code(), StatusCode::kInternal);
}

TEST_P(EngineTest, AVariableMayBeNamedSeveralTimes) {
  const Var x = Var::make(), y = Var::make();
  int ran = 0;
  const auto count = counting(ran);
  push(count, {.writes = {x, x, y, x}});
  push(count, {.reads = {x, y, x}});
  push(count, {.reads = {x, x, y}, .writes = {y, x, y}});
  push(count, {.reads = {y, x}, .writes = {x, y}});
  engine_->drain();
  EXPECT_EQ(ran, 4);
  // Named twice, among the writes only: it is an overwrite.
  push([] { return failure("e"); }, {.writes = {x}});
  push(count, {.writes = {x, x}});
  engine_->drain();
  EXPECT_EQ(ran, 5);
  EXPECT_TRUE(x.status().ok());
}

TEST_P(EngineTest, AnOperationMayNameNothing) {
  int ran = 0;
  push(counting(ran), {});
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
  // And if it is skipped: before the engine can be seen idle.
  held = std::make_shared<int>(2);
  const std::weak_ptr<int> watch_skipped = held;
  push([share = std::move(held)] { return *share == 2 ? Status() : failure("f"); }, {.reads = {x}});
  engine_->drain();
  EXPECT_TRUE(watch_skipped.expired());
}

TEST_P(EngineTest, AfterShutdownPushesAreRefused) {
  const Var x = Var::make();
  int ran = 0;
  push(counting(ran), {.writes = {x}});
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
  int value = 0;  // only x guards it
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

TEST(NaiveEngineTest, RefusesAVariableThatAnotherEngineUses) {
  const auto threaded = *make_threaded_engine();
  const auto naive = *make_naive_engine();
  const Var x = Var::make();
  Held held;
  ASSERT_TRUE(threaded->push_async(held.closure(), {.writes = {x}}).ok());
  EXPECT_EQ(naive->push(ok_op(), {.reads = {x}}).code(), StatusCode::kInvalidArgument);
  held.end();
  threaded->drain();
  EXPECT_TRUE(naive->push(ok_op(), {.reads = {x}}).ok());
}

TEST(NaiveEngineTest, IgnoresExecutors) {
  const auto engine = *make_naive_engine();
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
  const auto engine = *make_naive_engine();
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
    const auto engine = *make_naive_engine();
    (void)engine->push_async(
        [](OpToken token) {
          token.complete(Status());
          token.complete(Status());
        },
        {});
  };
  EXPECT_DEATH(twice(), "check failed");
}

}  // namespace
}  // namespace inflight
