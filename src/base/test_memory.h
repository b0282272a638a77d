// SPDX-License-Identifier: Apache-2.0
// Whether work that is done again and again holds on to memory.
#pragma once

#include <algorithm>
#include <limits>

#include "base/resident_memory.h"

namespace inflight {

// Does the work four times, and returns the least growth of resident memory in one of them, in bytes. What first
// works in one of the rounds, such as a slot or a thread, takes memory once; a leak takes memory in each round.
template <typename Work>
long long least_growth(Work work) {
  long long least = std::numeric_limits<long long>::max();
  for (int round = 0; round < 4; ++round) {
    const long long before = resident_bytes();
    work();
    least = std::min(least, resident_bytes() - before);
  }
  return least;
}

}  // namespace inflight
