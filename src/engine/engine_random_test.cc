// SPDX-License-Identifier: Apache-2.0
// Random programs on every engine, against a plain loop. The seed is printed; --gtest_random_seed=N replays.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "inflight/engine.h"
#include "inflight/executor.h"

namespace inflight {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kPrograms = 40;
#else
constexpr int kPrograms = 150;
#endif

using Random = std::mt19937;

std::size_t pick(Random& random, std::size_t first, std::size_t last) {
  return std::uniform_int_distribution<std::size_t>(first, last)(random);
}

enum class Runs { kHere, kTokenHere, kTokenElsewhere };
enum class On { kEngine, kPool, kInline };

struct OpSpec {
  std::vector<std::size_t> reads;
  std::vector<std::size_t> writes;
  int priority = 0;  // must not change any result
  bool fails = false;
  Runs runs = Runs::kHere;
  On on = On::kEngine;
};

struct Program {
  std::size_t vars = 0;
  std::size_t pushers = 1;
  // True: pusher p uses only variables v with v % pushers == p. False: they share, and push one at a time.
  bool disjoint = true;
  std::vector<OpSpec> ops;
  std::size_t pusher(std::size_t op) const { return op % pushers; }
};

Program make_program(Random& random) {
  Program program;
  program.vars = pick(random, 1, 12);
  program.pushers = pick(random, 0, 1) == 0 ? 1 : pick(random, 1, std::min<std::size_t>(4, program.vars));
  program.disjoint = pick(random, 0, 1) == 0;
  const auto count =
      static_cast<std::size_t>(std::exp(std::uniform_real_distribution<>(0, std::log(2000.))(random)));
  const std::size_t fail_one_in = pick(random, 2, 40);
  program.ops.resize(std::max<std::size_t>(count, 1));
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    OpSpec& op = program.ops[i];
    const std::size_t step = program.disjoint ? program.pushers : 1;
    const std::size_t first = program.disjoint ? program.pusher(i) : 0;
    const auto choose = [&] { return first + step * pick(random, 0, (program.vars - 1 - first) / step); };
    op.priority = static_cast<int>(pick(random, 0, 8)) / 3 - 1;
    for (std::size_t n = pick(random, 0, 3); n > 0; --n) op.reads.push_back(choose());
    for (std::size_t n = pick(random, 0, 2); n > 0; --n) op.writes.push_back(choose());
    op.fails = pick(random, 1, fail_one_in) == 1;
    op.runs = static_cast<Runs>(pick(random, 0, 2));
    op.on = static_cast<On>(pick(random, 0, 2));
  }
  return program;
}

// What one run of a program leaves behind.
struct History {
  explicit History(const Program& program)
      : values(program.vars, 0),
        seen(program.ops.size()),
        ends(program.ops.size()),
        times_ended(program.ops.size()) {}

  // The variables' contents. Only the engine's order guards them, so ThreadSanitizer checks that order.
  std::vector<std::uint64_t> values;
  std::vector<std::vector<std::uint64_t>> seen;  // what each operation read; empty: it did not run
  std::vector<std::string> ends;                 // how each operation ended
  std::vector<int> times_ended;
  std::vector<std::string> last;   // how each variable's last write ended
  std::vector<std::size_t> order;  // of the pushes
};

// What an operation does: it reads all variables that it names, and writes values that depend on all of them.
Status work(const Program& program, std::size_t index, History& history) {
  const OpSpec& op = program.ops[index];
  std::uint64_t hash = index + 1;
  for (const std::size_t v : op.reads) {
    history.seen[index].push_back(history.values[v]);
    hash = hash * 0x9E3779B97F4A7C15U + history.values[v];
  }
  history.seen[index].push_back(hash);
  for (const std::size_t v : op.writes) history.values[v] = hash;  // also if it fails then
  if (op.fails) return Status(StatusCode::kDeviceError, "op " + std::to_string(index));
  return Status();
}

void run_serially(const Program& program, const std::vector<std::size_t>& order, History& history) {
  std::vector<Status> statuses(program.vars);
  for (const std::size_t i : order) {
    Status status;
    for (const std::size_t v : program.ops[i].reads) {
      if (status.ok()) status = statuses[v];
    }
    if (status.ok()) status = work(program, i, history);
    for (const std::size_t v : program.ops[i].writes) statuses[v] = status;
    history.ends[i] = status.to_string();
    ++history.times_ended[i];
  }
  for (const Status& status : statuses) history.last.push_back(status.to_string());
}

