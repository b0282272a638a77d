// SPDX-License-Identifier: Apache-2.0
// Patterns that exporters decompose, and operators that have a shorter form here.
#include <algorithm>
#include <cmath>
#include <limits>
#include <openvino/core/graph_util.hpp>
#include <openvino/op/ops.hpp>

#include "backends/cuda/rewrite.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

// A weight matrix with zeros for the other groups costs more arithmetic but no more time below this size.
constexpr std::size_t kDenseElementsMax = std::size_t{1} << 22;
constexpr std::size_t kGroupAlignment = 8;  // channels of a group that cuDNN's grouped engines take

bool replace(const NodePtr& node, const Value& value) {
  value.get_node_shared_ptr()->set_friendly_name(node->get_friendly_name());
  node->output(0).replace(value);
  return true;
}

bool is_near(std::optional<double> value, double wanted) {
  return value.has_value() && std::abs(*value - wanted) <= 1e-3 * std::abs(wanted);
}

template <typename Op>
Value made(const Value& a, const Value& b) {
  return std::make_shared<Op>(a, b);
}

Value reshaped(const Value& value, const ov::Shape& shape) {
  return std::make_shared<op::v1::Reshape>(value, ints(Ints(shape.begin(), shape.end())), false);
}

// The factors of a tree of multiplications, with all scalars in one number.
struct Product {
  std::vector<Value> factors;
  double scalar = 1;
};

void collect(const Value& value, bool top, Product& product) {
  if (const auto scalar = scalar_of(value)) {
    product.scalar *= *scalar;
    return;
  }
  const NodePtr node = value.get_node_shared_ptr();
  if (!ov::is_type<op::v1::Multiply>(node) || (!top && !has_one_reader(value))) {
    product.factors.push_back(value);
    return;
  }
  collect(node->input_value(0), false, product);
  collect(node->input_value(1), false, product);
}

// Whether `value` is 1 + erf(x / sqrt(2)).
bool is_erf_gate(const Value& value, const Value& x) {
  const NodePtr add = value.get_node_shared_ptr();
  if (!ov::is_type<op::v1::Add>(add)) return false;
  const auto one = constant_operand(*add);
  if (!one || !is_near(scalar_of(one->constant), 1)) return false;
  const NodePtr erf = one->other.get_node_shared_ptr();
  if (!ov::is_type<op::v0::Erf>(erf)) return false;
  const NodePtr scaled = erf->input_value(0).get_node_shared_ptr();
  if (!ov::is_type<op::v1::Multiply>(scaled) && !ov::is_type<op::v1::Divide>(scaled)) return false;
  const auto scale = constant_operand(*scaled);
  if (!scale || scale->other != x) return false;
  const double wanted = ov::is_type<op::v1::Multiply>(scaled) ? std::sqrt(0.5) : std::sqrt(2.0);
  return is_near(scalar_of(scale->constant), wanted);
}

// The mean over the last axes of `value`, kept as extents of 1.
std::optional<std::vector<std::int64_t>> mean_axes(const Value& mean, const Value& of) {
  const auto node = ov::as_type_ptr<op::v1::ReduceMean>(mean.get_node_shared_ptr());
  if (node == nullptr || !node->get_keep_dims() || node->input_value(0) != of) return std::nullopt;
  if (constant_of(node->input_value(1)) == nullptr) return std::nullopt;
  const auto axes = node->get_reduction_axes().to_vector();
  std::vector<std::int64_t> found(axes.begin(), axes.end());
  std::sort(found.begin(), found.end());
  return found;
}

bool is_square(const Value& value, const Value& of) {
  const NodePtr node = value.get_node_shared_ptr();
  if (ov::is_type<op::v1::Multiply>(node)) return node->input_value(0) == of && node->input_value(1) == of;
  return ov::is_type<op::v1::Power>(node) && node->input_value(0) == of &&
         is_near(scalar_of(node->input_value(1)), 2);
}

// The variance in sqrt(variance + epsilon), where `value` is its root or (inverse) the inverse of its root.
std::optional<ConstantOperand> rooted(const Value& value, bool inverse) {
  NodePtr node = value.get_node_shared_ptr();
  if (ov::is_type<op::v1::Power>(node)) {
    if (!is_near(scalar_of(node->input_value(1)), inverse ? -0.5 : 0.5)) return std::nullopt;
  } else {
    if (inverse) {
      if (!ov::is_type<op::v1::Divide>(node) || !is_near(scalar_of(node->input_value(0)), 1))
        return std::nullopt;
      node = node->input_value(1).get_node_shared_ptr();
    }
    if (!ov::is_type<op::v0::Sqrt>(node)) return std::nullopt;
  }
  const NodePtr sum = node->input_value(0).get_node_shared_ptr();
  if (!ov::is_type<op::v1::Add>(sum)) return std::nullopt;
  return constant_operand(*sum);
}

Value causal_mask(const Value& like, std::size_t rows, std::size_t columns) {
  std::vector<float> mask(rows * columns);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = i + 1; j < columns; ++j)
      mask[i * columns + j] = -std::numeric_limits<float>::infinity();
  }
  return constant_like(like, {rows, columns}, mask);
}

