// SPDX-License-Identifier: Apache-2.0
// How code that is no operation releases a claim.
#pragma once

#include "inflight/internal/var_state.h"

namespace inflight::internal {

// Releases a granted claim and starts the operations that become runnable, each on its own engine. So a
// prediction, which is no operation, takes part in the order: it claims its own variable, and releases that
// claim here.
//   thread   any, with no lock held
void release_and_start(const Access& access, const Status& status) noexcept;

}  // namespace inflight::internal
