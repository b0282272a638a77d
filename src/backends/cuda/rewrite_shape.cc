// SPDX-License-Identifier: Apache-2.0
// Rewrites that bring what only renames elements out of the way of steps.
#include <algorithm>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/ops.hpp>

#include "backends/cuda/rewrite.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

// A stem of patches: so few channels that a convolution would compute on padding, and windows large enough to be the
// rows of a matmul.
constexpr std::size_t kPatchChannelsMax = 4;
constexpr std::size_t kPatchWindowMin = 16;

bool replace(const NodePtr& node, const Value& value) {
  value.get_node_shared_ptr()->set_friendly_name(node->get_friendly_name());
  node->output(0).replace(value);
  return true;
}

Value reshaped(const Value& value, const ov::Shape& shape) {
  return std::make_shared<op::v1::Reshape>(value, ints(Ints(shape.begin(), shape.end())), false);
}

Value transposed(const Value& value, const Ints& order) {
  return std::make_shared<op::v1::Transpose>(value, ints(order));
}

bool is_reshape(const ov::Node& node) {
  return ov::is_type<op::v1::Reshape>(&node) || ov::is_type<op::v0::Squeeze>(&node) ||
         ov::is_type<op::v15::Squeeze>(&node) || ov::is_type<op::v0::Unsqueeze>(&node);
}

// The result of a matmul, or of the bias behind it, that nothing else reads.
bool is_product(const Value& value) {
  if (!has_one_reader(value)) return false;
  const NodePtr node = value.get_node_shared_ptr();
  if (ov::is_type<op::v0::MatMul>(node)) return true;
  if (!ov::is_type<op::v1::Add>(node)) return false;
  const auto operand = constant_operand(*node);
  return operand && has_one_reader(operand->other) && ov::is_type<op::v0::MatMul>(operand->other.get_node());
}

bool is_plain(const ov::CoordinateDiff& pads) {
  return std::all_of(pads.begin(), pads.end(), [](std::ptrdiff_t each) { return each == 0; });
}

// Whether windows lie side by side and cover the whole picture.
bool cuts_patches(op::v1::Convolution& node) {
  const ov::Shape& x = node.get_input_shape(0);
  const ov::Shape& w = node.get_input_shape(1);
  if (x.size() != 4 || constant_of(node.input_value(1)) == nullptr || !is_float(node.output(0))) return false;
  if (!is_plain(node.get_pads_begin()) || !is_plain(node.get_pads_end())) return false;
  if (x[1] > kPatchChannelsMax || w[2] * w[3] < kPatchWindowMin) return false;
  for (const std::size_t axis : {0, 1}) {
    if (node.get_dilations()[axis] != 1 || node.get_strides()[axis] != w[axis + 2] ||
        x[axis + 2] % w[axis + 2] != 0)
      return false;
  }
  return true;
}

}  // namespace

bool straighten_transpose(const NodePtr& node) {
  if (!ov::is_type<op::v1::Transpose>(node) || constant_of(node->input_value(1)) == nullptr) return false;
  const Ints order = constant_of(node->input_value(1))->cast_vector<std::int64_t>();
  const ov::Shape& shape = node->get_input_shape(0);
  if (order.empty()) return false;
  std::int64_t last = -1;
  for (const std::int64_t axis : order) {
    if (shape[static_cast<std::size_t>(axis)] == 1) continue;
    if (axis < last) return false;
    last = axis;
  }
  return replace(node, reshaped(node->input_value(0), node->get_output_shape(0)));
}

bool join_reshapes(const NodePtr& node) {
  if (!is_reshape(*node)) return false;
  const NodePtr before = node->input_value(0).get_node_shared_ptr();
  if (!is_reshape(*before)) return false;
  return replace(node, reshaped(before->input_value(0), node->get_output_shape(0)));
}

bool lower_reshape(const NodePtr& node) {
  if (!ov::is_type<op::v1::Add>(node) || !is_float(node->output(0))) return false;
  for (const std::size_t at : {0, 1}) {
    const Value renamed = node->input_value(at);
    const Value other = node->input_value(1 - at);
    const NodePtr reshape = renamed.get_node_shared_ptr();
    if (!is_reshape(*reshape) || !has_one_reader(renamed) || !is_product(reshape->input_value(0))) continue;
    const ov::Shape shape = node->get_output_shape(0);
    if (constant_of(other) != nullptr || other.get_shape() != shape || renamed.get_shape() != shape) continue;
    // Its own result would come here as well, and so without end.
    if (is_product(other) || (is_reshape(*other.get_node()) && is_product(other.get_node()->input_value(0))))
      continue;
    const Value product = reshape->input_value(0);
    const Value sum = std::make_shared<op::v1::Add>(product, reshaped(other, product.get_shape()));
    return replace(node, reshaped(sum, shape));
  }
  return false;
}

bool cut_patches(const NodePtr& node) {
  const auto convolution = ov::as_type_ptr<op::v1::Convolution>(node);
  if (convolution == nullptr || !cuts_patches(*convolution) || !has_one_reader(node->output(0))) return false;
  const NodePtr reader = node->output(0).get_target_inputs().begin()->get_node()->shared_from_this();
  // What else follows belongs in the weights first.
  const bool has_bias = ov::is_type<op::v1::Add>(reader);
  if (ov::is_type<op::v1::Multiply>(reader) || ov::is_type<op::v5::BatchNormInference>(reader) ||
      ov::is_type<op::v0::BatchNormInference>(reader) || ov::is_type<op::v1::Subtract>(reader) ||
      ov::is_type<op::v1::Divide>(reader))
    return false;
  const ov::Shape& x = node->get_input_shape(0);
  const ov::Shape& w = node->get_input_shape(1);
  const ov::Shape& y = node->get_output_shape(0);
  const std::size_t width = w[1] * w[2] * w[3];
  const Value cut =
      transposed(reshaped(node->input_value(0), {x[0], x[1], y[2], w[2], y[3], w[3]}), {0, 2, 4, 1, 3, 5});
  const Value rows = reshaped(cut, {x[0] * y[2] * y[3], width});
  const Value weights = folded(reshaped(node->input_value(1), {w[0], width}).get_node_shared_ptr());
  Value sum = std::make_shared<op::v0::MatMul>(rows, weights, false, true);
  NodePtr last = node;
  if (has_bias) {
    const auto operand = constant_operand(*reader);
    const auto bias = operand ? values_along(operand->constant, y, 1) : std::nullopt;
    if (!bias) return false;
    sum = std::make_shared<op::v1::Add>(sum, constant_like(sum, {w[0]}, *bias));
    last = reader;
  }
  return replace(last, transposed(reshaped(sum, {y[0], y[2], y[3], y[1]}), {0, 3, 1, 2}));
}

}  // namespace inflight::cuda
