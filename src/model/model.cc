// SPDX-License-Identifier: Apache-2.0
#include "inflight/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <openvino/core/model.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/util/multi_subgraph_base.hpp>
#include <openvino/op/util/op_types.hpp>
#include <set>
#include <utility>

#include "inflight/openvino_interop.h"
#include "model/element_types.h"
#include "model/file_format.h"
#include "model/network.h"
#include "model/openvino_error.h"
#include "model/read_network.h"
#include "model/weight_files.h"

namespace inflight {
namespace internal {
namespace {

// The tensor's name: one of its own that no other input (or output) has taken, else its operator's.
std::string pick_name(const ov::Output<const ov::Node>& port, std::set<std::string>& taken) {
  std::vector<std::string> candidates;
  if (!port.get_names().empty()) {
    candidates.push_back(port.get_any_name());
    const std::set<std::string> others(port.get_names().begin(), port.get_names().end());
    candidates.insert(candidates.end(), others.begin(), others.end());
  }
  candidates.push_back(port.get_node()->get_friendly_name());
  for (const std::string& name : candidates) {
    if (!name.empty() && taken.insert(name).second) return name;
  }
  for (std::size_t i = 1;; ++i) {
    std::string name = fmt::format("{}.{}", candidates.front(), i);
    if (taken.insert(name).second) return name;
  }
}

Result<TensorSpec> spec_of(const ov::Output<const ov::Node>& port, std::string_view role,
                           std::set<std::string>& taken) {
  TensorSpec spec;
  spec.name = pick_name(port, taken);
  const auto fail = [&](StatusCode code, const std::string& why) {
    return Status(code, fmt::format("{} \"{}\": {}", role, spec.name, why));
  };
  const std::optional<DType> dtype = dtype_of_element(port.get_element_type());
  if (!dtype.has_value()) {
    return fail(StatusCode::kUnsupported,
                fmt::format("element type {} is not offered", port.get_element_type().get_type_name()));
  }
  spec.dtype = *dtype;
  const ov::PartialShape& shape = port.get_partial_shape();
  if (shape.rank().is_dynamic()) {
    spec.shape = Shape::of_open_rank();
    return spec;
  }
  std::vector<std::int64_t> dims;
  for (const ov::Dimension& dim : shape) dims.push_back(dim.is_static() ? dim.get_length() : Shape::kDynamic);
  if (elements_bounded(dims) > kElementsMax) {
    return fail(StatusCode::kInvalidModel, fmt::format("{} has more than 2^40 elements", shape.to_string()));
  }
  const Result<Shape> made = Shape::make(dims);
  if (!made.ok()) return fail(StatusCode::kUnsupported, std::string(made.status().message()));
  spec.shape = *made;
  return spec;
}

void summarise(const ov::Model& network, ModelSummary& summary) {
  for (const std::shared_ptr<ov::Node>& node : network.get_ordered_ops()) {
    if (const auto* constant = ov::as_type<const ov::op::v0::Constant>(node.get())) {
      summary.parameters += ov::shape_size(constant->get_shape());
      summary.parameter_bytes += constant->get_byte_size();
      continue;
    }
    if (ov::op::util::is_parameter(node) || ov::op::util::is_output(node)) continue;
    ++summary.operators[node->get_type_name()];
    if (const auto* outer = dynamic_cast<const ov::op::util::MultiSubGraphOp*>(node.get())) {
      for (const std::shared_ptr<ov::Model>& body : outer->get_functions()) summarise(*body, summary);
    }
  }
}

// The strings that the file carried; the readers put them under "framework".
std::map<std::string, std::string> metadata_of(const ov::Model& network) {
  std::map<std::string, std::string> metadata;
  const auto framework = network.get_rt_info().find("framework");
  if (framework == network.get_rt_info().end() || !framework->second.is<ov::AnyMap>()) return metadata;
  for (const auto& [key, value] : framework->second.as<ov::AnyMap>()) {
    if (value.is<std::string>()) metadata.emplace(key, value.as<std::string>());
  }
  return metadata;
}

Result<Model> finish(std::shared_ptr<ov::Model> network, std::string name, const ModelOptions& options) {
  INFLIGHT_TRY(set_input_shapes(*network, options.input_shapes));
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<ModelRep> rep, make_rep(std::move(network), std::move(name)));
  return Model(std::shared_ptr<const ModelRep>(std::move(rep)));
}

Result<Model> load_path(const std::filesystem::path& path, const ModelOptions& options) {
  INFLIGHT_TRY_ASSIGN(const FileFormat format, detect_format(path));
  INFLIGHT_TRY(check_weight_files(path, format));
  Result<std::shared_ptr<ov::Model>> network = read_network(path, format, options);
  if (!network.ok()) {
    const std::string missing = usual_weights_missing(path, format);
    if (missing.empty()) return network.status();
    return Status(network.status().code(),
                  fmt::format("{}; its weights \"{}\": no such file", network.status().message(), missing));
  }
  const std::filesystem::path file = path.has_filename() ? path : path.parent_path();
  return finish(std::move(*network), file.stem().string(), options);
}

Result<Model> load_memory(std::span<const std::byte> bytes, const std::string& name,
                          const ModelOptions& options) {
  INFLIGHT_TRY_ASSIGN(const FileFormat format, detect_format(bytes));
  if (format != FileFormat::kOnnx && format != FileFormat::kTfLite) {
    return Status(StatusCode::kUnsupported,
                  "only ONNX and TensorFlow Lite are read from memory; load the file instead");
  }
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<ov::Model> network, read_network(bytes, format, options));
  return finish(std::move(network), name, options);
}

Status check_opaque(std::span<const TensorSpec> specs, std::string_view role) {
  if (specs.empty()) return {StatusCode::kInvalidArgument, fmt::format("it has no {}s", role)};
  std::set<std::string_view> names;
  for (const TensorSpec& spec : specs) {
    if (!names.insert(spec.name).second) {
      return {StatusCode::kInvalidArgument, fmt::format("{} \"{}\" stands twice", role, spec.name)};
    }
    if (!spec.shape.is_static() || elements_bounded(spec.shape.dims()) > kElementsMax) {
      return {StatusCode::kInvalidArgument,
              fmt::format("{} \"{}\": got {}, want a static shape of at most 2^40 elements", role, spec.name,
                          spec.shape.to_string())};
    }
  }
  return {};
}

std::string quoted(std::string_view name) { return fmt::format("model \"{}\"", name); }

// A status becomes one with the model's name in front of it.
Result<Model> named(Result<Model> result, std::string_view name) {
  if (result.ok()) return result;
  return result.status().with_context(quoted(name));
}

}  // namespace

