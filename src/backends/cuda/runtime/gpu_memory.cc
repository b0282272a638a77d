// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/gpu_memory.h"

#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

#include "backends/cuda/runtime/caller_keeps.h"

namespace inflight::cuda {
namespace {

using internal::MutexLock;

// Makes the device's context the thread's while it lives. The thread may be another library's.
class InContext {
 public:
  explicit InContext(GpuDevice& device) : keeps_(device.api()), entered_(device.make_current()) {}
  const Status& status() const noexcept { return entered_; }

 private:
  const CallerKeeps keeps_;
  const Status entered_;
};

// Events that nobody uses at the moment, and what every mark and copy needs. Marks keep it.
class Streams {
 public:
  enum Which : std::uint8_t { kIn, kOut, kWithin, kOthers };

  explicit Streams(std::shared_ptr<GpuDevice> the_device) : device(std::move(the_device)) {}
  // Streams and events of a lost device are kept, as all of it.
  ~Streams() {
    if (device->lost()) return;
    const InContext inside(*device);
    if (!inside.status().ok()) return;
    for (const CUevent event : idle_) device->api().cuEventDestroy(event);
    for (const CUstream stream : all) {
      if (stream != nullptr) device->api().cuStreamDestroy(stream);
    }
  }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  Status start() {
    const InContext inside(*device);
    INFLIGHT_TRY(inside.status());
    for (CUstream& stream : all)
      INFLIGHT_TRY(
          device->check(device->api().cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate"));
    return Status();
  }

  // In the device's context.
  Result<CUevent> take_event() {
    {
      const MutexLock lock(mutex_);
      if (!idle_.empty()) {
        const CUevent event = idle_.back();
        idle_.pop_back();
        return event;
      }
    }
    CUevent event = nullptr;
    INFLIGHT_TRY(
        device->check(device->api().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "cuEventCreate"));
    return event;
  }
  void give_back(CUevent event) {
    const MutexLock lock(mutex_);
    idle_.push_back(event);
  }

  const std::shared_ptr<GpuDevice> device;
  std::array<CUstream, 4> all{};

 private:
  internal::Mutex mutex_;
  std::vector<CUevent> idle_ INFLIGHT_GUARDED_BY(mutex_);
};

class GpuMark final : public DeviceMark {
 public:
  GpuMark(std::shared_ptr<Streams> streams, CUevent event) : streams_(std::move(streams)), event_(event) {}
  // An event that was not passed may still be written to by the device.
  ~GpuMark() override {
    if (passed_) streams_->give_back(event_);
  }
  GpuMark(const GpuMark&) = delete;
  GpuMark& operator=(const GpuMark&) = delete;

  Result<bool> passed() override {
    if (passed_) return true;
    GpuDevice& device = *streams_->device;
    INFLIGHT_TRY(device.status());
    const InContext inside(device);
    INFLIGHT_TRY(inside.status());
    const CUresult result = device.api().cuEventQuery(event_);
    if (result == CUDA_ERROR_NOT_READY) return false;
    if (result != CUDA_SUCCESS) {
      // Whatever it is, nothing will tell any more when the device is done.
      Status failed = device.check(result, "a copy");
      device.lose(failed);
      return failed;
    }
    passed_ = true;
    return true;
  }

 private:
  const std::shared_ptr<Streams> streams_;
  const CUevent event_;
  bool passed_ = false;
};

class GpuArrays final : public DeviceMemory {
 public:
  explicit GpuArrays(std::shared_ptr<Streams> streams) : streams_(std::move(streams)) {}
  Device device() const noexcept override { return Device::cuda(gpu().index()); }
  std::shared_ptr<Allocator> allocator() override { return device_allocator(streams_->device); }
  std::shared_ptr<Allocator> host_side_allocator() override { return pinned_allocator(streams_->device); }
  Status status() override { return gpu().status(); }

  Result<std::unique_ptr<DeviceMark>> copy(CopyWay way, std::span<const MemoryCopy> copies) override {
    INFLIGHT_TRY(gpu().status());
    const InContext inside(gpu());
    INFLIGHT_TRY(inside.status());
    const CUstream stream = streams_->all.at(static_cast<std::size_t>(way));
    for (const MemoryCopy& copy : copies) {
      if (copy.bytes == 0) continue;
      // The driver knows from an address where it is.
      const Status started =
          gpu().check(gpu().api().cuMemcpyAsync(reinterpret_cast<CUdeviceptr>(copy.to),
                                                reinterpret_cast<CUdeviceptr>(copy.from), copy.bytes, stream),
                      "cuMemcpyAsync");
      if (!started.ok()) return abandon(started);
    }
    return mark(stream);
  }

  std::uintptr_t stream() const noexcept override {
    return reinterpret_cast<std::uintptr_t>(streams_->all[Streams::kOthers]);
  }
  Result<std::unique_ptr<DeviceMark>> mark_stream() override {
    INFLIGHT_TRY(gpu().status());
    const InContext inside(gpu());
    INFLIGHT_TRY(inside.status());
    return mark(streams_->all[Streams::kOthers]);
  }
  // The legacy default stream waits for all streams but those made as non-blocking, so it stands for them: their handles
  // may be gone later. Non-blocking ones are in practice those of frameworks, which keep them (PyTorch's pool).
  Result<std::uintptr_t> remember_stream(std::intptr_t stream) override {
    constexpr std::intptr_t kLegacy = 1;
    constexpr std::intptr_t kPerThread = 2;
    if (stream == kLegacy || stream == kPerThread) return std::uintptr_t{kLegacy};
    unsigned flags = 0;
    const InContext inside(gpu());
    INFLIGHT_TRY(inside.status());
    if (stream <= 0 || gpu().api().cuStreamGetFlags(stream_of(static_cast<std::uintptr_t>(stream)), &flags) !=
                           CUDA_SUCCESS) {
      return Status(
          StatusCode::kInvalidArgument,
          fmt::format(
              "stream: got {}, want 1 (the legacy default stream), 2 (the per-thread one), or a CUstream",
              stream));
    }
    return flags == CU_STREAM_NON_BLOCKING ? static_cast<std::uintptr_t>(stream) : std::uintptr_t{kLegacy};
  }
  Result<std::unique_ptr<DeviceMark>> mark_behind(std::uintptr_t stream) override {
    INFLIGHT_TRY(gpu().status());
    const InContext inside(gpu());
    INFLIGHT_TRY(inside.status());
    // A record would become a part of what is captured.
    CUstreamCaptureStatus captured = CU_STREAM_CAPTURE_STATUS_NONE;
    const CUresult asked = gpu().api().cuStreamIsCapturing(stream_of(stream), &captured);
    if (asked == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT || captured != CU_STREAM_CAPTURE_STATUS_NONE)
      return std::unique_ptr<DeviceMark>();
    INFLIGHT_TRY(gpu().check(asked, "cuStreamIsCapturing"));
    return mark(stream_of(stream));
  }

 private:
  GpuDevice& gpu() const noexcept { return *streams_->device; }
  static CUstream stream_of(std::uintptr_t stream) {
    return reinterpret_cast<CUstream>(stream);  // NOLINT(performance-no-int-to-ptr)
  }

  // Copies before the one that failed may be under way, and nothing marks their end: they are waited for, here and only
  // here.
  Status abandon(const Status& why) {
    gpu().api().cuCtxSynchronize();
    return why;
  }

  // In the device's context.
  Result<std::unique_ptr<DeviceMark>> mark(CUstream stream) {
    INFLIGHT_TRY_ASSIGN(const CUevent event, streams_->take_event());
    Status recorded = gpu().check(gpu().api().cuEventRecord(event, stream), "cuEventRecord");
    if (!recorded.ok()) {
      streams_->give_back(event);
      return recorded;
    }
    return std::unique_ptr<DeviceMark>(std::make_unique<GpuMark>(streams_, event));
  }

  const std::shared_ptr<Streams> streams_;
};

}  // namespace

Result<std::shared_ptr<GpuDevice>> shared_gpu(int index) {
  static internal::Mutex mutex;
  static std::vector<std::weak_ptr<GpuDevice>> open;  // by index; under the mutex
  const auto at = static_cast<std::size_t>(index);
  const auto find = [&]() -> std::shared_ptr<GpuDevice> {
    std::shared_ptr<GpuDevice> device = at < open.size() ? open[at].lock() : nullptr;
    return device != nullptr && !device->lost() ? device : nullptr;
  };
  {
    const MutexLock lock(mutex);
    if (auto device = find()) return device;
  }
  INFLIGHT_TRY_ASSIGN(const DriverApi* const api, driver_api());
  const CallerKeeps keep(*api);
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<GpuDevice> made, GpuDevice::open(index));
  const MutexLock lock(mutex);
  if (auto device = find()) return device;  // another thread was first
  if (at >= open.size()) open.resize(at + 1);
  open[at] = made;
  return made;
}

Result<std::shared_ptr<DeviceMemory>> make_gpu_memory(std::shared_ptr<GpuDevice> device) {
  auto streams = std::make_shared<Streams>(std::move(device));
  INFLIGHT_TRY(streams->start());
  return std::shared_ptr<DeviceMemory>(std::make_shared<GpuArrays>(std::move(streams)));
}

}  // namespace inflight::cuda

namespace inflight {

Result<std::shared_ptr<DeviceMemory>> make_cuda_memory(Device device) {
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<cuda::GpuDevice> gpu, cuda::shared_gpu(device.index()));
  return cuda::make_gpu_memory(std::move(gpu));
}

Result<int> count_cuda_devices() {
  INFLIGHT_TRY_ASSIGN(const cuda::DriverApi* const api, cuda::driver_api());
  int count = 0;
  INFLIGHT_TRY(cuda::driver_status(api->cuDeviceGetCount(&count), "cuDeviceGetCount"));
  if (count == 0) return Status(StatusCode::kNoSuchDevice, "this machine has no CUDA device");
  return count;
}

}  // namespace inflight
