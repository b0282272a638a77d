// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

#include "base/check.h"
#include "engine/op.h"

namespace inflight {
namespace {

using internal::Access;
using internal::Op;

// The engines whose operations this thread is inside, innermost last; how shutdown() knows not to wait for
// itself.
thread_local std::vector<const Engine*> engines_running;

class RunningScope {
 public:
  explicit RunningScope(const Engine* engine) { engines_running.push_back(engine); }
  ~RunningScope() { engines_running.pop_back(); }
};

Status cancelled() {
  return Status(StatusCode::kCancelled, "the engine was shut down before the operation started");
}

class ThreadedEngine final : public Engine, public internal::OpOwner {
 public:
  explicit ThreadedEngine(EngineOptions options) : options_(options) {
    if (options_.threads > 0) pool_.emplace(options_.threads);
  }
  ~ThreadedEngine() override {
    shutdown(Shutdown::kDrain);
    pool_.reset();
  }

  Status push_async(AsyncClosure closure, OpOptions options) override;
  void drain() override;
  void shutdown(Shutdown how) override;
  std::size_t pending() const override {
    const std::lock_guard lock(mutex_);
    return pending_;
  }
  void op_runnable(Op* op) override;
  void op_completed(Op* op, Status status) override;

 private:
  Status admit(const OpOptions& options);
  void claim(Op* op);
  void start(Op* op);
  void finish(Op* op, const Status& status);
  void retire(Op* op);
  void wait_idle(std::unique_lock<std::mutex>& lock) {
    idle_.wait(lock, [this] { return pending_ == 0; });
  }

  const EngineOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  std::size_t pending_ = 0;  // guarded by mutex_
  bool accepting_ = true;    // guarded by mutex_
  std::atomic<bool> cancelling_{false};
  std::optional<ThreadPool> pool_;
};

Status ThreadedEngine::admit(const OpOptions& options) {
  for (const std::vector<Var>* vars : {&options.reads, &options.writes}) {
    for (const Var& var : *vars) {
      if (!var) return Status(StatusCode::kInvalidArgument, "push: got an empty Var");
    }
  }
  if (options.executor == nullptr && !pool_.has_value()) {
    return Status(StatusCode::kInvalidArgument, "push: an engine without threads needs an executor");
  }
  const std::lock_guard lock(mutex_);
  if (!accepting_) return Status(StatusCode::kShuttingDown, "push: the engine has been shut down");
  if (pending_ >= options_.pending_limit) {
    return Status(StatusCode::kOverloaded, fmt::format("push: {} operations are pending, the limit is {}",
                                                       pending_, options_.pending_limit));
  }
  ++pending_;
  return Status();
}

Status ThreadedEngine::push_async(AsyncClosure closure, OpOptions options) {
  INFLIGHT_TRY(admit(options));
  claim(new Op(*this, std::move(closure), std::move(options)));
  return Status();
}

// All the locks are held together while the claims are made: two pushes then stand in the same order in every
// queue they share, so neither can wait for the other in a circle.
void ThreadedEngine::claim(Op* op) {
  op->waits.store(static_cast<std::uint32_t>(op->accesses.size()) + 1, std::memory_order_relaxed);
  for (Access& access : op->accesses) access.var->mutex().lock();
  std::uint32_t granted = 1;
  for (Access& access : op->accesses) granted += access.var->acquire(access) ? 1U : 0U;
  for (Access& access : op->accesses) access.var->mutex().unlock();
  // The unlocks above may already have let others grant the rest: whoever brings the count to zero
  // dispatches.
  if (op->waits.fetch_sub(granted, std::memory_order_acq_rel) == granted) start_pushed(op);
}

void ThreadedEngine::op_runnable(Op* op) {
  op->waits.store(1, std::memory_order_relaxed);  // for finish()
  if (cancelling_.load(std::memory_order_acquire)) {
    finish(op, cancelled());
    return;
  }
  if (const Status inherited = op->inherited(); !inherited.ok()) {
    finish(op, inherited);
    return;
  }
  Executor& executor = op->executor != nullptr ? *op->executor : *pool_;
  // The operation may be at its end before execute() returns; it stays pending until that has, so that the
  // engine and its executors may go once nothing is pending.
  op->waits.store(2, std::memory_order_relaxed);
  executor.execute([this, op] { start(op); });
  retire(op);
}

void ThreadedEngine::start(Op* op) {
  if (cancelling_.load(std::memory_order_acquire)) {
    finish(op, cancelled());
    return;
  }
  const RunningScope scope(this);
  // Moved out: the operation may be finished before its closure returns.
  AsyncClosure closure = std::move(op->closure);
  closure(OpToken(op));
}

void ThreadedEngine::op_completed(Op* op, Status status) { finish(op, status); }

void ThreadedEngine::finish(Op* op, const Status& status) {
  const RunningScope scope(this);  // on_finish is the operation's too, on whatever thread it runs
  if (op->on_finish) op->on_finish(status);
  // Lets go before it starts them: what depends on this one finds alone what only this one still held.
  start_freed(op->let_go(status));
  retire(op);
}

void ThreadedEngine::retire(Op* op) {
  if (op->waits.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  delete op;
  // With the lock held while telling: the destructor may run as soon as it can take the lock.
  const std::lock_guard lock(mutex_);
  if (--pending_ == 0) idle_.notify_all();
}

void ThreadedEngine::drain() {
  for (const Engine* engine : engines_running) INFLIGHT_CHECK(engine != this);
  std::unique_lock lock(mutex_);
  wait_idle(lock);
}

void ThreadedEngine::shutdown(Shutdown how) {
  if (how == Shutdown::kCancel) cancelling_.store(true, std::memory_order_release);
  std::unique_lock lock(mutex_);
  accepting_ = false;
  for (const Engine* engine : engines_running) {
    if (engine == this) return;
  }
  wait_idle(lock);
}

}  // namespace

std::unique_ptr<Engine> make_threaded_engine(EngineOptions options) {
  INFLIGHT_CHECK(options.threads >= 0);
  return std::make_unique<ThreadedEngine>(options);
}

}  // namespace inflight
