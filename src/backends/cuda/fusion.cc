// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/fusion.h"

#include <algorithm>
#include <openvino/op/ops.hpp>
#include <openvino/op/util/op_types.hpp>

#include "backends/cuda/match_attention.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

// Multiplications below which a generated kernel does as well as a library's, and fuses with its neighbours.
constexpr std::size_t kTinyMultiplications = std::size_t{1} << 13;

std::optional<Activation> activation_of(const ov::Node& node) {
  if (ov::is_type<op::v0::Relu>(&node)) return Activation::kRelu;
  if (ov::is_type<op::v0::Sigmoid>(&node)) return Activation::kSigmoid;
  if (ov::is_type<op::v0::Tanh>(&node)) return Activation::kTanh;
  if (ov::is_type<op::v0::Gelu>(&node)) return Activation::kGelu;
  if (const auto* gelu = ov::as_type<const op::v7::Gelu>(&node))
    return gelu->get_approximation_mode() == op::GeluApproximationMode::ERF ? std::optional(Activation::kGelu)
                                                                            : std::nullopt;
  if (const auto* clamp = ov::as_type<const op::v0::Clamp>(&node))
    return clamp->get_min() == 0 && clamp->get_max() == 6 ? std::optional(Activation::kRelu6) : std::nullopt;
  if (ov::is_type<op::v4::Swish>(&node))
    return node.get_input_size() == 1 || scalar_of(node.input_value(1)) == 1.0
               ? std::optional(Activation::kSilu)
               : std::nullopt;
  return std::nullopt;
}

// Takes in the nodes behind one convolution or matmul.
class Chain {
 public:
  explicit Chain(Fusion& fusion) : fusion_(fusion) {}

  void grow(FusedStep& step) {
    for (;;) {
      // Another reader would need what lies between.
      if (!has_one_reader(step.value)) return;
      ov::Node* next = step.value.get_target_inputs().begin()->get_node();
      if (fusion_.contains(*next) || !take(step, *next)) return;
      fusion_.step_of[next] = fusion_.steps.size();
      step.value = next->output(0);
      if (step.activation != Activation::kNone) return;
    }
  }

 private:
  static bool take(FusedStep& step, const ov::Node& next) {
    if (next.get_output_size() != 1 || next.get_output_shape(0) != step.value.get_shape() ||
        next.get_output_element_type(0) != step.value.get_element_type())
      return false;
    if (const auto activation = activation_of(next)) {
      if (next.input_value(0) != step.value) return false;
      step.activation = *activation;
      return true;
    }
    if (ov::is_type<op::v1::Multiply>(&next)) return take_scale(step, next);
    return ov::is_type<op::v1::Add>(&next) && (take_bias(step, next) || take_residual(step, next));
  }

  static bool take_scale(FusedStep& step, const ov::Node& next) {
    if (step.is_convolution || step.bias || step.residual) return false;
    const auto operand = constant_operand(next);
    if (!operand) return false;
    const auto scalar = scalar_of(operand->constant);
    if (!scalar) return false;
    step.alpha *= *scalar;
    return true;
  }

  static bool take_bias(FusedStep& step, const ov::Node& next) {
    const auto operand = constant_operand(next);
    if (!operand || step.bias) return false;
    const ov::Shape& shape = step.value.get_shape();
    step.bias = values_along(operand->constant, shape, step.is_convolution ? 1 : shape.size() - 1);
    return step.bias.has_value();
  }

  static bool take_residual(FusedStep& step, const ov::Node& next) {
    if (step.residual) return false;
    const Value other = next.input_value(next.input_value(0) == step.value ? 1 : 0);
    if (other == step.value || other.get_shape() != step.value.get_shape()) return false;
    if (step.is_convolution && constant_of(other) != nullptr) return false;
    step.residual = other;
    return true;
  }

  Fusion& fusion_;
};

}  // namespace

std::vector<Value> FusedStep::operands() const {
  std::vector<Value> values;
  if (attention) {
    values = {attention->q, attention->k, attention->v};
    if (attention->mask) values.push_back(*attention->mask);
    return values;
  }
  values = {core->input_value(0), core->input_value(1)};
  if (residual) values.push_back(*residual);
  return values;
}

const FusedStep* Fusion::ending_at(const ov::Node& node) const {
  const auto found = step_of.find(&node);
  if (found == step_of.end()) return nullptr;
  const FusedStep& step = steps[found->second];
  return step.value.get_node() == &node ? &step : nullptr;
}

bool is_convolution_step(const ov::Node& node, bool has_kernel) {
  const bool grouped = ov::is_type<op::v1::GroupConvolution>(&node);
  if (!grouped && !ov::is_type<op::v1::Convolution>(&node)) return false;
  const ov::Shape& shape = node.get_output_shape(0);
  if (!node.get_output_element_type(0).is_real() || node.get_output_element_type(0) == ov::element::f64 ||
      shape.size() < 3 || shape.size() > 4)
    return false;
  const ov::Shape& weights = node.get_input_shape(1);
  // What normalise_group_convolution() leaves grouped is aligned, or depthwise.
  if (grouped && (weights[2] == 1 || weights[2] % 8 != 0 || weights[1] % 8 != 0)) return false;
  if (!has_kernel) return true;
  const std::size_t places = ov::shape_size(shape) / shape[1];
  return ov::shape_size(weights) * places >= kTinyMultiplications;
}

bool is_matmul_step(const ov::Node& node, bool has_kernel) {
  const auto* matmul = ov::as_type<const op::v0::MatMul>(&node);
  if (matmul == nullptr || !node.get_output_element_type(0).is_real() ||
      node.get_output_element_type(0) == ov::element::f64)
    return false;
  const ov::Shape& a = node.get_input_shape(0);
  if (a.size() < 2 || node.get_input_shape(1).size() < 2) return false;
  if (!has_kernel) return true;
  const std::size_t depth = a[a.size() - (matmul->get_transpose_a() ? 2 : 1)];
  return ov::shape_size(node.get_output_shape(0)) * depth >= kTinyMultiplications;
}

Fusion fuse_steps(const ov::Model& network, const std::function<bool(const ov::Node&)>& has_kernel,
                  bool attention) {
  Fusion fusion;
  const auto nodes = network.get_ordered_ops();
  // Of two that meet in one Add, the later takes the earlier's value as its residual.
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    if (fusion.contains(**node)) continue;
    if (attention) {
      std::vector<const ov::Node*> nodes_of;
      if (auto fused = match_attention(**node, nodes_of)) {
        for (const ov::Node* each : nodes_of) fusion.step_of[each] = fusion.steps.size();
        fusion.steps.push_back(std::move(*fused));
        continue;
      }
    }
    FusedStep step;
    const bool kernel = has_kernel(**node);
    step.is_convolution = is_convolution_step(**node, kernel);
    if (!step.is_convolution && !is_matmul_step(**node, kernel)) continue;
    step.core = node->get();
    step.value = (*node)->output(0);
    fusion.step_of[step.core] = fusion.steps.size();
    Chain(fusion).grow(step);
    fusion.steps.push_back(std::move(step));
  }
  return fusion;
}

}  // namespace inflight::cuda
