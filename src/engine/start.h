// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "inflight/internal/var_state.h"

namespace inflight::internal {

// Gives a granted claim back and starts what that makes runnable, each operation on its own engine. This is how
// something that is no operation, such as a prediction, takes part in the order: it claims its own variable,
// and ends the claim here.
//   thread   any, with no lock held
void release_and_start(const Access& access, const Status& status) noexcept;

}  // namespace inflight::internal
