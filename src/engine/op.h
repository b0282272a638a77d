// SPDX-License-Identifier: Apache-2.0
// One pushed operation, from push to finish.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <stop_token>
#include <variant>

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

// What few operations have.
struct OpExtras {
  Executor* executor = nullptr;
  int priority = 0;
  std::uint64_t sequence = 0;  // among those of its priority
  std::stop_token stop;
  UniqueFunction<void(const Status&)> on_finish;
};

using OpClosure = std::variant<Engine::Closure, Engine::AsyncClosure>;

struct Op {
  static constexpr std::size_t kClaimsInPlace = 3;

  // Merges the reads and writes into one claim a variable, in the order of their addresses: taking them in
  // one order everywhere keeps two pushes from waiting for each other. The claims keep no variable alive
  // before they are made. Takes all but the lists of variables out of the options.
  template <typename Function>
  Op(OpOwner& the_owner, Function&& the_closure, OpOptions& options)
      : owner(the_owner), closure(std::forward<Function>(the_closure)) {
    take(options);
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

  // Why it must not run, or ok: its stop was requested, or the first named read that has an error has this
  // one. Requires every claim granted.
  Status refusal();
  // Whether its closure starts work that ends later.
  bool asynchronous() const noexcept { return std::holds_alternative<Engine::AsyncClosure>(closure); }
  // Calls the closure of one that is not, and lets go of it before anybody hears of the end.
  Status call();
  // Calls the closure of one that is. The operation may be at its end, and gone, before that returns.
  void start();
  // Tells on_finish and what it wrote.
  void tell(const Status& status);
  // Does that, gives every claim back, and lets go of everything else that it holds. Returns the operations
  // that may run because of that, linked by `next`.
  Op* end(const Status& status);

  // In the order of use: an operation with one claim and a small closure lies in two lines of the cache.
  OpOwner& owner;
  Op* next = nullptr;  // in a list of runnable operations
  // Claims not granted yet, plus one while they are being made. Once it runs on an executor: who still has to
  // let go of it.
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
  void take(OpOptions& options);
};
static_assert(sizeof(Op) <= 192, "DESIGN.md states what a pending operation takes");

// Starts to fetch what another core wrote, for somebody who is about to write it.
inline void prefetch_op(const void* op) noexcept {
  for (std::size_t line = 0; line < sizeof(Op); line += 64) {
    const std::byte* const address = static_cast<const std::byte*>(op) + line;
#if defined(__x86_64__)
    // The builtin asks for a copy to read, unless told that the processor has this one, which all have.
    asm volatile("prefetchw %0" : : "m"(*address));
#else
    __builtin_prefetch(address, 1);
#endif
  }
}

// Tells the owner of an operation that a push has just made runnable.
void start_pushed(Op* op);
// The same for a list of operations that the end of others made runnable.
void start_freed(Op* list);

}  // namespace inflight::internal
