// SPDX-License-Identifier: Apache-2.0
// Operators that compute each element by itself.
#include <fmt/format.h>

#include <algorithm>

#include "mx/arithmetic.h"

namespace inflight::mx::detail {
namespace {

// Inputs that have one shape: what is unknown is that of another.
Status same_shapes(const Params&, Shapes& shapes) {
  const auto known =
      std::find_if(shapes.begin(), shapes.end(), [](const auto& shape) { return shape.has_value(); });
  if (known == shapes.end()) return {};
  const Shape first = **known;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (!shapes[i].has_value()) shapes[i] = first;
    if (*shapes[i] == first) continue;
    return {StatusCode::kInvalidArgument,
            fmt::format(
                "inputs: got {} and {}, want the same shape; the broadcast_ operators take different ones",
                first.to_string(), shapes[i]->to_string())};
  }
  return {};
}

const BinaryFunction* binary_of(std::string_view row_name) {
  for (const BinaryFunction& function : binary_functions()) {
    if (function.elemwise == row_name || function.broadcast == row_name || function.scalar == row_name ||
        function.reverse == row_name)
      return &function;
  }
  return nullptr;
}

Status build_binary(Lowering& call) {
  call.out = {apply_binary(*binary_of(call.row.name), call.in[0], call.in[1])};
  return {};
}

// The shapes fit where the extents are the same or 1, from the last axis on.
Status build_broadcast(Lowering& call) {
  const Ints a = dims(call.in[0]);
  const Ints b = dims(call.in[1]);
  for (std::size_t i = 1; i <= std::min(a.size(), b.size()); ++i) {
    const std::int64_t x = a[a.size() - i];
    const std::int64_t y = b[b.size() - i];
    if (x != y && x != 1 && y != 1) {
      return {
          StatusCode::kInvalidArgument,
          fmt::format("inputs: got {} and {}, which do not broadcast: {} and {} are neither the same nor 1",
                      text_of(a), text_of(b), x, y)};
    }
  }
  return build_binary(call);
}

// The scalar as one element of x's type, computed in the type that the operator computes in.
Value scalar_of(const Lowering& call, const Value& x) {
  if (call.scalar.has_value()) return converted(*call.scalar, x.get_element_type());
  double value = call.params.number("scalar");
  // As a conversion of the scalar to an integer type does.
  if (is_integer(x.get_element_type())) value = static_cast<double>(static_cast<std::int64_t>(value));
  return constant_like(x, value);
}

Status build_scalar(Lowering& call) {
  const Value& data = call.in[0];
  const BinaryFunction& function = *binary_of(call.row.name);
  const Value x = widened(data);
  const Value scalar = scalar_of(call, x);
  const Value result =
      function.reverse == call.row.name ? function.apply(scalar, x) : function.apply(x, scalar);
  call.out = {converted(result, data.get_element_type())};
  return {};
}

Status build_unary(Lowering& call) {
  call.out = {apply_unary(call.row.name, call.in[0])};
  return {};
}

Status build_identity(Lowering& call) {
  call.out = {call.in[0]};
  return {};
}

Status build_add_n(Lowering& call) {
  const auto type = call.in[0].get_element_type();
  Value sum = widened(call.in[0]);
  for (std::size_t i = 1; i < call.in.size(); ++i) sum = add(sum, widened(call.in[i]));
  call.out = {converted(sum, type)};
  return {};
}

Status build_cast(Lowering& call) {
  const Value& x = call.in[0];
  const auto to = element_type(call.params.dtype("dtype"));
  if (to == ov::element::boolean) {
    call.out = {make<ov::op::v1::NotEqual>(x, constant_like(x, 0))};
  } else if (is_small_integer(to) && !is_integer(x.get_element_type())) {
    call.out = {converted(converted(x, ov::element::i32), to)};  // wraps around, where it would saturate
  } else {
    call.out = {converted(x, to)};
  }
  return {};
}

Status build_clip(Lowering& call) {
  const auto type = call.in[0].get_element_type();
  const Value x = widened(call.in[0]);
  double low = call.params.number("a_min");
  double high = call.params.number("a_max");
  if (low > high)
    return bad_attribute("a_min", fmt::format("{}", low), fmt::format("at most a_max, {}", high));
  const Value above = make<ov::op::v1::Maximum>(x, constant_like(x, low));
  call.out = {converted(make<ov::op::v1::Minimum>(above, constant_like(x, high)), type)};
  return {};
}

Status build_hard_sigmoid(Lowering& call) {
  const Value x = real(call.in[0]);
  const Value line = add(multiply(x, constant_like(x, call.params.number("alpha"))),
                         constant_like(x, call.params.number("beta")));
  const Value above = make<ov::op::v1::Maximum>(line, constant_like(x, 0));
  call.out = {
      converted(make<ov::op::v1::Minimum>(above, constant_like(x, 1)), call.in[0].get_element_type())};
  return {};
}

// 0.5 (sigma x)^2 where |x| < 1 / sigma^2, else |x| - 0.5 / sigma^2.
Status build_smooth_l1(Lowering& call) {
  const Value x = real(call.in[0]);
  const double square = call.params.number("scalar") * call.params.number("scalar");
  if (square == 0) return bad_attribute("scalar", "0", "another number");
  const Value size = make<ov::op::v0::Abs>(x);
  const Value near = multiply(multiply(x, x), constant_like(x, 0.5 * square));
  const Value far = subtract(size, constant_like(x, 0.5 / square));
  const Value is_far = make<ov::op::v1::Greater>(size, constant_like(x, 1 / square));
  call.out = {converted(make<ov::op::v1::Select>(is_far, far, near), call.in[0].get_element_type())};
  return {};
}

Status build_where(Lowering& call) {
  const Value& condition = call.in[0];
  const Ints shape = dims(call.in[1]);
  if (shape != dims(call.in[2]))
    return bad_input("y", text_of(dims(call.in[2])), text_of(shape) + " as x has");
  Value truth = make<ov::op::v1::NotEqual>(condition, constant_like(condition, 0));
  if (dims(condition) != shape) {
    // One truth a row.
    if (rank(condition) != 1 || shape.empty() || dims(condition)[0] != shape[0]) {
      return bad_input("condition", text_of(dims(condition)),
                       text_of(shape) + " as x has, or one element for each of its rows");
    }
    Ints rows(shape.size(), 1);
    rows[0] = shape[0];
    truth = reshaped(truth, rows);
  }
  call.out = {make<ov::op::v1::Select>(truth, call.in[1], call.in[2])};
  return {};
}

Status where_shapes(const Params&, Shapes& shapes) {
  for (const int i : {1, 2}) {
    auto& other = shapes[static_cast<std::size_t>(3 - i)];
    if (!shapes[static_cast<std::size_t>(i)].has_value()) shapes[static_cast<std::size_t>(i)] = other;
  }
  return {};
}

Status build_regression(Lowering& call) {
  call.out = {call.row.name == "LogisticRegressionOutput" ? apply_unary("sigmoid", call.in[0]) : call.in[0]};
  return {};
}

}  // namespace

