// SPDX-License-Identifier: Apache-2.0
// Operators whose element needs one element of each input.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <openvino/op/ops.hpp>
#include <openvino/op/util/binary_elementwise_arithmetic.hpp>

#include "backends/cuda/emitter.h"

namespace inflight::cuda {
namespace {

using Arguments = std::vector<std::string>;
// The element, given those of the inputs.
using Expression = std::function<std::string(const ov::Node&, const Arguments&)>;

std::map<std::string, Expression>& expressions() {
  static std::map<std::string, Expression> table;
  return table;
}

std::string number(const ov::Node& node, double value) {
  return literal(value, node.get_output_element_type(0));
}

// The inputs' broadcasting. Operators without the attribute broadcast as NumPy does.
ov::op::AutoBroadcastSpec broadcast_of(const ov::Node& node) { return node.get_autob(); }

Indices input_indices(const ov::Node& node, std::size_t input, const Indices& at) {
  const Extents in = extents_of(node.input_value(input));
  const Extents out = extents_of(node.output(0));
  // A slope with one dimension is one a channel.
  if (input == 1 && ov::is_type<ov::op::v0::PRelu>(&node) && in.size() == 1 && out.size() > 1 &&
      in[0] == out[1])
    return {at[1]};
  if (in.size() > out.size()) return Indices(in.size(), Emitter::constant(0));
  return broadcast_indices(in, out, broadcast_of(node), at);
}

Result<Lanes> emit_elementwise(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  std::vector<Lanes> inputs;
  for (std::size_t i = 0; i < node.get_input_size(); ++i) {
    INFLIGHT_TRY_ASSIGN(Lanes lanes, emit_moved(emitter, node.input_value(i), at, [&](const Indices& lane) {
                          return input_indices(node, i, lane);
                        }));
    inputs.push_back(std::move(lanes));
  }
  const Expression& expression = expressions().at(rule_key(node.get_type_info()));
  const std::string type = compute_type(node.get_output_element_type(0));
  Lanes lanes;
  for (std::size_t j = 0; j < at.size(); ++j) {
    Arguments arguments;
    for (const Lanes& input : inputs) arguments.push_back(input[j]);
    lanes.push_back(emitter.local(type, fmt::format("({})({})", type, expression(node, arguments))));
  }
  return lanes;
}

class Rules {
 public:
  explicit Rules(RuleTable& table) : table_(table) {}
  template <typename Op>
  Rules& add(Expression expression) {
    const std::string key = rule_key(Op::get_type_info_static());
    expressions()[key] = std::move(expression);
    table_[key] = {always_inline, emit_elementwise};
    return *this;
  }
  // `format` has {0}, {1}, ... for the inputs and T for the type of the output.
  template <typename Op>
  Rules& add(const char* format) {
    return add<Op>([format = std::string(format)](const ov::Node& node, const Arguments& a) {
      std::string text;
      const std::string type = compute_type(node.get_output_element_type(0));
      for (std::size_t i = 0; i < format.size(); ++i) {
        if (format[i] == '$')
          text += a[static_cast<std::size_t>(format[++i] - '0')];
        else if (format[i] == '#')
          text += type;
        else
          text += format[i];
      }
      return text;
    });
  }

