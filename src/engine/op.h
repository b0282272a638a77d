// SPDX-License-Identifier: Apache-2.0
// One pushed operation, from push to finish.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <variant>

#include "inflight/engine.h"

namespace inflight::internal {

// A failed status. Where there is no memory for its message, the code alone.
[[gnu::cold]] Status failed(StatusCode code, std::string_view message) noexcept;
[[gnu::cold]] Status token_dropped() noexcept;

// The engine that an operation was pushed to.
class OpOwner {
 public:
  // The operation's last claim was granted, so it may run. Called at most once an operation, on any thread.
  virtual void op_runnable(Op* op) noexcept = 0;
  // Its token was completed. Called once. The operation is gone when this returns.
  virtual void op_completed(Op* op, Status status) noexcept = 0;

 protected:
  ~OpOwner() = default;
};

// What only some operations have.
struct OpExtras {
  Executor* executor = nullptr;
  int priority = 0;
  std::stop_token stop;
  UniqueFunction<void(const Status&)> on_finish;
  // While it waits among operations with a priority (ranked_ops.h).
  std::uint64_t sequence = 0;
  Op* child = nullptr;
  Op* sibling = nullptr;
};

// The memory that an operation needs besides its own piece. A push allocates it before it changes anything.
struct OpParts {
  // False: there is no memory.
  bool allocate(const OpOptions& options) noexcept;

  std::unique_ptr<OpExtras> extras;
  std::unique_ptr<Access[]> claims;
};

using OpClosure = std::variant<Engine::Closure, Engine::AsyncClosure>;

struct Op {
  static constexpr std::size_t kClaimsInPlace = 3;

  // Merges the reads and writes into one claim for each variable, in the order of their addresses: all pushes
  // take locks in that order, so two pushes never wait for each other. The claims keep no variable alive
  // before they are made. Moves all but the lists of variables out of the options.
  template <typename Function>
  Op(OpOwner& the_owner, Function&& the_closure, OpOptions& options, OpParts& parts) noexcept
      : owner(the_owner), closure(std::forward<Function>(the_closure)) {
    take(options, parts);
  }
  ~Op();
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  std::span<Access> claims() noexcept {
    return {claims_count <= kClaimsInPlace ? claims_storage.in_place : claims_storage.elsewhere,
            claims_count};
  }
  Executor* executor() const noexcept { return extras == nullptr ? nullptr : extras->executor; }
  int priority() const noexcept { return extras == nullptr ? 0 : extras->priority; }

  // Why it must not run, or ok: its stop was requested, or a variable that it reads has failed. If several
  // have, the one named first counts. Requires that every claim is granted.
  Status refusal() noexcept;
  // Whether its closure starts work that ends later.
  bool asynchronous() const noexcept { return std::holds_alternative<Engine::AsyncClosure>(closure); }
  // Calls the closure of an operation that is not asynchronous, and destroys it. What it throws is its
  // status.
  Status call() noexcept;
  // Calls the closure of an asynchronous operation. The operation may have ended, and be gone, before that
  // returns.
  void start() noexcept;
  // Calls on_finish, and written() of the variables that want it. Returns the status; if that was ok and
  // on_finish threw, what it threw.
  Status notify(Status status) noexcept;
  // Notifies, releases every claim and destroys everything else that it holds. Returns the operations that
  // may run because of that, linked by `next`.
  Op* end(Status status) noexcept;

  // In the order of use: an operation with one claim and a small closure lies in two lines of the cache.
  OpOwner& owner;
  Op* next = nullptr;  // in a list of runnable operations
  // While queued: claims not yet granted, plus one while claims are made. On an executor: holders that must
  // release it before its memory is reused.
  std::atomic<std::uint32_t> waits{0};
  std::uint32_t claims_count = 0;
  std::unique_ptr<OpExtras> extras;
  union Claims {
    Claims() {}
    Access in_place[kClaimsInPlace];
    Access* elsewhere;
  } claims_storage;
  OpClosure closure;

 private:
  void take(OpOptions& options, OpParts& parts) noexcept;
};
static_assert(sizeof(Op) <= 192, "DESIGN.md states what a pending operation takes");

// While it lives, this thread is in code of the caller that got the operation's token, or the task that runs
// it. If that code throws and so drops the token or task, the operation must not end at once: its status is
// what was thrown, and that is known only afterwards.
class HandedOver {
 public:
  explicit HandedOver(const Op* op) noexcept;
  ~HandedOver() { innermost_ = outer_; }
  HandedOver(const HandedOver&) = delete;
  HandedOver& operator=(const HandedOver&) = delete;

  // The operation's token or task is being dropped. True: because of what was thrown, and the scope's owner
  // ends the operation.
  static bool dropped_by_throw(const Op* op) noexcept;
  // Whether that happened: the owner of the scope is to end the operation.
  bool dropped() const noexcept { return dropped_; }

 private:
  static thread_local HandedOver* innermost_;
  const Op* const op_;
  HandedOver* const outer_;
  const int throws_before_;
  bool dropped_ = false;
};

// Starts to fetch memory that another core wrote, before this core writes it.
inline void prefetch_op(const void* op) noexcept {
  for (std::size_t line = 0; line < sizeof(Op); line += 64) {
    const std::byte* const address = static_cast<const std::byte*>(op) + line;
#if defined(__x86_64__)
    // The builtin asks for a copy to read, unless the compiler may use this instruction, which all processors
    // have.
    asm volatile("prefetchw %0" : : "m"(*address));
#else
    __builtin_prefetch(address, 1);
#endif
  }
}

// Calls op_runnable() of the owner for an operation that a push has just made runnable.
void start_pushed(Op* op) noexcept;
// The same for a list of operations that became runnable when others ended.
void start_freed(Op* list) noexcept;

}  // namespace inflight::internal
