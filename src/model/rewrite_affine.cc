// SPDX-License-Identifier: Apache-2.0
// Batch norm, scales and offsets behind a convolution or matmul.
#include <cmath>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/ops.hpp>

#include "model/rewrite.h"

namespace inflight::internal {
namespace {

namespace op = ov::op;

bool replace(const NodePtr& node, const Value& value) {
  value.get_node_shared_ptr()->set_friendly_name(node->get_friendly_name());
  node->output(0).replace(value);
  return true;
}

// The axis of the output that the rows of its weights make, for nodes that have weights.
std::optional<std::size_t> weighted_axis(const ov::Node& node) {
  if (ov::is_type<op::v1::Convolution>(&node) || ov::is_type<op::v1::GroupConvolution>(&node) ||
      ov::is_type<op::v1::ConvolutionBackpropData>(&node) ||
      ov::is_type<op::v1::GroupConvolutionBackpropData>(&node))
    return 1;
  if (ov::is_type<op::v0::MatMul>(&node) && node.get_input_shape(1).size() >= 2 &&
      !node.get_output_shape(0).empty())
    return node.get_output_shape(0).size() - 1;
  return std::nullopt;
}

// The shape that a list of one value an output channel has beside the weights.
ov::Shape scale_shape(const ov::Node& node) {
  const ov::Shape& weights = node.get_input_shape(1);
  ov::Shape shape(weights.size(), 1);
  if (const auto* matmul = ov::as_type<const op::v0::MatMul>(&node)) {
    const std::size_t axis = weights.size() - (matmul->get_transpose_b() ? 2 : 1);
    shape[axis] = weights[axis];
  } else if (ov::is_type<op::v1::GroupConvolution>(&node)) {
    shape[0] = weights[0];
    shape[1] = weights[1];
  } else if (ov::is_type<op::v1::GroupConvolutionBackpropData>(&node)) {
    shape[0] = weights[0];
    shape[2] = weights[2];
  } else {
    const std::size_t axis = ov::is_type<op::v1::Convolution>(&node) ? 0 : 1;
    shape[axis] = weights[axis];
  }
  return shape;
}

bool can_fold_into(const Value& value) {
  const NodePtr node = value.get_node_shared_ptr();
  return weighted_axis(*node).has_value() && has_one_reader(value) && is_float(value) &&
         constant_of(node->input_value(1)) != nullptr;
}

bool is_numpy(const ov::Node& node) { return node.get_autob().m_type == op::AutoBroadcastType::NUMPY; }

template <typename Op>
Value combined(const Value& a, const Value& b) {
  return folded(std::make_shared<Op>(a, b));
}

}  // namespace

bool split_batch_norm(const NodePtr& node) {
  const auto v5 = ov::as_type_ptr<op::v5::BatchNormInference>(node);
  const auto v0 = ov::as_type_ptr<op::v0::BatchNormInference>(node);
  if (v5 == nullptr && v0 == nullptr) return false;
  const Value data = node->input_value(v5 != nullptr ? 0 : 2);
  const double epsilon = v5 != nullptr ? v5->get_eps_value() : v0->get_eps_value();
  std::vector<std::vector<float>> parts;
  for (const std::size_t i :
       v5 != nullptr ? std::vector<std::size_t>{1, 2, 3, 4} : std::vector<std::size_t>{0, 1, 3, 4}) {
    const auto constant = constant_of(node->input_value(i));
    if (constant == nullptr) return false;
    parts.push_back(constant->cast_vector<float>());
  }
  std::vector<float> scale(parts[0].size());
  std::vector<float> offset(parts[0].size());
  for (std::size_t i = 0; i < scale.size(); ++i) {
    const double each = parts[0][i] / std::sqrt(static_cast<double>(parts[3][i]) + epsilon);
    scale[i] = static_cast<float>(each);
    offset[i] = static_cast<float>(parts[1][i] - each * parts[2][i]);
  }
  ov::Shape shape(data.get_shape().size(), 1);
  shape[1] = scale.size();
  const Value scaled = std::make_shared<op::v1::Multiply>(data, constant_like(data, shape, scale));
  return replace(node, std::make_shared<op::v1::Add>(scaled, constant_like(data, shape, offset)));
}

bool normalise_affine(const NodePtr& node) {
  if (node->get_output_size() != 1 || !is_float(node->output(0))) return false;
  const auto operand = constant_operand(*node);
  if (!operand || !is_numpy(*node)) return false;
  const Value like = operand->constant;
  const bool second = node->input_value(1) == operand->constant;
  if (second && ov::is_type<op::v1::Subtract>(node)) {
    const Value negative = combined<op::v1::Multiply>(like, constant_like(like, {}, {-1}));
    return replace(node, std::make_shared<op::v1::Add>(operand->other, negative));
  }
  if (second && ov::is_type<op::v1::Divide>(node)) {
    const Value inverse = folded(std::make_shared<op::v1::Divide>(constant_like(like, {}, {1}), like));
    return replace(node, std::make_shared<op::v1::Multiply>(operand->other, inverse));
  }
  const NodePtr before = operand->other.get_node_shared_ptr();
  if (before->get_type_info() != node->get_type_info() || !has_one_reader(operand->other)) return false;
  const auto inner = constant_operand(*before);
  if (!inner || !is_numpy(*before)) return false;
  if (ov::is_type<op::v1::Add>(node))
    return replace(node,
                   std::make_shared<op::v1::Add>(inner->other, combined<op::v1::Add>(inner->constant, like)));
  if (ov::is_type<op::v1::Multiply>(node))
    return replace(node, std::make_shared<op::v1::Multiply>(
                             inner->other, combined<op::v1::Multiply>(inner->constant, like)));
  return false;
}

bool raise_scale(const NodePtr& node) {
  if (!ov::is_type<op::v0::MatMul>(node) || !is_float(node->output(0))) return false;
  for (const std::size_t at : {0, 1}) {
    Value scaled = node->input_value(at);
    const NodePtr turned = scaled.get_node_shared_ptr();
    const bool turns = ov::is_type<op::v1::Transpose>(turned) && has_one_reader(scaled);
    if (turns) scaled = turned->input_value(0);
    const NodePtr multiply = scaled.get_node_shared_ptr();
    if (!ov::is_type<op::v1::Multiply>(multiply) || !has_one_reader(scaled)) continue;
    const auto operand = constant_operand(*multiply);
    const auto scalar = operand ? scalar_of(operand->constant) : std::nullopt;
    if (!scalar) continue;
    ov::OutputVector inputs = node->input_values();
    inputs[at] = operand->other;
    if (turns)
      inputs[at] = turned->clone_with_new_inputs({operand->other, turned->input_value(1)})->output(0);
    const NodePtr plain = node->clone_with_new_inputs(inputs);
    const Value factor = constant_like(node->output(0), {}, {static_cast<float>(*scalar)});
    return replace(node, std::make_shared<op::v1::Multiply>(plain, factor));
  }
  return false;
}

bool fold_scale(const NodePtr& node) {
  if (!ov::is_type<op::v1::Multiply>(node) || !is_float(node->output(0)) || !is_numpy(*node)) return false;
  const auto operand = constant_operand(*node);
  if (!operand) return false;
  const NodePtr before = operand->other.get_node_shared_ptr();
  if (can_fold_into(operand->other)) {
    const std::size_t axis = *weighted_axis(*before);
    const auto scale = values_along(operand->constant, node->get_output_shape(0), axis);
    const Value weights = before->input_value(1);
    ov::Shape shape = scale_shape(*before);
    if (!scale || ov::shape_size(shape) != scale->size()) return false;
    ov::OutputVector inputs = before->input_values();
    inputs[1] = combined<op::v1::Multiply>(weights, constant_like(weights, shape, *scale));
    return replace(node, before->clone_with_new_inputs(inputs));
  }
  // (x + b) s = x s + b s, where x s can be folded.
  if (!ov::is_type<op::v1::Add>(before) || !has_one_reader(operand->other) || !is_numpy(*before))
    return false;
  const auto inner = constant_operand(*before);
  if (!inner || !can_fold_into(inner->other)) return false;
  const Value scaled = std::make_shared<op::v1::Multiply>(inner->other, operand->constant);
  return replace(node, std::make_shared<op::v1::Add>(
                           scaled, combined<op::v1::Multiply>(inner->constant, operand->constant)));
}

}  // namespace inflight::internal
