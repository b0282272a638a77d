// SPDX-License-Identifier: Apache-2.0
// The memory of a null device: host memory that the host is not allowed to read, copied when a test says so.
#pragma once

#include <cstdint>
#include <memory>

#include "inflight/device_memory.h"

namespace inflight {

namespace internal {
struct NullMemoryState;
}

// Memory that counts as the device's.
std::shared_ptr<Allocator> null_allocator(Device device);

// Copies are made when somebody looks whether they are done, and not before: code that reads a copy too early, or
// writes to its source too early, gets the wrong bytes.
class NullMemory final : public DeviceMemory {
 public:
  // The number of its one stream: as unlike a small number as a pointer is.
  static constexpr std::uintptr_t kStream = 0x5EA;

  explicit NullMemory(Device device = Device::null());
  Device device() const noexcept override;
  std::shared_ptr<Allocator> allocator() override;
  Status status() override;
  Result<std::unique_ptr<DeviceMark>> copy(CopyWay way, std::span<const MemoryCopy> copies) override;
  std::uintptr_t stream() const noexcept override { return kStream; }
  Result<std::unique_ptr<DeviceMark>> mark_stream() override;
  Result<std::uintptr_t> remember_stream(std::intptr_t stream) override;
  Result<std::unique_ptr<DeviceMark>> mark_behind(std::uintptr_t stream) override;

  // From now on no mark is passed, until go_on().
  void hold();
  void go_on();
  // Loses the device: no mark is passed any more.
  void lose(Status why);
  // The next copy fails to start with this.
  void fail_next_copy(Status why);
  // How many copies the device was asked for.
  std::uint64_t copies() const;
  // How many times mark_behind() was asked for one, and the stream that it was last asked of.
  std::uint64_t marks_behind() const;
  std::uintptr_t last_behind() const;
  // As if streams were captured, or no more: mark_behind() makes none.
  void capture(bool captures);

 private:
  const std::shared_ptr<internal::NullMemoryState> state_;
};

}  // namespace inflight
