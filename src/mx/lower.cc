// SPDX-License-Identifier: Apache-2.0
#include "mx/lower.h"

#include <fmt/format.h>

#include <algorithm>
#include <openvino/core/model.hpp>
#include <openvino/runtime/tensor.hpp>
#include <utility>

#include "base/check.h"
#include "inflight/openvino_interop.h"
#include "model/openvino_error.h"
#include "mx/build.h"

namespace inflight::mx::detail {
namespace {

std::string where(const OpRow& row, std::string_view name) {
  return name.empty() ? fmt::format("operator {}", row.name)
                      : fmt::format("operator {} \"{}\"", row.name, name);
}

bool is_free(const OpRow& row, std::size_t input) {
  return input < 32 && (row.free_inputs >> input & 1U) != 0;
}

// The type of output `index`; nothing where it follows from an input that is not known yet.
std::optional<DType> output_dtype(const OpRow& row, const Params& params, const DTypes& inputs, int index) {
  std::optional<DType> first;
  for (std::size_t i = 0; i < inputs.size() && !first.has_value(); ++i) {
    if (!is_free(row, i)) first = inputs[i];
  }
  if (row.output_type != nullptr)
    return first.has_value() ? std::optional(row.output_type(params, *first, index)) : first;
  switch (row.type) {
    case TypeRule::kSame:
      return first;
    case TypeRule::kF32:
      return DType::kF32;
    case TypeRule::kI64:
      return DType::kI64;
    case TypeRule::kDTypeAttr:
      if (!params.none("dtype")) return params.dtype("dtype");
      return first;
  }
  return first;
}

// Fills in the types of inputs that are those of others.
//   returns   whether any was filled in
Result<bool> complete_dtypes(const OpRow& row, const Params& params, DTypes& inputs) {
  std::optional<DType> known;
  std::size_t known_at = 0;
  // A layer with a table of rows of its own type.
  if (row.name == "Embedding" && !params.none("dtype")) known = params.dtype("dtype");
  bool changed = false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (is_free(row, i) || !inputs[i].has_value()) continue;
    if (!known.has_value()) {
      known = inputs[i];
      known_at = i;
    } else if (*known != *inputs[i]) {
      return Status(
          StatusCode::kInvalidArgument,
          fmt::format("input {}: got {}, want {} as input {} has; Cast converts",
                      input_name(row, params, static_cast<int>(i)), mxnet_dtype_name(*inputs[i]),
                      mxnet_dtype_name(*known), input_name(row, params, static_cast<int>(known_at))));
    }
  }
  for (std::size_t i = 0; known.has_value() && i < inputs.size(); ++i) {
    if (is_free(row, i) || inputs[i].has_value()) continue;
    inputs[i] = known;
    changed = true;
  }
  return changed;
}

// What no program computes as MXNet does.
Status check_dtype(const OpRow& row, std::string_view what, DType dtype) {
  if (!mxnet_dtype_flag(dtype).has_value())
    return {StatusCode::kInvalidArgument,
            fmt::format("{}: got {}, which MXNet does not have", what, dtype_name(dtype))};
  if (dtype != DType::kF64 || row.any_dtype) return {};
  return {StatusCode::kUnsupported,
          fmt::format("{}: got float64, which is not computed with; Cast to float32", what)};
}

// Adds the nodes of one operator.
Status lower_node(const OpRow& row, const Params& params, std::vector<Value> inputs,
                  std::optional<Value> scalar, std::vector<Value>& outputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = input_name(row, params, static_cast<int>(i));
    INFLIGHT_TRY(check_dtype(row, "input " + name, *dtype_of_element(inputs[i].get_element_type())));
  }
  Lowering call{row, params, std::move(inputs), std::move(scalar), {}};
  try {
    INFLIGHT_TRY(row.build(call));
  } catch (const std::exception& error) {
    return {StatusCode::kInvalidArgument, inflight::internal::distil_openvino_error(error.what())};
  }
  INFLIGHT_CHECK(static_cast<int>(call.out.size()) == output_count(row, params));
  for (const Value& out : call.out) {
    if (out.get_shape().size() > Shape::kRankMax) {
      return {StatusCode::kUnsupported, fmt::format("the result has {} axes, want at most {}",
                                                    out.get_shape().size(), Shape::kRankMax)};
    }
    const auto dtype = dtype_of_element(out.get_element_type());
    INFLIGHT_CHECK(dtype.has_value());
    INFLIGHT_TRY(check_dtype(row, "result", *dtype));
    INFLIGHT_TRY(Shape::make(dims(out)).status());
  }
  outputs = std::move(call.out);
  return {};
}

