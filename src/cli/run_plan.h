// SPDX-License-Identifier: Apache-2.0
// When the frames of a run are due, and how many there are.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "cli/loop.h"
#include "cli/options.h"
#include "inflight/status.h"
#include "media/source.h"

namespace inflight::cli {

constexpr std::string_view kSynthetic = "synthetic";  // the source that needs no file

// A plan for each source, in their order.
Result<std::vector<LoopPlan>> plan_loops(const RunOptions& options,
                                         const std::vector<std::unique_ptr<FrameSource>>& sources);

}  // namespace inflight::cli
