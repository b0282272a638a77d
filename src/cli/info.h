// SPDX-License-Identifier: Apache-2.0
// `inflight info`: explains a model.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace inflight::cli {

struct InfoWords {
  std::optional<std::string> model, device, precision;
  std::vector<std::string> input_shapes;
};

// Prints to stdout, and what went wrong to stderr in one line.
//   returns   the exit code: 0 done, 2 bad usage, 3 bad model, 4 no such device
int info_command(const InfoWords& words);

}  // namespace inflight::cli
