// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>

#include "backends/cuda/runtime/caller_keeps.h"
#include "base/check.h"

namespace inflight::cuda {
namespace {

using internal::MutexLock;

constexpr int kComputeCapabilityMin = 75;

// What Allocator hands out for a device: raw memory of GpuDevice, kept in no object.
class GpuAllocator final : public Allocator {
 public:
  GpuAllocator(std::shared_ptr<GpuDevice> device, bool pinned)
      : device_(std::move(device)), pinned_(pinned) {}
  Device device() const noexcept override { return pinned_ ? Device::cpu() : Device::cuda(device_->index()); }
  Result<void*> allocate(std::size_t bytes) override {
    const CallerKeeps keep(device_->api());
    INFLIGHT_TRY_ASSIGN(GpuMemory memory, pinned_ ? device_->allocate_pinned(bytes, "an array")
                                                  : device_->allocate(bytes, "an array"));
    void* const address = pointer_of(memory.address());
    const internal::MutexLock lock(mutex_);
    memories_.emplace_back(std::move(memory));
    return address;
  }
  void deallocate(void* memory, std::size_t) noexcept override {
    const CallerKeeps keep(device_->api());
    GpuMemory freed;  // without the lock: the driver may wait for the device
    const internal::MutexLock lock(mutex_);
    for (GpuMemory& one : memories_) {
      if (one.host() != memory) continue;
      freed = std::move(one);
      one = std::move(memories_.back());
      memories_.pop_back();
      break;
    }
  }

