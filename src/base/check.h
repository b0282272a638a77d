// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "inflight/status.h"

// Stops the process when our own reasoning is wrong; on in every build. No input may reach one that fails.
#define INFLIGHT_CHECK(condition) \
  (static_cast<bool>(condition) ? void() : ::inflight::internal::check_failed(#condition, __FILE__, __LINE__))
