// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "base/check.h"
#include "engine/op.h"
#include "inflight/internal/mutex.h"

namespace inflight {
namespace {

using internal::Access;
using internal::CondVar;
using internal::Mutex;
using internal::MutexLock;
using internal::Op;
using internal::OpParts;

class NaiveEngine final : public Engine, public internal::OpOwner {
 public:
  Status push(Closure&& closure, OpOptions&& options) override { return order(closure, options); }
  Status push_async(AsyncClosure&& closure, OpOptions&& options) override { return order(closure, options); }
  void drain() override;
  void shutdown(Shutdown how) override;
  std::size_t pending() const override { return pending_.load(std::memory_order_acquire); }

  void op_runnable(Op*) noexcept override {
    internal::check_failed("the naive engine queues nothing", __FILE__, __LINE__);
  }
  void op_completed(Op* op, Status status) noexcept override;

 private:
  // The claims of this engine are never made, so they keep no variable alive: the lists do.
  struct Pushed {
    Pushed* next = nullptr;
    VarList reads;
    VarList writes;
    std::optional<Op> op;
  };
  template <typename Function>
  Status order(Function& closure, OpOptions& options);
  void append(Pushed* pushed) noexcept INFLIGHT_REQUIRES(mutex_);
  void run_all() noexcept;
  std::unique_ptr<Pushed> next() noexcept;
  // Runs one operation from start to end.
  void run(Op& op) noexcept;
  Status call(Op& op) noexcept;
  bool is_inside() const noexcept INFLIGHT_REQUIRES(mutex_) { return runner_ == std::this_thread::get_id(); }
  // Returns once no thread runs operations. Requires that this thread runs none.
  void wait_for_turn(MutexLock& lock) noexcept INFLIGHT_REQUIRES(mutex_);

  mutable Mutex mutex_;
  CondVar turn_over_;
  CondVar completed_;
  // The thread that runs operations, if any: one push at a time does. It also runs what these operations
  // push.
  std::thread::id runner_ INFLIGHT_GUARDED_BY(mutex_);
  Pushed* first_ INFLIGHT_GUARDED_BY(mutex_) = nullptr;
  Pushed* last_ INFLIGHT_GUARDED_BY(mutex_) = nullptr;
  bool accepting_ INFLIGHT_GUARDED_BY(mutex_) = true;
  // How the running operation's token was completed.
  std::optional<Status> ended_ INFLIGHT_GUARDED_BY(mutex_);
  std::atomic<bool> cancelling_{false};
  std::atomic<std::size_t> pending_{0};
};

template <typename Function>
Status NaiveEngine::order(Function& closure, OpOptions& options) {
  using internal::failed;
  if (!closure) return failed(StatusCode::kInvalidArgument, "push: the closure is empty");
  for (const VarList* vars : {&options.reads, &options.writes}) {
    for (const Var& var : *vars) {
      if (!var) return failed(StatusCode::kInvalidArgument, "push: got an empty Var");
      if (!var.state()->idle()) {
        return failed(StatusCode::kInvalidArgument, "push: the Var is in use by another engine");
      }
    }
  }
  OpParts parts;
  std::unique_ptr<Pushed> pushed(new (std::nothrow) Pushed);
  if (pushed == nullptr || !parts.allocate(options)) return Status::out_of_memory("push: an operation");
  MutexLock lock(mutex_);
  const bool inside = is_inside();
  if (!inside) wait_for_turn(lock);
  if (!accepting_) return failed(StatusCode::kShuttingDown, "push: the engine has been shut down");
  pending_.fetch_add(1, std::memory_order_acq_rel);
  pushed->op.emplace(*this, std::move(closure), options, parts);
  pushed->reads = std::move(options.reads);
  pushed->writes = std::move(options.writes);
  append(pushed.release());
  if (!inside) runner_ = std::this_thread::get_id();
  lock.unlock();
  if (!inside) run_all();  // else its turn comes when the operation that pushed it has ended
  return Status();
}

void NaiveEngine::append(Pushed* pushed) noexcept {
  (first_ == nullptr ? first_ : last_->next) = pushed;
  last_ = pushed;
}

void NaiveEngine::run_all() noexcept {
  while (std::unique_ptr<Pushed> pushed = next()) {
    run(*pushed->op);
    pushed.reset();
    pending_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

// Null: there is none, and the turn of this thread is over.
std::unique_ptr<NaiveEngine::Pushed> NaiveEngine::next() noexcept {
  const MutexLock lock(mutex_);
  if (first_ == nullptr) {
    runner_ = std::thread::id();
    turn_over_.notify_all();
    return nullptr;
  }
  return std::unique_ptr<Pushed>(std::exchange(first_, first_->next));
}

void NaiveEngine::wait_for_turn(MutexLock& lock) noexcept {
  while (runner_ != std::thread::id()) turn_over_.wait(lock);
}

void NaiveEngine::run(Op& op) noexcept {
  for (Access& claim : op.claims()) {
    claim.failed = !claim.var->status().ok();
    claim.calls_back = true;
  }
  Status status =
      cancelling_.load(std::memory_order_acquire)
          ? internal::failed(StatusCode::kCancelled, "the engine was shut down before the operation started")
          : op.refusal();
  if (status.ok()) status = call(op);
  status = op.notify(std::move(status));
  for (const Access& claim : op.claims()) {
    if (claim.write) claim.var->set_status(status);
  }
}

Status NaiveEngine::call(Op& op) noexcept {
  if (!op.asynchronous()) return op.call();
  op.start();
  MutexLock lock(mutex_);
  while (!ended_.has_value()) completed_.wait(lock);
  Status status = std::move(*ended_);
  ended_.reset();
  return status;
}

void NaiveEngine::op_completed(Op*, Status status) noexcept {
  const MutexLock lock(mutex_);
  ended_ = std::move(status);
  completed_.notify_all();
}

void NaiveEngine::drain() {
  MutexLock lock(mutex_);
  INFLIGHT_CHECK(!is_inside());
  wait_for_turn(lock);
}

void NaiveEngine::shutdown(Shutdown how) {
  if (how == Shutdown::kCancel) cancelling_.store(true, std::memory_order_release);
  MutexLock lock(mutex_);
  accepting_ = false;
  if (!is_inside()) wait_for_turn(lock);
}

}  // namespace

Result<std::unique_ptr<Engine>> make_naive_engine() {
  std::unique_ptr<Engine> engine(new (std::nothrow) NaiveEngine);
  if (engine == nullptr) return Status::out_of_memory("make_naive_engine");
  return engine;
}

}  // namespace inflight