 private:
  RuleTable& table_;
};

void add_unary(Rules& rules) {
  namespace op = ov::op;
  rules.add<op::v0::Abs>("m_abs($0)").add<op::v0::Ceiling>("m_ceil($0)").add<op::v0::Floor>("m_floor($0)");
  rules.add<op::v0::Negative>("-$0").add<op::v0::Sign>("m_sign($0)").add<op::v0::Exp>("m_exp($0)");
  rules.add<op::v0::Log>("m_log($0)").add<op::v0::Sqrt>("m_sqrt($0)").add<op::v0::Sin>("m_sin($0)");
  rules.add<op::v0::Cos>("m_cos($0)").add<op::v0::Tan>("m_tan($0)").add<op::v0::Asin>("m_asin($0)");
  rules.add<op::v0::Acos>("m_acos($0)").add<op::v0::Atan>("m_atan($0)").add<op::v0::Sinh>("m_sinh($0)");
  rules.add<op::v0::Cosh>("m_cosh($0)").add<op::v3::Asinh>("m_asinh($0)").add<op::v3::Acosh>("m_acosh($0)");
  rules.add<op::v3::Atanh>("m_atanh($0)").add<op::v0::Tanh>("m_tanh($0)").add<op::v0::Erf>("m_erf($0)");
  rules.add<op::v0::Relu>("m_max($0, (#)0)").add<op::v0::Sigmoid>("m_sigmoid($0)");
  rules.add<op::v4::HSwish>("$0 * m_min(m_max($0 + (#)3, (#)0), (#)6) / (#)6");
  rules.add<op::v5::HSigmoid>("m_min(m_max($0 + (#)3, (#)0), (#)6) / (#)6");
  rules.add<op::v4::Mish>("$0 * m_tanh(m_softplus($0))").add<op::v4::SoftPlus>("m_softplus($0)");
  rules.add<op::v9::SoftSign>("$0 / ((#)1 + m_abs($0))").add<op::v0::Gelu>("m_gelu($0)");
  rules.add<op::v1::LogicalNot>("!$0").add<op::v10::IsNaN>("m_isnan($0)");
  rules.add<op::v10::IsFinite>("$0 - $0 == 0").add<op::v16::Identity>("$0");
}

void add_unary_with_attributes(Rules& rules) {
  namespace op = ov::op;
  rules.add<op::v0::PRelu>("$0 >= (#)0 ? $0 : $0 * $1");
  rules.add<op::v0::Selu>("$2 * ($0 > (#)0 ? $0 : $1 * m_expm1($0))");
  rules.add<op::v0::HardSigmoid>("m_max((#)0, m_min((#)1, $1 * $0 + $2))");
  rules.add<op::v13::BitwiseNot>([](const ov::Node& node, const Arguments& a) {
    return fmt::format("{}{}", node.get_output_element_type(0) == ov::element::boolean ? '!' : '~', a[0]);
  });
  rules.add<op::v4::Swish>([](const ov::Node&, const Arguments& a) {
    return a.size() == 1 ? fmt::format("{0} * m_sigmoid({0})", a[0])
                         : fmt::format("{0} * m_sigmoid({0} * {1})", a[0], a[1]);
  });
  rules.add<op::v7::Gelu>([](const ov::Node& node, const Arguments& a) {
    const bool tanh =
        dynamic_cast<const op::v7::Gelu&>(node).get_approximation_mode() == op::GeluApproximationMode::TANH;
    return fmt::format("{}({})", tanh ? "m_gelu_tanh" : "m_gelu", a[0]);
  });
  rules.add<op::v0::Elu>([](const ov::Node& node, const Arguments& a) {
    const std::string alpha = number(node, dynamic_cast<const op::v0::Elu&>(node).get_alpha());
    return fmt::format("{0} < 0 ? {1} * m_expm1({0}) : {0}", a[0], alpha);
  });
  rules.add<op::v0::Clamp>([](const ov::Node& node, const Arguments& a) {
    const auto& clamp = dynamic_cast<const op::v0::Clamp&>(node);
    double low = clamp.get_min(), high = clamp.get_max();
    const ov::element::Type type = node.get_output_element_type(0);
    if (!type.is_real()) {  // the bounds of integers: those inside of [min, max] that the type can hold
      const int bits = static_cast<int>(type.bitwidth()) - (type.is_signed() ? 1 : 0);
      low = std::max(std::ceil(low), type.is_signed() ? -std::ldexp(1.0, bits) : 0.0);
      high = std::min(std::floor(high),
                      bits > 53 ? std::nextafter(std::ldexp(1.0, bits), 0) : std::ldexp(1.0, bits) - 1);
    }
    return fmt::format("m_min(m_max({}, {}), {})", a[0], number(node, low), number(node, high));
  });
  rules.add<op::v5::Round>([](const ov::Node& node, const Arguments& a) {
    const bool even =
        dynamic_cast<const op::v5::Round&>(node).get_mode() == op::v5::Round::RoundMode::HALF_TO_EVEN;
    return fmt::format("{}({})", even ? "m_rint" : "m_round", a[0]);
  });
  rules.add<op::v10::IsInf>([](const ov::Node& node, const Arguments& a) {
    const auto& attributes = dynamic_cast<const op::v10::IsInf&>(node).get_attributes();
    return fmt::format("m_isinf({0}) && (({0} < 0 && {1}) || ({0} > 0 && {2}))", a[0],
                       attributes.detect_negative ? 1 : 0, attributes.detect_positive ? 1 : 0);
  });
}

void add_binary(Rules& rules) {
  namespace op = ov::op;
  rules.add<op::v1::Add>("$0 + $1").add<op::v1::Subtract>("$0 - $1").add<op::v1::Multiply>("$0 * $1");
  rules.add<op::v1::Maximum>("m_max($0, $1)").add<op::v1::Minimum>("m_min($0, $1)");
  rules.add<op::v1::Power>("m_pow($0, $1)").add<op::v1::Mod>("m_mod($0, $1)");
  rules.add<op::v1::FloorMod>("m_floor_mod($0, $1)");
  rules.add<op::v0::SquaredDifference>("($0 - $1) * ($0 - $1)");
  rules.add<op::v1::Equal>("$0 == $1").add<op::v1::NotEqual>("$0 != $1").add<op::v1::Less>("$0 < $1");
  rules.add<op::v1::LessEqual>("$0 <= $1").add<op::v1::Greater>("$0 > $1");
  rules.add<op::v1::GreaterEqual>("$0 >= $1");
  rules.add<op::v1::LogicalAnd>("$0 && $1").add<op::v1::LogicalOr>("$0 || $1");
  rules.add<op::v1::LogicalXor>("!$0 != !$1").add<op::v0::Xor>("!$0 != !$1");
  rules.add<op::v13::BitwiseAnd>("$0 & $1").add<op::v13::BitwiseOr>("$0 | $1").add<op::v13::BitwiseXor>(
      "$0 ^ $1");
  rules.add<op::v15::BitwiseLeftShift>("$0 << $1").add<op::v15::BitwiseRightShift>("$0 >> $1");
  rules.add<op::v1::Select>("$0 ? $1 : $2");
  rules.add<op::v1::Divide>([](const ov::Node& node, const Arguments& a) {
    const bool floors = dynamic_cast<const op::v1::Divide&>(node).is_pythondiv() &&
                        node.get_output_element_type(0).is_signed() &&
                        !node.get_output_element_type(0).is_real();
    return fmt::format("{}({}, {})", floors ? "m_floor_div" : "m_div", a[0], a[1]);
  });
}

std::string convert(const ov::Node& node, const Arguments& a) {
  const ov::element::Type from = node.get_input_element_type(0), to = node.get_output_element_type(0);
  if (to == ov::element::boolean) return a[0] + " != 0";
  if (to == ov::element::f16 && from != to && from != ov::element::u8 && from != ov::element::i8)
    return fmt::format("round_f16((float){})", a[0]);
  if (to == ov::element::bf16 && from != to) return fmt::format("round_bf16((float){})", a[0]);
  // Through 64 bits: what a float out of the range of a small integer becomes is otherwise undefined.
  if (from.is_real() && !to.is_real()) return fmt::format("(long long){}", a[0]);
  return a[0];
}

std::string fake_quantize(const ov::Node& node, const Arguments& a) {
  const auto steps = dynamic_cast<const ov::op::v0::FakeQuantize&>(node).get_levels() - 1;
  return fmt::format(
      "{0} <= m_min({1}, {2}) ? {3} : {0} > m_max({1}, {2}) ? {4} : "
      "m_rint(({0} - {1}) / ({2} - {1}) * {5}) / {5} * ({4} - {3}) + {3}",
      a[0], a[1], a[2], a[3], a[4], number(node, static_cast<double>(steps)));
}

// gamma, beta, mean and variance have one element a channel.
template <typename Op, std::size_t kData>
Result<Lanes> emit_batch_norm(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  std::vector<Lanes> inputs;
  for (std::size_t i = 0; i < 5; ++i) {
    INFLIGHT_TRY_ASSIGN(Lanes lanes, emit_moved(emitter, node.input_value(i), at, [&](const Indices& lane) {
                          return i == kData ? lane : Indices{lane[1]};
                        }));
    inputs.push_back(std::move(lanes));
  }
  const Lanes data = inputs[kData];
  inputs.erase(inputs.begin() + kData);
  const std::string type = compute_type(node.get_output_element_type(0));
  const std::string epsilon = number(node, dynamic_cast<const Op&>(node).get_eps_value());
  Lanes lanes;
  for (std::size_t j = 0; j < at.size(); ++j)
    lanes.push_back(
        emitter.local(type, fmt::format("({} - {}) / m_sqrt({} + {}) * {} + {}", data[j], inputs[2][j],
                                        inputs[3][j], epsilon, inputs[0][j], inputs[1][j])));
  return lanes;
}

}  // namespace

void add_elementwise_rules(RuleTable& table) {
  namespace op = ov::op;
  Rules rules(table);
  add_unary(rules);
  add_unary_with_attributes(rules);
  add_binary(rules);
  rules.add<op::v0::Convert>(convert).add<op::v1::ConvertLike>(convert);
  rules.add<op::v0::FakeQuantize>(fake_quantize);
  table[rule_key(op::v0::BatchNormInference::get_type_info_static())] = {
      always_inline, emit_batch_norm<op::v0::BatchNormInference, 2>};
  table[rule_key(op::v5::BatchNormInference::get_type_info_static())] = {
      always_inline, emit_batch_norm<op::v5::BatchNormInference, 0>};
}

}  // namespace inflight::cuda
