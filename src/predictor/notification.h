// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "predictor/prediction_state.h"

namespace inflight::internal {

// Notifies everybody who waits for a prediction that has been published: wakes threads, calls listeners, and starts
// engine operations that depend on it. A failure that flows down a chain of predictions ends the next one within
// this call: such calls nest a few deep, and what lies further down the chain is left to the innermost of them, so a
// chain of any length needs a stack of one size.
void notify_end(Ref<PredictionState> reference) noexcept;

}  // namespace inflight::internal
