// SPDX-License-Identifier: Apache-2.0
// `inflight run`: predicts on a source in real time.
#pragma once

#include "cli/options.h"

namespace inflight::cli {

// Runs the command and says what went wrong on stderr, in one line.
//   returns   the exit code: 0 done, 1 the run failed, 2 bad usage, 3 bad input, 4 no such device, 128 + the
//             signal that ended it
int run_command(const RunWords& words);

}  // namespace inflight::cli
