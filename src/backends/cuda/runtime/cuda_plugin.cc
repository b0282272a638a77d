// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/cuda_backend.h"
#include "backends/cuda/runtime/gpu_memory.h"
#include "inflight/plugin.h"

INFLIGHT_BACKEND_PLUGIN("cuda", inflight::make_cuda_backend, inflight::cuda_coverage,
                        inflight::make_cuda_memory, inflight::count_cuda_devices)
