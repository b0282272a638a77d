// SPDX-License-Identifier: Apache-2.0
// The signals that end the program: SIGINT, SIGTERM and SIGHUP (the terminal goes away).
#pragma once

#include <chrono>
#include <optional>

#include "inflight/clock.h"

namespace inflight::cli {

// A second signal counts only when it comes this long after the first. `timeout` signals its child and then
// the child's group; a terminal that closes signals the group, and then the shell does so again.
constexpr Duration kSecondSignalAfter = std::chrono::milliseconds(200);

// A broken pipe and a file that reaches its size limit (ulimit -f) become errors of write() and end nothing.
void ignore_write_signals();

// From now on the first signal ends the process at once with exit code 128 + its number: while a model is
// being compiled there is nothing to save and nobody who could look at a flag. Signals that the parent has
// set to be ignored (nohup) stay ignored.
void end_on_signals();

// From now on the first signal only sets a flag; one that comes kSecondSignalAfter later or more ends the
// process at once, as above.
void watch_signals();

// The first signal since watch_signals(), or 0.
//   thread   any
int stop_signal();

// When that signal came; nothing before.
//   thread   any
std::optional<TimePoint> stop_time();

}  // namespace inflight::cli
