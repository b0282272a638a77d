// SPDX-License-Identifier: Apache-2.0
#include "inflight/plugin.h"

// It is defined nowhere.
inflight::Result<std::shared_ptr<inflight::Backend>> made_by_nobody(inflight::Device device);

INFLIGHT_BACKEND_PLUGIN("missing_symbol", made_by_nobody)
