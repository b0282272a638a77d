// SPDX-License-Identifier: Apache-2.0
// DeviceMemory: what a device must offer so that arrays can lie in its own memory. It needs less than a Backend: on a
// GPU the driver alone, and no library that computes.
//
//   DeviceMemory --copy()--> DeviceMark: passed() once the device has done it
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "inflight/buffer.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight {

// A place in what a device does.
class DeviceMark {
 public:
  virtual ~DeviceMark() = default;
  // Whether the device has done everything before it. Never blocks; once true, always true.
  //   thread   one at a time
  //   errors   why it never will: the device is lost. It may still use the memory then.
  virtual Result<bool> passed() = 0;
};

// Bytes from one place to another.
struct MemoryCopy {
  void* to = nullptr;
  const void* from = nullptr;
  std::size_t bytes = 0;
};

// From where to where: memory of the host and of one device.
enum class CopyWay : std::uint8_t { kToDevice, kToHost, kWithinDevice };

// The memory of one device. If an implementation throws, the call fails as a Backend's does.
//   thread   any, several at once, but where a call says otherwise
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  // Where the memory is; not the host.
  virtual Device device() const noexcept = 0;
  // Makes memory of the device.
  virtual std::shared_ptr<Allocator> allocator() = 0;
  // Makes host memory that copies to and from the device are fastest with.
  virtual std::shared_ptr<Allocator> host_side_allocator() { return host_allocator(); }
  // Ok, or why the device is lost. Cheap.
  virtual Status status() = 0;

  // Starts copies, which are made one after the other. Never waits for the device; pageable memory of the host may
  // take the time of a copy by the host. The memory stays valid until the mark is passed.
  //   errors   kDeviceError: the device is lost; kOutOfMemory. Nothing was started then, or the device is lost.
  virtual Result<std::unique_ptr<DeviceMark>> copy(CopyWay way, std::span<const MemoryCopy> copies) = 0;

  // A stream of the device by the number that other libraries know it by (a CUstream), for them to order their work
  // before ours (DLPack).
  //   returns  the same each time; 0: the device has no streams
  virtual std::uintptr_t stream() const noexcept { return 0; }
  // Behind all that stream() has been told to wait for.
  virtual Result<std::unique_ptr<DeviceMark>> mark_stream() = 0;
  // What to remember of a stream that another library uses our memory in, for mark_behind(), so that the stream itself
  // need not live until then.
  //   stream   as __dlpack__() takes it: 1: the legacy default stream; 2: the per-thread one; else a CUstream
  //   errors   kInvalidArgument: no stream of this device
  virtual Result<std::uintptr_t> remember_stream(std::intptr_t stream) = 0;
  // Behind what has been put into a stream so far; null: not now, as the stream is being captured.
  //   stream   what remember_stream() returned
  virtual Result<std::unique_ptr<DeviceMark>> mark_behind(std::uintptr_t stream) = 0;
};

}  // namespace inflight
