// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "inflight/internal/var_state.h"

namespace inflight::internal {

// Gives a granted claim back and starts what that makes runnable, each by its own engine. How something that
// is not an operation, such as a prediction, takes part in the order: it claims a variable of its own and
// ends the claim.
void release_and_start(const Access& access, const Status& status);

}  // namespace inflight::internal
