// SPDX-License-Identifier: Apache-2.0
// The null device as a plugin: it takes no time and never fails. There are kDevices of them.
#include <string>
#include <utility>

#include "backends/null/null_backend.h"
#include "inflight/plugin.h"

namespace inflight {
namespace {

constexpr int kDevices = 16;

Result<std::shared_ptr<Backend>> make_null_backend(Device device) {
  if (device.name() != Device::null().name() || device.index() >= kDevices) {
    return Status(StatusCode::kNoSuchDevice,
                  "there are " + std::to_string(kDevices) +
                      " null devices, \"null:0\" to \"null:" + std::to_string(kDevices - 1) + "\"");
  }
  NullScript script;
  script.index = device.index();
  return std::shared_ptr<Backend>(std::make_shared<NullBackend>(std::move(script)));
}

}  // namespace
}  // namespace inflight

INFLIGHT_BACKEND_PLUGIN("null", inflight::make_null_backend)
