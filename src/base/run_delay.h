// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <fstream>
#include <system_error>

#include "inflight/clock.h"

namespace inflight {

// How long the threads of this process, together, have been ready to run while others had the processors, since each began;
// 0 where the kernel does not tell (/proc/PID/task/TID/schedstat).
inline Duration run_delay() {
  Duration sum{0};
  std::error_code ignored;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", ignored)) {
    std::ifstream schedstat(thread.path() / "schedstat");
    long long ran = 0;
    long long waited = 0;
    if (schedstat >> ran >> waited) sum += std::chrono::nanoseconds(waited);
  }
  return sum;
}

}  // namespace inflight
