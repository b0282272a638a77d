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
  Access* next = nullptr;
  bool write = false;
  bool read = false;  // both for an update
};

// First come, first served: readers that stand together in the queue hold the variable together, a writer
// holds it alone.
class VarState : public RefCounted {
 public:
  VarState() = default;

  // Requires the lock. True: granted at once. False: queued, and a later release() will grant it.
  bool acquire(Access& access);
  // Gives a granted claim back; a writer leaves its status behind. Returns the claims granted by that, linked
  // by `next`, for the caller to act on without the lock.
  Access* release(const Access& access, const Status& status);
  // Takes an error over as this variable's; the naive engine's way of ending a write.
  void set_status(const Status& status);
  Status status();
  // Nobody holds it or waits for it. For checks: it may change at once.
  bool idle();

  // How the version that a granted claim sees came about. Stable while the claim is held: no writer can be at
  // it.
  const Status& granted_status() const noexcept { return status_; }

  SpinLock& mutex() noexcept { return mutex_; }

 protected:
  ~VarState() override = default;
  // For pooled types: as new.
  void reset() noexcept { status_ = Status(); }

 private:
  bool can_grant(const Access& access) const noexcept { return !writer_ && (!access.write || readers_ == 0); }
  void grant(const Access& access) noexcept;

  SpinLock mutex_;
  // Guarded by mutex_; invariant: writer_ implies readers_ == 0, and the head of the queue can never be
  // granted.
  bool writer_ = false;
  std::uint32_t readers_ = 0;
  Access* head_ = nullptr;
  Access* tail_ = nullptr;
  Status status_;  // written by the writer that gives it back
};

}  // namespace inflight::internal
