// SPDX-License-Identifier: Apache-2.0
// A copy of an array, and an array that waits for another library's work: versions that a device makes.
#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/user_code.h"
#include "engine/start.h"
#include "transfer/device_arrays_core.h"

namespace inflight::internal {
namespace {

// A version that the device's thread completes. It claims itself, so that operations of an engine that read it line up
// behind it; and it holds a reference to itself from open() to the end.
class DeviceVersion : public Version, public DeviceWork {
 public:
  void open() noexcept {
    write_ = {.op = nullptr, .var = this, .write = true};
    INFLIGHT_CHECK(acquire(write_));
    ref();
  }
  Result<bool> done() noexcept override {
    if (mark_ == nullptr) return true;
    return call_user([this] { return mark_->passed(); });
  }
  void end(Status status, Fate fate) noexcept override {
    // The device may still write to it, or read what it was made of: this keeps both for ever.
    if (fate == Fate::kLost)
      ref();
    else
      forget();
    publish_and_release(status);
  }

 protected:
  explicit DeviceVersion(std::shared_ptr<DeviceArraysCore> core) : core_(std::move(core)) {}
  virtual void forget() noexcept = 0;

  // The last step: this may be gone when it returns.
  void publish_and_release(const Status& status) noexcept {
    const std::shared_ptr<DeviceArraysCore> keep = std::move(core_);
    mark_.reset();
    const auto self = Ref<DeviceVersion>::adopt(this);
    completion.publish(status);
    completion.notify(this);
    release_and_start(write_, status);
  }

  std::shared_ptr<DeviceArraysCore> core_;
  std::unique_ptr<DeviceMark> mark_;

 private:
  Access write_;
};

// thread: the caller's until open(), then whoever completes the source, then the device's
class DeviceCopy final : public DeviceVersion, public Waiter {
 public:
  DeviceCopy(std::shared_ptr<DeviceArraysCore> core, NDArray source, Device to)
      : DeviceVersion(std::move(core)), source_(std::move(source)) {
    values.emplace_back(source_.dtype(), source_.shape(), to);
  }

  void await_source() noexcept {
    if (!source_.completion().add(*this)) completed();
  }
  void completed() override {
    if (const Status& failed = source_.completion().status(); !failed.ok()) {
      end(failed, Fate::kDone);
    } else {
      core_->thread().push(*this);
    }
  }
  Status start() noexcept override {
    return call_user([this] { return start_copy(); });
  }

 private:
  Status start_copy() {
    INFLIGHT_TRY_ASSIGN(const TensorView from, source_.view());
    ArrayValue& value = values[0];
    const bool to_host = value.device().is_host();
    BufferPool& pool = to_host ? *core_->host_pool() : *core_->device_pool();
    INFLIGHT_TRY_ASSIGN(Buffer buffer, pool.acquire(from.bytes()));
    const MemoryCopy copy{buffer.bytes(), from.data, from.bytes()};
    // Here rather than at the end, so that a lost device finds it kept.
    value.set(from.shape, std::move(buffer), true);
    if (copy.bytes == 0) return Status();
    const CopyWay way = to_host                 ? CopyWay::kToHost
                        : from.device.is_host() ? CopyWay::kToDevice
                                                : CopyWay::kWithinDevice;
    INFLIGHT_TRY_ASSIGN(mark_, core_->memory().copy(way, {&copy, 1}));
    return Status();
  }
  void forget() noexcept override { source_ = NDArray(); }

  NDArray source_;
};

// Memory that another library fills.
class DeviceFence final : public DeviceVersion {
 public:
  DeviceFence(std::shared_ptr<DeviceArraysCore> core, std::unique_ptr<DeviceMark> mark, DType dtype,
              const Shape& shape, Buffer buffer)
      : DeviceVersion(std::move(core)) {
    values.emplace_back(dtype, shape, std::move(buffer));
    mark_ = std::move(mark);
  }
  Status start() noexcept override { return Status(); }

