// SPDX-License-Identifier: Apache-2.0
// The memory of a GPU for arrays. It needs the driver and none of the libraries that compute.
#pragma once

#include <memory>

#include "backends/cuda/runtime/device.h"
#include "inflight/device_memory.h"

namespace inflight::cuda {

// The one of this process that is open and not lost, or a new one. Backends and arrays share it: each knows what host
// memory the other has pinned.
Result<std::shared_ptr<GpuDevice>> shared_gpu(int index);

// Copies on streams of its own: one for each way, and one that other libraries order their work before. Calls leave the
// calling thread's context as it was.
//   errors   kDeviceError: a stream cannot be had
Result<std::shared_ptr<DeviceMemory>> make_gpu_memory(std::shared_ptr<GpuDevice> device);

}  // namespace inflight::cuda

namespace inflight {

// A MemoryFunction and a CountFunction of the plugin.
Result<std::shared_ptr<DeviceMemory>> make_cuda_memory(Device device);
Result<int> count_cuda_devices();

}  // namespace inflight
