// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/user_code.h"
#include "engine/op.h"
#include "engine/op_pool.h"
#include "engine/workers.h"
#include "inflight/internal/mutex.h"

namespace inflight {
namespace {

using internal::Access;
using internal::call_user;
using internal::CondVar;
using internal::failed;
using internal::HandedOver;
using internal::Mutex;
using internal::MutexLock;
using internal::Op;
using internal::OpParts;
using internal::OpPool;
using internal::Workers;

// While it lives, this thread is inside an operation of the engine. shutdown() then does not wait for itself.
class RunningScope {
 public:
  explicit RunningScope(const Engine* engine) : engine_(engine), outer_(std::exchange(innermost_, this)) {}
  ~RunningScope() { innermost_ = outer_; }
  RunningScope(const RunningScope&) = delete;
  RunningScope& operator=(const RunningScope&) = delete;
  static bool inside(const Engine* engine) {
    const RunningScope* scope = innermost_;
    while (scope != nullptr && scope->engine_ != engine) scope = scope->outer_;
    return scope != nullptr;
  }

 private:
  static thread_local const RunningScope* innermost_;
  const Engine* const engine_;
  const RunningScope* const outer_;
};

thread_local const RunningScope* RunningScope::innermost_ = nullptr;

Status cancelled() noexcept {
  return failed(StatusCode::kCancelled, "the engine was shut down before the operation started");
}

bool names_nothing(const VarList& vars) noexcept {
  for (const Var& var : vars) {
    if (!var) return true;
  }
  return false;
}

// How many operations ended on one thread. Each count has a cache line of its own: every operation writes
// one, and no two workers write the same.
struct alignas(64) Ended {
  std::atomic<std::uint64_t> count{0};
  OpPool::Bundle memory;  // of those operations, to be given back together
};

// Why a push is refused.
enum class Refusal { kNone, kEmptyClosure, kEmptyVar, kNoThreads, kShutDown, kFull, kNoMemory };

class ThreadedEngine final : public Engine, public internal::OpOwner, public Workers::Runner {
 public:
  explicit ThreadedEngine(const EngineOptions& options)
      : options_(options), ended_(static_cast<std::size_t>(options.threads) + 1) {}
  ~ThreadedEngine() override { ThreadedEngine::shutdown(Shutdown::kDrain); }
  // Starts the threads. On failure it has joined those that started.
  Status start() {
    if (options_.threads == 0) return Status();
    return workers_.emplace(*this, options_.spin).start(options_.threads);
  }

  Status push(Closure&& closure, OpOptions&& options) override { return order(closure, options); }
  Status push_async(AsyncClosure&& closure, OpOptions&& options) override { return order(closure, options); }
  void drain() override;
  void shutdown(Shutdown how) override;
  std::size_t pending() const override;

  void op_runnable(Op* op) noexcept override;
  void op_completed(Op* op, Status status) noexcept override { finish(op, std::move(status)); }
  Op* run(Op& op, std::size_t worker) noexcept override;
  void out_of_work(std::size_t worker) noexcept override { memory_.give_back(ended_[worker].memory); }

 private:
  class Task;
  static constexpr std::uint64_t kClosed = OpPool::kClosed;

  template <typename Function>
  Status order(Function& closure, OpOptions& options) noexcept;
  template <typename Function>
  Refusal check(const Function& closure, const OpOptions& options) const noexcept;
  void* admit(Refusal& refusal) noexcept;
  [[gnu::cold]] Status refused(Refusal refusal) const noexcept;
  static bool claim(Op* op, OpOptions& options) noexcept;
  Status refusal(Op& op) noexcept;
  Op* keep_own(Op*& list) noexcept;
  void start(Op& op) noexcept;
  void finish(Op* op, Status status) noexcept;
  void retire(Op* op) noexcept;
  std::uint64_t ended() const noexcept;
  bool settled() const noexcept { return ended() == (pushed_.load() & ~kClosed); }
  // Signed: what a thread read of `pushed` may be older than `ended`.
  bool is_full(std::uint64_t pushed, std::uint64_t ended) const noexcept {
    return static_cast<std::int64_t>(pushed - ended) >= static_cast<std::int64_t>(options_.pending_limit);
  }
  void wait_idle() noexcept;