void add_elementwise_rows(std::vector<OpRow>& rows) {
  for (const BinaryFunction& function : binary_functions()) {
    rows.push_back({.name = function.elemwise,
                    .aliases = function.aliases,
                    .inputs = {"lhs", "rhs"},
                    .complete = same_shapes,
                    .build = build_binary});
    rows.push_back({.name = function.broadcast,
                    .aliases = function.broadcast_aliases,
                    .inputs = {"lhs", "rhs"},
                    .build = build_broadcast});
  }
  for (const UnaryFunction& function : unary_functions()) {
    if (function.name == "softrelu") continue;  // MXNet has it as an Activation only
    rows.push_back({.name = function.name, .aliases = function.aliases, .build = build_unary});
  }
  rows.push_back({.name = "_copy", .aliases = {"identity"}, .any_dtype = true, .build = build_identity});
  rows.push_back(
      {.name = "BlockGrad", .aliases = {"stop_gradient"}, .any_dtype = true, .build = build_identity});
  rows.push_back({.name = "make_loss", .any_dtype = true, .build = build_identity});
  rows.push_back({.name = "MakeLoss",
                  .attrs = {{"grad_scale", AttrKind::kFloat, "1"},
                            {"valid_thresh", AttrKind::kFloat, "0"},
                            {"normalization", AttrKind::kEnum, "null", "null|batch|valid"}},
                  .build = build_identity});
  for (const char* name : {"LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput"}) {
    rows.push_back({.name = name,
                    .attrs = {{"grad_scale", AttrKind::kFloat, "1"}},
                    .inputs = {"data", "label"},
                    .complete = same_shapes,
                    .free_inputs = 2,
                    .build = build_regression});
  }
  rows.push_back({.name = "add_n",
                  .aliases = {"ElementWiseSum"},
                  .attrs = {{"num_args", AttrKind::kInt}},
                  .inputs = {"args"},
                  .variadic = true,
                  .complete = same_shapes,
                  .build = build_add_n});
  rows.push_back({.name = "Cast",
                  .aliases = {"cast"},
                  .attrs = {{"dtype", AttrKind::kDType}},
                  .type = TypeRule::kDTypeAttr,
                  .any_dtype = true,
                  .build = build_cast});
  rows.push_back({.name = "clip",
                  .attrs = {{"a_min", AttrKind::kFloat}, {"a_max", AttrKind::kFloat}},
                  .build = build_clip});
  rows.push_back({.name = "hard_sigmoid",
                  .attrs = {{"alpha", AttrKind::kFloat, "0.2"}, {"beta", AttrKind::kFloat, "0.5"}},
                  .build = build_hard_sigmoid});
  rows.push_back(
      {.name = "smooth_l1", .attrs = {{"scalar", AttrKind::kFloat, "1"}}, .build = build_smooth_l1});
  rows.push_back({.name = "where",
                  .inputs = {"condition", "x", "y"},
                  .complete = where_shapes,
                  .free_inputs = 1,
                  .build = build_where});
}

void add_scalar_rows(std::vector<OpRow>& rows) {
  for (const BinaryFunction& function : binary_functions()) {
    const auto add_row = [&](std::string_view name, std::string_view alias) {
      rows.push_back({.name = name,
                      .aliases = {alias},
                      .attrs = {{"scalar", AttrKind::kFloat, "1"}, {"is_int", AttrKind::kBool, "True"}},
                      .scalar = true,
                      .build = build_scalar});
    };
    add_row(function.scalar, function.scalar_alias);
    if (!function.reverse.empty()) add_row(function.reverse, function.reverse_alias);
  }
}

}  // namespace inflight::mx::detail
