// SPDX-License-Identifier: Apache-2.0
// The predictors of a run: one for the frames of each size.
#pragma once

#include <memory>

#include "cli/load.h"
#include "cli/loop.h"
#include "cli/options.h"
#include "cli/sized_predictors.h"
#include "inflight/model.h"
#include "inflight/runtime.h"
#include "inflight/status.h"
#include "media/source.h"

namespace inflight::cli {

//   height, width   of a frame; 0: no frame is known
ModelOptions model_options(const RunOptions& options, int height = 0, int width = 0);

// A predictor for the frames of each size, the first of which is `model`'s.
//   reload   the model cannot be read without a frame's size
Result<std::unique_ptr<SizedPredictors>> make_predictors(const Model& model, const Runtime& runtime,
                                                         const RunOptions& options, const LoopPlan& plan,
                                                         const LoadedModel& loaded, const FrameSource& source,
                                                         bool reload);

}  // namespace inflight::cli
