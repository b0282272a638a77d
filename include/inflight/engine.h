// SPDX-License-Identifier: Apache-2.0
// The dependency engine: runs closures in an order that respects what they read and write. It knows no
// tensor.
//
//   Var a = Var::make(), b = Var::make();
//   engine->push([] { ... }, {.writes = {a}});               // (1)
//   engine->push([] { ... }, {.reads = {a}, .writes = {b}});  // after (1)
//   engine->push([] { ... }, {.reads = {a}});                 // after (1), beside (2)
//   engine->push([] { ... }, {.writes = {a}});                // after all of the above: the next version of
//   a
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include "inflight/clock.h"
#include "inflight/executor.h"
#include "inflight/internal/var_state.h"
#include "inflight/status.h"

namespace inflight {

// Something that operations read and write, by versions: each write makes the next one. What it stands for
// (memory, a file, a device) is the caller's business. Copies name the same variable. Any thread may use it.
class Var {
 public:
  Var() noexcept = default;  // names nothing; may not be pushed
  static Var make() { return Var(internal::Ref<internal::VarState>::adopt(new internal::VarState)); }
  explicit Var(internal::Ref<internal::VarState> state) noexcept : state_(std::move(state)) {}

  explicit operator bool() const noexcept { return static_cast<bool>(state_); }
  // How the last finished write went: its error, or ok.
  Status status() const { return state_->status(); }
  internal::VarState* state() const noexcept { return state_.get(); }
  friend bool operator==(const Var&, const Var&) = default;

 private:
  internal::Ref<internal::VarState> state_;
};

// The duty to say how an asynchronous operation ended. Exactly once: dropping it unused ends the operation
// with kInternal, so that nothing that waits is forgotten. Movable; complete() may be called on any thread.
class OpToken {
 public:
  OpToken() noexcept = default;
  explicit OpToken(internal::Op* op) noexcept : op_(op) {}
  OpToken(OpToken&& other) noexcept : op_(std::exchange(other.op_, nullptr)) {}
  OpToken& operator=(OpToken&& other) noexcept {
    std::swap(op_, other.op_);
    return *this;
  }
  ~OpToken();
  explicit operator bool() const noexcept { return op_ != nullptr; }
  // Ends the operation: its writes become ready with this status, and what waited for them starts.
  void complete(Status status);

 private:
  internal::Op* op_ = nullptr;
};

// Variables in the order in which they were named. A few live in place and cost no allocation.
class VarList {
 public:
  static constexpr std::size_t kInPlace = 4;

  VarList() noexcept {}
  VarList(std::initializer_list<Var> vars) : VarList(std::span<const Var>(vars.begin(), vars.size())) {}
  VarList(const std::vector<Var>& vars) : VarList(std::span<const Var>(vars)) {}  // NOLINT: implicit
  explicit VarList(std::span<const Var> vars) {
    for (const Var& var : vars) push_back(var);
  }
  VarList(VarList&& other) noexcept { take(other); }
  VarList& operator=(VarList&& other) noexcept {
    if (this != &other) {
      clear();
      take(other);
    }
    return *this;
  }
  ~VarList() { clear(); }

  void push_back(Var var) {
    if (size_ < kInPlace) {
      new (in_place_ + size_) Var(std::move(var));
    } else {
      if (size_ == kInPlace) {
        more_ = std::make_unique<std::vector<Var>>(begin(), end());
        destroy_in_place();
      }
      more_->push_back(std::move(var));
    }
    ++size_;
  }
  void clear() noexcept {
    if (size_ <= kInPlace)
      destroy_in_place();
    else
      more_.reset();
    size_ = 0;
  }
  std::size_t size() const noexcept { return size_; }
  const Var* begin() const noexcept { return size_ <= kInPlace ? in_place_ : more_->data(); }
  const Var* end() const noexcept { return begin() + size_; }

