// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "backends/null/null_backend.h"
#include "backends/openvino/openvino_backend.h"
#include "inflight/backend.h"

namespace inflight {

std::string_view width_name(Width width) { return width == Width::kWide ? "wide" : "narrow"; }

Result<std::shared_ptr<Backend>> load_backend(Device device) {
  const bool first = device.index() == 0;
  if (first && device.name() == "cpu") return make_openvino_backend();
  if (first && device.name() == "null") {
    return std::shared_ptr<Backend>(std::make_shared<NullBackend>(NullScript{}));
  }
  return Status(StatusCode::kNoSuchDevice,
                fmt::format("device \"{}\": this build has no backend for it; devices here: cpu, null",
                            device.to_string()));
}

}  // namespace inflight
