// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "inflight/plugin.h"

namespace {

inflight::Result<std::shared_ptr<inflight::Backend>> make(inflight::Device device) {
  if (device.index() == 1) return std::shared_ptr<inflight::Backend>();
  if (device.index() == 2) {
    return inflight::Status(inflight::StatusCode::kDeviceError, "device 2 is on fire");
  }
  throw std::runtime_error("no driver");
}

}  // namespace

INFLIGHT_BACKEND_PLUGIN("throws", make)
