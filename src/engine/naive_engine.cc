// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/op.h"

namespace inflight {
namespace {

using internal::Access;
using internal::Op;

class NaiveEngine final : public Engine, public internal::OpOwner {
 public:
  Status push(Closure&& closure, OpOptions&& options) override { return order(closure, options); }
  Status push_async(AsyncClosure&& closure, OpOptions&& options) override { return order(closure, options); }
  void drain() override {
    const std::lock_guard turn(turn_);
    INFLIGHT_CHECK(!running_);  // it is this thread's own
  }
  void shutdown(Shutdown how) override {
    const std::lock_guard turn(turn_);
    accepting_ = false;
    if (how == Shutdown::kCancel) cancelling_ = true;
  }
  std::size_t pending() const override { return pending_.load(std::memory_order_acquire); }

  void op_runnable(Op*) override {
    internal::check_failed("the naive engine queues nothing", __FILE__, __LINE__);
  }
  void op_completed(Op* op, Status status) override;

 private:
  // A claim that is not made keeps no variable alive: the lists do.
  struct Pushed {
    VarList reads;
    VarList writes;
    std::unique_ptr<Op> op;
  };
  template <typename Function>
  Status order(Function& closure, OpOptions& options);
  // Runs one operation from start to end.
  void run(Op& op);
  Status call(Op& op);

  // Whose turn it is to run; held through a whole push. Recursive: an operation may push.
  std::recursive_mutex turn_;
  // Guarded by turn_.
  bool accepting_ = true;
  bool cancelling_ = false;
  bool running_ = false;
  std::deque<Pushed> pushed_;

  std::atomic<std::size_t> pending_{0};
  std::mutex mutex_;
  std::condition_variable completed_;
  std::optional<Status> ended_;  // guarded by mutex_: how the running operation's token was completed
};

template <typename Function>
Status NaiveEngine::order(Function& closure, OpOptions& options) {
  for (const VarList* vars : {&options.reads, &options.writes}) {
    for (const Var& var : *vars) {
      if (!var) return Status(StatusCode::kInvalidArgument, "push: got an empty Var");
      if (!var.state()->idle()) {
        return Status(StatusCode::kInvalidArgument, "push: the Var is in use by another engine");
      }
    }
  }
  const std::lock_guard turn(turn_);
  if (!accepting_) return Status(StatusCode::kShuttingDown, "push: the engine has been shut down");
  pending_.fetch_add(1, std::memory_order_acq_rel);
  auto op = std::make_unique<Op>(*this, std::move(closure), options);
  pushed_.push_back({std::move(options.reads), std::move(options.writes), std::move(op)});
  if (running_) return Status();  // pushed by an operation: its turn comes when that one has ended
  running_ = true;
  while (!pushed_.empty()) {
    {
      const Pushed first = std::move(pushed_.front());
      pushed_.pop_front();
      run(*first.op);
    }
    pending_.fetch_sub(1, std::memory_order_acq_rel);
  }
  running_ = false;
  return Status();
}

void NaiveEngine::run(Op& op) {
  for (Access& claim : op.claims()) {
    claim.failed = !claim.var->status().ok();
    claim.told = true;
  }
  Status status =
      cancelling_ ? Status(StatusCode::kCancelled, "the engine was shut down before the operation started")
                  : op.refusal();
  if (status.ok()) status = call(op);
  op.tell(status);
  for (const Access& claim : op.claims()) {
    if (claim.write) claim.var->set_status(status);
  }
}

Status NaiveEngine::call(Op& op) {
  if (!op.asynchronous()) return op.call();
  op.start();
  std::unique_lock lock(mutex_);
  completed_.wait(lock, [this] { return ended_.has_value(); });
  return *std::exchange(ended_, std::nullopt);
}

void NaiveEngine::op_completed(Op*, Status status) {
  const std::lock_guard lock(mutex_);
  ended_ = std::move(status);
  completed_.notify_all();
}

}  // namespace

std::unique_ptr<Engine> make_naive_engine() { return std::make_unique<NaiveEngine>(); }

}  // namespace inflight
