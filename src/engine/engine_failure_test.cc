// SPDX-License-Identifier: Apache-2.0
// Exceptions of user code, options out of bounds, and threads that cannot start: each becomes one status, and
// none makes an engine hang.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine_test_support.h"

namespace inflight {
namespace {

using Tasks = std::vector<Task>;

// ---- Closures and callbacks that throw

TEST_P(EngineTest, WhatAClosureThrowsIsTheStatusOfItsOperation) {
  const Var x = Var::make(), y = Var::make(), z = Var::make(), w = Var::make();
  push([]() -> Status { throw std::runtime_error("thrown"); }, {.writes = {x}});
  push(ok_op(), {.reads = {x}, .writes = {y}});
  push([]() -> Status { throw std::bad_alloc(); }, {.writes = {z}});
  push([]() -> Status { throw 7; }, {.writes = {w}});
  engine_->drain();
  EXPECT_EQ(x.status().code(), StatusCode::kException);
  EXPECT_EQ(x.status().message(), "thrown");
  EXPECT_EQ(y.status().message(), "thrown");
  EXPECT_EQ(z.status().code(), StatusCode::kOutOfMemory);
  EXPECT_EQ(w.status().code(), StatusCode::kException);
  int ran = 0;
  push(counting(ran), {.writes = {x}});
  engine_->drain();
  EXPECT_EQ(ran, 1);
  EXPECT_TRUE(x.status().ok());
  EXPECT_EQ(engine_->pending(), 0U);
}

TEST_P(EngineTest, AnAsynchronousClosureThatThrowsEndsItsOperationWhereItStillHoldsTheToken) {
  const Var x = Var::make(), y = Var::make(), z = Var::make();
  ASSERT_TRUE(
      engine_->push_async([](OpToken) { throw std::runtime_error("with the token"); }, {.writes = {x}}).ok());
  OpToken kept;
  ASSERT_TRUE(engine_
                  ->push_async(
                      [](OpToken token) {
                        token.complete(failure("ended before"));
                        throw std::runtime_error("without the token");
                      },
                      {.writes = {y}})
                  .ok());
  // It throws, drops the token on the way, and catches that itself.
  ASSERT_TRUE(engine_
                  ->push_async(
                      [](OpToken token) {
                        try {
                          const OpToken dropped = std::move(token);
                          throw std::runtime_error("caught");
                        } catch (const std::runtime_error&) {
                        }
                      },
                      {.writes = {z}})
                  .ok());
  engine_->drain();
  EXPECT_EQ(x.status().code(), StatusCode::kException);
  EXPECT_EQ(x.status().message(), "with the token");
  EXPECT_EQ(y.status().message(), "ended before");
  EXPECT_EQ(z.status().code(), StatusCode::kInternal);
}

TEST_P(EngineTest, WhatOnFinishThrowsIsTheStatusOfAnOperationThatWouldHaveSucceeded) {
  const Var x = Var::make(), y = Var::make(), z = Var::make();
  const auto throws = [](const Status&) { throw std::runtime_error("on_finish"); };
  push(ok_op(), {.writes = {x}, .on_finish = throws});
  push([] { return failure("first"); }, {.writes = {y}, .on_finish = throws});
  push(ok_op(), {.reads = {x}, .writes = {z}});
  engine_->drain();
  EXPECT_EQ(x.status().code(), StatusCode::kException);
  EXPECT_EQ(x.status().message(), "on_finish");
  EXPECT_EQ(y.status().message(), "first");
  EXPECT_EQ(z.status().message(), "on_finish");
  EXPECT_EQ(engine_->pending(), 0U);
}

TEST_P(EngineTest, AnEmptyClosureIsRefused) {
  bool called = false;
  OpOptions options{.writes = {Var::make()}, .on_finish = [&called](const Status&) { called = true; }};
  EXPECT_EQ(engine_->push(Engine::Closure(), std::move(options)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(options.writes.size(), 1U);  // NOLINT: a refused push leaves it as it was
  EXPECT_EQ(engine_->push_async(Engine::AsyncClosure(), std::move(options)).code(),
            StatusCode::kInvalidArgument);
  EXPECT_FALSE(called);
  EXPECT_EQ(engine_->pending(), 0U);
}

// ---- Executors

// Treats each task as the test says.
class ScriptedExecutor final : public Executor {
 public:
  enum class Does { kThrow, kKeepAndThrow, kRunAndThrow, kDrop, kKeep };
  explicit ScriptedExecutor(Does does) : does_(does) {}
  Status execute(Task task) override {
    switch (does_) {
      case Does::kDrop:
        return Status();
      case Does::kRunAndThrow:
        task();
        break;
      case Does::kKeep:
      case Does::kKeepAndThrow:
        kept.push_back(std::move(task));
        if (does_ == Does::kKeep) return Status();
        break;
      case Does::kThrow:
        break;
    }
    throw std::runtime_error("execute");
  }
  Tasks kept;

 private:
  const Does does_;
};

TEST(EngineExecutorTest, AnExecutorThatThrowsFailsTheOperationUnlessItTookTheTask) {
  const auto engine = *make_threaded_engine({.threads = 1});
  using Does = ScriptedExecutor::Does;
  for (const Does does : {Does::kThrow, Does::kKeepAndThrow, Does::kRunAndThrow}) {
    ScriptedExecutor executor(does);
    const Var x = Var::make(), y = Var::make();
    int ended = 0;
    int ran = 0;
    ASSERT_TRUE(
        engine
            ->push(counting(ran),
                   {.writes = {x}, .executor = &executor, .on_finish = [&ended](const Status&) { ++ended; }})
            .ok());
    ASSERT_TRUE(engine->push(ok_op(), {.reads = {x}, .writes = {y}}).ok());
    for (Task& task : executor.kept) task();
    engine->drain();
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(ran, does == Does::kThrow ? 0 : 1);
    EXPECT_EQ(x.status().code(), does == Does::kThrow ? StatusCode::kException : StatusCode::kOk);
    EXPECT_EQ(y.status().message(), does == Does::kThrow ? "execute" : "");
    EXPECT_EQ(engine->pending(), 0U);
  }
}

TEST(EngineExecutorTest, ATaskThatIsDestroyedUnrunCancelsItsOperation) {
  const auto engine = *make_threaded_engine({.threads = 1});
  using Does = ScriptedExecutor::Does;
  for (const Does does : {Does::kDrop, Does::kKeep}) {
    ScriptedExecutor executor(does);
    const Var x = Var::make(), y = Var::make();
    int ended = 0;
    ASSERT_TRUE(
        engine
            ->push(ok_op(),
                   {.writes = {x}, .executor = &executor, .on_finish = [&ended](const Status&) { ++ended; }})
            .ok());
    ASSERT_TRUE(engine->push(ok_op(), {.reads = {x}, .writes = {y}}).ok());
    executor.kept.clear();
    engine->drain();
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(x.status().code(), StatusCode::kCancelled);
    EXPECT_EQ(y.status().code(), StatusCode::kCancelled);
  }
}

TEST(EngineExecutorTest, ALongChainOnAnExecutorThatThrowsOrDropsNeedsNoStack) {
  const auto engine = *make_threaded_engine({.threads = 1});
  using Does = ScriptedExecutor::Does;
  for (const Does does : {Does::kThrow, Does::kDrop}) {
    ScriptedExecutor executor(does);
    const Var x = Var::make();
    Held held;
    int ended = 0;
    ASSERT_TRUE(engine->push_async(held.closure(), {.writes = {x}}).ok());
    for (int i = 0; i < kChain; ++i) {
      ASSERT_TRUE(engine
                      ->push(ok_op(), {.writes = {x},
                                       .executor = &executor,
                                       .on_finish = [&ended](const Status&) { ++ended; }})
                      .ok());
    }
    held.end();
    engine->drain();
    EXPECT_EQ(ended, kChain);
    EXPECT_FALSE(x.status().ok());
  }
}

TEST(EngineExecutorTest, AThrowingInlineOperationLeavesTheEngineAtWork) {
  InlineExecutor executor;
  const auto engine = *make_threaded_engine({.threads = 0});
  const Var x = Var::make();
  int ran = 0;
  ASSERT_TRUE(engine
                  ->push([]() -> Status { throw std::runtime_error("inline"); },
                         {.writes = {x}, .executor = &executor})
                  .ok());
  EXPECT_EQ(x.status().message(), "inline");
  ASSERT_TRUE(engine->push(counting(ran), {.writes = {x}, .executor = &executor}).ok());
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(engine->pending(), 0U);
}

// ---- Options and threads

TEST(EngineOptionsTest, EachBoundHoldsAtItsValueAndOnePast) {
  const auto code = [](EngineOptions options) { return make_threaded_engine(options).status().code(); };
  using Options = EngineOptions;
  EXPECT_EQ(code({.threads = 0}), StatusCode::kOk);
  EXPECT_EQ(code({.threads = -1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.threads = Options::kThreadsMax + 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.pending_limit = 0}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.pending_limit = 1}), StatusCode::kOk);
  EXPECT_EQ(code({.pending_limit = Options::kPendingLimitMax}), StatusCode::kOk);
  EXPECT_EQ(code({.pending_limit = Options::kPendingLimitMax + 1}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.spin = Duration(-1)}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.spin = Duration(0)}), StatusCode::kOk);
  EXPECT_EQ(code({.spin = Options::kSpinMax}), StatusCode::kOk);
  EXPECT_EQ(code({.spin = Options::kSpinMax + Duration(1)}), StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.spin = Duration::max()}), StatusCode::kInvalidArgument);
}

