// SPDX-License-Identifier: Apache-2.0
// Waiting for the reader of a pipe, a terminal or a socket, who may be slow, stopped or gone.
#pragma once

#include <optional>
#include <string>

#include "inflight/clock.h"

namespace inflight::internal {

// When the program was asked to stop; nothing before.
using StopTime = std::optional<TimePoint> (*)();

// What a reader gets before a write is given up: so long since it took something, once the program is to stop,
inline constexpr Duration kStallAfterStop = std::chrono::seconds(1);
// and so long since the write began, however long ago the stop was.
inline constexpr Duration kPatienceMin = std::chrono::milliseconds(200);

// Waits until a write would take something, or fail.
//   stop       null: never
//   began      when the write began
//   progress   when the reader took something last
//   returns    false: the program is to stop, and the reader has taken nothing for too long
bool wait_writable(int descriptor, StopTime stop, TimePoint began, TimePoint progress) noexcept;

// What the errno of a write says; ETIMEDOUT: it was given up. Unlike strerror() it may be called from any
// thread.
std::string write_error_text(int error);

}  // namespace inflight::internal
