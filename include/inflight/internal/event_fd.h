// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "inflight/status.h"

namespace inflight::internal {

// A file descriptor that is readable while there is something to take: a level, for select, poll, epoll and
// the loops built on them. Does nothing until it is opened.
//   thread   one at a time: the lock that guards what is to be taken guards this, too, so the two always
//            agree
class EventFd {
 public:
  EventFd() noexcept = default;
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;
  ~EventFd() { close(); }

  // Makes the descriptor at the first call.
  //   raised    whether there is something to take already
  //   returns   the same one each time
  //   errors    kOutOfMemory: the process or the system has no descriptor left. Nothing changed; you may try
  //             again.
  Result<int> open(bool raised);
  // There was nothing to take, and now there is: one system call, once it is open.
  void raise() noexcept;
  // The last of it was taken: one system call, once it is open.
  void lower() noexcept;
  // Idempotent.
  void close() noexcept;

 private:
  int fd_ = -1;
};

}  // namespace inflight::internal