TEST(EngineOptionsTest, ThreadsHaveNames) {
  const auto engine = *make_threaded_engine({.threads = 1});
  char name[16] = "";
  ASSERT_TRUE(engine
                  ->push(
                      [&name] {
                        pthread_getname_np(pthread_self(), name, sizeof(name));
                        return Status();
                      },
                      {})
                  .ok());
  engine->drain();
  EXPECT_STREQ(name, "inflight-eng-0");
}

#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
// Runs in a process of its own, with memory for the stacks of some threads and not for those of 1,000.
TEST(EngineThreadsDeathTest, WithoutThreadsTheEngineIsRefusedAndNothingIsLeftBehind) {
  const auto without_threads = [] {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlim_t room = pages * 4096 + (rlim_t{256} << 20U);
    const rlimit limit{room, room};
    if (setrlimit(RLIMIT_AS, &limit) != 0) std::_Exit(2);
    for (int again = 0; again < 3; ++again) {
      const auto engine = make_threaded_engine({.threads = EngineOptions::kThreadsMax});
      if (engine.status().code() != StatusCode::kOutOfMemory) std::_Exit(3);
    }
    int threads = 0;
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) std::sscanf(line.c_str(), "Threads: %d", &threads);
    if (threads != 1) std::_Exit(4);
    if (!make_threaded_engine({.threads = 2}).ok()) std::_Exit(5);
    std::_Exit(0);
  };
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(without_threads(), testing::ExitedWithCode(0), "");
}
#endif

