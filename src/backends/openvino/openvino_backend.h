// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "inflight/backend.h"

namespace inflight {

// The CPU by OpenVINO. Opening it loads the plugin once; programs share it.
//   errors   kDeviceError: the plugin cannot be loaded
Result<std::shared_ptr<Backend>> make_openvino_backend();

// Which operators of the model OpenVINO can compute on the CPU, by asking it.
//   errors   kUnsupported: no model, or an opaque one; kDeviceError: the plugin cannot be loaded
Result<Coverage> openvino_coverage(const Model* model);

}  // namespace inflight
