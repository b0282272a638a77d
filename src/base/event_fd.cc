// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/event_fd.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace inflight::internal {

Result<int> EventFd::open(bool raised) {
  if (fd_ < 0) {
    // Non-blocking: lower() must not hang if the user has read the descriptor against the contract.
    fd_ = ::eventfd(raised ? 1 : 0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd_ < 0) {
      return Status(StatusCode::kOutOfMemory,
                    fmt::format("eventfd: {}", std::generic_category().message(errno)));
    }
  }
  return fd_;
}

void EventFd::raise() noexcept {
  if (fd_ < 0) return;
  const std::uint64_t one = 1;
  // The counter is 0, or 1 if it was not lowered: never near the value at which a write would fail.
  INFLIGHT_CHECK(::write(fd_, &one, sizeof(one)) == sizeof(one));
}

void EventFd::lower() noexcept {
  if (fd_ < 0) return;
  std::uint64_t count = 0;
  if (::read(fd_, &count, sizeof(count)) != sizeof(count)) INFLIGHT_CHECK(errno == EAGAIN);
}

void EventFd::close() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

}  // namespace inflight::internal