Result<std::shared_ptr<ModelRep>> make_rep(std::shared_ptr<const ov::Model> network, std::string name) {
  auto rep = std::make_shared<ModelRep>();
  rep->name = std::move(name);
  try {
    if (network->inputs().empty()) return Status(StatusCode::kInvalidModel, "it has no inputs");
    if (network->outputs().empty()) return Status(StatusCode::kInvalidModel, "it has no outputs");
    if (!network->get_variables().empty()) {
      return Status(
          StatusCode::kUnsupported,
          fmt::format(
              "it keeps state between inferences (variable \"{}\"), which has no meaning where several "
              "are in flight",
              network->get_variables().front()->get_info().variable_id));
    }
    std::set<std::string> taken;
    for (const auto& port : network->inputs()) {
      INFLIGHT_TRY_ASSIGN(TensorSpec spec, spec_of(port, "input", taken));
      rep->inputs.push_back(std::move(spec));
    }
    taken.clear();
    for (const auto& port : network->outputs()) {
      INFLIGHT_TRY_ASSIGN(TensorSpec spec, spec_of(port, "output", taken));
      rep->outputs.push_back(std::move(spec));
    }
    rep->metadata = metadata_of(*network);
    summarise(*network, rep->summary);
  } catch (const std::exception& error) {
    return Status(StatusCode::kInvalidModel, distil_openvino_error(error.what()));
  }
  rep->network = std::move(network);
  return rep;
}

}  // namespace internal

std::shared_ptr<const ov::Model> network(const Model& model) { return model.rep().network; }

Model without_network(const Model& model) {
  auto rep = std::make_shared<internal::ModelRep>(model.rep());
  rep->network = nullptr;
  return Model(std::shared_ptr<const internal::ModelRep>(std::move(rep)));
}

Result<Model> Model::load(const std::string& path, const ModelOptions& options) {
  try {
    return internal::named(internal::load_path(path, options), path);
  } catch (const std::exception& error) {  // the file system's own
    return Status(StatusCode::kInvalidModel, fmt::format("model \"{}\": {}", path, error.what()));
  }
}

Result<Model> Model::load_bytes(std::span<const std::byte> bytes, const std::string& name,
                                const ModelOptions& options) {
  return internal::named(internal::load_memory(bytes, name, options), name);
}

Result<Model> Model::opaque(std::string name, std::vector<TensorSpec> inputs,
                            std::vector<TensorSpec> outputs) {
  for (const Status& status :
       {internal::check_opaque(inputs, "input"), internal::check_opaque(outputs, "output")}) {
    if (!status.ok()) return status.with_context(internal::quoted(name));
  }
  auto rep = std::make_shared<internal::ModelRep>();
  rep->name = std::move(name);
  rep->inputs = std::move(inputs);
  rep->outputs = std::move(outputs);
  return Model(std::shared_ptr<const internal::ModelRep>(std::move(rep)));
}

Result<Model> model_from_openvino(const std::shared_ptr<ov::Model>& network, std::string name) {
  if (network == nullptr) {
    return Status(StatusCode::kInvalidArgument, fmt::format("model \"{}\": the network is null", name));
  }
  std::shared_ptr<ov::Model> own;
  try {
    own = network->clone();
  } catch (const std::exception& error) {
    return Status(StatusCode::kInvalidModel,
                  fmt::format("model \"{}\": {}", name, internal::distil_openvino_error(error.what())));
  }
  return internal::named(internal::finish(std::move(own), name, {}), name);
}

const std::string& Model::name() const noexcept { return rep_->name; }
std::span<const TensorSpec> Model::inputs() const noexcept { return rep_->inputs; }
std::span<const TensorSpec> Model::outputs() const noexcept { return rep_->outputs; }

std::optional<std::string> Model::metadata(const std::string& key) const {
  const auto found = rep_->metadata.find(key);
  if (found == rep_->metadata.end()) return std::nullopt;
  return found->second;
}

ModelSummary Model::summary() const { return rep_->summary; }
const std::optional<ImageUse>& Model::image_use() const noexcept { return rep_->image_use; }
std::span<const std::string> Model::conversions() const noexcept { return rep_->conversions; }

}  // namespace inflight
