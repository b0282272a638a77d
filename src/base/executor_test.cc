// SPDX-License-Identifier: Apache-2.0
#include "inflight/executor.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace inflight {
namespace {

// A callable of `kBytes` bytes that counts its objects and reports whether it is stored in place.
struct Counts {
  int alive = 0;
  int moves = 0;
};
template <std::size_t kBytes>
struct Probe {
  explicit Probe(Counts* c) : counts(c) { ++counts->alive; }
  Probe(Probe&& other) noexcept : counts(other.counts) {
    ++counts->alive;
    ++counts->moves;
  }
  ~Probe() { --counts->alive; }
  const void* operator()() { return this; }

  Counts* counts;
  std::array<char, kBytes - sizeof(Counts*)> padding{};
};
using WhereAmI = UniqueFunction<const void*()>;
using Inline = Probe<WhereAmI::kInlineBytes>;
using OnHeap = Probe<WhereAmI::kInlineBytes + 1>;  // one past

bool lives_inside(WhereAmI& function) {
  const auto here = reinterpret_cast<std::uintptr_t>(function());
  const auto begin = reinterpret_cast<std::uintptr_t>(&function);
  return here >= begin && here < begin + sizeof(function);
}

TEST(UniqueFunctionTest, EmptyIsFalse) {
  Task task;
  EXPECT_FALSE(task);
  Task other = std::move(task);
  EXPECT_FALSE(other);
  other = Task();
  EXPECT_FALSE(other);
}

TEST(UniqueFunctionTest, CallsWithArgumentsAndReturns) {
  UniqueFunction<std::string(int, std::unique_ptr<int>, std::string&)> function =
      [](int a, std::unique_ptr<int> b, std::string& c) {
        c += "!";
        return std::to_string(a + *b);
      };
  std::string text = "hello";
  EXPECT_EQ(function(40, std::make_unique<int>(2), text), "42");
  EXPECT_EQ(text, "hello!");
}

TEST(UniqueFunctionTest, HoldsWhatOnlyMoves) {
  UniqueFunction<int()> function = [value = std::make_unique<int>(7)] { return *value; };
  UniqueFunction<int()> other = std::move(function);
  EXPECT_FALSE(function);  // NOLINT(bugprone-use-after-move): a moved-from function is empty
  EXPECT_EQ(other(), 7);
}

TEST(UniqueFunctionTest, KeepsStateBetweenCalls) {
  UniqueFunction<int()> counter = [n = 0]() mutable { return ++n; };
  EXPECT_EQ(counter(), 1);
  EXPECT_EQ(counter(), 2);
  UniqueFunction<int()> moved = std::move(counter);
  EXPECT_EQ(moved(), 3);
}

int twice(int x) { return 2 * x; }

TEST(UniqueFunctionTest, TakesFunctionsMembersAndWhatReturnsMoreThanIsWanted) {
  UniqueFunction<int(int)> function = twice;
  EXPECT_EQ(function(21), 42);
  UniqueFunction<std::size_t(const std::string&)> member = &std::string::size;
  EXPECT_EQ(member("four"), 4U);
  int calls = 0;
  Task task = [&calls] { return ++calls; };  // the int is dropped
  task();
  EXPECT_EQ(calls, 1);
}

TEST(UniqueFunctionTest, LivesInPlaceUpToItsLimitAndOnTheHeapPastIt) {
  Counts counts;
  {
    static_assert(sizeof(Inline) == WhereAmI::kInlineBytes);
    WhereAmI function = Inline(&counts);
    EXPECT_TRUE(lives_inside(function));
    WhereAmI moved = std::move(function);
    EXPECT_TRUE(lives_inside(moved));
    EXPECT_EQ(counts.alive, 1);
  }
  EXPECT_EQ(counts.alive, 0);
  {
    static_assert(sizeof(OnHeap) > WhereAmI::kInlineBytes);
    WhereAmI function = OnHeap(&counts);
    EXPECT_FALSE(lives_inside(function));
    const void* const where = function();
    const int moves = counts.moves;
    WhereAmI moved = std::move(function);
    EXPECT_EQ(moved(), where);
    EXPECT_EQ(counts.moves, moves) << "only the pointer moves";
    EXPECT_EQ(counts.alive, 1);
  }
  EXPECT_EQ(counts.alive, 0);
}

TEST(UniqueFunctionTest, WhatMayThrowOnMoveOrWantsMoreAlignmentLivesOnTheHeap) {
  struct Throwing {
    Throwing() = default;
    Throwing(Throwing&&) noexcept(false) {}
    const void* operator()() { return this; }
  };
  WhereAmI throwing = Throwing();
  EXPECT_FALSE(lives_inside(throwing));

  struct alignas(2 * alignof(std::max_align_t)) Wide {
    const void* operator()() { return this; }
  };
  WhereAmI wide = Wide();
  EXPECT_FALSE(lives_inside(wide));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(wide()) % alignof(Wide), 0U);
}

