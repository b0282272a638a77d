// SPDX-License-Identifier: Apache-2.0
// All public headers but openvino_interop.h. Each can be included alone; DESIGN.md lists them in reading
// order.
#pragma once

#include "inflight/await.h"             // IWYU pragma: export
#include "inflight/backend.h"           // IWYU pragma: export
#include "inflight/buffer.h"            // IWYU pragma: export
#include "inflight/clock.h"             // IWYU pragma: export
#include "inflight/completion_queue.h"  // IWYU pragma: export
#include "inflight/device_arrays.h"     // IWYU pragma: export
#include "inflight/device_memory.h"     // IWYU pragma: export
#include "inflight/dlpack.h"            // IWYU pragma: export
#include "inflight/engine.h"            // IWYU pragma: export
#include "inflight/executor.h"          // IWYU pragma: export
#include "inflight/histogram.h"         // IWYU pragma: export
#include "inflight/model.h"             // IWYU pragma: export
#include "inflight/ndarray.h"           // IWYU pragma: export
#include "inflight/plugin.h"            // IWYU pragma: export
#include "inflight/predictor.h"         // IWYU pragma: export
#include "inflight/runtime.h"           // IWYU pragma: export
#include "inflight/shutdown.h"          // IWYU pragma: export
#include "inflight/status.h"            // IWYU pragma: export
#include "inflight/tensor.h"            // IWYU pragma: export
#include "inflight/version.h"           // IWYU pragma: export
#include "inflight/wait.h"              // IWYU pragma: export
