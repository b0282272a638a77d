// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM.
#pragma once

namespace inflight::cli {

// From now on the first SIGINT or SIGTERM ends the process at once with exit code 130 or 143: while a model
// is being compiled there is nothing to save and nobody who could look at a flag.
void end_on_signals();

// From now on the first of each only sets a flag; the next of the same kind ends the process at once.
void watch_signals();

// The signal that has come since watch_signals(), or 0.
int stop_signal();

}  // namespace inflight::cli
