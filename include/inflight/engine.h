// SPDX-License-Identifier: Apache-2.0
// The dependency engine: runs closures in an order that respects what they read and write. It knows no
// tensor.
//
//   Var a = Var::make(), b = Var::make();
//   engine->push([] { ... }, {.writes = {a}});                // (1)
//   engine->push([] { ... }, {.reads = {a}, .writes = {b}});  // after (1)
//   engine->push([] { ... }, {.reads = {a}});                 // after (1), beside (2)
//   engine->push([] { ... }, {.writes = {a}});                // after all of these: the next version of a
#pragma once

#include <array>
#include <chrono>
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
#include "inflight/shutdown.h"
#include "inflight/status.h"

namespace inflight {

// Something that operations read and write, by versions: each write makes the next one. The caller decides
// what it stands for: memory, a file, a device. Copies name the same variable, which lives as long as a copy
// or an operation that names it.
//   thread   any; one Var object is not assigned to while another thread uses it
class Var {
 public:
  Var() noexcept = default;  // names nothing; a push that names it is refused
  // A new variable. Throws std::bad_alloc, having changed nothing.
  static Var make() { return Var(internal::Ref<internal::VarState>::adopt(new internal::PlainVar)); }
  // For types of the library that are variables themselves.
  explicit Var(internal::Ref<internal::VarState> state) noexcept : state_(std::move(state)) {}

  // Whether it names a variable.
  explicit operator bool() const noexcept { return static_cast<bool>(state_); }
  // How the last write that has finished ended; ok if there was none. Takes the variable's lock for a few
  // instructions. Requires a variable.
  Status status() const noexcept { return state_->status(); }
  internal::VarState* state() const noexcept { return state_.get(); }
  friend bool operator==(const Var&, const Var&) = default;

 private:
  internal::Ref<internal::VarState> state_;
};

// The duty to say how an asynchronous operation ended, exactly once. A token that is dropped unused ends its
// operation with kInternal, so nothing waits for ever.
//   thread   any, one at a time; it may be moved between threads
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
  // Ends the operation: its writes become ready with this status, and what waits for them starts. Requires a
  // token that has not been used; a second call stops the process.
  void complete(Status status);

 private:
  internal::Op* op_ = nullptr;
};

// Variables in the order in which they were named: what {.reads = {a, b}} makes. Up to kInPlace of them cost
// no allocation. Calls that add more throw std::bad_alloc, having changed nothing.
//   thread   one at a time
class VarList {
 public:
  static constexpr std::size_t kInPlace = 4;

