// SPDX-License-Identifier: Apache-2.0
// What DeviceArrays is inside.
#pragma once

#include <memory>
#include <utility>

#include "inflight/buffer.h"
#include "inflight/device_arrays.h"
#include "transfer/device_thread.h"

namespace inflight::internal {

// The memory of one device, its pools and its thread. Copies that are out keep it.
class DeviceArraysCore {
 public:
  //   errors   kOutOfMemory: no memory or no more threads
  static Result<std::shared_ptr<DeviceArraysCore>> make(std::shared_ptr<DeviceMemory> memory);

  DeviceMemory& memory() noexcept { return *memory_; }
  const std::shared_ptr<BufferPool>& device_pool() const noexcept { return device_pool_; }
  // Of the host, pinned.
  const std::shared_ptr<BufferPool>& host_pool() const noexcept { return host_pool_; }
  DeviceThread& thread() noexcept { return *thread_; }

 private:
  DeviceArraysCore(std::shared_ptr<DeviceMemory> memory, std::unique_ptr<DeviceThread> thread);

  const std::shared_ptr<DeviceMemory> memory_;
  const std::shared_ptr<BufferPool> device_pool_;
  const std::shared_ptr<BufferPool> host_pool_;
  const std::unique_ptr<DeviceThread> thread_;
};

// Orders a copy of `source` to memory of `to`.
Result<NDArray> order_copy(std::shared_ptr<DeviceArraysCore> core, const NDArray& source, Device to);

}  // namespace inflight::internal
