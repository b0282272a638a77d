// SPDX-License-Identifier: Apache-2.0
// CompletionQueue: which of many are ready? Costs what became ready, however many still wait.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "inflight/clock.h"
#include "inflight/internal/event_fd.h"
#include "inflight/ndarray.h"
#include "inflight/status.h"

namespace inflight {

class Prediction;

// Arrays and predictions are added with a tag; the tags come out as they become ready, each exactly once, in
// the order in which they became ready. What completes two of them at the same time on two threads decides
// their order.
//   thread   any number may add, take and wait; it must not be destroyed while one of them still does
//   bound    none of its own on what is added: each costs one entry of some 80 bytes and a share in its
//            version until it is ready. Entries are used again, so that a queue that has grown to what is
//            ever in it at once allocates nothing more.
class CompletionQueue {
 public:
  CompletionQueue() noexcept = default;
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;
  // What is still pending is let go of, and its completion tells nobody here. May wait for another thread
  // that is just telling this queue, a few instructions; runs no user code but the release of memory whose
  // last share was here.
  ~CompletionQueue();

  // Hands `tag` out once the handle is ready: at once where it is. The handle itself may be dropped. The same
  // handle may be added again, and tags may be equal: each addition counts for itself.
  //   requires a handle that is not empty
  //   thread   any; never blocks: it takes the queue's lock and the handle's, a few instructions each
  void add(const NDArray& array, std::uint64_t tag) { add_version(array.version(), tag); }
  void add(const Prediction& prediction, std::uint64_t tag);

  // The tags of all that became ready since the last call, the first to become ready first. `tags` is cleared
  // first: no allocation once it has grown.
  //   thread   any; never blocks; costs what it hands out
  void take(std::vector<std::uint64_t>& tags);
  // The oldest of them; nothing where none is there.
  std::optional<std::uint64_t> take_one();

  // Waits until there is something to take. Where nothing is in the queue, that is until somebody adds: a
  // loop that is alone asks size() first.
  //   thread   any; several may wait, and all of them wake: one may find that another was faster
  void wait();
  // The same, until `when` at most, which is on the real steady clock.
  //   returns  true: there is something to take
  bool wait_until(TimePoint when);

  // Everything that was added and not taken yet, ready or not.
  std::size_t size() const;

  // A descriptor that can be read as long as there is something to take: for epoll (level triggered), poll,
  // select and the loops built on them. It coalesces: one write when the first tag arrives, one read when the
  // last is taken, however many there are between. Made at the first call; a queue that is never asked makes
  // no system call for it.
  //   returns  the same one each time; the queue's: do not read, write or close it. Valid as long as the
  //            queue lives; take it out of an epoll set before that ends.
  //   thread   any
  //   errors   kOverloaded: no descriptor is left; may be tried again
  Result<int> event_fd();

 private:
  class Entry;
  // First in, first out, linked in both directions.
  struct EntryList {
    Entry* head = nullptr;
    Entry* tail = nullptr;
  };
  static void push_back(EntryList& list, Entry& entry) noexcept;
  static void remove(EntryList& list, Entry& entry) noexcept;

  void add_version(internal::Version& version, std::uint64_t tag);
  void became_ready(Entry& entry) noexcept;
  std::uint64_t take_front() noexcept;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // ready_ is not empty any more; or pending_ is, at the end
  // Guarded by mutex_.
  EntryList pending_;  // each is in its version's list, or about to be put in or told
  EntryList ready_;    // to be taken
  EntryList idle_;     // to be used again
  std::size_t size_ = 0;
  bool ending_ = false;
  internal::EventFd event_fd_;  // raised exactly while ready_ is not empty
};

}  // namespace inflight
