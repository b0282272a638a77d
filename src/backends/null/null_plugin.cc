// SPDX-License-Identifier: Apache-2.0
// The null device as a plugin: it takes no time and never fails. There are kDevices of them.
#include <string>
#include <utility>

#include "backends/null/null_backend.h"
#include "backends/null/null_memory.h"
#include "inflight/plugin.h"

namespace inflight {
namespace {

constexpr int kDevices = 16;

Status check(Device device) {
  if (device.name() == Device::null().name() && device.index() < kDevices) return Status();
  return Status(StatusCode::kNoSuchDevice,
                "there are " + std::to_string(kDevices) +
                    " null devices, \"null:0\" to \"null:" + std::to_string(kDevices - 1) + "\"");
}

Result<std::shared_ptr<Backend>> make_null_backend(Device device) {
  INFLIGHT_TRY(check(device));
  NullScript script;
  script.index = device.index();
  return std::shared_ptr<Backend>(std::make_shared<NullBackend>(std::move(script)));
}

Result<std::shared_ptr<DeviceMemory>> make_null_memory(Device device) {
  INFLIGHT_TRY(check(device));
  return std::shared_ptr<DeviceMemory>(std::make_shared<NullMemory>(device));
}

Result<int> count_null_devices() { return kDevices; }

}  // namespace
}  // namespace inflight

INFLIGHT_BACKEND_PLUGIN("null", inflight::make_null_backend, nullptr, inflight::make_null_memory,
                        inflight::count_null_devices)