 private:
  void destroy_in_place() noexcept {
    for (std::size_t i = 0; i < size_; ++i) in_place_[i].~Var();
  }
  // Requires this one to be empty.
  void take(VarList& other) noexcept {
    if (other.size_ <= kInPlace) {
      for (std::size_t i = 0; i < other.size_; ++i) new (in_place_ + i) Var(std::move(other.in_place_[i]));
      other.destroy_in_place();
    } else {
      more_ = std::move(other.more_);
    }
    size_ = std::exchange(other.size_, 0);
  }

  std::size_t size_ = 0;
  union {
    Var in_place_[kInPlace];  // the first size_ of them, while they are all
  };
  std::unique_ptr<std::vector<Var>> more_;  // all of them, once they are more
};

// What one push orders and how it runs. A variable that stands in reads and in writes is updated: the
// operation inherits its error. One that stands in writes alone is overwritten: its old error ends there.
struct OpOptions {
  VarList reads = {};
  VarList writes = {};
  // Runs the closure; null: the engine's own threads. Must outlive the operation, until drain() has seen its
  // end.
  Executor* executor = nullptr;
  // Among those that could start now on the engine's own threads, a higher one starts first, and equal ones
  // in the order in which they became able to. It overtakes nothing that it depends on, and interrupts
  // nothing.
  int priority = 0;
  // An operation whose stop is requested before it starts does not run: it finishes with kCancelled when its
  // turn comes, and what reads what it would have written inherits that.
  std::stop_token stop = {};
  // Told the operation's status exactly once, before anything that depends on it starts, whether the closure
  // ran or not. May push. Must be short and must not block: it runs on whichever thread ended the operation.
  UniqueFunction<void(const Status&)> on_finish = {};
};

// What to do with operations that have not started.
enum class Shutdown { kDrain, kCancel };

// Any thread may push, operations included. An operation runs once all it reads and writes is free, unless
// what it reads has failed: then it is skipped and finishes with that first cause, and so on downstream.
class Engine {
 public:
  using Closure = UniqueFunction<Status()>;
  using AsyncClosure = UniqueFunction<void(OpToken)>;

  virtual ~Engine() = default;

  // Orders a closure that has done its work when it returns. Never blocks on the threaded engine.
  //   errors   kShuttingDown; kOverloaded: pending_limit operations are pending; kInvalidArgument: an empty
  //   Var, or neither an executor nor threads.
  //            On an error nothing was ordered, on_finish is not called, and both arguments are as they were.
  virtual Status push(Closure&& closure, OpOptions&& options) = 0;
  // Orders a closure that starts work which ends later: the operation is done when its token is completed.
  virtual Status push_async(AsyncClosure&& closure, OpOptions&& options) = 0;

  // Waits until no operation is pending. Must not be called from an operation.
  virtual void drain() = 0;
  // Refuses pushes from now on; drains, or cancels what has not started, and waits for the rest. From within
  // an operation it does all that but the waiting. Idempotent.
  virtual void shutdown(Shutdown how) = 0;
  // Operations pushed and not finished at this moment.
  virtual std::size_t pending() const = 0;
};

struct EngineOptions {
  int threads = 1;                       // of its own; 0: every push must name an executor
  std::size_t pending_limit = 1U << 20;  // a push past it is refused with kOverloaded
  // How long a thread without work looks for some, since it last saw any, before it sleeps; one in eight of
  // the threads, and one at least, may look at the same time. Longer answers sooner, and costs so much of a
  // core whenever work ends. An engine without work uses none.
  Duration spin = std::chrono::microseconds(50);
};

// Runs operations on threads, in parallel where their order allows. Its destructor drains.
std::unique_ptr<Engine> make_threaded_engine(EngineOptions options = {});

// Runs every operation inside push, one at a time, waiting for asynchronous ones: slow, obvious and in the
// order of the pushes. What an operation pushes runs when that one has ended, inside the same outermost push.
// The oracle of the other one, and a tool for finding which operation is to blame. Executors are ignored. Its
// variables must not be in use by another engine at the same time (kInvalidArgument). A push waits for those
// of other threads: an operation may not wait for a thread that pushes.
std::unique_ptr<Engine> make_naive_engine();

}  // namespace inflight
