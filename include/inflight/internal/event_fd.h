// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "inflight/status.h"

namespace inflight::internal {

// A file descriptor that can be read while something is there: a level, for select, poll, epoll and the loops
// built on them. Does nothing until it is opened.
//   thread   none: the lock that guards what it stands for guards this, too, so that both always agree
class EventFd {
 public:
  EventFd() noexcept = default;
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;
  ~EventFd() { close(); }

  // Makes the descriptor at the first call.
  //   raised    whether something is there already
  //   returns   the same one each time
  //   errors    kOutOfMemory: the process or the system has no descriptor left. Nothing changed; it may be tried
  //             again.
  Result<int> open(bool raised);
  // Nothing was there, and now something is: one system call, once it is open.
  void raise() noexcept;
  // The last of it was taken: one system call, once it is open.
  void lower() noexcept;
  void close() noexcept;

 private:
  int fd_ = -1;
};

}  // namespace inflight::internal
