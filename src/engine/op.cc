// SPDX-License-Identifier: Apache-2.0
#include "engine/op.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "engine/start.h"

namespace inflight {

OpToken::~OpToken() {
  if (op_ != nullptr) complete(Status(StatusCode::kInternal, "an asynchronous operation dropped its token"));
}

void OpToken::complete(Status status) {
  INFLIGHT_CHECK(op_ != nullptr);
  internal::Op* op = std::exchange(op_, nullptr);
  op->owner.op_completed(op, std::move(status));
}

Status Engine::push(Closure closure, OpOptions options) {
  return push_async(
      [inner = std::move(closure)](OpToken token) mutable {
        Status status = inner();
        inner = Closure();  // what it holds is let go before anybody hears of the end
        token.complete(std::move(status));
      },
      std::move(options));
}

namespace internal {

Op::Op(OpOwner& the_owner, Engine::AsyncClosure the_closure, OpOptions options)
    : owner(the_owner),
      closure(std::move(the_closure)),
      executor(options.executor),
      on_finish(std::move(options.on_finish)) {
  reads = options.reads.size();
  vars = std::move(options.reads);
  vars.insert(vars.end(), std::make_move_iterator(options.writes.begin()),
              std::make_move_iterator(options.writes.end()));
  accesses.reserve(vars.size());
  for (std::size_t i = 0; i < vars.size(); ++i) {
    accesses.push_back({.op = this, .var = vars[i].state(), .write = i >= reads, .read = i < reads});
  }
  std::sort(accesses.begin(), accesses.end(), [](const Access& a, const Access& b) { return a.var < b.var; });
  std::size_t kept = 0;
  for (const Access& access : accesses) {
    if (kept > 0 && accesses[kept - 1].var == access.var) {
      accesses[kept - 1].write |= access.write;
      accesses[kept - 1].read |= access.read;
    } else {
      accesses[kept++] = access;
    }
  }
  accesses.resize(kept);
}

Status Op::inherited() const {
  for (std::size_t i = 0; i < reads; ++i) {
    if (const Status& status = vars[i].state()->granted_status(); !status.ok()) return status;
  }
  return Status();
}

namespace {

// Operations that became runnable, in the order in which they did.
class RunnableList {
 public:
  void append(Op* op) {
    op->next = nullptr;
    (head_ == nullptr ? head_ : tail_->next) = op;
    tail_ = op;
  }
  Op* pop() {
    Op* const op = head_;
    if (op != nullptr) head_ = op->next;
    return op;
  }
  Op* head() const { return head_; }

 private:
  Op* head_ = nullptr;
  Op* tail_ = nullptr;
};

void release(const Access& access, const Status& status, RunnableList& runnable) {
  for (Access* granted = access.var->release(access, status); granted != nullptr;) {
    Access* const next = granted->next;  // read first: another thread may finish that operation at once
    Op* const waiting = granted->op;
    if (waiting->waits.fetch_sub(1, std::memory_order_acq_rel) == 1) runnable.append(waiting);
    granted = next;
  }
}

// What this thread has to start. Starting an operation may end it on the spot, which makes others runnable:
// they go into the list of the loop that is at work, so that a chain of them does not become a recursion.
class Starter {
 public:
  explicit Starter(Op* first) : outer_(innermost_), depth_(outer_ == nullptr ? 0 : outer_->depth_ + 1) {
    list_.append(first);
    innermost_ = this;
    // By its own engine, which need not be the one whose operation made it runnable.
    while (Op* const op = list_.pop()) op->owner.op_runnable(op);
    innermost_ = outer_;
  }
  // Leaves it to the loop at work, if there is one.
  static bool append(Op* op) {
    if (innermost_ == nullptr) return false;
    innermost_->list_.append(op);
    return true;
  }
  static bool too_deep() { return innermost_ != nullptr && innermost_->depth_ == kDepthMax; }

 private:
  static constexpr int kDepthMax = 8;
  static thread_local Starter* innermost_;
  Starter* const outer_;
  const int depth_;
  RunnableList list_;
};

thread_local Starter* Starter::innermost_ = nullptr;

}  // namespace

Op* Op::let_go(const Status& status) {
  RunnableList runnable;
  for (const Access& access : accesses) release(access, status, runnable);
  accesses.clear();
  vars.clear();
  on_finish = {};
  closure = {};
  return runnable.head();
}

// A closure that runs inline may push and then wait for what it pushed: that must not lie in the list of a
// loop which goes on only when the closure returns. Closures that push inline ones that push inline ones have
// an end.
void start_pushed(Op* op) {
  if (!Starter::too_deep() || !Starter::append(op)) const Starter starter(op);
}

void start_freed(Op* list) {
  while (list != nullptr) {
    Op* const next = list->next;
    if (!Starter::append(list)) const Starter starter(list);
    list = next;
  }
}

void release_and_start(const Access& access, const Status& status) {
  RunnableList runnable;
  release(access, status, runnable);
  start_freed(runnable.head());
}

}  // namespace internal
}  // namespace inflight