template <typename Op>
NodePtr convolution_with(const std::shared_ptr<Op>& node, const Value& x, const Value& weights) {
  return std::make_shared<op::v1::Convolution>(x, weights, node->get_strides(), node->get_pads_begin(),
                                               node->get_pads_end(), node->get_dilations());
}

}  // namespace

bool fuse_swish(const NodePtr& node) {
  if (!ov::is_type<op::v1::Multiply>(node)) return false;
  for (const std::size_t at : {0, 1}) {
    const NodePtr gate = node->input_value(at).get_node_shared_ptr();
    const Value x = node->input_value(1 - at);
    if (ov::is_type<op::v0::Sigmoid>(gate) && gate->input_value(0) == x)
      return replace(node, std::make_shared<op::v4::Swish>(x));
  }
  return false;
}

bool fuse_clamp(const NodePtr& node) {
  const bool outer_is_minimum = ov::is_type<op::v1::Minimum>(node);
  if ((!outer_is_minimum && !ov::is_type<op::v1::Maximum>(node)) || !is_float(node->output(0))) return false;
  const auto outer = constant_operand(*node);
  if (!outer || !has_one_reader(outer->other)) return false;
  const NodePtr within = outer->other.get_node_shared_ptr();
  if (outer_is_minimum ? !ov::is_type<op::v1::Maximum>(within) : !ov::is_type<op::v1::Minimum>(within))
    return false;
  const auto inner = constant_operand(*within);
  if (!inner) return false;
  const auto low = scalar_of((outer_is_minimum ? inner : outer)->constant);
  const auto high = scalar_of((outer_is_minimum ? outer : inner)->constant);
  if (!low || !high || !(*low <= *high)) return false;
  return replace(node, std::make_shared<op::v0::Clamp>(inner->other, *low, *high));
}

bool fuse_gelu(const NodePtr& node) {
  if (!ov::is_type<op::v1::Multiply>(node) || !is_float(node->output(0))) return false;
  Product product;
  collect(node->output(0), true, product);
  if (product.factors.size() != 2 || !is_near(product.scalar, 0.5)) return false;
  for (const std::size_t at : {0, 1}) {
    const Value x = product.factors[1 - at];
    if (is_erf_gate(product.factors[at], x) && x.get_shape() == node->get_output_shape(0))
      return replace(node, std::make_shared<op::v7::Gelu>(x, op::GeluApproximationMode::ERF));
  }
  return false;
}

bool fuse_layer_norm(const NodePtr& node) {
  const bool divides = ov::is_type<op::v1::Divide>(node);
  if (!divides && !ov::is_type<op::v1::Multiply>(node)) return false;
  const Value centred = node->input_value(0);
  const auto variance = rooted(node->input_value(1), !divides);
  if (!variance || !scalar_of(variance->constant)) return false;
  const NodePtr minus = centred.get_node_shared_ptr();
  if (!ov::is_type<op::v1::Subtract>(minus)) return false;
  const Value x = minus->input_value(0);
  const auto axes = mean_axes(minus->input_value(1), x);
  const NodePtr mean_of_squares = variance->other.get_node_shared_ptr();
  if (!axes || mean_of_squares->get_input_size() == 0) return false;
  const Value squares = mean_of_squares->input_value(0);
  if (!is_square(squares, centred) || mean_axes(variance->other, squares) != axes) return false;
  return replace(node, std::make_shared<op::v6::MVN>(x, ints(*axes), true,
                                                     static_cast<float>(*scalar_of(variance->constant)),
                                                     op::MVNEpsMode::INSIDE_SQRT));
}

bool split_attention(const NodePtr& node) {
  const auto attention = ov::as_type_ptr<op::v13::ScaledDotProductAttention>(node);
  if (attention == nullptr || node->get_input_size() > 5) return false;
  const Value query = node->input_value(0);
  const Value key = node->input_value(1);
  const ov::Shape& query_shape = query.get_shape();
  const std::size_t width = query_shape.back();
  Value scale = constant_like(query, {}, {static_cast<float>(1 / std::sqrt(static_cast<double>(width)))});
  if (node->get_input_size() == 5) scale = node->input_value(4);
  Value scores = std::make_shared<op::v0::MatMul>(query, key, false, true);
  scores = made<op::v1::Multiply>(scores, scale);
  if (attention->get_causal()) {
    const std::size_t rows = query_shape[query_shape.size() - 2];
    scores = made<op::v1::Add>(scores, causal_mask(query, rows, key.get_shape()[key.get_shape().size() - 2]));
  } else if (node->get_input_size() >= 4 && !scalar_of(node->input_value(3))) {
    Value mask = node->input_value(3);
    if (mask.get_element_type() == ov::element::boolean) {
      const float none = -std::numeric_limits<float>::infinity();
      mask = std::make_shared<op::v1::Select>(mask, constant_like(query, {}, {0}),
                                              constant_like(query, {}, {none}));
    }
    scores = made<op::v1::Add>(scores, mask);
  } else if (node->get_input_size() >= 4 && scalar_of(node->input_value(3)) != 0.0) {
    return false;
  }
  const Value weights = std::make_shared<op::v8::Softmax>(scores, -1);
  return replace(node, std::make_shared<op::v0::MatMul>(weights, node->input_value(2)));
}

