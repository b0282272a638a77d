// SPDX-License-Identifier: Apache-2.0
// Which operation runs next, and which does not run at all: priorities, stops, and the engine's own threads.
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <random>
#include <stop_token>
#include <thread>
#include <vector>

#include "engine/engine_test_support.h"

namespace inflight {
namespace {

Engine::Closure add_to(Log& log, std::string what) {
  return [&log, what = std::move(what)] {
    log.add(what);
    return Status();
  };
}

// Occupies a thread of the engine until the latch opens.
void occupy(Engine& engine, std::latch& open) {
  auto started = std::make_shared<std::latch>(1);
  ASSERT_TRUE(engine
                  .push(
                      [&open, started] {
                        started->count_down();
                        open.wait();
                        return Status();
                      },
                      {})
                  .ok());
  started->wait();
}

// ---- Priorities

TEST(EnginePriorityTest, AHigherOneStartsFirstAndEqualOnesInTheirOrder) {
  const auto engine = *make_threaded_engine({.threads = 1});
  std::latch open(1);
  occupy(*engine, open);
  Log log;
  const std::vector<int> priorities = {0, -3, 5, 1, 5, 0, -1, -3, 7};
  for (std::size_t i = 0; i < priorities.size(); ++i) {
    ASSERT_TRUE(engine
                    ->push(add_to(log, std::to_string(priorities[i]) + "/" + std::to_string(i)),
                           {.priority = priorities[i]})
                    .ok());
  }
  open.count_down();
  engine->drain();
  EXPECT_EQ(log.lines(), (Lines{"7/8", "5/2", "5/4", "1/3", "0/0", "0/5", "-1/6", "-3/1", "-3/7"}));
}

TEST(EnginePriorityTest, AnUrgentOneOvertakesWhatAThreadHasAlreadyTakenAndTheChainItIsIn) {
  const auto engine = *make_threaded_engine({.threads = 1});
  std::latch open(1);
  occupy(*engine, open);
  Log log;
  const Var x = Var::make();
  ASSERT_TRUE(engine
                  ->push(
                      [&] {
                        log.add("pushes");
                        return engine->push(add_to(log, "urgent"), {.priority = 1});
                      },
                      {.writes = {x}})
                  .ok());
  ASSERT_TRUE(engine->push(add_to(log, "next in the chain"), {.writes = {x}}).ok());
  ASSERT_TRUE(engine->push(add_to(log, "beside it"), {}).ok());
  open.count_down();
  engine->drain();
  EXPECT_EQ(log.lines()[0], "pushes");
  EXPECT_EQ(log.lines()[1], "urgent");
  EXPECT_EQ(log.lines().size(), 4U);
}

TEST(EnginePriorityTest, OvertakesNothingThatItDependsOn) {
  const auto engine = *make_threaded_engine({.threads = 2});
  for (int i = 0; i < 200; ++i) {
    const Var x = Var::make();
    Log log;
    ASSERT_TRUE(engine->push(add_to(log, "first"), {.writes = {x}, .priority = -1}).ok());
    ASSERT_TRUE(engine->push(add_to(log, "second"), {.reads = {x}, .priority = 9}).ok());
    engine->drain();
    EXPECT_EQ(log.lines(), (Lines{"first", "second"}));
  }
}

// ---- Stops

TEST_P(EngineTest, AnOperationWhoseStopWasRequestedDoesNotRun) {
  const Var x = Var::make();
  const Var y = Var::make();
  std::stop_source source;
  int ran = 0;
  std::vector<Status> told;
  const auto tell = [&told](const Status& status) { told.push_back(status); };
  const auto run = counting(ran);
  push(run, {.writes = {x}, .stop = source.get_token(), .on_finish = tell});
  engine_->drain();
  source.request_stop();
  push(run, {.writes = {x}, .stop = source.get_token(), .on_finish = tell});
  push(run, {.reads = {x}, .writes = {y}, .on_finish = tell});
  push(run, {.writes = {x}, .on_finish = tell});
  engine_->drain();
  EXPECT_EQ(ran, 2);
  ASSERT_EQ(told.size(), 4U);
  std::size_t cancelled = 0;
  for (const Status& status : told) cancelled += status.code() == StatusCode::kCancelled ? 1U : 0U;
  EXPECT_EQ(cancelled, 2U);  // it, and the one that reads what it would have written
  EXPECT_EQ(y.status().message(), "the operation's stop was requested before it started");
  EXPECT_TRUE(x.status().ok());
}

TEST(EngineStopTest, WhatHasStartedIsNotStoppedAndWhatWaitsIs) {
  const auto engine = *make_threaded_engine({.threads = 1});
  const Var x = Var::make();
  std::stop_source source;
  Held held;
  Status first, second, third;
  const auto into = [](Status& status) { return [&status](const Status& told) { status = told; }; };
  ASSERT_TRUE(
      engine
          ->push_async(held.closure(), {.writes = {x}, .stop = source.get_token(), .on_finish = into(first)})
          .ok());
  ASSERT_TRUE(
      engine->push(ok_op(), {.writes = {x}, .stop = source.get_token(), .on_finish = into(second)}).ok());
  ManualExecutor executor;
  ASSERT_TRUE(
      engine
          ->push(ok_op(),
                 {.writes = {x}, .executor = &executor, .stop = source.get_token(), .on_finish = into(third)})
          .ok());
  held.wait_started();
  source.request_stop();
  held.end();
  engine->drain();  // the executor need not run: it does not get operations that must not run
  EXPECT_TRUE(first.ok());
  EXPECT_EQ(second.code(), StatusCode::kCancelled);
  EXPECT_EQ(third.code(), StatusCode::kCancelled);
}

// ---- The engine's own threads

// The first operation of a batch waits for the last one: another thread must find that one and run it.
TEST(EngineWorkersTest, WhatAThreadHasTakenIsRunByAnotherWhereItIsHeldUp) {
  for (int round = 0; round < 50; ++round) {
    const auto engine = *make_threaded_engine({.threads = 2});
    std::latch open(1);
    occupy(*engine, open);
    std::latch last_ran(1);
    ASSERT_TRUE(engine
                    ->push(
                        [&last_ran] {
                          last_ran.wait();
                          return Status();
                        },
                        {})
                    .ok());
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(engine->push(ok_op(), {}).ok());
    ASSERT_TRUE(engine
                    ->push(
                        [&last_ran] {
                          last_ran.count_down();
                          return Status();
                        },
                        {})
                    .ok());
    open.count_down();
    engine->drain();
  }
}

// A worker goes on with the operations that its operation made runnable, but not for ever.
TEST(EngineWorkersTest, AChainDoesNotStarveWhatWaits) {
  const auto engine = *make_threaded_engine({.threads = 1, .pending_limit = 1'000});
  const Var x = Var::make();
  std::atomic<bool> ran{false};
  std::atomic<bool> started{false};
  std::thread feeder([&] {
    while (!ran) {
      (void)engine->push(
          [&started] {
            started = true;
            return Status();
          },
          {.writes = {x}});
    }
  });
  while (!started) std::this_thread::yield();
  while (!engine
              ->push(
                  [&ran] {
                    ran = true;
                    return Status();
                  },
                  {})
              .ok()) {
  }
  feeder.join();
  engine->drain();
  EXPECT_TRUE(ran);
}

// Workers fall asleep all the time, and several threads wake them at once: no operation may stay in a queue.
TEST(EngineWorkersTest, NoWakeUpIsLost) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  for (const int threads : {1, 2, 4}) {
    const auto engine = *make_threaded_engine({.threads = threads, .spin = Duration(0)});
    std::vector<std::thread> pushers;
    std::atomic<int> ran{0};
    constexpr int kRounds = 1'000 * kStress;
    for (unsigned p = 0; p < 2; ++p) {
      pushers.emplace_back([&, p] {
        std::mt19937 random(seed + p);
        for (int i = 0; i < kRounds; ++i) {
          const int burst = 1 + static_cast<int>(random() % 3);
          std::atomic<int> left{burst};
          for (int b = 0; b < burst; ++b) {
            const int priority = static_cast<int>(random() % 3) - 1;
            EXPECT_TRUE(engine
                            ->push(
                                [&] {
                                  ++ran;
                                  if (--left == 0) left.notify_one();
                                  return Status();
                                },
                                {.priority = priority})
                            .ok());
          }
          for (int now = left; now != 0; now = left) left.wait(now);
          for (unsigned spin = random() % 2'000; spin > 0; --spin)
            std::atomic_signal_fence(std::memory_order_seq_cst);
        }
      });
    }
    for (std::thread& pusher : pushers) pusher.join();
    engine->drain();
    EXPECT_GE(ran, 2 * kRounds);
    EXPECT_EQ(engine->pending(), 0U);
  }
}

// ---- VarList

TEST(VarListTest, HoldsAnyNumberInTheirOrder) {
  std::vector<Var> vars;
  VarList list;
  for (std::size_t i = 0; i < 3 * VarList::kInPlace; ++i) {
    EXPECT_EQ(list.size(), i);
    EXPECT_TRUE(std::equal(list.begin(), list.end(), vars.begin(), vars.end()));
    vars.push_back(Var::make());
    list.push_back(vars.back());
  }
  VarList moved = std::move(list);
  EXPECT_TRUE(std::equal(moved.begin(), moved.end(), vars.begin(), vars.end()));
  EXPECT_EQ(list.size(), 0U);  // NOLINT: a moved-from list is empty
  list = {vars[0], vars[1]};
  EXPECT_EQ(list.size(), 2U);
  EXPECT_EQ(*list.begin(), vars[0]);
  list = std::move(moved);
  EXPECT_TRUE(std::equal(list.begin(), list.end(), vars.begin(), vars.end()));
  list.clear();
  EXPECT_EQ(list.size(), 0U);
  EXPECT_EQ(list.begin(), list.end());
  // The list had references to all of them, and has none now.
  for (const Var& var : vars) EXPECT_EQ(var.state()->shares(), 1U);
}

}  // namespace
}  // namespace inflight
