// SPDX-License-Identifier: Apache-2.0
// When the frames of a run are due, and how many there are.
#pragma once

#include <memory>
#include <vector>

#include "cli/loop.h"
#include "cli/options.h"
#include "inflight/status.h"
#include "media/source.h"

namespace inflight::cli {

// A plan for each source, in their order.
Result<std::vector<LoopPlan>> plan_loops(const RunOptions& options,
                                         const std::vector<std::unique_ptr<FrameSource>>& sources);

}  // namespace inflight::cli