  VarList() noexcept {}
  VarList(std::initializer_list<Var> vars) : VarList(std::span<const Var>(vars.begin(), vars.size())) {}
  VarList(const std::vector<Var>& vars) : VarList(std::span<const Var>(vars)) {}  // NOLINT: implicit
  explicit VarList(std::span<const Var> vars) : VarList() {
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

  // Adds one at the end.
  void push_back(Var var) {
    if (size_ < kInPlace) {
      new (in_place_ + size_) Var(std::move(var));
    } else if (size_ > kInPlace) {
      more_->push_back(std::move(var));
    } else {
      auto more = std::make_unique<std::vector<Var>>();
      more->reserve(2 * kInPlace);
      more->assign(begin(), end());
      more->push_back(std::move(var));
      destroy_in_place();
      more_ = std::move(more);
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
  // Requires this list to be empty.
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
  std::unique_ptr<std::vector<Var>> more_;  // all of them, once there are more than kInPlace
};

// What one push orders, and how it runs. A variable in both reads and writes is updated: the operation
// inherits its error. A variable in writes alone is overwritten: its old error ends there. The same variable
// may be named several times.
struct OpOptions {
  VarList reads = {};
  VarList writes = {};
  // Runs the closure; null: a thread of the engine does. It must live until the operation has ended, so until
  // drain() returns. If execute() throws, the operation ends with what was thrown. If the executor destroys
  // the task without running it, as one that refuses it does, the operation ends with kCancelled. If the
  // executor keeps the task, the run of the task decides, whatever execute() returns or throws.
  Executor* executor = nullptr;
  // Of the operations that can start on the engine's own threads, the one with the highest priority starts
  // first, and equal ones start in the order in which they became ready. A priority never changes the order
  // of dependent operations and interrupts nothing.
  int priority = 0;
  // If a stop is requested before the operation starts, it does not run: it ends with kCancelled when its
  // turn comes, and operations that read what it would have written inherit that.
  std::stop_token stop = {};
  // Called exactly once with the operation's status, before any dependent operation starts, also if the
  // closure did not run. It may push. It must be short and must not block, for it runs on the thread that
  // ended the operation. What it throws becomes the status of an operation that would have succeeded.
  UniqueFunction<void(const Status&)> on_finish = {};
};

// Runs operations in the order that their variables demand. An operation runs once every variable that it
// reads or writes is granted to it. If one that it reads has failed, the operation is skipped and ends with
// that first cause, and so do the operations that read what it writes.
//   thread   any, operations included, except where a call says otherwise
class Engine {
 public:
  using Closure = UniqueFunction<Status()>;
  using AsyncClosure = UniqueFunction<void(OpToken)>;

  // Waits until no operation is pending. Not from within an operation.
  virtual ~Engine() = default;

  // Orders a closure that has done its work when it returns. What it throws is the operation's status:
  // kException with its what(), or kOutOfMemory. Never blocks on the threaded engine: it takes locks that are
  // held for some tens of instructions (mutex.h says for how long a real-time thread can wait for one).
  //   closure   moved from on success only, as are the options
  //   returns   ok: the operation ends exactly once. Else nothing was ordered, on_finish is not called, and
  //             both arguments are as they were.
  //   bound     EngineOptions::pending_limit
  //   errors    kInvalidArgument: the closure or a Var is empty, or there is neither an executor nor a
  //             thread; kOverloaded: pending_limit operations are pending; kShuttingDown; kOutOfMemory
  virtual Status push(Closure&& closure, OpOptions&& options) = 0;
  // Orders a closure that starts work which ends later: the operation ends when its token is completed. If
  // the closure throws while it holds the token, the operation ends with what was thrown. The rest is as for
  // push().
  virtual Status push_async(AsyncClosure&& closure, OpOptions&& options) = 0;

  // Waits until no operation is pending.
  //   thread   any, but not from within an operation, which stops the process
  virtual void drain() = 0;
  // Refuses pushes from now on. Lets all pending operations run, or cancels those that have not started, and
  // waits for their end. From within an operation it does not wait. It may be called again.
  virtual void shutdown(Shutdown how) = 0;
  // How many operations have been pushed and have not ended, at this moment. Never blocks.
  virtual std::size_t pending() const = 0;
};

// How a threaded engine is made. make_threaded_engine() checks every bound.
struct EngineOptions {
  static constexpr int kThreadsMax = 1'024;
  static constexpr std::size_t kPendingLimitMax = std::size_t{1} << 30U;
  static constexpr Duration kSpinMax = std::chrono::seconds(1);

  // Threads of its own, 0 to kThreadsMax. With none, every push must name an executor.
  int threads = 1;
  // A push past it is refused with kOverloaded. 1 to kPendingLimitMax.
  std::size_t pending_limit = 1U << 20U;
  // How long a thread that ran out of work looks for more before it sleeps, 0 to kSpinMax. One in eight
  // threads, and at least one, may look at a time. Longer answers sooner, and costs that much of a core each
  // time that work ends. An engine that stays without work uses no processor time.
  Duration spin = std::chrono::microseconds(50);
};

// An engine that runs operations on threads, in parallel where their order allows. Its destructor drains.
//   errors   kInvalidArgument: an option is out of its bounds; kOutOfMemory: memory or threads ran out, and
//            threads that had started are joined
Result<std::unique_ptr<Engine>> make_threaded_engine(EngineOptions options = {});

// An engine that runs every operation inside push(), one at a time, in the order of the pushes, and waits for
// asynchronous ones. It is slow and obvious: the oracle of the other engine, and a tool to find the operation
// that is to blame. What an operation pushes runs when that operation has ended, inside the same outermost
// push. Executors are ignored. A variable that another engine uses at that time is refused with
// kInvalidArgument. push() waits for pushes of other threads, so an operation must not wait for a thread that
// pushes.
//   errors   kOutOfMemory
Result<std::unique_ptr<Engine>> make_naive_engine();

}  // namespace inflight
