// SPDX-License-Identifier: Apache-2.0
// A variable of the dependency engine: who holds it now, and who waits for it in which order.
#pragma once

#include <cstdint>

#include "inflight/internal/ref.h"
#include "inflight/internal/spin_lock.h"
#include "inflight/status.h"

namespace inflight::internal {

class Op;
class VarState;

// One operation's claim on one variable; lives in the operation and is linked into the variable's queue.
struct Access {
  Op* op = nullptr;
  VarState* var = nullptr;
  // While it waits: the claim behind it. Of a granted writer: what stood behind it then, to be handed on.
  Access* next = nullptr;
  std::uint32_t order = 0;  // the place of the first read of this variable among the reads as named
  bool write = false;
  bool read = false;    // both for an update
  bool failed = false;  // once granted: the last write has failed, and granted_status() says how
  bool told = false;    // the variable wants to hear of its writes
};

// First come, first served: readers that stand together in the queue hold the variable together, a writer
// holds it alone.
//
// A writer that is granted takes with it all that stood in the queue behind it, and hands that on when it
// ends, to the next writer whole. So a run of writers passes from one to the next without the lock, which is
// left to those who push. A claimed variable has a share in itself: claims need none.
class VarState : public RefCounted {
 public:
  // told: written() is to be called.
  explicit VarState(bool told = false) noexcept : told_(told) {}

  // Requires the lock. True: granted at once. False: queued, and a later release() will grant it.
  bool acquire(Access& access);
  // Gives a granted claim back; a writer leaves its status behind. Returns the claims granted by that, for
  // the caller to act on without the lock: one writer, or readers linked by `next`. The variable may be gone
  // then.
  Access* release(const Access& access, const Status& status);
  // Takes an error over as this variable's; the naive engine's way of ending a write.
  void set_status(const Status& status);
  Status status();
  // Nobody holds it or waits for it. For checks: it may change at once.
  bool idle();
  // At most one reader holds it, and nobody waits for it. Exact where the caller reads it and nobody else can
  // name it.
  bool one_reader_at_most();

  // How an operation that writes it has ended, before its claims are given back and anybody else is told.
  // Called by that operation, for a type that asked for it.
  virtual void written(const Status&) {}

  // How the version that a granted claim sees came about. Stable while the claim is held: no writer can be at
  // it.
  const Status& granted_status() const noexcept { return status_; }

  SpinLock& mutex() noexcept { return mutex_; }

 protected:
  ~VarState() override = default;
  // For pooled types: as new.
  void reset() noexcept { status_ = Status(); }

 private:
  bool unclaimed() const noexcept { return !writer_ && readers_ == 0; }
  void grant(Access& access) noexcept;
  Access* grant_from_queue() noexcept;

  const bool told_;
  SpinLock mutex_;
  // Guarded by mutex_; invariant: writer_ implies readers_ == 0, and the head of the queue can never be
  // granted.
  bool writer_ = false;
  std::uint32_t readers_ = 0;
  Access* head_ = nullptr;
  Access* tail_ = nullptr;
  // The end of what the writer that holds the variable took with it. That writer's, once it was granted.
  Access* taken_tail_ = nullptr;
  Status status_;  // written by the writer that gives it back, under mutex_; read by claims, or under mutex_
};

}  // namespace inflight::internal
