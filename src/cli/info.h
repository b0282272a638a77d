// SPDX-License-Identifier: Apache-2.0
// `inflight info`: explains a model, and what a device makes of it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace inflight::cli {

struct InfoWords {
  std::optional<std::string> model, device, precision, json;
  std::vector<std::string> input_shapes;
};

// Prints to stdout, and what went wrong to stderr in one line.
// Without a model, for a device that can tell: all operators that it can compute. Which operators a device can compute
// is told without the device, if its backend is here.
//   returns   the exit code: 0 done, and no operator is missing, or shapes are needed first; 2 bad usage; 3 bad model, or
//             a missing operator; 4 no such device, and no backend to ask
int info_command(const InfoWords& words);

}  // namespace inflight::cli
