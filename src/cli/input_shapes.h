// SPDX-License-Identifier: Apache-2.0
// The values of --input-shape.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight::cli {

// Reads "NAME=1,3,640,640", or "1,3,640,640" where the model has one input: then the name is "".
//   errors   kInvalidArgument: another form, an extent that is not 1 to 2^40, or a name that stands twice
Result<std::map<std::string, Shape>> parse_input_shapes(const std::vector<std::string>& words);

}  // namespace inflight::cli