template <typename Callable>
void destroys_exactly_once() {
  Counts first;
  Counts second;
  {
    WhereAmI a = Callable(&first);
    WhereAmI b = Callable(&second);
    EXPECT_EQ(first.alive, 1);
    EXPECT_EQ(second.alive, 1);
    a = std::move(b);  // what `a` held goes now, not later
    EXPECT_EQ(first.alive, 0);
    EXPECT_EQ(second.alive, 1);
    WhereAmI& alias = a;
    a = std::move(alias);
    EXPECT_TRUE(a);
    EXPECT_EQ(second.alive, 1);
    b = WhereAmI();
    EXPECT_EQ(second.alive, 1);
    std::vector<WhereAmI> many;
    for (int i = 0; i < 20; ++i) many.emplace_back(Callable(&first));  // grows: every element moves
    EXPECT_EQ(first.alive, 20);
  }
  EXPECT_EQ(first.alive, 0);
  EXPECT_EQ(second.alive, 0);
}

TEST(UniqueFunctionTest, DestroysExactlyOnceInPlace) { destroys_exactly_once<Inline>(); }
TEST(UniqueFunctionTest, DestroysExactlyOnceOnTheHeap) { destroys_exactly_once<OnHeap>(); }

void execute(Executor& executor, Task task) { EXPECT_TRUE(executor.execute(std::move(task)).ok()); }