  const EngineOptions options_;
  std::atomic<bool> cancelling_{false};
  std::atomic<int> waiting_{0};  // how many threads wait for all operations to end

  // Of the threads that push.
  alignas(64) std::atomic<std::uint64_t> pushed_{0};  // how many operations; kClosed: no more are accepted
  std::atomic<std::uint64_t> ended_before_{0};        // what ended() was at some earlier time
  OpPool memory_;                                     // numbered by pushed_

  // One for each worker, and the last for all other threads, written under mutex_.
  std::vector<Ended> ended_;
  Mutex mutex_;
  CondVar idle_;
  std::optional<Workers> workers_;
};

// What an executor gets: it runs the operation. If it is destroyed without having run, it ends the operation.
class ThreadedEngine::Task {
 public:
  Task(ThreadedEngine& engine, Op* op) noexcept : engine_(engine), op_(op) {}
  Task(Task&& other) noexcept : engine_(other.engine_), op_(std::exchange(other.op_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (op_ != nullptr && !HandedOver::dropped_by_throw(op_)) engine_.finish(op_, unrun());
  }
  void operator()() noexcept {
    if (op_ != nullptr) engine_.start(*std::exchange(op_, nullptr));
  }
  static Status unrun() noexcept {
    return failed(StatusCode::kCancelled, "the executor dropped the operation without running it");
  }

 private:
  ThreadedEngine& engine_;
  Op* op_;
};

std::uint64_t ThreadedEngine::ended() const noexcept {
  std::uint64_t sum = 0;
  for (const Ended& ended : ended_) sum += ended.count.load();
  return sum;
}

std::size_t ThreadedEngine::pending() const {
  const std::uint64_t before = ended();  // first: operations that end meanwhile must not make it negative
  return static_cast<std::size_t>((pushed_.load() & ~kClosed) - before);
}

template <typename Function>
Refusal ThreadedEngine::check(const Function& closure, const OpOptions& options) const noexcept {
  if (!closure) return Refusal::kEmptyClosure;
  if (names_nothing(options.reads) || names_nothing(options.writes)) return Refusal::kEmptyVar;
  if (options.executor == nullptr && !workers_.has_value()) return Refusal::kNoThreads;
  return Refusal::kNone;
}

// Gives the operation memory and counts it in. Null: it is refused, and nothing has changed.
void* ThreadedEngine::admit(Refusal& refusal) noexcept {
  std::uint64_t pushed = pushed_.load(std::memory_order_relaxed);
  while (true) {
    if ((pushed & kClosed) != 0) {
      refusal = Refusal::kShutDown;
      return nullptr;
    }
    // Operations that ended since the last look only make room: read the counts only if that look found none.
    if (is_full(pushed, ended_before_.load(std::memory_order_relaxed))) {
      const std::uint64_t ended_now = ended();
      ended_before_.store(ended_now, std::memory_order_relaxed);
      if (is_full(pushed, ended_now)) {
        refusal = Refusal::kFull;
        return nullptr;
      }
    }
    void* const memory = memory_.ready(pushed);
    if (memory == nullptr) {
      if (!memory_.refill(pushed_)) {
        refusal = Refusal::kNoMemory;
        return nullptr;
      }
      pushed = pushed_.load(std::memory_order_relaxed);
    } else if (pushed_.compare_exchange_weak(pushed, pushed + 1)) {
      memory_.taken(pushed, memory, pushed_);
      return memory;
    }
  }
}

Status ThreadedEngine::refused(Refusal refusal) const noexcept {
  switch (refusal) {
    case Refusal::kEmptyClosure:
      return failed(StatusCode::kInvalidArgument, "push: the closure is empty");
    case Refusal::kEmptyVar:
      return failed(StatusCode::kInvalidArgument, "push: got an empty Var");
    case Refusal::kNoThreads:
      return failed(StatusCode::kInvalidArgument, "push: an engine without threads needs an executor");
    case Refusal::kShutDown:
      return failed(StatusCode::kShuttingDown, "push: the engine has been shut down");
    case Refusal::kFull: {
      char message[64];
      const std::size_t limit = options_.pending_limit;
      std::snprintf(message, sizeof(message), "push: %zu of %zu operations are pending", limit, limit);
      return failed(StatusCode::kOverloaded, message);
    }
    case Refusal::kNoMemory:
    case Refusal::kNone:
      break;
  }
  return Status::out_of_memory("push: an operation");
}

template <typename Function>
Status ThreadedEngine::order(Function& closure, OpOptions& options) noexcept {
  Refusal refusal = check(closure, options);
  if (refusal != Refusal::kNone) return refused(refusal);
  OpParts parts;
  if (!parts.allocate(options)) return refused(Refusal::kNoMemory);
  void* const memory = admit(refusal);
  if (memory == nullptr) return refused(refusal);
  // From here on nothing can fail.
  Op* const op = new (memory) Op(*this, std::move(closure), options, parts);
  if (op->claims_count != 0 && !claim(op, options)) return Status();
  if (op->executor() == nullptr) {
    workers_->add(op);
  } else {
    start_pushed(op);
  }
  return Status();
}

// True: the operation may run, and the caller starts it. The locks of all its variables are held while the
// claims are made, so two pushes have the same order in every queue that they share, and neither waits for
// the other. Clang's analysis cannot follow locks that are taken in a loop, in the order of their addresses.
bool ThreadedEngine::claim(Op* op, OpOptions& options) noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  const std::span<Access> claims = op->claims();
  const auto count = static_cast<std::uint32_t>(claims.size());
  op->waits.store(count + 1, std::memory_order_relaxed);
  for (Access& claim : claims) claim.var->lock();
  std::uint32_t granted = 0;
  for (Access& claim : claims) granted += claim.var->acquire_locked(claim) ? 1U : 0U;
  // The claimed variables now hold references to themselves. The lists drop theirs before the operation can
  // run: it may check that no other code refers to a variable.
  options.reads.clear();
  options.writes.clear();
  for (Access& claim : claims) claim.var->unlock();
  if (granted == count) return true;  // no other thread reads the count
  // Since the unlocks, other threads may have granted the rest: the one that brings the count to zero starts
  // it.
  return op->waits.fetch_sub(granted + 1, std::memory_order_acq_rel) == granted + 1;
}

Status ThreadedEngine::refusal(Op& op) noexcept {
  return cancelling_.load(std::memory_order_acquire) ? cancelled() : op.refusal();
}

void ThreadedEngine::op_runnable(Op* op) noexcept {
  Executor* const executor = op->executor();
  if (executor == nullptr) {
    workers_->add(op);
    return;
  }
  if (const Status refused = refusal(*op); !refused.ok()) {
    op->waits.store(1, std::memory_order_relaxed);  // for retire()
    finish(op, refused);
    return;
  }
  // The operation may end before execute() returns. It stays pending until execute() has returned, so that
  // the engine and its executors may be destroyed once nothing is pending.
  op->waits.store(2, std::memory_order_relaxed);
  {
    const HandedOver scope(op);
    Status thrown = call_user([&] { return executor->execute(Task(*this, op)); });
    // A task that the executor has kept decides how the operation ends, whatever execute() answers.
    if (scope.dropped()) finish(op, thrown.ok() ? Task::unrun() : std::move(thrown));
  }
  retire(op);
}

// Takes the operations that this engine's workers run out of the list, in their order.
Op* ThreadedEngine::keep_own(Op*& list) noexcept {
  Op* own = nullptr;
  Op** own_end = &own;
  Op** others_end = &list;
  for (Op* op = list; op != nullptr;) {
    Op* const next = op->next;
    const bool is_own = &op->owner == this && op->executor() == nullptr && op->priority() == 0;
    Op**& end = is_own ? own_end : others_end;
    *end = op;
    end = &op->next;
    op = next;
  }
  *own_end = nullptr;
  *others_end = nullptr;
  return own;
}

// On a worker. Returns the operations that its end makes runnable and that a worker runs.
Op* ThreadedEngine::run(Op& op, std::size_t worker) noexcept {
  Status status = refusal(op);
  if (status.ok()) {
    const RunningScope scope(this);
    if (op.asynchronous()) {
      op.waits.store(1, std::memory_order_relaxed);  // for retire()
      op.start();
      return nullptr;
    }
    status = op.call();
  }
  Op* freed = nullptr;
  {
    const RunningScope scope(this);  // on_finish is the operation's too
    freed = op.end(std::move(status));
  }
  Op* const own = keep_own(freed);
  internal::start_freed(freed);
  op.~Op();
  Ended& ended = ended_[worker];
  ended.memory.add(&op);
  if (ended.memory.full()) memory_.give_back(ended.memory);
  // Sequentially consistent, as in wait_idle(): this thread sees the one that waits, or that one sees the
  // count.
  ended.count.fetch_add(1);
  if (waiting_.load() > 0 && settled()) {
    const MutexLock lock(mutex_);
    idle_.notify_all();
  }
  return own;
}

// On an executor.
void ThreadedEngine::start(Op& op) noexcept {
  if (const Status refused = refusal(op); !refused.ok()) {
    finish(&op, refused);
    return;
  }
  const RunningScope scope(this);
  if (op.asynchronous()) {
    op.start();
  } else {
    finish(&op, op.call());
  }
}

// On any thread.
void ThreadedEngine::finish(Op* op, Status status) noexcept {
  {
    const RunningScope scope(this);  // on_finish is the operation's too, on whatever thread it runs
    // end() releases everything first: a dependent operation may check that no other code refers to a
    // variable.
    internal::start_freed(op->end(std::move(status)));
  }
  retire(op);
}

void ThreadedEngine::retire(Op* op) noexcept {
  if (op->waits.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  op->~Op();
  OpPool::Bundle memory;
  memory.add(op);
  memory_.give_back(memory);
  // The lock is held to the end: the engine may be destroyed as soon as a thread that waits can take it.
  const MutexLock lock(mutex_);
  ended_.back().count.fetch_add(1);
  if (settled()) idle_.notify_all();
}

void ThreadedEngine::wait_idle() noexcept {
  MutexLock lock(mutex_);
  waiting_.fetch_add(1);
  while (!settled()) idle_.wait(lock);
  waiting_.fetch_sub(1);
}

void ThreadedEngine::drain() {
  INFLIGHT_CHECK(!RunningScope::inside(this));
  wait_idle();
}

void ThreadedEngine::shutdown(Shutdown how) {
  if (how == Shutdown::kCancel) cancelling_.store(true, std::memory_order_release);
  pushed_.fetch_or(kClosed);
  if (!RunningScope::inside(this)) wait_idle();
}

Status check(const EngineOptions& options) {
  const auto invalid = [](const char* what, auto got, auto least, auto most) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("EngineOptions::{}: got {}, want {} to {}", what, got, least, most));
  };
  if (options.threads < 0 || options.threads > EngineOptions::kThreadsMax) {
    return invalid("threads", options.threads, 0, EngineOptions::kThreadsMax);
  }
  if (options.pending_limit < 1 || options.pending_limit > EngineOptions::kPendingLimitMax) {
    return invalid("pending_limit", options.pending_limit, 1, EngineOptions::kPendingLimitMax);
  }
  if (options.spin < Duration(0) || options.spin > EngineOptions::kSpinMax) {
    return invalid("spin (ns)", options.spin.count(), 0, EngineOptions::kSpinMax.count());
  }
  return Status();
}

}  // namespace

Result<std::unique_ptr<Engine>> make_threaded_engine(EngineOptions options) {
  try {
    INFLIGHT_TRY(check(options));
    auto engine = std::make_unique<ThreadedEngine>(options);
    INFLIGHT_TRY(engine->start());
    return std::unique_ptr<Engine>(std::move(engine));
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("make_threaded_engine");
  }
}

}  // namespace inflight
