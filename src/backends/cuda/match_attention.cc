// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/match_attention.h"

#include <openvino/op/ops.hpp>

namespace inflight::cuda {
namespace {

namespace op = ov::op;

constexpr std::size_t kWidthUnit = 8;    // of D and E: 16 bytes
constexpr std::size_t kWidthMax = 128;   // of D and E: what libraries' kernels keep in registers
constexpr std::size_t kScoresMin = 256;  // M * N below which two kernels do as well

// A value that only the attention reads, made by a node of this type.
template <typename Op>
std::shared_ptr<Op> inner(const Value& value) {
  return has_one_reader(value) ? ov::as_type_ptr<Op>(value.get_node_shared_ptr()) : nullptr;
}

bool is_softmax_of_last(const ov::Node& node) {
  const auto last = static_cast<std::int64_t>(node.get_output_shape(0).size()) - 1;
  if (const auto* softmax = ov::as_type<const op::v1::Softmax>(&node))
    return static_cast<std::int64_t>(softmax->get_axis()) == last;
  const auto* softmax = ov::as_type<const op::v8::Softmax>(&node);
  return softmax != nullptr && (softmax->get_axis() == last || softmax->get_axis() == -1);
}

bool is_width(std::size_t width) { return width % kWidthUnit == 0 && width > 0 && width <= kWidthMax; }

// Extents that fit each other without broadcasting, but for the mask's.
bool shapes_fit(const AttentionOperands& operands, const ov::Shape& scores) {
  const ov::Shape& q = operands.q.get_shape();
  const ov::Shape& k = operands.k.get_shape();
  const ov::Shape& v = operands.v.get_shape();
  const std::size_t rank = q.size();
  if (rank < 2 || rank > 4 || k.size() != rank || v.size() != rank || scores.size() != rank) return false;
  for (std::size_t i = 0; i + 2 < rank; ++i) {
    if (q[i] != k[i] || q[i] != v[i] || q[i] != scores[i]) return false;
  }
  return is_width(q[rank - 1]) && is_width(v[rank - 1]) && scores[rank - 2] * scores[rank - 1] >= kScoresMin;
}

// The operand of an Add that is not `scores`, if it broadcasts to it.
std::optional<Value> mask_of(const op::v1::Add& add, const Value& scores) {
  const Value mask = add.input_value(add.input_value(0) == scores ? 1 : 0);
  const ov::Shape& own = mask.get_shape();
  const ov::Shape& whole = scores.get_shape();
  if (add.get_output_shape(0) != whole || !is_float(mask) || own.empty() || own.size() > whole.size() ||
      own.back() != whole.back())
    return std::nullopt;
  return mask;
}

}  // namespace

std::optional<FusedStep> match_attention(ov::Node& last, std::vector<const ov::Node*>& nodes) {
  const auto* product = ov::as_type<const op::v0::MatMul>(&last);
  if (product == nullptr || product->get_transpose_a() || product->get_transpose_b()) return std::nullopt;
  if (last.get_output_element_type(0) == ov::element::f64) return std::nullopt;
  const Value weights = last.input_value(0);
  if (!has_one_reader(weights) || !is_softmax_of_last(*weights.get_node())) return std::nullopt;
  nodes = {&last, weights.get_node()};
  FusedStep step;
  AttentionOperands operands;
  // Between the softmax and the first matmul: a mask, then scales.
  Value scores = weights.get_node()->input_value(0);
  if (const auto add = inner<op::v1::Add>(scores)) {
    for (const std::size_t at : {0, 1}) {
      const Value inside = add->input_value(at);
      if (operands.mask || (!inner<op::v1::Multiply>(inside) && !inner<op::v0::MatMul>(inside))) continue;
      operands.mask = mask_of(*add, inside);
      if (operands.mask) scores = inside;
    }
    if (!operands.mask) return std::nullopt;
    nodes.push_back(add.get());
  }
  while (const auto multiply = inner<op::v1::Multiply>(scores)) {
    const auto operand = constant_operand(*multiply);
    const auto scale = operand ? scalar_of(operand->constant) : std::nullopt;
    if (!scale) return std::nullopt;
    step.alpha *= *scale;
    scores = operand->other;
    nodes.push_back(multiply.get());
  }
  const auto first = inner<op::v0::MatMul>(scores);
  if (first == nullptr || first->get_transpose_a()) return std::nullopt;
  nodes.push_back(first.get());
  operands.q = first->input_value(0);
  operands.k = first->input_value(1);
  operands.k_is_transposed = !first->get_transpose_b();
  operands.v = last.input_value(1);
  if (!shapes_fit(operands, scores.get_shape())) return std::nullopt;
  step.core = &last;
  step.value = last.output(0);
  step.attention = std::move(operands);
  return step;
}

}  // namespace inflight::cuda
