// SPDX-License-Identifier: Apache-2.0
// Sleeping on a word of memory (Linux futex), private to the process.
#pragma once

#include <atomic>
#include <cstdint>

#include "inflight/clock.h"

namespace inflight::internal {

// Sleeps while `word` holds `expected`, until woken or `until` (null: for ever). May return for no reason.
// False: the time came.
bool futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                const TimePoint* until) noexcept;
void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept;
void futex_wake_one(const std::atomic<std::uint32_t>& word) noexcept;

}  // namespace inflight::internal
