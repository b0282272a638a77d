// SPDX-License-Identifier: Apache-2.0
// For programs that build or transform networks with OpenVINO themselves, and link it. Not part of
// inflight.h.
#pragma once

#include <memory>
#include <string>

#include "inflight/model.h"

namespace ov {
class Model;
}

namespace inflight {

// A Model of the network as it is now: later changes to `network` do not reach it. Constants are shared, not
// copied.
//   name     what messages call it
//   thread   any, while no thread changes `network`
//   errors   kInvalidArgument: `network` is null; kInvalidModel, kUnsupported: as Model::load
Result<Model> model_from_openvino(const std::shared_ptr<ov::Model>& network, std::string name);

}  // namespace inflight
