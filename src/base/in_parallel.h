// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>

#include "inflight/status.h"

namespace inflight::internal {

// Calls work(i) for 0 to count - 1, several at a time, and waits for all of them. The calling thread does its part; the others end
// before this returns. Where no more threads can be started, it goes on with fewer.
//   threads   how many calls may run at once; 0: as many as the process may use processors
//   errors    the first failure by index; what work throws is one (call_user)
//   throws    std::bad_alloc, before the first call
Status in_parallel(std::size_t count, const std::function<Status(std::size_t)>& work,
                   std::size_t threads = 0);

}  // namespace inflight::internal
