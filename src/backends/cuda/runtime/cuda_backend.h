// SPDX-License-Identifier: Apache-2.0
// The backend for NVIDIA's GPUs. It lowers a network to a GpuGraph and runs that.
//
// The environment sets what no option of the interface does; all are read when a backend is made:
//   INFLIGHT_CUDA_LANES       how many narrow predictions share the device, 1 to 64 (8)
//   INFLIGHT_CUDA_IO          host (the default): outputs are made in pinned host memory. device: in memory of the
//                             device. none: nothing is copied in or out, for benchmarks; outputs are undefined
//   INFLIGHT_CUDA_WATCHDOG_S, INFLIGHT_CUDA_LIBRARIES   device.h, vendor.h
#pragma once

#include <memory>

#include "inflight/backend.h"

namespace inflight {

//   errors   kNoSuchDevice: no driver, no such device, or a library is missing, in one line with what to do;
//            kInvalidArgument: a variable of the environment that is none of the above
Result<std::shared_ptr<Backend>> make_cuda_backend(Device device);

// Which operators of the model a GPU can compute; of all that it can, if the model is null. Needs no device.
//   errors   kUnsupported: the model is opaque, or cannot be lowered for another reason than an operator
Result<Coverage> cuda_coverage(const Model* model);

}  // namespace inflight
