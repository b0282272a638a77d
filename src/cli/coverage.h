// SPDX-License-Identifier: Apache-2.0
// What `inflight info` says of operators: which of them a device can compute.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "inflight/backend.h"
#include "inflight/status.h"

namespace inflight::cli {

// Names and values of lines for people, one for each type: ("covered", "12 Convolution (opset1)"), or
// ("missing", "2 of 3 Interpolate (opset11), the first \"resize\": why").
std::vector<std::pair<std::string, std::string>> coverage_lines(const Coverage& coverage);
// [{"type", "versions", "count", "missing", "first_missing", "why"}]; the last two only where any is missing.
nlohmann::ordered_json coverage_json(const Coverage& coverage);
// Ok, or kUnsupported in one line: how many are missing on the device, and the first.
Status coverage_status(const Coverage& coverage, Device device);

}  // namespace inflight::cli