 private:
  void forget() noexcept override {}
};

// An array that another library has used.
class LastUse final : public DeviceWork {
 public:
  LastUse(std::shared_ptr<DeviceArraysCore> core, std::uintptr_t stream) noexcept
      : core_(std::move(core)), stream_(stream) {}
  void hold(NDArray array) noexcept { array_ = std::move(array); }
  Status start() noexcept override {
    return call_user([this]() -> Status {
      INFLIGHT_TRY_ASSIGN(mark_, core_->memory().mark_behind(stream_));
      return Status();
    });
  }
  Result<bool> done() noexcept override {
    if (mark_ == nullptr) INFLIGHT_TRY(start());
    if (mark_ == nullptr) return false;
    return call_user([this] { return mark_->passed(); });
  }
  void end(Status status, Fate) noexcept override {
    // Where nothing tells when it is no longer used, it stays.
    const bool stays = !status.ok();
    const std::shared_ptr<DeviceArraysCore> keep = std::move(core_);
    if (!stays) delete this;
  }

 private:
  std::shared_ptr<DeviceArraysCore> core_;
  NDArray array_;
  const std::uintptr_t stream_;
  std::unique_ptr<DeviceMark> mark_;
};

Status out_of_memory() { return Status::out_of_memory("array"); }

}  // namespace

DeviceArraysCore::DeviceArraysCore(std::shared_ptr<DeviceMemory> memory, std::unique_ptr<DeviceThread> thread)
    : memory_(std::move(memory)),
      device_pool_(std::make_shared<BufferPool>(memory_->allocator())),
      host_pool_(
          std::make_shared<BufferPool>(memory_->host_side_allocator(), DeviceArrays::kIdleHostBytesMax)),
      thread_(std::move(thread)) {}

Result<std::shared_ptr<DeviceArraysCore>> DeviceArraysCore::make(std::shared_ptr<DeviceMemory> memory) {
  return call_user([&]() -> Result<std::shared_ptr<DeviceArraysCore>> {
    INFLIGHT_TRY_ASSIGN(std::unique_ptr<DeviceThread> thread, DeviceThread::start());
    return std::shared_ptr<DeviceArraysCore>(new DeviceArraysCore(std::move(memory), std::move(thread)));
  });
}

Result<NDArray> order_copy(std::shared_ptr<DeviceArraysCore> core, const NDArray& source, Device to) try {
  const auto copy = Ref<DeviceCopy>::adopt(new DeviceCopy(std::move(core), source, to));
  copy->open();
  NDArray result(copy, 0);
  copy->await_source();
  return result;
} catch (const std::bad_alloc&) {
  return out_of_memory();
}

}  // namespace inflight::internal

namespace inflight {

Result<NDArray> DeviceArrays::take(Buffer buffer, DType dtype, const Shape& shape) const {
  if (buffer.device() != device()) {
    return Status(StatusCode::kInvalidArgument, "take: got memory of " + buffer.device().to_string() +
                                                    ", want that of " + device().to_string());
  }
  // First, for its checks.
  INFLIGHT_TRY_ASSIGN(NDArray ready, NDArray::from_buffer(buffer, dtype, shape));
  return internal::call_user([&]() -> Result<NDArray> {
    INFLIGHT_TRY_ASSIGN(std::unique_ptr<DeviceMark> mark, core_->memory().mark_stream());
    INFLIGHT_TRY_ASSIGN(const bool passed, mark->passed());
    if (passed) return ready;
    const auto fence = internal::Ref<internal::DeviceFence>::adopt(
        new internal::DeviceFence(core_, std::move(mark), dtype, shape, std::move(buffer)));
    fence->open();
    core_->thread().push(*fence);
    return NDArray(fence, 0);
  });
}

Result<std::uintptr_t> DeviceArrays::remember_stream(std::intptr_t stream) const {
  return core_->memory().remember_stream(stream);
}

void DeviceArrays::release_after_use(NDArray array, std::uintptr_t stream) const noexcept {
  if (!array) return;
  auto* const use = new (std::nothrow) internal::LastUse(core_, stream);
  if (use == nullptr) {
    // Without memory to remember it, it stays.
    array.version().ref();
    return;
  }
  use->hold(std::move(array));
  core_->thread().push(*use);
}

}  // namespace inflight
