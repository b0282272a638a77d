// SPDX-License-Identifier: Apache-2.0
// The null device as a plugin: it takes no time and never fails.
#include "backends/null/null_backend.h"
#include "inflight/plugin.h"

namespace inflight {
namespace {

Result<std::shared_ptr<Backend>> make_null_backend(Device device) {
  if (device != Device::null())
    return Status(StatusCode::kNoSuchDevice, "there is one null device, \"null\"");
  return std::shared_ptr<Backend>(std::make_shared<NullBackend>(NullScript{}));
}

}  // namespace
}  // namespace inflight

INFLIGHT_BACKEND_PLUGIN("null", inflight::make_null_backend)
