// SPDX-License-Identifier: Apache-2.0
#include "inflight/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/user_code.h"
#include "runtime/runtime_core.h"

namespace inflight {

using internal::RuntimeCore;
using internal::RuntimeOwner;

namespace {

Status check_devices(const std::vector<Device>& devices) {
  if (devices.empty() || devices.size() > Runtime::kDevicesMax) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("device: got {} devices, want 1 to {}", devices.size(), Runtime::kDevicesMax));
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (std::find(devices.begin(), devices.begin() + static_cast<std::ptrdiff_t>(i), devices[i]) ==
        devices.begin() + static_cast<std::ptrdiff_t>(i))
      continue;
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("device: got {} twice, want each device once", devices[i].to_string()));
  }
  return Status();
}

// The part of the runtime that is one device.
Result<std::shared_ptr<RuntimeCore>> make_core(std::shared_ptr<internal::Mutex> mutex,
                                               std::shared_ptr<Backend> backend,
                                               const RuntimeOptions& options) {
  const int capacity = backend->capacity();
  if (capacity < 1) {
    return Status(StatusCode::kInternal, fmt::format("backend \"{}\": its capacity is {}, want at least 1",
                                                     backend->name(), capacity));
  }
  if (options.threads < 0 || options.threads > capacity) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("threads: got {}, want 0 (all) to {}, what this process may use",
                              options.threads, capacity));
  }
  const int used = options.threads == 0 ? capacity : options.threads;
  return std::make_shared<RuntimeCore>(std::move(mutex), std::move(backend), used, used);
}

}  // namespace

Result<Runtime> Runtime::open(Device device, RuntimeOptions options) {
  return open(std::vector<Device>{device}, std::move(options));
}

Result<Runtime> Runtime::open(const std::vector<Device>& devices, RuntimeOptions options) {
  INFLIGHT_TRY(check_devices(devices));
  std::vector<std::shared_ptr<Backend>> backends;
  for (const Device device : devices) {
    INFLIGHT_TRY_ASSIGN(std::shared_ptr<Backend> backend,
                        internal::call_user([&] { return load_backend(device, options.load); }));
    backends.push_back(std::move(backend));
  }
  return over(std::move(backends), std::move(options));
}

Result<Runtime> Runtime::over(std::shared_ptr<Backend> backend, RuntimeOptions options) {
  return over(std::vector<std::shared_ptr<Backend>>{std::move(backend)}, std::move(options));
}

Result<Runtime> Runtime::over(std::vector<std::shared_ptr<Backend>> backends, RuntimeOptions options) {
  if (std::find(backends.begin(), backends.end(), nullptr) != backends.end())
    return Status(StatusCode::kInvalidArgument, "runtime: got no backend");
  return internal::call_user([&]() -> Result<Runtime> {
    std::vector<Device> devices;
    for (const auto& backend : backends) devices.push_back(backend->device());
    INFLIGHT_TRY(check_devices(devices));
    const auto mutex = std::make_shared<internal::Mutex>();
    RuntimeOwner::Cores cores;
    for (auto& backend : backends) {
      INFLIGHT_TRY_ASSIGN(std::shared_ptr<RuntimeCore> core, make_core(mutex, std::move(backend), options));
      cores.push_back(std::move(core));
    }
    for (const auto& core : cores) {
      for (const auto& other : cores) {
        if (other != core) core->add_sibling(*other);
      }
    }
    auto owner = std::make_shared<RuntimeOwner>(std::move(cores));
    for (const auto& core : owner->cores()) INFLIGHT_TRY(core->start());
    return Runtime(std::move(owner));
  });
}

Device Runtime::device() const { return backend().device(); }

std::vector<Device> Runtime::devices() const {
  std::vector<Device> devices;
  for (const auto& core : owner_->cores()) devices.push_back(core->backend().device());
  return devices;
}

std::string Runtime::device_description() const {
  std::string text;
  for (const auto& core : owner_->cores())
    text += (text.empty() ? "" : ", ") + core->backend().device_description();
  return text;
}

int Runtime::capacity() const noexcept {
  int sum = 0;
  for (const auto& core : owner_->cores()) sum += core->capacity();
  return sum;
}

Backend& Runtime::backend() const noexcept {
  INFLIGHT_CHECK(owner_ != nullptr);
  return owner_->cores().front()->backend();
}

}  // namespace inflight
