// SPDX-License-Identifier: Apache-2.0
// DeviceArrays: arrays in the memory of a device, copied to and from it while no thread waits.
//
//   const NDArray there = *frame.copy_to(Device::cuda());        // returns at once; ready when it is copied
//   const auto prediction = predictor.submit(Frame::of(there));  // reads it where it is
//   const NDArray back = *prediction->output(0).copy_to(Device::cpu());
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "inflight/backend.h"
#include "inflight/device_memory.h"
#include "inflight/ndarray.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight {

namespace internal {
class DeviceArraysCore;
}

// The arrays of one device. NDArray::copy_to() is all that most programs need of it. A value: copies are handles to the
// same.
//   thread   any; one handle object is like an int: no thread may assign to it while another one reads it
//   owns     a thread, which starts copies and looks when they are done; idle memory, of the device 1 GiB and pinned
//            256 MiB at most
class DeviceArrays {
 public:
  static constexpr std::size_t kIdleHostBytesMax = std::size_t{256} << 20U;

  DeviceArrays() noexcept = default;  // none: only operator bool may be called

  // Those of this process for a device, made at the first call. They end with the process.
  //   load     where to look for the plugin; only the first call for a device uses it
  //   errors   kNoSuchDevice: there is none of that name, or its plugin has no memory of its own; kInvalidArgument: the
  //            host; kShuttingDown: the process ends, or this is the child of a fork; kOutOfMemory
  static Result<DeviceArrays> open(Device device, const LoadOptions& load = {});
  // Of memory that the caller brings. They end with the last handle and the last copy.
  //   errors   kInvalidArgument: null, or the host's; kOutOfMemory: no memory or no more threads
  static Result<DeviceArrays> over(std::shared_ptr<DeviceMemory> memory);

  explicit operator bool() const noexcept { return core_ != nullptr; }
  Device device() const noexcept;

  // Uninitialised memory of the device, from a pool.
  //   errors   kOutOfMemory: how much was wanted; kDeviceError: the device is lost
  Result<Buffer> acquire(std::size_t bytes) const;
  // Orders a copy of an array into memory of the device, or from it into memory of the host. Never blocks. The array may
  // be pending: the copy starts when it is ready, and fails as it does. Operations of an engine may read the copy.
  //   source    of the host or of this device; for to_host() of this device
  //   returns   the copy, still to come; if `source` is in the memory of the host, the host reads it meanwhile
  //   errors    kInvalidArgument: an empty array, or one of another device; kOutOfMemory
  Result<NDArray> to_device(const NDArray& source) const;
  Result<NDArray> to_host(const NDArray& source) const;

  // An array over memory of the device that another library fills: ready once the device has done what stream() was
  // told to wait for.
  //   buffer   of this device
  //   errors   as NDArray::from_buffer(); kDeviceError: the device is lost
  Result<NDArray> take(Buffer buffer, DType dtype, const Shape& shape) const;
  // A stream of the device, as a CUstream, for other libraries to order their work before it; 0: there are none.
  std::uintptr_t stream() const noexcept;
  // For an array that another library gets to use: release_after_use() lets go of it, and its memory is not used again
  // before the device has done what had been put into that library's stream by then.
  //   stream    as DLPack's __dlpack__() takes it: 1: the legacy default stream; 2: the per-thread one; else a CUstream
  //   returns   for release_after_use(). The stream need not live until then, unless it was made as non-blocking.
  //   errors    kInvalidArgument: no stream of this device
  Result<std::uintptr_t> remember_stream(std::intptr_t stream) const;
  void release_after_use(NDArray array, std::uintptr_t stream) const noexcept;

  // Starts work on the device and looks when it is done: for what computes on arrays.
  internal::DeviceArraysCore& core() const noexcept { return *core_; }

 private:
  explicit DeviceArrays(std::shared_ptr<internal::DeviceArraysCore> core) noexcept : core_(std::move(core)) {}
  std::shared_ptr<internal::DeviceArraysCore> core_;
};

}  // namespace inflight