Shape shape_of(const Value& value) { return *Shape::make(dims(value)); }

std::shared_ptr<ov::op::v0::Parameter> parameter(DType dtype, const Shape& shape) {
  const auto extents = shape.dims();
  return std::make_shared<ov::op::v0::Parameter>(element_type(dtype),
                                                 ov::Shape(extents.begin(), extents.end()));
}

// Nodes of a graph, as far as shapes are known.
class GraphLowering {
 public:
  GraphLowering(const Graph& graph, Shapes variables, const DTypes& types)
      : graph_(graph),
        types_(types),
        first_(first_entry(graph)),
        shapes_(std::move(variables)),
        variable_of_(graph.nodes.size(), 0),
        values_(types.size()) {
    for (std::size_t i = 0; i < graph.variables.size(); ++i) variable_of_[graph.variables[i]] = i;
  }

  // How a variable becomes a value, once its shape is known.
  using Materialise = std::function<Value(std::size_t variable, DType dtype, const Shape& shape)>;

  // Goes through the nodes until nothing new follows.
  Status run(const Materialise& materialise) {
    for (bool progress = true; progress;) {
      progress = false;
      for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
        if (values_[first_[i]].get_node() != nullptr) continue;
        if (graph_.nodes[i]->is_variable()) {
          const auto& shape = shapes_[variable_of_[i]];
          if (!shape.has_value()) continue;
          values_[first_[i]] = materialise(variable_of_[i], *types_[first_[i]], *shape);
          progress = true;
        } else {
          const Status status = visit(i, materialise, progress);
          if (!status.ok()) return status.with_context(where(*graph_.nodes[i]->row, graph_.nodes[i]->name));
        }
      }
    }
    return {};
  }

  const Shapes& variables() const { return shapes_; }
  const Value& value(const Graph::Input& input) const {
    return values_[first_[input.node] + static_cast<std::size_t>(input.index)];
  }

 private:
  Status visit(std::size_t i, const Materialise& materialise, bool& progress) {
    const Node& node = *graph_.nodes[i];
    Shapes shapes;
    for (const Graph::Input& input : graph_.inputs[i]) {
      const Value& from = value(input);
      shapes.push_back(from.get_node() == nullptr ? std::nullopt : std::optional(shape_of(from)));
    }
    const Shapes before = shapes;
    if (node.row->complete != nullptr) INFLIGHT_TRY(node.row->complete(node.params, shapes));
    bool all = true;
    for (std::size_t k = 0; k < shapes.size(); ++k) {
      const std::size_t from = graph_.inputs[i][k].node;
      if (!before[k].has_value() && shapes[k].has_value() && graph_.nodes[from]->is_variable()) {
        shapes_[variable_of_[from]] = shapes[k];
        Value& made = values_[first_[from]];
        // The same variable may stand at two places.
        if (made.get_node() == nullptr)
          made = materialise(variable_of_[from], *types_[first_[from]], *shapes[k]);
        progress = true;
      }
      all = all && value(graph_.inputs[i][k]).get_node() != nullptr;
    }
    if (!all) return {};
    std::vector<Value> inputs;
    for (const Graph::Input& input : graph_.inputs[i]) inputs.push_back(value(input));
    std::vector<Value> outputs;
    INFLIGHT_TRY(lower_node(*node.row, node.params, std::move(inputs), std::nullopt, outputs));
    std::copy(outputs.begin(), outputs.end(), values_.begin() + static_cast<std::ptrdiff_t>(first_[i]));
    progress = true;
    return {};
  }

  const Graph& graph_;
  const DTypes& types_;
  const std::vector<std::size_t> first_;
  Shapes shapes_;  // of the variables
  std::vector<std::size_t> variable_of_;
  std::vector<Value> values_;  // of all outputs of all nodes; empty: not known yet
};

