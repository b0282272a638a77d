// SPDX-License-Identifier: Apache-2.0
// The formulas are those of MXNet's src/operator/mshadow_op.h, written with the operators that OpenVINO has.
#include "mx/arithmetic.h"

#include <numbers>

#include "base/check.h"

namespace inflight::mx::detail {
namespace {

Value compare_back(const Value& boolean, const Value& like) {
  return converted(boolean, like.get_element_type());
}
Value truth(const Value& x) { return make<ov::op::v1::NotEqual>(x, constant_like(x, 0)); }
Value select(const Value& condition, const Value& yes, const Value& no) {
  return make<ov::op::v1::Select>(condition, yes, no);
}
Value less(const Value& a, const Value& b) { return make<ov::op::v1::Less>(a, b); }
Value absolute(const Value& x) { return make<ov::op::v0::Abs>(x); }
Value floor_of(const Value& x) { return make<ov::op::v0::Floor>(x); }
Value ceil_of(const Value& x) { return make<ov::op::v0::Ceiling>(x); }
Value exp_of(const Value& x) { return make<ov::op::v0::Exp>(x); }
Value log_of(const Value& x) { return make<ov::op::v0::Log>(x); }
Value sign_of(const Value& x) { return make<ov::op::v0::Sign>(x); }
Value root(const Value& x) { return make<ov::op::v0::Sqrt>(x); }
Value scaled(const Value& x, double factor) { return multiply(x, constant_like(x, factor)); }
Value plus(const Value& x, double term) { return add(x, constant_like(x, term)); }
Value inverse(const Value& x) { return divide(constant_like(x, 1), x); }
Value cube_root(const Value& x) {
  return multiply(sign_of(x), make<ov::op::v1::Power>(absolute(x), constant_like(x, 1.0 / 3)));
}

// Of integers: a = quotient * b + remainder, where the remainder has the sign of b. Where b is 0, both are 0.
// OpenVINO divides integers as f32, which is not exact past 24 bits; what that leaves is divided again.
struct Division {
  Value quotient;
  Value remainder;
};
Division floor_division(const Value& a, const Value& b) {
  const Value zero = constant_like(a, 0);
  const Value one = constant_like(a, 1);
  const Value by_zero = make<ov::op::v1::Equal>(b, zero);
  const Value safe = select(by_zero, one, b);
  const auto about = [&](const Value& x) {
    const Value ratio = divide(converted(x, ov::element::f32), converted(safe, ov::element::f32));
    return converted(floor_of(ratio), a.get_element_type());
  };
  Value quotient = about(a);
  Value remainder = subtract(a, multiply(quotient, safe));
  const Value more = about(remainder);
  quotient = add(quotient, more);
  remainder = subtract(remainder, multiply(more, safe));
  // By now at most one off.
  const Value wrong_sign = make<ov::op::v1::LogicalAnd>(
      truth(remainder), make<ov::op::v1::LogicalXor>(less(remainder, zero), less(safe, zero)));
  const Value too_large = make<ov::op::v1::GreaterEqual>(absolute(remainder), absolute(safe));
  const Value step = select(wrong_sign, constant_like(a, -1), select(too_large, one, zero));
  quotient = add(quotient, step);
  remainder = subtract(remainder, multiply(step, safe));
  return {select(by_zero, zero, quotient), select(by_zero, zero, remainder)};
}

// The sign of the divisor; 0 where that is 0.
Value modulo(const Value& a, const Value& b) {
  if (is_integer(a.get_element_type())) return floor_division(a, b).remainder;
  const Value zero = make<ov::op::v1::Equal>(b, constant_like(b, 0));
  return select(zero, constant_like(a, 0), make<ov::op::v1::FloorMod>(a, b));
}

// Integers towards zero.
Value quotient_of(const Value& a, const Value& b) {
  if (!is_integer(a.get_element_type())) return divide(a, b);
  const Division division = floor_division(a, b);
  const Value zero = constant_like(a, 0);
  const Value rounded_down = make<ov::op::v1::LogicalAnd>(
      truth(division.remainder), make<ov::op::v1::LogicalXor>(less(a, zero), less(b, zero)));
  return add(division.quotient, select(rounded_down, constant_like(a, 1), zero));
}

Value hypotenuse(const Value& a, const Value& b) {
  const auto type = a.get_element_type();
  const Value x = real(a);
  const Value y = real(b);
  return converted(root(add(multiply(x, x), multiply(y, y))), type);
}

// Towards the lower of two equally near integers.
Value rint(const Value& x) {
  const Value low = floor_of(x);
  const Value high = ceil_of(x);
  return select(make<ov::op::v1::LessEqual>(subtract(x, low), subtract(high, x)), low, high);
}

// Exact near 0, where 1 + x has lost the digits of x.
Value log1p(const Value& x) {
  const Value one = constant_like(x, 1);
  const Value u = add(x, one);
  const Value exact = make<ov::op::v1::Equal>(u, one);
  const Value slope = divide(x, select(exact, one, subtract(u, one)));
  // Where u is infinite, so is the logarithm.
  const Value far = make<ov::op::v1::Greater>(absolute(x), one);
  return select(exact, x, select(far, log_of(u), multiply(log_of(u), slope)));
}
Value expm1(const Value& x) {
  const Value t = make<ov::op::v0::Tanh>(scaled(x, 0.5));
  const Value near = divide(scaled(t, 2), subtract(constant_like(x, 1), t));
  return select(less(absolute(x), constant_like(x, 0.5)), near, plus(exp_of(x), -1));
}

const std::vector<BinaryFunction>& binary_table() {
  using V = const Value&;
  static const std::vector<BinaryFunction> table = {
      {"add",
       "elemwise_add",
       {"_add", "_plus", "_Plus"},
       "broadcast_add",
       {"broadcast_plus"},
       "_plus_scalar",
       "_PlusScalar",
       "",
       "",
       [](V a, V b) { return add(a, b); }},
      {"sub",
       "elemwise_sub",
       {"_sub", "_minus", "_Minus"},
       "broadcast_sub",
       {"broadcast_minus"},
       "_minus_scalar",
       "_MinusScalar",
       "_rminus_scalar",
       "_RMinusScalar",
       [](V a, V b) { return subtract(a, b); }},
      {"mul",
       "elemwise_mul",
       {"_mul", "_Mul"},
       "broadcast_mul",
       {},
       "_mul_scalar",
       "_MulScalar",
       "",
       "",
       [](V a, V b) { return multiply(a, b); }},
      {"div",
       "elemwise_div",
       {"_div", "_Div"},
       "broadcast_div",
       {},
       "_div_scalar",
       "_DivScalar",
       "_rdiv_scalar",
       "_RDivScalar",
       quotient_of},
      {"mod",
       "_mod",
       {"_Mod"},
       "broadcast_mod",
       {},
       "_mod_scalar",
       "_ModScalar",
       "_rmod_scalar",
       "_RModScalar",
       modulo},
      {"power",
       "_power",
       {"_Power", "pow"},
       "broadcast_power",
       {},
       "_power_scalar",
       "_PowerScalar",
       "_rpower_scalar",
       "_RPowerScalar",
       [](V a, V b) { return converted(make<ov::op::v1::Power>(real(a), real(b)), a.get_element_type()); }},
      {"maximum",
       "_maximum",
       {"_Maximum"},
       "broadcast_maximum",
       {},
       "_maximum_scalar",
       "_MaximumScalar",
       "",
       "",
       [](V a, V b) { return make<ov::op::v1::Maximum>(a, b); }},
      {"minimum",
       "_minimum",
       {"_Minimum"},
       "broadcast_minimum",
       {},
       "_minimum_scalar",
       "_MinimumScalar",
       "",
       "",
       [](V a, V b) { return make<ov::op::v1::Minimum>(a, b); }},
      {"hypot",
       "_hypot",
       {"_Hypot"},
       "broadcast_hypot",
       {},
       "_hypot_scalar",
       "_HypotScalar",
       "",
       "",
       hypotenuse},
      {"equal",
       "_equal",
       {"_Equal"},
       "broadcast_equal",
       {},
       "_equal_scalar",
       "_EqualScalar",
       "",
       "",
       [](V a, V b) { return compare_back(make<ov::op::v1::Equal>(a, b), a); }},
      {"not_equal",
       "_not_equal",
       {"_Not_Equal"},
       "broadcast_not_equal",
       {},
       "_not_equal_scalar",
       "_NotEqualScalar",
       "",
       "",
       [](V a, V b) { return compare_back(make<ov::op::v1::NotEqual>(a, b), a); }},
      {"greater",
       "_greater",
       {"_Greater"},
       "broadcast_greater",
       {},
       "_greater_scalar",
       "_GreaterScalar",
       "",
       "",
       [](V a, V b) { return compare_back(make<ov::op::v1::Greater>(a, b), a); }},
      {"greater_equal",
       "_greater_equal",
       {"_Greater_Equal"},
       "broadcast_greater_equal",
       {},
       "_greater_equal_scalar",
       "_GreaterEqualScalar",
       "",
       "",
       [](V a, V b) { return compare_back(make<ov::op::v1::GreaterEqual>(a, b), a); }},
      {"lesser",
       "_lesser",
       {"_Lesser"},
       "broadcast_lesser",
       {},
       "_lesser_scalar",
       "_LesserScalar",
       "",
       "",
       [](V a, V b) { return compare_back(less(a, b), a); }},
      {"lesser_equal",
       "_lesser_equal",
       {"_Lesser_Equal"},
       "broadcast_lesser_equal",
       {},
       "_lesser_equal_scalar",
       "_LesserEqualScalar",
       "",
       "",
       [](V a, V b) { return compare_back(make<ov::op::v1::LessEqual>(a, b), a); }},
      {"logical_and",
       "_logical_and",
       {"_Logical_And"},
       "broadcast_logical_and",
       {},
       "_logical_and_scalar",
       "_LogicalAndScalar",
       "",
       "",
       [](V a, V b) { return compare_back(make<ov::op::v1::LogicalAnd>(truth(a), truth(b)), a); }},
      {"logical_or",
       "_logical_or",
       {"_Logical_Or"},
       "broadcast_logical_or",
       {},
       "_logical_or_scalar",
       "_LogicalOrScalar",
       "",
       "",
       [](V a, V b) { return compare_back(make<ov::op::v1::LogicalOr>(truth(a), truth(b)), a); }},
      {"logical_xor",
       "_logical_xor",
       {"_Logical_Xor"},
       "broadcast_logical_xor",
       {},
       "_logical_xor_scalar",
       "_LogicalXorScalar",
       "",
       "",
       [](V a, V b) { return compare_back(make<ov::op::v1::LogicalXor>(truth(a), truth(b)), a); }},
  };
  return table;
}

const std::vector<UnaryFunction>& unary_table() {
  using V = const Value&;
  constexpr double kDegrees = 180 / std::numbers::pi;
  static const std::vector<UnaryFunction> table = {
      {"negative", {"_np_negative"}, [](V x) { return make<ov::op::v0::Negative>(x); }, true},
      {"abs", {}, absolute, true},
      {"sign", {}, sign_of, true},
      {"square", {}, [](V x) { return multiply(x, x); }, true},
      {"relu", {}, [](V x) { return make<ov::op::v1::Maximum>(x, constant_like(x, 0)); }, true},
      {"logical_not",
       {},
       [](V x) { return compare_back(make<ov::op::v1::Equal>(x, constant_like(x, 0)), x); },
       true},
      {"round",
       {},
       [](V x) { return make<ov::op::v5::Round>(x, ov::op::v5::Round::RoundMode::HALF_AWAY_FROM_ZERO); }},
      {"rint", {}, rint},
      {"ceil", {}, ceil_of},
      {"floor", {}, floor_of},
      {"trunc", {}, [](V x) { return multiply(sign_of(x), floor_of(absolute(x))); }},
      {"fix", {}, [](V x) { return multiply(sign_of(x), floor_of(absolute(x))); }},
      {"sqrt", {}, root},
      {"rsqrt", {}, [](V x) { return inverse(root(x)); }},
      {"cbrt", {}, cube_root},
      {"rcbrt", {}, [](V x) { return inverse(cube_root(x)); }},
      {"exp", {}, exp_of},
      {"log", {}, log_of},
      {"log10", {}, [](V x) { return scaled(log_of(x), 1 / std::numbers::ln10); }},
      {"log2", {}, [](V x) { return scaled(log_of(x), 1 / std::numbers::ln2); }},
      {"log1p", {}, log1p},
      {"expm1", {}, expm1},
      {"sin", {}, [](V x) { return make<ov::op::v0::Sin>(x); }},
      {"cos", {}, [](V x) { return make<ov::op::v0::Cos>(x); }},
      {"tan", {}, [](V x) { return make<ov::op::v0::Tan>(x); }},
      {"arcsin", {}, [](V x) { return make<ov::op::v0::Asin>(x); }},
      {"arccos", {}, [](V x) { return make<ov::op::v0::Acos>(x); }},
      {"arctan", {}, [](V x) { return make<ov::op::v0::Atan>(x); }},
      {"sinh", {}, [](V x) { return make<ov::op::v0::Sinh>(x); }},
      {"cosh", {}, [](V x) { return make<ov::op::v0::Cosh>(x); }},
      {"tanh", {}, [](V x) { return make<ov::op::v0::Tanh>(x); }},
      {"arcsinh", {}, [](V x) { return make<ov::op::v3::Asinh>(x); }},
      {"arccosh", {}, [](V x) { return make<ov::op::v3::Acosh>(x); }},
      {"arctanh", {}, [](V x) { return make<ov::op::v3::Atanh>(x); }},
      {"degrees", {}, [](V x) { return scaled(x, kDegrees); }},
      {"radians", {}, [](V x) { return scaled(x, 1 / kDegrees); }},
      {"sigmoid", {}, [](V x) { return make<ov::op::v0::Sigmoid>(x); }},
      {"softsign", {}, [](V x) { return divide(x, plus(absolute(x), 1)); }},
      {"softrelu", {}, [](V x) { return make<ov::op::v4::SoftPlus>(x); }},
      {"erf", {}, [](V x) { return make<ov::op::v0::Erf>(x); }},
      {"reciprocal", {}, inverse},
  };
  return table;
}

}  // namespace

std::span<const BinaryFunction> binary_functions() { return binary_table(); }
std::span<const UnaryFunction> unary_functions() { return unary_table(); }

Value apply_binary(const BinaryFunction& function, const Value& a, const Value& b) {
  const auto type = a.get_element_type();
  return converted(function.apply(widened(a), widened(b)), type);
}

Value apply_unary(std::string_view name, const Value& x) {
  for (const UnaryFunction& function : unary_table()) {
    if (function.name != name) continue;
    const auto type = x.get_element_type();
    const Value wide = function.keeps_integers ? widened(x) : real(x);
    return converted(function.apply(wide), type);
  }
  INFLIGHT_CHECK(!"a function that is not in the table");
  return x;
}

}  // namespace inflight::mx::detail