TEST(InlineExecutorTest, RunsBeforeItReturns) {
  InlineExecutor executor;
  std::thread::id ran_on;
  execute(executor, [&ran_on] { ran_on = std::this_thread::get_id(); });
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(ManualExecutorTest, RunsInTheOrderGivenAndOnlyWhenAsked) {
  ManualExecutor executor;
  std::vector<int> order;
  EXPECT_FALSE(executor.run_one());
  for (int i = 0; i < 3; ++i) execute(executor, [&order, i] { order.push_back(i); });
  EXPECT_TRUE(order.empty());
  EXPECT_EQ(executor.size(), 3U);
  EXPECT_TRUE(executor.run_one());
  EXPECT_EQ(order, (std::vector<int>{0}));
  EXPECT_EQ(executor.size(), 2U);
  EXPECT_EQ(executor.run_all(), 2U);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
  EXPECT_FALSE(executor.run_one());
}

TEST(ManualExecutorTest, RunAllRunsWhatIsAddedOnTheWay) {
  ManualExecutor executor;
  std::vector<int> order;
  execute(executor, [&] {
    order.push_back(1);
    execute(executor, [&order] { order.push_back(3); });
  });
  execute(executor, [&order] { order.push_back(2); });
  EXPECT_EQ(executor.run_all(), 3U);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(ManualExecutorTest, DropsWhatWasNeverRun) {
  Counts counts;
  {
    ManualExecutor executor;
    execute(executor, Inline(&counts));
    EXPECT_EQ(counts.alive, 1);
  }
  EXPECT_EQ(counts.alive, 0);
}

TEST(ThreadPoolTest, RunsEveryTaskOnceBeforeItJoins) {
  constexpr int kTasks = 20000;
  std::vector<std::atomic<int>> runs(kTasks);
  {
    const auto made = ThreadPool::make(4).value();
    ThreadPool& pool = *made;
    for (int i = 0; i < kTasks; ++i)
      execute(pool, [&runs, i] { runs[static_cast<std::size_t>(i)].fetch_add(1); });
  }
  for (const std::atomic<int>& count : runs) ASSERT_EQ(count.load(), 1);
}

TEST(ThreadPoolTest, RunsTasksThatTasksAddWhileItIsDestroyed) {
  std::atomic<int> ran{0};
  std::latch started(1);
  std::latch go_on(1);
  std::thread releaser;
  {
    const auto made = ThreadPool::make(2).value();
    ThreadPool& pool = *made;
    execute(pool, [&] {
      started.count_down();
      go_on.wait();
      execute(pool, [&] {
        ran.fetch_add(1);
        execute(pool, [&] { ran.fetch_add(1); });
      });
    });
    started.wait();
    releaser = std::thread([&go_on] { go_on.count_down(); });
  }
  releaser.join();
  EXPECT_EQ(ran.load(), 2);
}

TEST(ThreadPoolTest, OneThreadKeepsTheOrder) {
  std::vector<int> order;  // only the pool's one thread writes it
  {
    const auto made = ThreadPool::make(1).value();
    ThreadPool& pool = *made;
    for (int i = 0; i < 1000; ++i) execute(pool, [&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 1000U);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(ThreadPoolTest, HasTheThreadsAskedForAndNoMore) {
  constexpr int kThreads = 3;
  std::latch all_here(kThreads);  // with a thread too few, this test hangs and times out
  std::mutex mutex;
  std::set<std::thread::id> ids;
  {
    const auto made = ThreadPool::make(kThreads).value();
    ThreadPool& pool = *made;
    for (int i = 0; i < kThreads; ++i) execute(pool, [&all_here] { all_here.arrive_and_wait(); });
    for (int i = 0; i < 300; ++i) {
      execute(pool, [&] {
        const std::lock_guard lock(mutex);
        ids.insert(std::this_thread::get_id());
      });
    }
  }
  EXPECT_LE(ids.size(), static_cast<std::size_t>(kThreads));
  EXPECT_FALSE(ids.contains(std::this_thread::get_id()));
}

TEST(ThreadPoolTest, DestroysATaskBeforeTheNextOne) {
  // A task's captures may hold what the next one needs, such as a place under a limit.
  const auto token = std::make_shared<int>(0);
  long uses_seen = 0;
  {
    const auto made = ThreadPool::make(1).value();
    ThreadPool& pool = *made;
    execute(pool, [held = token] {});
    execute(pool, [&] { uses_seen = token.use_count(); });
  }
  EXPECT_EQ(uses_seen, 1);
}

TEST(ThreadPoolTest, KeepsItsBounds) {
  for (const int threads : {-1, 0, ThreadPool::kThreadsMax + 1, 1'000'000'000}) {
    EXPECT_EQ(ThreadPool::make(threads).status().code(), StatusCode::kInvalidArgument) << threads;
  }
  EXPECT_TRUE(ThreadPool::make(1).ok());
}

TEST(ExecutorTest, AnEmptyTaskIsRefusedByEach) {
  InlineExecutor at_once;
  ManualExecutor manual;
  const auto pool = ThreadPool::make(1).value();
  for (Executor* const executor : std::initializer_list<Executor*>{&at_once, &manual, pool.get()}) {
    EXPECT_EQ(executor->execute(Task()).code(), StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(manual.size(), 0U);
}

TEST(ExecutorTest, WhatATaskThrowsEndsNoThread) {
  const auto throws = [] { throw std::runtime_error("task"); };
  InlineExecutor at_once;
  EXPECT_TRUE(at_once.execute(throws).ok());
  ManualExecutor manual;
  execute(manual, throws);
  EXPECT_THROW(manual.run_one(), std::runtime_error);
  EXPECT_FALSE(manual.run_one());
  std::atomic<int> ran{0};
  {
    const auto pool = ThreadPool::make(1).value();
    execute(*pool, throws);
    execute(*pool, std::function<void()>());  // calls nothing, which throws
    execute(*pool, [&ran] { ++ran; });
  }
  EXPECT_EQ(ran, 1);
}

// A sanitizer has threads of its own, which come and go at any time.
std::ptrdiff_t threads_of_this_process() {
  const std::filesystem::directory_iterator threads("/proc/self/task");
  return std::distance(begin(threads), end(threads));
}

// The process may start only a few threads more, so some of the pool's cannot start.
TEST(ThreadPoolTest, OutOfThreadsIsAStatusWithNothingLeftBehind) {
  const int threads_allowed = 4;
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{threads_allowed, threads_allowed};
    const bool limited = setrlimit(RLIMIT_NPROC, &limit) == 0 && (getuid() != 0 || setuid(65534) == 0);
    if (!limited) _exit(2);
    const std::ptrdiff_t before = threads_of_this_process();
    const auto pool = ThreadPool::make(64);
    if (pool.ok()) _exit(3);
    // A thread that was joined may be listed a moment longer.
    while (threads_of_this_process() > before) std::this_thread::yield();
    _exit(pool.status().code() == StatusCode::kOutOfMemory ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) >= 2) GTEST_SKIP() << "the number of threads cannot be limited here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ThreadPoolDeathTest, IsNotDestroyedByItsOwnTask) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ThreadPool* const pool = ThreadPool::make(1).value().release();
        execute(*pool, [pool] { delete pool; });
        std::latch(1).wait();
      },
      "check failed");
}

}  // namespace
}  // namespace inflight