std::optional<Shape> attribute_shape(const Node& variable) {
  const auto found = variable.attributes.find("__shape__");
  if (found == variable.attributes.end()) return std::nullopt;
  const auto shape = parse_shape(found->second);
  if (!shape.ok() || !shape->is_static() || shape->elements() == 0) return std::nullopt;
  return *shape;
}

std::optional<DType> attribute_dtype(const Node& variable) {
  const auto found = variable.attributes.find("__dtype__");
  if (found == variable.attributes.end()) return std::nullopt;
  const auto dtype = parse_mxnet_dtype(found->second);
  if (!dtype.ok()) return std::nullopt;
  return *dtype;
}

Result<Model> finished(const ov::OutputVector& outputs, ov::ParameterVector parameters) {
  try {
    if (parameters.empty()) parameters.push_back(parameter(DType::kF32, {1}));
    ov::ResultVector results;
    for (const Value& output : outputs) {
      // What is an input as it came, or a constant, needs a node of its own to be an output.
      results.push_back(std::make_shared<ov::op::v0::Result>(output));
    }
    return model_from_openvino(std::make_shared<ov::Model>(results, parameters), "symbol");
  } catch (const std::exception& error) {
    return Status(StatusCode::kInvalidArgument, inflight::internal::distil_openvino_error(error.what()));
  }
}

}  // namespace

std::vector<std::size_t> first_entry(const Graph& graph) {
  std::vector<std::size_t> first;
  std::size_t next = 0;
  for (const Node* node : graph.nodes) {
    first.push_back(next);
    next += node->is_variable() ? 1 : static_cast<std::size_t>(output_count(*node->row, node->params));
  }
  return first;
}

Result<DTypes> infer_dtypes(const Graph& graph, const DTypes& variables) {
  const std::vector<std::size_t> first = first_entry(graph);
  std::size_t entries = 0;
  for (const Node* node : graph.nodes)
    entries += node->is_variable() ? 1 : static_cast<std::size_t>(output_count(*node->row, node->params));
  DTypes types(entries);
  for (std::size_t i = 0; i < graph.variables.size(); ++i) {
    const std::size_t node = graph.variables[i];
    types[first[node]] = variables[i].has_value() ? variables[i] : attribute_dtype(*graph.nodes[node]);
  }
  const auto visit = [&](std::size_t i) -> Result<bool> {
    const Node& node = *graph.nodes[i];
    DTypes inputs;
    for (const Graph::Input& input : graph.inputs[i])
      inputs.push_back(types[first[input.node] + static_cast<std::size_t>(input.index)]);
    INFLIGHT_TRY_ASSIGN(bool changed, complete_dtypes(*node.row, node.params, inputs));
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      auto& type = types[first[graph.inputs[i][k].node] + static_cast<std::size_t>(graph.inputs[i][k].index)];
      if (!type.has_value()) type = inputs[k];
    }
    for (int k = 0; k < output_count(*node.row, node.params); ++k) {
      auto& type = types[first[i] + static_cast<std::size_t>(k)];
      if (type.has_value()) continue;
      type = output_dtype(*node.row, node.params, inputs, k);
      changed = changed || type.has_value();
    }
    return changed;
  };
  for (;;) {
    for (bool progress = true; progress;) {
      progress = false;
      for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
        if (graph.nodes[i]->is_variable()) continue;
        const Result<bool> changed = visit(i);
        if (!changed.ok())
          return changed.status().with_context(where(*graph.nodes[i]->row, graph.nodes[i]->name));
        progress = progress || *changed;
      }
    }
    // One more that nothing tells, and what follows from it.
    const auto unknown = std::find_if(graph.variables.begin(), graph.variables.end(),
                                      [&](std::size_t node) { return !types[first[node]].has_value(); });
    if (unknown == graph.variables.end()) break;
    types[first[*unknown]] = DType::kF32;
  }
  for (auto& type : types) type = type.value_or(DType::kF32);
  return types;
}

