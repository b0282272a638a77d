// SPDX-License-Identifier: Apache-2.0
#include "base/wait_writable.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace inflight::internal {

bool wait_writable(int descriptor, StopTime stop, TimePoint began, TimePoint progress) noexcept {
  // How often a write that waits looks for the stop.
  constexpr int kSliceMs = 20;
  while (true) {
    pollfd wanted{descriptor, POLLOUT, 0};
    const int ready = poll(&wanted, 1, kSliceMs);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return true;
    const std::optional<TimePoint> stopped = stop != nullptr ? stop() : std::nullopt;
    if (!stopped) continue;
    const TimePoint give_up = std::max(std::max(*stopped, progress) + kStallAfterStop, began + kPatienceMin);
    if (steady_clock().now() >= give_up) return false;
  }
}

std::string write_error_text(int error) {
  if (error == ETIMEDOUT) return "its reader has stopped reading";
  return std::generic_category().message(error);
}

}  // namespace inflight::internal
