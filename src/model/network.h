// SPDX-License-Identifier: Apache-2.0
// The inside of a Model, for the backends that lower or compile it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inflight/model.h"

namespace ov {
class Model;
}

namespace inflight {
namespace internal {

struct ModelRep {
  std::string name;
  std::vector<TensorSpec> inputs;   // as frames bring them
  std::vector<TensorSpec> outputs;  // in the network's order
  std::map<std::string, std::string> metadata;
  ModelSummary summary;
  std::optional<ImageUse> image_use;
  std::vector<std::string> conversions;
  std::shared_ptr<const ov::Model> network;  // null where opaque; nobody changes it any more
};

// A model of a network that nobody else changes: reads its inputs and outputs, and checks that they can be
// served.
//   errors   kInvalidModel: no inputs, no outputs, or an impossible size; kUnsupported: an element type, a
//   rank or
//            a kind of network that is not offered. Messages do not name the model.
Result<std::shared_ptr<ModelRep>> make_rep(std::shared_ptr<const ov::Model> network, std::string name);

}  // namespace internal

// The network of a model, or null where it is opaque.
std::shared_ptr<const ov::Model> network(const Model& model);
// The model as a program keeps it: all of it but its network, whose weights then end with the caller's model.
Model without_network(const Model& model);

}  // namespace inflight