Result<Inferred> infer_shapes(const Graph& graph, const Shapes& variables, const DTypes& types) {
  Shapes known = variables;
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (!known[i].has_value()) known[i] = attribute_shape(*graph.nodes[graph.variables[i]]);
    if (known[i].has_value() && (!known[i]->is_static() || known[i]->elements() == 0)) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("argument \"{}\": got shape {}, want extents of at least 1",
                                graph.nodes[graph.variables[i]]->name, known[i]->to_string()));
    }
  }
  GraphLowering lowering(graph, std::move(known), types);
  INFLIGHT_TRY(lowering.run(
      [](std::size_t, DType dtype, const Shape& shape) { return parameter(dtype, shape)->output(0); }));
  Inferred inferred{true, lowering.variables(), {}};
  for (const Graph::Input& head : graph.heads) {
    const Value& value = lowering.value(head);
    inferred.outputs.push_back(value.get_node() == nullptr ? std::nullopt : std::optional(shape_of(value)));
    inferred.complete = inferred.complete && value.get_node() != nullptr;
  }
  for (const auto& shape : inferred.variables) inferred.complete = inferred.complete && shape.has_value();
  return inferred;
}

Result<Model> lower_graph(const Graph& graph, std::span<const Binding> variables) {
  Shapes shapes;
  DTypes given;
  for (const Binding& binding : variables) {
    shapes.emplace_back(binding.spec.shape);
    given.emplace_back(binding.spec.dtype);
  }
  INFLIGHT_TRY_ASSIGN(const DTypes types, infer_dtypes(graph, given));
  GraphLowering lowering(graph, shapes, types);
  std::vector<std::shared_ptr<ov::op::v0::Parameter>> inputs(variables.size());
  INFLIGHT_TRY(lowering.run([&](std::size_t variable, DType dtype, const Shape& shape) -> Value {
    const Binding& binding = variables[variable];
    if (!binding.constant) {
      inputs[variable] = parameter(dtype, shape);
      return inputs[variable]->output(0);
    }
    const auto extents = shape.dims();
    // Shares the memory: the constant keeps it.
    const auto keeper = std::make_shared<Buffer>(binding.constant);
    const ov::Tensor memory(element_type(dtype), ov::Shape(extents.begin(), extents.end()), keeper->bytes());
    return std::make_shared<ov::op::v0::Constant>(ov::Tensor(memory, keeper))->output(0);
  }));
  ov::OutputVector outputs;
  for (const Graph::Input& head : graph.heads) {
    INFLIGHT_CHECK(lowering.value(head).get_node() != nullptr);
    outputs.push_back(lowering.value(head));
  }
  ov::ParameterVector parameters;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] != nullptr) parameters.push_back(inputs[i]);
  }
  return finished(outputs, std::move(parameters));
}

Result<Model> lower_operator(const OpRow& row, const Params& params, std::span<const TensorSpec> inputs,
                             bool scalar) {
  Shapes shapes;
  DTypes types;
  for (const TensorSpec& spec : inputs) {
    shapes.emplace_back(spec.shape);
    types.emplace_back(spec.dtype);
  }
  const auto run = [&]() -> Result<Model> {
    INFLIGHT_TRY(complete_dtypes(row, params, types).status());
    if (row.complete != nullptr) INFLIGHT_TRY(row.complete(params, shapes));
    ov::ParameterVector parameters;
    std::vector<Value> values;
    for (const TensorSpec& spec : inputs) {
      parameters.push_back(parameter(spec.dtype, spec.shape));
      values.push_back(parameters.back()->output(0));
    }
    std::optional<Value> given;
    if (scalar) {
      parameters.push_back(parameter(inputs[0].dtype, {}));
      given = parameters.back()->output(0);
    }
    std::vector<Value> outputs;
    INFLIGHT_TRY(lower_node(row, params, values, given, outputs));
    return finished(outputs, std::move(parameters));
  };
  Result<Model> model = run();
  if (model.ok()) return model;
  return model.status().with_context(where(row, ""));
}

}  // namespace inflight::mx::detail