// ---- Real-time threads

// A thread that the engine's threads cannot preempt pushes on their processor. If the holder of a lock does
// not run, the thread must sleep and not spin.
TEST(EngineRealTimeTest, APushOfARealTimeThreadOnTheProcessorOfTheWorkersIsShort) {
  cpu_set_t before, one;
  ASSERT_EQ(pthread_getaffinity_np(pthread_self(), sizeof(before), &before), 0);
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
  ASSERT_EQ(pthread_setaffinity_np(pthread_self(), sizeof(one), &one), 0);
  const auto engine = *make_threaded_engine({.threads = 2});  // its threads run on that processor, too
  bool real_time = false;
  auto longest = std::chrono::steady_clock::duration::zero();
  std::atomic<int> ran{0};
  int pushed = 0;
  std::thread pusher([&] {
    sched_param parameters{};
    parameters.sched_priority = 10;
    real_time = pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters) == 0;
    if (!real_time) return;
    std::vector<Var> vars;
    for (int i = 0; i < 4; ++i) vars.push_back(Var::make());
    for (std::size_t i = 0; i < 10'000; ++i) {
      // The workers get the processor now and then, and may lose it at any instruction.
      if (i % 20 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
      const auto start = std::chrono::steady_clock::now();
      const Status status = engine->push(
          [&ran] {
            ++ran;
            return Status();
          },
          {.writes = {vars[i % 4]}});
      longest = std::max(longest, std::chrono::steady_clock::now() - start);
      if (status.ok()) ++pushed;
    }
  });
  pusher.join();
  pthread_setaffinity_np(pthread_self(), sizeof(before), &before);
  if (!real_time) GTEST_SKIP() << "SCHED_FIFO is not allowed here";
  engine->drain();
  EXPECT_EQ(pushed, 10'000);
  EXPECT_EQ(ran, 10'000);
  EXPECT_LT(longest, std::chrono::milliseconds(300));
  RecordProperty("longest_push_us",
                 static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(longest).count()));
  std::printf("longest push: %lld us\n",
              static_cast<long long>(std::chrono::duration_cast<std::chrono::microseconds>(longest).count()));
}

}  // namespace
}  // namespace inflight
