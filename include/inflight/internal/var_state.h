// SPDX-License-Identifier: Apache-2.0
// A variable of the dependency engine: which operations hold it now, and which wait for it, in what order.
#pragma once

#include <cstdint>

#include "inflight/internal/mutex.h"
#include "inflight/internal/ref.h"
#include "inflight/status.h"

namespace inflight::internal {

struct Op;
class VarState;

// One operation's claim on one variable. It lives in the operation and is linked into the variable's queue.
struct Access {
  Op* op = nullptr;
  VarState* var = nullptr;
  // While the claim waits: the claim behind it. Of a granted writer: the queue that it took, to be handed on.
  Access* next = nullptr;
  std::uint32_t order = 0;  // the place of the first read of this variable among the reads as named
  bool write = false;
  bool read = false;        // read and write: an update
  bool failed = false;      // once granted: the last write has failed; granted_status() says how
  bool calls_back = false;  // the variable's written() is to be called
};

// A queue of claims, first come, first served. Readers that stand together in the queue hold the variable
// together; a writer holds it alone.
//
// A granted writer takes the queue behind it and hands it to the next writer, so a chain needs no lock: only
// pushes take the lock. A claimed variable holds one reference to itself, and its claims hold none.
class VarState : public RefCounted {
 public:
  // calls_back: each write of this variable ends with a call of written().
  explicit VarState(bool calls_back = false) noexcept : calls_back_(calls_back) {}

  // Makes a claim. True: it is granted. False: it is queued, and a later release() grants it.
  bool acquire(Access& access) noexcept INFLIGHT_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return acquire_locked(access);
  }
  // The same, for a caller that holds the locks of several variables.
  bool acquire_locked(Access& access) noexcept INFLIGHT_REQUIRES(mutex_);
  void lock() noexcept INFLIGHT_ACQUIRE(mutex_) { mutex_.lock(); }
  void unlock() noexcept INFLIGHT_RELEASE(mutex_) { mutex_.unlock(); }

  // Releases a granted claim. A writer leaves its status behind.
  //   returns  the claims that are granted because of that, for the caller to count down: one writer, or
  //            readers linked by `next`. The variable may be gone by then.
  Access* release(const Access& access, const Status& status) noexcept INFLIGHT_EXCLUDES(mutex_);
  // Sets the status without a claim: how the naive engine ends a write.
  void set_status(const Status& status) noexcept INFLIGHT_EXCLUDES(mutex_);
  Status status() noexcept INFLIGHT_EXCLUDES(mutex_);
  // Whether no claim holds it or waits for it. For checks: another thread may change that at once.
  bool idle() noexcept INFLIGHT_EXCLUDES(mutex_);
  // Whether a claim waits behind the one that was granted when it was made. For a hint: another thread may change
  // that at once.
  bool awaited() noexcept INFLIGHT_EXCLUDES(mutex_);
  // Whether at most one reader holds it and no claim waits for it. Exact if the caller is that reader and no
  // other thread can name the variable.
  bool one_reader_at_most() noexcept INFLIGHT_EXCLUDES(mutex_);

  // Called by an operation that wrote the variable, with its status, before it releases its claims. Only for
  // a variable made with calls_back. Must not throw.
  virtual void written(const Status&) {}

  // The status of the version that a granted claim sees. No lock: no writer can change it while the claim is
  // held.
  const Status& granted_status() const noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS { return status_; }

 protected:
  ~VarState() override = default;
  // For a pooled type that leaves its pool again. No lock: nothing else can name the variable.
  void reset() noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS { status_ = Status(); }

 private:
  bool unclaimed() const noexcept INFLIGHT_REQUIRES(mutex_) { return !writer_ && readers_ == 0; }
  void grant(Access& access) noexcept INFLIGHT_REQUIRES(mutex_);
  Access* grant_from_queue() noexcept INFLIGHT_REQUIRES(mutex_);

  const bool calls_back_;
  Mutex mutex_;
  // Invariant: writer_ implies readers_ == 0, and the head of the queue cannot be granted.
  bool writer_ INFLIGHT_GUARDED_BY(mutex_) = false;
  std::uint32_t readers_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  Access* head_ INFLIGHT_GUARDED_BY(mutex_) = nullptr;
  Access* tail_ INFLIGHT_GUARDED_BY(mutex_) = nullptr;
  // The last claim of the queue that the present writer took.
  Access* taken_tail_ INFLIGHT_GUARDED_BY(mutex_) = nullptr;
  // Written by a writer that releases, under the lock. Claims read it without the lock.
  Status status_ INFLIGHT_GUARDED_BY(mutex_);
};

// A variable that Var::make() makes. It has a cache line to itself: neighbours in memory are often written by
// different threads.
class alignas(64) PlainVar final : public VarState {};
static_assert(sizeof(PlainVar) == 64);

}  // namespace inflight::internal