bool split_group_norm(const NodePtr& node) {
  const auto norm = ov::as_type_ptr<op::v12::GroupNormalization>(node);
  if (norm == nullptr) return false;
  const Value x = node->input_value(0);
  const ov::Shape& shape = x.get_shape();
  const auto groups = static_cast<std::size_t>(norm->get_num_groups());
  const Value rows = reshaped(x, {shape[0], groups, ov::shape_size(shape) / shape[0] / groups});
  const Value even = std::make_shared<op::v6::MVN>(
      rows, ints({2}), true, static_cast<float>(norm->get_epsilon()), op::MVNEpsMode::INSIDE_SQRT);
  ov::Shape channels(shape.size(), 1);
  channels[1] = shape[1];
  const Value scale = folded(reshaped(node->input_value(1), channels).get_node_shared_ptr());
  const Value bias = folded(reshaped(node->input_value(2), channels).get_node_shared_ptr());
  return replace(node, made<op::v1::Add>(made<op::v1::Multiply>(reshaped(even, shape), scale), bias));
}

bool normalise_group_convolution(const NodePtr& node) {
  const auto grouped = ov::as_type_ptr<op::v1::GroupConvolution>(node);
  if (grouped == nullptr) return false;
  const Value weights = node->input_value(1);
  const ov::Shape& shape = weights.get_shape();  // [G, K/G, C/G, ...]
  const std::size_t groups = shape[0];
  const std::size_t outputs = shape[1];
  const std::size_t inputs = shape[2];
  ov::Shape dense(shape.begin() + 1, shape.end());
  dense[0] = groups * outputs;
  if (groups == 1)
    return replace(node, convolution_with(grouped, node->input_value(0),
                                          folded(reshaped(weights, dense).get_node_shared_ptr())));
  if (inputs == 1 || (inputs % kGroupAlignment == 0 && outputs % kGroupAlignment == 0)) return false;
  const auto constant = constant_of(weights);
  dense[1] = groups * inputs;
  if (constant == nullptr || ov::shape_size(dense) > kDenseElementsMax) return false;
  const std::vector<float> old = constant->cast_vector<float>();
  std::vector<float> wide(ov::shape_size(dense));
  const std::size_t window = ov::shape_size(shape) / (groups * outputs * inputs);
  const std::size_t row = inputs * window;  // of one output channel in its own group
  for (std::size_t k = 0; k < groups * outputs; ++k)
    std::copy_n(&old[k * row], row, &wide[(k * groups + k / outputs) * row]);
  return replace(node, convolution_with(grouped, node->input_value(0), constant_like(weights, dense, wide)));
}

bool pad_explicitly(const NodePtr& node) {
  const auto plain = ov::as_type_ptr<op::v1::Convolution>(node);
  if (plain == nullptr) return false;  // a kernel computes the others
  const ov::CoordinateDiff begin = plain->get_pads_begin();
  const ov::CoordinateDiff end = plain->get_pads_end();
  const bool negative = std::any_of(begin.begin(), begin.end(), [](std::ptrdiff_t each) { return each < 0; });
  if (begin == end && !negative) return false;
  Ints before(begin.begin(), begin.end());
  Ints after(end.begin(), end.end());
  before.insert(before.begin(), 2, 0);
  after.insert(after.begin(), 2, 0);
  const Value x = node->input_value(0);
  const Value padded = std::make_shared<op::v12::Pad>(x, ints(before), ints(after), constant_like(x, {}, {0}),
                                                      op::PadMode::CONSTANT);
  const ov::CoordinateDiff none(begin.size(), 0);
  return replace(
      node, std::make_shared<op::v1::Convolution>(padded, node->input_value(1), plain->get_strides(), none,
                                                  none, plain->get_dilations()));
}

bool widen_vector_matmul(const NodePtr& node) {
  const auto matmul = ov::as_type_ptr<op::v0::MatMul>(node);
  if (matmul == nullptr) return false;
  const ov::Shape& a = node->get_input_shape(0);
  const ov::Shape& b = node->get_input_shape(1);
  if (a.size() != 1 && b.size() != 1) return false;
  // A vector on the left is a row, one on the right a column; transposing it changes nothing.
  const Value left = a.size() == 1 ? reshaped(node->input_value(0), {1, a[0]}) : node->input_value(0);
  const Value right = b.size() == 1 ? reshaped(node->input_value(1), {b[0], 1}) : node->input_value(1);
  const Value product = std::make_shared<op::v0::MatMul>(
      left, right, a.size() != 1 && matmul->get_transpose_a(), b.size() != 1 && matmul->get_transpose_b());
  return replace(node, reshaped(product, node->get_output_shape(0)));
}

}  // namespace inflight::cuda
