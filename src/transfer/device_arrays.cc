// SPDX-License-Identifier: Apache-2.0
#include "inflight/device_arrays.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <new>
#include <vector>

#include "base/user_code.h"
#include "inflight/internal/mutex.h"
#include "transfer/device_arrays_core.h"

namespace inflight {
namespace {

using internal::DeviceArraysCore;
using internal::MutexLock;

// Those of this process. It is never destroyed, because arrays may outlive every other static; the threads end in a
// handler of the process's end that is registered after the vendor's own, so that it runs before them.
class Registry {
 public:
  static Registry& get() {
    static Registry* const one = new Registry;
    return *one;
  }

  Result<DeviceArrays> find(Device device) {
    if (getpid() != process_)
      return Status(StatusCode::kShuttingDown,
                    "this is the child of a fork: the device's thread is not here");
    const MutexLock lock(mutex_);
    if (ended_) return Status(StatusCode::kShuttingDown, "the process ends");
    for (const DeviceArrays& one : all_) {
      if (one.device() == device) return one;
    }
    return DeviceArrays();
  }
  // Those that are there by now: another thread may have been first.
  DeviceArrays insert(const DeviceArrays& made) {
    const MutexLock lock(mutex_);
    for (const DeviceArrays& one : all_) {
      if (one.device() == made.device()) return one;
    }
    all_.push_back(made);
    std::atexit([] { get().end(); });
    return made;
  }

 private:
  void end() noexcept {
    if (getpid() != process_) return;
    {
      const MutexLock lock(mutex_);
      ended_ = true;
    }
    for (const DeviceArrays& one : all_) one.core().thread().stop();
  }

  const pid_t process_ = getpid();
  internal::Mutex mutex_;
  std::vector<DeviceArrays> all_;  // under mutex_; constant once ended_
  bool ended_ INFLIGHT_GUARDED_BY(mutex_) = false;
};

Status not_of(std::string_view call, Device got, Device want) {
  return Status(StatusCode::kInvalidArgument, fmt::format("{}: got an array of {}, want one of {}", call,
                                                          got.to_string(), want.to_string()));
}

Status check_memory(const std::shared_ptr<DeviceMemory>& memory) {
  if (memory == nullptr) return Status(StatusCode::kInvalidArgument, "device arrays: got no memory");
  if (memory->device().is_host())
    return Status(StatusCode::kInvalidArgument,
                  "device arrays: got the memory of the host, want that of a device");
  return Status();
}

}  // namespace

Result<DeviceArrays> DeviceArrays::open(Device device, const LoadOptions& load) {
  INFLIGHT_TRY_ASSIGN(DeviceArrays known, Registry::get().find(device));
  if (known) return known;
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<DeviceMemory> memory, load_memory(device, load));
  INFLIGHT_TRY_ASSIGN(const DeviceArrays made, over(std::move(memory)));
  return internal::call_user([&]() -> Result<DeviceArrays> { return Registry::get().insert(made); });
}

Result<DeviceArrays> DeviceArrays::over(std::shared_ptr<DeviceMemory> memory) {
  INFLIGHT_TRY(check_memory(memory));
  INFLIGHT_TRY_ASSIGN(auto core, DeviceArraysCore::make(std::move(memory)));
  return DeviceArrays(std::move(core));
}

Device DeviceArrays::device() const noexcept { return core_->memory().device(); }

Result<Buffer> DeviceArrays::acquire(std::size_t bytes) const { return core_->device_pool()->acquire(bytes); }

Result<NDArray> DeviceArrays::to_device(const NDArray& source) const {
  if (!source) return Status(StatusCode::kInvalidArgument, "to_device: got an empty array");
  if (!source.device().is_host() && source.device() != device())
    return not_of("to_device", source.device(), device());
  return order_copy(core_, source, device());
}

Result<NDArray> DeviceArrays::to_host(const NDArray& source) const {
  if (!source) return Status(StatusCode::kInvalidArgument, "to_host: got an empty array");
  if (source.device() != device()) return not_of("to_host", source.device(), device());
  return order_copy(core_, source, Device::cpu());
}

std::uintptr_t DeviceArrays::stream() const noexcept { return core_->memory().stream(); }

// It is here because src/ndarray does not know devices.
Result<NDArray> NDArray::copy_to(Device to) const {
  if (!*this) return Status(StatusCode::kInvalidArgument, "copy_to: got an empty array");
  if (to == device()) return *this;
  if (to.is_host() && to != Device::cpu())
    return Status(StatusCode::kNoSuchDevice, fmt::format("copy_to: got {}, want cpu", to.to_string()));
  NDArray source = *this;
  if (!device().is_host()) {
    INFLIGHT_TRY_ASSIGN(const DeviceArrays from, DeviceArrays::open(device()));
    INFLIGHT_TRY_ASSIGN(source, from.to_host(source));
    if (to.is_host()) return source;
  }
  INFLIGHT_TRY_ASSIGN(const DeviceArrays there, DeviceArrays::open(to));
  return there.to_device(source);
}

}  // namespace inflight