// Completes tokens on a thread of its own, in no particular order.
class Elsewhere {
 public:
  explicit Elsewhere(unsigned seed) : random_(seed), thread_([this] { run(); }) {}
  ~Elsewhere() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }
  void add(Task task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    wake_.notify_all();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      std::swap(tasks_[pick(random_, 0, tasks_.size() - 1)], tasks_.back());
      Task task = std::move(tasks_.back());
      tasks_.pop_back();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;  // guarded by mutex_
  bool stopping_ = false;   // guarded by mutex_
  Random random_;
  std::thread thread_;
};

void run_on(Engine& engine, const Program& program, unsigned seed, History& history) {
  std::vector<Var> vars(program.vars);
  for (Var& var : vars) var = Var::make();
  const auto pool_made = ThreadPool::make(1).value();
  ThreadPool& pool = *pool_made;
  InlineExecutor here;
  Elsewhere elsewhere(seed);
  std::mutex order_mutex;
  const auto push = [&](std::size_t i) {
    const OpSpec& op = program.ops[i];
    OpOptions options{.priority = op.priority};
    for (const std::size_t v : op.reads) options.reads.push_back(vars[v]);
    for (const std::size_t v : op.writes) options.writes.push_back(vars[v]);
    if (op.on == On::kPool) options.executor = &pool;
    if (op.on == On::kInline) options.executor = &here;
    options.on_finish = [&history, i](const Status& status) {
      history.ends[i] = status.to_string();
      ++history.times_ended[i];
    };
    Status pushed;
    switch (op.runs) {
      case Runs::kHere:
        pushed = engine.push([&, i] { return work(program, i, history); }, std::move(options));
        break;
      case Runs::kTokenHere:
        pushed = engine.push_async([&, i](OpToken token) { token.complete(work(program, i, history)); },
                                   std::move(options));
        break;
      case Runs::kTokenElsewhere:
        pushed = engine.push_async(
            [&, i](OpToken token) {
              elsewhere.add(
                  [&, i, held = std::move(token)]() mutable { held.complete(work(program, i, history)); });
            },
            std::move(options));
    }
    ASSERT_TRUE(pushed.ok()) << pushed.to_string();
  };
  const auto push_all_of = [&](std::size_t pusher) {
    for (std::size_t i = pusher; i < program.ops.size(); i += program.pushers) {
      if (program.disjoint) {
        push(i);
      } else {
        const std::lock_guard lock(order_mutex);
        history.order.push_back(i);
        push(i);
      }
    }
  };
  std::vector<std::thread> pushers;
  for (std::size_t p = 1; p < program.pushers; ++p) pushers.emplace_back(push_all_of, p);
  push_all_of(0);
  for (std::thread& pusher : pushers) pusher.join();
  engine.drain();
  EXPECT_EQ(engine.pending(), 0U);
  for (const Var& var : vars) history.last.push_back(var.status().to_string());
  if (program.disjoint) {
    for (std::size_t i = 0; i < program.ops.size(); ++i) history.order.push_back(i);
  }
}

void expect_same(const Program& program, const History& got, const History& want) {
  EXPECT_EQ(got.values, want.values);
  EXPECT_EQ(got.last, want.last);
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    ASSERT_EQ(got.times_ended[i], 1) << "op " << i;
    ASSERT_EQ(got.ends[i], want.ends[i]) << "op " << i;
    ASSERT_EQ(got.seen[i], want.seen[i]) << "op " << i;
  }
}

TEST(EngineRandomTest, RandomProgramsMatchAPlainLoop) {
  auto seed = static_cast<unsigned>(GTEST_FLAG_GET(random_seed));
  if (seed == 0) seed = std::random_device()() % 99'999 + 1;
  std::printf("replay with --gtest_random_seed=%u\n", seed);
  RecordProperty("seed", static_cast<int>(seed));
  for (int p = 0; p < kPrograms; ++p) {
    Random random(seed * 1000 + static_cast<unsigned>(p));
    const Program program = make_program(random);
    for (const int threads : {0, 1, 2, 4}) {
      SCOPED_TRACE("seed " + std::to_string(seed) + ", program " + std::to_string(p) + ", threads " +
                   std::to_string(threads));
      History got(program), want(program);
      {
        const auto engine = threads == 0 ? *make_naive_engine() : *make_threaded_engine({.threads = threads});
        run_on(*engine, program, seed, got);
      }
      run_serially(program, got.order, want);
      expect_same(program, got, want);
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace inflight
