// SPDX-License-Identifier: Apache-2.0
#include "model/rewrite.h"

#include <algorithm>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/ops.hpp>
#include <openvino/op/util/op_types.hpp>

namespace inflight::internal {

namespace op = ov::op;

std::shared_ptr<op::v0::Constant> constant_of(const Value& value) {
  return ov::as_type_ptr<op::v0::Constant>(value.get_node_shared_ptr());
}

bool is_float(const Value& value) { return value.get_element_type().is_real(); }

std::optional<double> scalar_of(const Value& value) {
  const auto constant = constant_of(value);
  if (constant == nullptr || !is_float(value)) return std::nullopt;
  const std::size_t count = ov::shape_size(value.get_shape());
  if (count == 0 || (count > 1 && !constant->get_all_data_elements_bitwise_identical())) return std::nullopt;
  return constant->cast_vector<double>(1)[0];
}

bool has_one_reader(const Value& value) { return value.get_target_inputs().size() == 1; }

Value folded(const NodePtr& node) {
  ov::OutputVector outputs(node->get_output_size());
  const ov::OutputVector inputs = node->input_values();
  const bool constant = std::all_of(inputs.begin(), inputs.end(),
                                    [](const Value& input) { return constant_of(input) != nullptr; });
  if (constant && node->constant_fold(outputs, inputs)) return outputs[0];
  return node->output(0);
}

Value ints(const Ints& values) { return op::v0::Constant::create(ov::element::i64, {values.size()}, values); }

std::optional<ConstantOperand> constant_operand(const ov::Node& node) {
  if (node.get_input_size() != 2) return std::nullopt;
  for (const std::size_t at : {1, 0}) {
    const Value constant = node.input_value(at);
    const Value other = node.input_value(1 - at);
    if (constant_of(constant) == nullptr || constant_of(other) != nullptr) continue;
    if (other.get_shape() != node.get_output_shape(0)) continue;
    if (other.get_element_type() != node.get_output_element_type(0)) continue;
    return ConstantOperand{other, constant};
  }
  return std::nullopt;
}

std::optional<std::vector<float>> values_along(const Value& constant, const ov::Shape& shape,
                                               std::size_t axis) {
  const auto node = constant_of(constant);
  const ov::Shape& own = constant.get_shape();
  if (node == nullptr || !is_float(constant) || own.size() > shape.size()) return std::nullopt;
  for (std::size_t i = 0; i < own.size(); ++i) {
    const std::size_t at = shape.size() - own.size() + i;
    if (own[i] != 1 && (at != axis || own[i] != shape[axis])) return std::nullopt;
  }
  std::vector<float> values = node->cast_vector<float>();
  if (values.size() == 1) values.resize(shape[axis], values[0]);
  return values;
}

Value constant_like(const Value& like, const ov::Shape& shape, const std::vector<float>& values) {
  return op::v0::Constant::create(like.get_element_type(), shape, values);
}

std::optional<Value> open_output(const ov::Model& network) {
  for (const NodePtr& node : network.get_ordered_ops()) {
    for (const Value& output : node->outputs()) {
      if (output.get_partial_shape().is_dynamic()) return output;
    }
  }
  return std::nullopt;
}

bool rewrite_once(const ov::Model& network, std::span<const Rewrite> rewrites) {
  bool changed = false;
  for (const NodePtr& node : network.get_ordered_ops()) {
    if (op::util::is_parameter(node) || op::util::is_output(node) || op::util::is_constant(node)) continue;
    changed |=
        std::any_of(rewrites.begin(), rewrites.end(), [&](const Rewrite rewrite) { return rewrite(node); });
  }
  return changed;
}

namespace {

bool replace(const NodePtr& node, const Value& value) {
  node->output(0).replace(value);
  return true;
}

bool is_zero(const Value& value) {
  const auto constant = constant_of(value);
  if (constant == nullptr) return false;
  const auto values = constant->cast_vector<std::int64_t>();
  return std::all_of(values.begin(), values.end(), [](std::int64_t each) { return each == 0; });
}

bool is_in_order(const Value& order) {
  const auto constant = constant_of(order);
  if (constant == nullptr) return false;
  const auto values = constant->cast_vector<std::int64_t>();
  return std::is_sorted(values.begin(), values.end()) && !values.empty();
}

}  // namespace

bool remove_identity(const NodePtr& node) {
  if (node->get_output_size() != 1 || node->get_input_size() == 0) return false;
  const Value input = node->input_value(0);
  if (input.get_element_type() != node->get_output_element_type(0)) return false;
  if (input.get_shape() != node->get_output_shape(0)) return false;
  if (ov::is_type<op::v16::Identity>(node) || ov::is_type<op::v0::Convert>(node) ||
      ov::is_type<op::v1::Reshape>(node) || ov::is_type<op::v0::Squeeze>(node) ||
      ov::is_type<op::v15::Squeeze>(node) || ov::is_type<op::v0::Tile>(node) ||
      ov::is_type<op::v1::Broadcast>(node) || ov::is_type<op::v3::Broadcast>(node) ||
      ov::is_type<op::v1::ConvertLike>(node))
    return replace(node, input);
  if (ov::is_type<op::v0::Concat>(node) && node->get_input_size() == 1) return replace(node, input);
  if (ov::is_type<op::v1::Transpose>(node) && is_in_order(node->input_value(1))) return replace(node, input);
  if ((ov::is_type<op::v1::Pad>(node) || ov::is_type<op::v12::Pad>(node)) && is_zero(node->input_value(1)) &&
      is_zero(node->input_value(2)))
    return replace(node, input);
  return false;
}

bool fold_constant(const NodePtr& node) {
  if (!ov::is_type<op::v0::Convert>(node) || constant_of(node->input_value(0)) == nullptr) return false;
  const NodePtr copy = node->clone_with_new_inputs(node->input_values());  // without the mark
  const Value value = folded(copy);
  return value.get_node_shared_ptr() != copy && replace(node, value);
}

}  // namespace inflight::internal
