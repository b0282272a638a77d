// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "backends/null/null_backend.h"
#include "backends/openvino/openvino_backend.h"
#include "base/check.h"
#include "inflight/backend.h"

namespace inflight {

std::string_view width_name(Width width) { return width == Width::kWide ? "wide" : "narrow"; }

Result<std::shared_ptr<Backend>> load_backend(Device device) {
  switch (device.kind) {
    case Device::Kind::kCpu:
      return make_openvino_backend();
    case Device::Kind::kNull:
      return std::shared_ptr<Backend>(std::make_shared<NullBackend>(NullScript{}));
    case Device::Kind::kCuda:
      return Status(StatusCode::kNoSuchDevice,
                    fmt::format("device \"{}\": this build has no CUDA backend; devices here: cpu",
                                device.to_string()));
  }
  internal::check_failed("device kind", __FILE__, __LINE__);
}

}  // namespace inflight
