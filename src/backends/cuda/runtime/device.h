// SPDX-License-Identifier: Apache-2.0
// GpuDevice: one GPU, its context, its memory and its health.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/cuda/runtime/pinned_ranges.h"
#include "backends/cuda/runtime/vendor.h"
#include "inflight/buffer.h"
#include "inflight/clock.h"
#include "inflight/internal/mutex.h"
#include "inflight/status.h"

namespace inflight::cuda {

class GpuDevice;

// Memory of a device, or pinned memory of the host, which both the host and the device address. Freed with the
// object; kept for ever if the device is lost, because a launch that was out may still use it.
class GpuMemory {
 public:
  GpuMemory() = default;
  GpuMemory(GpuMemory&& other) noexcept { swap(other); }
  GpuMemory& operator=(GpuMemory&& other) noexcept {
    GpuMemory(std::move(other)).swap(*this);
    return *this;
  }
  GpuMemory(const GpuMemory&) = delete;
  GpuMemory& operator=(const GpuMemory&) = delete;
  ~GpuMemory();

  CUdeviceptr address() const noexcept { return address_; }
  // For pinned memory only.
  std::byte* host() const noexcept { return static_cast<std::byte*>(pointer_of(address_)); }
  std::size_t size() const noexcept { return bytes_; }

 private:
  friend class GpuDevice;
  void swap(GpuMemory& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    std::swap(pinned_, other.pinned_);
  }
  std::shared_ptr<GpuDevice> device_;
  CUdeviceptr address_ = 0;
  std::size_t bytes_ = 0;
  bool pinned_ = false;
};

// What the watchdog looks at: a slot's stream, its completion word, and its newest launch.
struct WatchedSlot {
  CUstream stream = nullptr;
  const std::atomic<std::uint64_t>* word = nullptr;
  std::atomic<std::uint64_t> launched{0};  // stored after the launch is in the stream
};

// Opened for one backend. Any thread may call.
class GpuDevice : public std::enable_shared_from_this<GpuDevice> {
 public:
  // How long launches may be out without any of them finishing; INFLIGHT_CUDA_WATCHDOG_S, in seconds, sets
  // another bound.
  static constexpr int kWatchdogSeconds = 10;

  //   errors   kNoSuchDevice: no driver, no such index, or a card older than compute capability 7.5;
  //            kDeviceError: the driver cannot use it
  static Result<std::shared_ptr<GpuDevice>> open(int index);
  // The primary context stays for the life of the process: handles of cuDNN and cuBLASLt belong to it.
  ~GpuDevice() = default;
  GpuDevice(const GpuDevice&) = delete;
  GpuDevice& operator=(const GpuDevice&) = delete;

  const DriverApi& api() const noexcept { return api_; }
  int index() const noexcept { return index_; }
  CUcontext context() const noexcept { return context_; }
  const std::string& name() const noexcept { return name_; }  // "NVIDIA H100 80GB HBM3"
  int multiprocessors() const noexcept { return multiprocessors_; }
  int compute_capability() const noexcept { return compute_capability_; }  // 90
  int driver_version() const noexcept { return driver_version_; }          // 13000
  // "cuda:0 (NVIDIA H100 80GB HBM3, 132 multiprocessors, 79.2 GiB)"
  std::string description() const;

  // Makes its context the calling thread's. Every other call needs that first; those of this class do it
  // themselves.
  Status make_current();
  // A result of the driver as a status that names the device. A sticky error loses the device.
  Status check(CUresult result, std::string_view call);

  // Device memory, aligned to 256.
  //   what     for the message: "weights of resnet50"
  //   errors   kOutOfMemory: how much was wanted, how much is free, and of how much
  Result<GpuMemory> allocate(std::size_t bytes, std::string_view what);
  // Host memory that does not move, at one address for both. In pinned() while it lives.
  Result<GpuMemory> allocate_pinned(std::size_t bytes, std::string_view what);
  const PinnedRanges& pinned() const noexcept { return pinned_; }
  Status upload(CUdeviceptr to, const void* from, std::size_t bytes);
  Status download(void* to, CUdeviceptr from, std::size_t bytes);

  // Not ok once the device is lost; the first cause stays. One load while it is well.
  Status status();
  bool lost() const noexcept { return lost_.load(std::memory_order_acquire); }
  void lose(Status why);
  // status(), after a look at the launches that are out.
  Status look();
  void watch(WatchedSlot& slot);
  void unwatch(WatchedSlot& slot);

 private:
  friend class GpuMemory;
  GpuDevice(const DriverApi& api, int index) : api_(api), index_(index) {}
  Status start();
  Status out_of_memory(std::size_t bytes, std::string_view what);
  void free(CUdeviceptr address, std::size_t bytes, bool pinned) noexcept;
  Status look_at(WatchedSlot& slot, bool& out, std::uint64_t& activity);

  const DriverApi& api_;
  const int index_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  std::string name_;
  int multiprocessors_ = 0;
  int compute_capability_ = 0;
  int driver_version_ = 0;
  std::size_t memory_bytes_ = 0;
  Duration watchdog_{};
  PinnedRanges pinned_;

  std::atomic<bool> lost_{false};
  internal::Mutex mutex_;
  Status why_lost_ INFLIGHT_GUARDED_BY(mutex_);
  std::vector<WatchedSlot*> watched_ INFLIGHT_GUARDED_BY(mutex_);
  std::uint64_t activity_ INFLIGHT_GUARDED_BY(mutex_) =
      0;                                            // the sum of all launches and words at the last look
  TimePoint progress_ INFLIGHT_GUARDED_BY(mutex_);  // when that sum last changed, or nothing was out
};

// Pinned host memory, which the device writes outputs to without a copy; and memory of the device.
std::shared_ptr<Allocator> pinned_allocator(std::shared_ptr<GpuDevice> device);
std::shared_ptr<Allocator> device_allocator(std::shared_ptr<GpuDevice> device);

// "1.2 GiB", "3.4 MiB", "5 bytes".
std::string bytes_text(std::size_t bytes);
// The seconds of INFLIGHT_CUDA_WATCHDOG_S, else kWatchdogSeconds.
Duration watchdog_bound(const char* text);

}  // namespace inflight::cuda
