// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

#include "base/check.h"
#include "engine/op.h"
#include "engine/op_pool.h"
#include "engine/workers.h"

namespace inflight {
namespace {

using internal::Access;
using internal::Op;
using internal::OpPool;
using internal::SpinLock;
using internal::Workers;

// While it lives, this thread is inside an operation of the engine; how shutdown() knows not to wait for
// itself.
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

Status cancelled() {
  return Status(StatusCode::kCancelled, "the engine was shut down before the operation started");
}

bool names_nothing(const VarList& vars) {
  for (const Var& var : vars) {
    if (!var) return true;
  }
  return false;
}

// How many operations ended where, each count on a line of its own: what every operation must write, no two
// threads should.
struct alignas(64) Ended {
  std::atomic<std::uint64_t> count{0};
  OpPool::Bundle memory;  // theirs, to be given back together
};

class ThreadedEngine final : public Engine, public internal::OpOwner, public Workers::Runner {
 public:
  explicit ThreadedEngine(EngineOptions options)
      : options_(options), ended_(static_cast<std::size_t>(options.threads) + 1) {
    if (options_.threads > 0) workers_.emplace(*this, options_.threads, options_.spin);
  }
  ~ThreadedEngine() override { ThreadedEngine::shutdown(Shutdown::kDrain); }

  Status push(Closure&& closure, OpOptions&& options) override { return order(closure, options); }
  Status push_async(AsyncClosure&& closure, OpOptions&& options) override { return order(closure, options); }
  void drain() override;
  void shutdown(Shutdown how) override;
  std::size_t pending() const override;

  void op_runnable(Op* op) override;
  void op_completed(Op* op, Status status) override { finish(op, status); }
  Op* run(Op& op, std::size_t worker) override;
  void out_of_work(std::size_t worker) override { memory_.give_back(ended_[worker].memory); }

 private:
  template <typename Function>
  Status order(Function& closure, OpOptions& options);
  void* admit(const OpOptions& options);
  [[gnu::cold]] Status why_not_admitted(const OpOptions& options);
  static bool claim(Op* op, OpOptions& options);
  Status refusal(Op& op);
  void start(Op& op);
  void finish(Op* op, const Status& status);
  void retire(Op* op);
  std::uint64_t ended() const noexcept;
  bool settled() const noexcept { return ended() == pushed_.load(); }
  void wait_idle(std::unique_lock<std::mutex>& lock);

  const EngineOptions options_;
  std::atomic<bool> cancelling_{false};
  std::atomic<int> waiting_{0};  // how many threads wait for all to end

  // Those who push.
  alignas(64) SpinLock admission_;
  bool accepting_ = true;                 // guarded by admission_
  std::uint64_t ended_before_ = 0;        // guarded by admission_; the last look at ended()
  std::atomic<std::uint64_t> pushed_{0};  // written under admission_
  OpPool memory_;                         // its taking end is guarded by admission_

