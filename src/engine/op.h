// SPDX-License-Identifier: Apache-2.0
// One pushed operation, from push to finish.
#pragma once

#include <atomic>
#include <vector>

#include "inflight/engine.h"

namespace inflight::internal {

// The engine that an operation was pushed to.
class OpOwner {
 public:
  // The operation's last claim was granted: it may run. Called at most once an operation, on any thread.
  virtual void op_runnable(Op* op) = 0;
  // Its token was completed. Called once; the operation is gone when this returns.
  virtual void op_completed(Op* op, Status status) = 0;

 protected:
  ~OpOwner() = default;
};

class Op {
 public:
  // Merges the reads and writes into one claim a variable, in the order of their addresses: taking them in
  // one order everywhere keeps two pushes from waiting for each other.
  Op(OpOwner& owner, Engine::AsyncClosure closure, OpOptions options);

  OpOwner& owner;
  Engine::AsyncClosure closure;
  Executor* executor;
  UniqueFunction<void(const Status&)> on_finish;
  std::vector<Access> accesses;
  std::vector<Var> vars;  // the reads as they were named, then the writes; keeps the claimed variables alive
  std::size_t reads = 0;  // how many of them are reads
  // Claims not granted yet, plus one while they are being made. Once it is runnable: who still has to let go
  // of it.
  std::atomic<std::uint32_t> waits{0};
  Op* next = nullptr;  // in a list of runnable operations

  // The error of the first named read that has one, or ok. Requires every claim granted.
  Status inherited() const;
  // Gives every claim back, and everything else that it holds. Returns the operations that may run because of
  // that, for start_freed().
  Op* let_go(const Status& status);
};

// Tells the owner of an operation that a push has just made runnable.
void start_pushed(Op* op);
// The same for a list of operations that the end of others made runnable.
void start_freed(Op* list);

}  // namespace inflight::internal
