// SPDX-License-Identifier: Apache-2.0
// CompletionQueue: which of many are ready? Its cost grows with what became ready, not with what still waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "inflight/clock.h"
#include "inflight/internal/event_fd.h"
#include "inflight/internal/list.h"
#include "inflight/internal/mutex.h"
#include "inflight/ndarray.h"
#include "inflight/status.h"

namespace inflight {

class Prediction;

// Arrays and predictions are added with a tag. The tags come out as the handles become ready, each exactly
// once, in the order in which their completions notify this queue. Two that complete at the same time come
// out in either order. A handle that is ready when it is added counts as ready at the moment of add().
//   thread   any number may add, take and wait; it must not be destroyed while one of them still does
//   bound    none of its own on what is added: each costs one entry of some 100 bytes, and a reference to its
//            version until it is ready. Entries are used again, so a queue that has reached its largest size
//            allocates nothing more. Becoming ready needs no memory.
class CompletionQueue {
 public:
  CompletionQueue() noexcept = default;
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;
  // Drops what is still pending: its completion no longer notifies this queue. It may wait a few instructions
  // for a thread that is notifying this queue. It runs no user code, except to release memory whose last
  // reference was here.
  ~CompletionQueue();

  // Hands `tag` out once the handle is ready, at once if it is. The handle itself may be dropped. The same
  // handle may be added again, and tags may be equal: each addition counts for itself. Never blocks. Throws
  // std::bad_alloc, having changed nothing.
  //   array, prediction   not empty
  void add(const NDArray& array, std::uint64_t tag) { add_version(array.version(), tag); }
  void add(const Prediction& prediction, std::uint64_t tag);

  // The tags of all that became ready since the last call, in the order in which they did. `tags` is cleared
  // first, and allocates nothing once it has grown. Never blocks. Throws std::bad_alloc, having taken
  // nothing.
  void take(std::vector<std::uint64_t>& tags);
  // The oldest of them; no value: there is none.
  std::optional<std::uint64_t> take_one();

  // Blocks until there is something to take. If the queue is empty, it waits for an add(): a single-threaded
  // loop asks size() first. If several threads wait, all of them wake, and one may find that another was
  // faster.
  void wait();
  // The same, until `when` at most, a moment of steady_clock().
  //   returns  true: there is something to take
  bool wait_until(TimePoint when);

  // How many were added and not taken yet, ready or not.
  std::size_t size() const;

  // A descriptor that is readable while there is something to take: for epoll (level triggered), poll, select
  // and the loops built on them. One write when the first tag arrives, one read when the last is taken,
  // however many there are between. It is made at the first call.
  //   returns  the same one each time. The queue owns it: do not read, write or close it. It is valid as long
  //            as the queue lives; remove it from an epoll set before that.
  //   errors   kOutOfMemory: no descriptor is left; you may try again
  Result<int> event_fd();

 private:
  class Entry;
  using EntryList = internal::List<Entry, Entry>;

  void add_version(internal::Version& version, std::uint64_t tag);
  void became_ready(Entry& entry) noexcept;
  std::uint64_t take_front() noexcept INFLIGHT_REQUIRES(mutex_);

  mutable internal::Mutex mutex_;
  internal::CondVar changed_;  // ready_ is not empty any more; or pending_ is, at the end
  // Each is in its version's list, or about to be added to that or called.
  EntryList pending_ INFLIGHT_GUARDED_BY(mutex_);
  EntryList ready_ INFLIGHT_GUARDED_BY(mutex_);  // to be taken
  EntryList idle_ INFLIGHT_GUARDED_BY(mutex_);   // to be used again
  std::size_t size_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  std::size_t ready_count_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  bool ending_ INFLIGHT_GUARDED_BY(mutex_) = false;
  internal::EventFd event_fd_ INFLIGHT_GUARDED_BY(mutex_);  // raised exactly while ready_ is not empty
};

}  // namespace inflight