  // A worker each; the last one for all other threads, written under mutex_.
  std::vector<Ended> ended_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::optional<Workers> workers_;
};

std::uint64_t ThreadedEngine::ended() const noexcept {
  std::uint64_t sum = 0;
  for (const Ended& ended : ended_) sum += ended.count.load();
  return sum;
}

std::size_t ThreadedEngine::pending() const {
  const std::uint64_t before = ended();  // first: what ends meanwhile must not make it negative
  return static_cast<std::size_t>(pushed_.load() - before);
}

// Counts the operation in and gives it memory; null: it may not come in.
void* ThreadedEngine::admit(const OpOptions& options) {
  if (names_nothing(options.reads) || names_nothing(options.writes)) return nullptr;
  if (options.executor == nullptr && !workers_.has_value()) return nullptr;
  const std::lock_guard lock(admission_);
  const std::uint64_t pushed = pushed_.load(std::memory_order_relaxed);
  // What ended since the last look only makes room: the counts are read only where that look left none.
  if (pushed - ended_before_ >= options_.pending_limit) ended_before_ = ended();
  if (!accepting_ || pushed - ended_before_ >= options_.pending_limit) return nullptr;
  pushed_.store(pushed + 1, std::memory_order_relaxed);
  return memory_.take();
}

// Why admit() said no.
Status ThreadedEngine::why_not_admitted(const OpOptions& options) {
  if (names_nothing(options.reads) || names_nothing(options.writes)) {
    return Status(StatusCode::kInvalidArgument, "push: got an empty Var");
  }
  if (options.executor == nullptr && !workers_.has_value()) {
    return Status(StatusCode::kInvalidArgument, "push: an engine without threads needs an executor");
  }
  const std::lock_guard lock(admission_);
  if (!accepting_) return Status(StatusCode::kShuttingDown, "push: the engine has been shut down");
  return Status(StatusCode::kOverloaded,
                fmt::format("push: {0} of {0} operations are pending", options_.pending_limit));
}

template <typename Function>
Status ThreadedEngine::order(Function& closure, OpOptions& options) {
  void* const memory = admit(options);
  if (memory == nullptr) return why_not_admitted(options);
  Op* const op = new (memory) Op(*this, std::move(closure), options);
  if (op->claims_count != 0 && !claim(op, options)) return Status();
  if (op->executor() == nullptr) {
    workers_->add(op);
  } else {
    start_pushed(op);
  }
  return Status();
}

// True: it may run, and is the caller's to start. All the locks are held together while the claims are made:
// two pushes then stand in the same order in every queue they share, so neither can wait for the other in a
// circle.
bool ThreadedEngine::claim(Op* op, OpOptions& options) {
  const std::span<Access> claims = op->claims();
  const auto count = static_cast<std::uint32_t>(claims.size());
  op->waits.store(count + 1, std::memory_order_relaxed);
  for (Access& claim : claims) claim.var->mutex().lock();
  std::uint32_t granted = 0;
  for (Access& claim : claims) granted += claim.var->acquire(claim) ? 1U : 0U;
  // The variables have the claims' shares now. Those of the lists end before the operation can run, which may
  // want to be alone with a variable.
  options.reads.clear();
  options.writes.clear();
  for (Access& claim : claims) claim.var->mutex().unlock();
  if (granted == count) return true;  // nobody else will ever look at the count
  // The unlocks may already have let others grant the rest: whoever brings the count to zero dispatches.
  return op->waits.fetch_sub(granted + 1, std::memory_order_acq_rel) == granted + 1;
}

Status ThreadedEngine::refusal(Op& op) {
  return cancelling_.load(std::memory_order_acquire) ? cancelled() : op.refusal();
}

void ThreadedEngine::op_runnable(Op* op) {
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
  // The operation may be at its end before execute() returns; it stays pending until that has, so that the
  // engine and its executors may go once nothing is pending.
  op->waits.store(2, std::memory_order_relaxed);
  static_cast<void>(executor->execute([this, op] { start(*op); }));
  retire(op);
}

// On a worker. What its end makes runnable is another's to start, but for one, which this worker goes on
// with.
Op* ThreadedEngine::run(Op& op, std::size_t worker) {
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
    freed = op.end(status);
  }
  Op* next = nullptr;
  if (freed != nullptr && &freed->owner == this && freed->executor() == nullptr && freed->priority() == 0) {
    next = freed;
    freed = freed->next;
  }
  internal::start_freed(freed);
  op.~Op();
  Ended& ended = ended_[worker];
  ended.memory.add(&op);
  if (ended.memory.full()) memory_.give_back(ended.memory);
  // Sequentially consistent, as in wait_idle(): either this thread sees the one that waits, or that one sees
  // the count.
  ended.count.fetch_add(1);
  if (waiting_.load() > 0 && settled()) {
    const std::lock_guard lock(mutex_);
    idle_.notify_all();
  }
  return next;
}

// On an executor.
void ThreadedEngine::start(Op& op) {
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

// Anywhere.
void ThreadedEngine::finish(Op* op, const Status& status) {
  {
    const RunningScope scope(this);  // on_finish is the operation's too, on whatever thread it runs
    // Lets go before it starts them: what depends on this one finds alone what only this one still held.
    internal::start_freed(op->end(status));
  }
  retire(op);
}

void ThreadedEngine::retire(Op* op) {
  if (op->waits.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  op->~Op();
  OpPool::Bundle memory;
  memory.add(op);
  memory_.give_back(memory);
  // With the lock held to the end: the engine may go as soon as somebody who waits can take it.
  const std::lock_guard lock(mutex_);
  ended_.back().count.fetch_add(1);
  if (settled()) idle_.notify_all();
}

void ThreadedEngine::wait_idle(std::unique_lock<std::mutex>& lock) {
  waiting_.fetch_add(1);
  idle_.wait(lock, [this] { return settled(); });
  waiting_.fetch_sub(1);
}

void ThreadedEngine::drain() {
  INFLIGHT_CHECK(!RunningScope::inside(this));
  std::unique_lock lock(mutex_);
  wait_idle(lock);
}

void ThreadedEngine::shutdown(Shutdown how) {
  if (how == Shutdown::kCancel) cancelling_.store(true, std::memory_order_release);
  {
    const std::lock_guard lock(admission_);
    accepting_ = false;
  }
  if (RunningScope::inside(this)) return;
  std::unique_lock lock(mutex_);
  wait_idle(lock);
}

}  // namespace

std::unique_ptr<Engine> make_threaded_engine(EngineOptions options) {
  INFLIGHT_CHECK(options.threads >= 0);
  return std::make_unique<ThreadedEngine>(options);
}

}  // namespace inflight