 private:
  const std::shared_ptr<GpuDevice> device_;
  const bool pinned_;
  internal::Mutex mutex_;
  std::vector<GpuMemory> memories_ INFLIGHT_GUARDED_BY(mutex_);
};

}  // namespace

GpuMemory::~GpuMemory() {
  if (device_ != nullptr) device_->free(address_, bytes_, pinned_);
}

Result<std::shared_ptr<GpuDevice>> GpuDevice::open(int index) {
  INFLIGHT_TRY_ASSIGN(const DriverApi* const api, driver_api());
  int count = 0;
  INFLIGHT_TRY(driver_status(api->cuDeviceGetCount(&count), "cuDeviceGetCount"));
  if (index >= count) {
    return Status(StatusCode::kNoSuchDevice, fmt::format("device cuda:{}: this machine has {} CUDA device{}",
                                                         index, count, count == 1 ? "" : "s"));
  }
  std::shared_ptr<GpuDevice> device(new GpuDevice(*api, index));
  INFLIGHT_TRY(device->start());
  return device;
}

Status GpuDevice::start() {
  INFLIGHT_TRY(driver_status(api_.cuDeviceGet(&device_, index_), "cuDeviceGet"));
  std::array<char, 256> name{};
  INFLIGHT_TRY(
      driver_status(api_.cuDeviceGetName(name.data(), static_cast<int>(name.size()) - 1, device_), "name"));
  name_ = name.data();
  int major = 0;
  int minor = 0;
  api_.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device_);
  api_.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device_);
  api_.cuDeviceGetAttribute(&multiprocessors_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device_);
  compute_capability_ = major * 10 + minor;
  if (compute_capability_ < kComputeCapabilityMin) {
    return Status(StatusCode::kNoSuchDevice,
                  fmt::format("{} has compute capability {}.{}, want 7.5 or later", name_, major, minor));
  }
  api_.cuDeviceTotalMem(&memory_bytes_, device_);
  api_.cuDriverGetVersion(&driver_version_);
  watchdog_ = watchdog_bound(std::getenv("INFLIGHT_CUDA_WATCHDOG_S"));  // NOLINT(concurrency-mt-unsafe)
  INFLIGHT_TRY(driver_status(api_.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain"));
  return make_current();
}

std::string GpuDevice::description() const {
  return fmt::format("cuda:{} ({}, {} multiprocessors, {})", index_, name_, multiprocessors_,
                     bytes_text(memory_bytes_));
}

Status GpuDevice::make_current() { return check(api_.cuCtxSetCurrent(context_), "cuCtxSetCurrent"); }

Status GpuDevice::check(CUresult result, std::string_view call) {
  if (result == CUDA_SUCCESS) return Status();
  Status failed = driver_status(result, call).with_context(fmt::format("cuda:{}", index_));
  if (is_sticky(result)) lose(failed);
  return failed;
}

Status GpuDevice::out_of_memory(std::size_t bytes, std::string_view what) {
  std::size_t available = 0;
  std::size_t total = memory_bytes_;
  api_.cuMemGetInfo(&available, &total);
  return Status(StatusCode::kOutOfMemory,
                fmt::format("cuda:{}: {} for {} cannot be had: {} of {} are free", index_, bytes_text(bytes),
                            what, bytes_text(available), bytes_text(total)));
}

Result<GpuMemory> GpuDevice::allocate(std::size_t bytes, std::string_view what) {
  INFLIGHT_TRY(status());
  INFLIGHT_TRY(make_current());
  GpuMemory memory;
  const CUresult result = api_.cuMemAlloc(&memory.address_, std::max<std::size_t>(bytes, 256));
  if (result == CUDA_ERROR_OUT_OF_MEMORY) return out_of_memory(bytes, what);
  INFLIGHT_TRY(check(result, "cuMemAlloc"));
  memory.device_ = shared_from_this();
  memory.bytes_ = bytes;
  return memory;
}

Result<GpuMemory> GpuDevice::allocate_pinned(std::size_t bytes, std::string_view what) {
  INFLIGHT_TRY(status());
  INFLIGHT_TRY(make_current());
  constexpr std::size_t kUnit = PinnedRanges::kLengthUnit;
  const std::size_t rounded = std::max(kUnit, (bytes + kUnit - 1) / kUnit * kUnit);
  void* host = nullptr;
  const CUresult result =
      api_.cuMemHostAlloc(&host, rounded, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    return Status::out_of_memory(fmt::format("cuda:{}: pinned host memory for {}", index_, what), rounded);
  }
  INFLIGHT_TRY(check(result, "cuMemHostAlloc"));
  pinned_.add(host, rounded);  // without a place there, its data takes a copy more
  GpuMemory memory;
  memory.device_ = shared_from_this();
  memory.address_ = reinterpret_cast<CUdeviceptr>(host);
  memory.bytes_ = rounded;
  memory.pinned_ = true;
  return memory;
}

void GpuDevice::free(CUdeviceptr address, std::size_t bytes, bool pinned) noexcept {
  if (pinned) pinned_.remove(pointer_of(address), bytes);
  if (lost()) return;
  api_.cuCtxSetCurrent(context_);
  if (pinned) {
    api_.cuMemFreeHost(pointer_of(address));
  } else {
    api_.cuMemFree(address);
  }
}

Status GpuDevice::upload(CUdeviceptr to, const void* from, std::size_t bytes) {
  if (bytes == 0) return Status();
  INFLIGHT_TRY(make_current());
  return check(api_.cuMemcpyHtoD(to, from, bytes), "cuMemcpyHtoD");
}

Status GpuDevice::download(void* to, CUdeviceptr from, std::size_t bytes) {
  if (bytes == 0) return Status();
  INFLIGHT_TRY(make_current());
  return check(api_.cuMemcpyDtoH(to, from, bytes), "cuMemcpyDtoH");
}

Status GpuDevice::status() {
  if (!lost()) return Status();
  const MutexLock lock(mutex_);
  return why_lost_;
}

void GpuDevice::lose(Status why) {
  INFLIGHT_CHECK(!why.ok());
  const MutexLock lock(mutex_);
  if (lost()) return;
  why_lost_ = why.code() == StatusCode::kDeviceError
                  ? std::move(why)
                  : Status(StatusCode::kDeviceError, std::string(why.message()));
  lost_.store(true, std::memory_order_release);
}

void GpuDevice::watch(WatchedSlot& slot) {
  const MutexLock lock(mutex_);
  watched_.push_back(&slot);
}

void GpuDevice::unwatch(WatchedSlot& slot) {
  const MutexLock lock(mutex_);
  std::erase(watched_, &slot);
}

// `launched` is read before the stream, and the word after it: an idle stream has stored the word of each launch
// that was in it.
Status GpuDevice::look_at(WatchedSlot& slot, bool& out, std::uint64_t& activity) {
  const std::uint64_t launched = slot.launched.load(std::memory_order_acquire);
  const auto word = [&] { return slot.word->load(std::memory_order_acquire); };
  activity += launched + word();
  if (word() >= launched) return Status();
  const CUresult result = api_.cuStreamQuery(slot.stream);
  if (word() >= launched) return Status();
  out = true;
  if (result == CUDA_ERROR_NOT_READY) return Status();
  if (result == CUDA_SUCCESS) {
    return Status(StatusCode::kDeviceError,
                  fmt::format("cuda:{}: the device is idle, but launch {} has not stored its completion word",
                              index_, launched));
  }
  return driver_status(result, "a launch").with_context(fmt::format("cuda:{}", index_));
}

Status GpuDevice::look() {
  INFLIGHT_TRY(status());
  const CallerKeeps keep(api_);
  INFLIGHT_TRY(make_current());
  Status failed;
  {
    const MutexLock lock(mutex_);
    bool out = false;
    std::uint64_t activity = 0;
    for (WatchedSlot* slot : watched_) {
      failed = look_at(*slot, out, activity);
      if (!failed.ok()) break;
    }
    const TimePoint now = steady_clock().now();
    // The time counts from when something was launched or finished last, not from the last look: there may have been
    // none for long.
    if (!out || activity != activity_) progress_ = now;
    activity_ = activity;
    if (failed.ok() && out && now - progress_ > watchdog_) {
      failed = Status(StatusCode::kDeviceError,
                      fmt::format("cuda:{}: launches are out, and none has finished for {:.0f} s", index_,
                                  std::chrono::duration<double>(watchdog_).count()));
    }
  }
  if (!failed.ok()) lose(std::move(failed));
  return status();
}

std::shared_ptr<Allocator> pinned_allocator(std::shared_ptr<GpuDevice> device) {
  return std::make_shared<GpuAllocator>(std::move(device), true);
}

std::shared_ptr<Allocator> device_allocator(std::shared_ptr<GpuDevice> device) {
  return std::make_shared<GpuAllocator>(std::move(device), false);
}

std::string bytes_text(std::size_t bytes) {
  const auto count = static_cast<double>(bytes);
  if (bytes >= std::size_t{1} << 30U) return fmt::format("{:.1f} GiB", count / (1U << 30U));
  if (bytes >= std::size_t{1} << 20U) return fmt::format("{:.1f} MiB", count / (1U << 20U));
  return fmt::format("{} bytes", bytes);
}

Duration watchdog_bound(const char* text) {
  const double seconds = text == nullptr ? 0 : std::strtod(text, nullptr);
  const double bound = seconds > 0 && seconds < 1e6 ? seconds : GpuDevice::kWatchdogSeconds;
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(bound));
}

}  // namespace inflight::cuda
