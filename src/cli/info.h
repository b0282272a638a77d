// SPDX-License-Identifier: Apache-2.0
// `inflight info`: explains a model.
#pragma once

#include <optional>
#include <string>

namespace inflight::cli {

struct InfoWords {
  std::optional<std::string> model, device, precision;
};

// Prints to stdout, and what went wrong to stderr in one line.
//   returns   the exit code: 0 done, 2 bad usage, 3 bad model, 4 no such device
int info_command(const InfoWords& words);

}  // namespace inflight::cli
