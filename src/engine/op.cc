// SPDX-License-Identifier: Apache-2.0
#include "engine/op.h"

#include <algorithm>
#include <exception>
#include <new>

#include "base/check.h"
#include "base/user_code.h"
#include "engine/start.h"

namespace inflight {

OpToken::~OpToken() {
  if (op_ == nullptr || internal::HandedOver::dropped_by_throw(op_)) return;
  complete(internal::token_dropped());
}

void OpToken::complete(Status status) {
  INFLIGHT_CHECK(op_ != nullptr);
  internal::Op* op = std::exchange(op_, nullptr);
  op->owner.op_completed(op, std::move(status));
}

namespace internal {
namespace {

// Leaves one claim for each variable, in the order of their addresses. Returns how many there are.
std::uint32_t merge(std::span<Access> claims) {
  if (claims.size() < 2) return static_cast<std::uint32_t>(claims.size());
  std::sort(claims.begin(), claims.end(), [](const Access& a, const Access& b) {
    return a.var != b.var ? a.var < b.var : a.order < b.order;
  });
  std::uint32_t kept = 0;
  for (const Access& claim : claims) {
    if (kept > 0 && claims[kept - 1].var == claim.var) {
      claims[kept - 1].write |= claim.write;
      claims[kept - 1].read |= claim.read;
    } else {
      claims[kept++] = claim;
    }
  }
  return kept;
}

}  // namespace

Status failed(StatusCode code, std::string_view message) noexcept {
  try {
    return Status(code, std::string(message));
  } catch (const std::bad_alloc&) {
    return Status(code, std::string());
  }
}

Status token_dropped() noexcept {
  return failed(StatusCode::kInternal, "an asynchronous operation dropped its token");
}

bool OpParts::allocate(const OpOptions& options) noexcept {
  if (options.executor != nullptr || options.priority != 0 || options.stop.stop_possible() ||
      options.on_finish) {
    extras.reset(new (std::nothrow) OpExtras);
    if (extras == nullptr) return false;
  }
  const std::size_t named = options.reads.size() + options.writes.size();
  if (named > Op::kClaimsInPlace) {
    claims.reset(new (std::nothrow) Access[named]);
    if (claims == nullptr) return false;
  }
  return true;
}

void Op::take(OpOptions& options, OpParts& parts) noexcept {
  if (parts.extras != nullptr) {
    extras = std::move(parts.extras);
    extras->executor = options.executor;
    extras->priority = options.priority;
    extras->stop = std::move(options.stop);
    extras->on_finish = std::move(options.on_finish);
  }
  const std::size_t named = options.reads.size() + options.writes.size();
  if (named == 0) return;
  Access* const storage = parts.claims == nullptr ? claims_storage.in_place : parts.claims.get();
  std::uint32_t order = 0;
  // The reads come first, so a variable that is read and written has the place of its first read.
  for (const Var& var : options.reads) {
    storage[order] = {.op = this, .var = var.state(), .order = order, .read = true};
    ++order;
  }
  for (const Var& var : options.writes) {
    storage[order] = {.op = this, .var = var.state(), .order = order, .write = true};
    ++order;
  }
  claims_count = merge({storage, named});
  if (storage == claims_storage.in_place) return;
  if (claims_count > kClaimsInPlace) {
    claims_storage.elsewhere = parts.claims.release();
  } else {
    std::copy_n(storage, claims_count, claims_storage.in_place);
  }
}

Op::~Op() {
  if (claims_count > kClaimsInPlace) delete[] claims_storage.elsewhere;
}

Status Op::refusal() noexcept {
  if (extras != nullptr && extras->stop.stop_requested()) {
    return failed(StatusCode::kCancelled, "the operation's stop was requested before it started");
  }
  const Access* first = nullptr;
  for (const Access& claim : claims()) {
    if (claim.read && claim.failed && (first == nullptr || claim.order < first->order)) first = &claim;
  }
  return first == nullptr ? Status() : first->var->granted_status();
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
    // Read first: another thread may finish that operation at once. A writer comes alone.
    Access* const next = granted->write ? nullptr : granted->next;
    Op* const waiting = granted->op;
    if (waiting->waits.fetch_sub(1, std::memory_order_acq_rel) == 1) runnable.append(waiting);
    granted = next;
  }
}

// The operations that this thread has to start. Starting one may end it at once and make others runnable.
// These go into the list of the loop that is already running, so that a chain does not become a recursion.
class Starter {
 public:
  explicit Starter(Op* first) : outer_(innermost_), depth_(outer_ == nullptr ? 0 : outer_->depth_ + 1) {
    list_.append(first);
    innermost_ = this;
    // Its own engine starts it, which need not be the engine whose operation made it runnable.
    while (Op* const op = list_.pop()) op->owner.op_runnable(op);
    innermost_ = outer_;
  }
  // Leaves the operation to the loop that is running. False: there is none.
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

thread_local HandedOver* HandedOver::innermost_ = nullptr;

HandedOver::HandedOver(const Op* op) noexcept
    : op_(op), outer_(std::exchange(innermost_, this)), throws_before_(std::uncaught_exceptions()) {}

bool HandedOver::dropped_by_throw(const Op* op) noexcept {
  HandedOver* scope = innermost_;
  while (scope != nullptr && scope->op_ != op) scope = scope->outer_;
  if (scope == nullptr || std::uncaught_exceptions() == scope->throws_before_) return false;
  return scope->dropped_ = true;
}

Status Op::call() noexcept {
  auto* const function = std::get_if<Engine::Closure>(&closure);
  Status status = call_user(*function);
  function->reset();
  return status;
}

void Op::start() noexcept {
  Engine::AsyncClosure function = std::move(std::get<Engine::AsyncClosure>(closure));
  const HandedOver scope(this);
  Status thrown = call_user(function, OpToken(this));
  if (scope.dropped()) owner.op_completed(this, thrown.ok() ? token_dropped() : std::move(thrown));
}

Status Op::notify(Status status) noexcept {
  if (extras != nullptr && extras->on_finish) {
    Status thrown = call_user(extras->on_finish, std::as_const(status));
    if (status.ok()) status = std::move(thrown);
  }
  for (const Access& claim : claims()) {
    if (claim.write && claim.calls_back) claim.var->written(status);
  }
  return status;
}

Op* Op::end(Status status) noexcept {
  status = notify(std::move(status));
  RunnableList runnable;
  for (const Access& claim : claims()) release(claim, status, runnable);
  extras.reset();
  if (auto* const sync = std::get_if<Engine::Closure>(&closure)) {
    sync->reset();
  } else {
    std::get<Engine::AsyncClosure>(closure).reset();
  }
  return runnable.head();
}

// An inline closure may wait for what it pushed, so start that now and not in the outer loop. Nesting stops
// at kDepthMax.
void start_pushed(Op* op) noexcept {
  if (!Starter::too_deep() || !Starter::append(op)) const Starter starter(op);
}

void start_freed(Op* list) noexcept {
  while (list != nullptr) {
    Op* const next = list->next;
    if (!Starter::append(list)) const Starter starter(list);
    list = next;
  }
}

void release_and_start(const Access& access, const Status& status) noexcept {
  RunnableList runnable;
  release(access, status, runnable);
  start_freed(runnable.head());
}

}  // namespace internal
}  // namespace inflight
