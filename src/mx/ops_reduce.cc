// SPDX-License-Identifier: Apache-2.0
// Operators that make one value of many, order values, or multiply matrices.
#include <fmt/format.h>

#include <algorithm>

#include "mx/build.h"

namespace inflight::mx::detail {
namespace {

// The axes that a reduction takes, in order. All where none is named.
Result<Ints> reduced_axes(const Lowering& call, const Value& x) {
  Ints axes;
  const bool all = call.params.none("axis") || call.params.optional_ints("axis").empty();
  const bool exclude = call.params.has("exclude") && call.params.flag("exclude");
  std::vector<bool> taken(static_cast<std::size_t>(rank(x)), all);
  if (!all) {
    for (const std::int64_t given : call.params.ints("axis")) {
      INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", given, x));
      if (taken[static_cast<std::size_t>(axis)])
        return bad_attribute("axis", text_of(call.params.ints("axis")), "each axis once");
      taken[static_cast<std::size_t>(axis)] = true;
    }
    if (exclude) taken.flip();
  }
  for (std::size_t i = 0; i < taken.size(); ++i) {
    if (taken[i]) axes.push_back(static_cast<std::int64_t>(i));
  }
  return axes;
}

// What MXNet makes of a result without axes: shape (1,).
Value at_least_one_axis(const Value& x) { return rank(x) == 0 ? reshaped(x, {1}) : x; }

Value reduced(std::string_view name, const Value& x, const Ints& axes, bool keep) {
  if (axes.empty()) return x;
  if (name == "mean") return make<ov::op::v1::ReduceMean>(x, ints(axes), keep);
  if (name == "prod" || name == "nanprod") return make<ov::op::v1::ReduceProd>(x, ints(axes), keep);
  if (name == "max") return make<ov::op::v1::ReduceMax>(x, ints(axes), keep);
  if (name == "min") return make<ov::op::v1::ReduceMin>(x, ints(axes), keep);
  return make<ov::op::v1::ReduceSum>(x, ints(axes), keep);
}

Status build_reduce(Lowering& call) {
  Value x = widened(call.in[0]);
  const auto type = call.in[0].get_element_type();
  const std::string_view name = call.row.name;
  INFLIGHT_TRY_ASSIGN(const Ints axes, reduced_axes(call, x));
  if (name.starts_with("nan") && !is_integer(x.get_element_type())) {
    const Value is_number = make<ov::op::v1::Equal>(x, x);
    x = make<ov::op::v1::Select>(is_number, x, constant_like(x, name == "nanprod" ? 1 : 0));
  }
  if (name == "mean" && is_integer(type)) x = converted(x, ov::element::f32);
  const Value result = reduced(name, x, axes, call.params.flag("keepdims"));
  call.out = {at_least_one_axis(converted(result, type))};
  return {};
}

Status build_norm(Lowering& call) {
  const Value x = real(call.in[0]);
  const std::int64_t order = call.params.integer("ord");
  if (order != 1 && order != 2) return bad_attribute("ord", fmt::format("{}", order), "1 or 2");
  INFLIGHT_TRY_ASSIGN(const Ints axes, reduced_axes(call, x));
  const bool keep = call.params.flag("keepdims");
  const Value result = order == 1 ? make<ov::op::v4::ReduceL1>(x, ints(axes), keep)
                                  : make<ov::op::v0::Sqrt>(reduced("sum", multiply(x, x), axes, keep));
  const auto type =
      call.params.none("dtype") ? call.in[0].get_element_type() : element_type(call.params.dtype("dtype"));
  call.out = {at_least_one_axis(converted(result, type))};
  return {};
}

// The axis that an ordering works on; `x` becomes flat where the attribute is "None".
Result<std::int64_t> ordering_axis(const Lowering& call, Value& x) {
  if (!call.params.none("axis")) return checked_axis("axis", call.params.integer("axis"), x);
  x = reshaped(x, {elements(x)});
  return std::int64_t{0};
}

// Values and indices of the k first, equal ones in the order in which they stand.
ov::OutputVector ordered(const Value& x, std::int64_t axis, std::int64_t k, bool ascending) {
  const auto mode = ascending ? ov::op::TopKMode::MIN : ov::op::TopKMode::MAX;
  return std::make_shared<ov::op::v11::TopK>(x, integer(k), axis, mode, ov::op::TopKSortType::SORT_VALUES,
                                             ov::element::i32, true)
      ->outputs();
}

Status build_arg_extreme(Lowering& call) {
  Value x = widened(call.in[0]);
  const std::int64_t axes_before = rank(x);
  const bool all = call.row.name != "argmax_channel" && call.params.none("axis");
  std::int64_t axis = rank(x) - 1;
  if (call.row.name == "argmax_channel") {
    if (axes_before < 2) return bad_input("data", text_of(dims(x)), "two axes at least");
    axis = 1;
  } else {
    INFLIGHT_TRY_ASSIGN(axis, ordering_axis(call, x));
  }
  Ints to = dims(x);
  const bool keep = call.row.name != "argmax_channel" && call.params.flag("keepdims");
  if (all) {
    to = keep ? Ints(static_cast<std::size_t>(axes_before), 1) : Ints{1};
  } else if (keep) {
    to[static_cast<std::size_t>(axis)] = 1;
  } else {
    to.erase(to.begin() + axis);
    if (to.empty()) to = {1};
  }
  const auto found = ordered(x, axis, 1, call.row.name == "argmin");
  call.out = {converted(reshaped(found[1], to), ov::element::f32)};
  return {};
}

Status check_index_type(DType dtype) {
  if (dtype != DType::kF64) return {};
  return {StatusCode::kUnsupported, "attribute dtype: got float64, want int32, int64 or float32"};
}

Status build_topk(Lowering& call) {
  Value x = call.in[0];
  INFLIGHT_TRY(check_index_type(call.params.dtype("dtype")));
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, ordering_axis(call, x));
  const std::int64_t length = dims(x)[static_cast<std::size_t>(axis)];
  std::int64_t k = call.params.integer("k");
  if (k > length) return bad_attribute("k", fmt::format("{}", k), fmt::format("at most {}", length));
  if (k < 1) k = length;
  const auto index_type = element_type(call.params.dtype("dtype"));
  const auto found = ordered(widened(x), axis, k, call.params.flag("is_ascend"));
  const Value values = converted(found[0], x.get_element_type());
  const Value indices = converted(found[1], index_type);
  const std::string& type = call.params.text("ret_typ");
  if (type == "mask") {
    // A one at each index found, in the shape of the input.
    const Value zeros = broadcast_to(constant_like(x, 0), dims(x));
    const Value ones = broadcast_to(constant_like(x, 1), dims(found[1]));
    const Value mask = make<ov::op::v3::ScatterElementsUpdate>(zeros, found[1], ones, integer(axis));
    call.out = {reshaped(mask, dims(call.in[0]))};
  } else if (type == "both") {
    call.out = {values, indices};
  } else {
    call.out = {type == "value" ? values : indices};
  }
  return {};
}

int topk_outputs(const Params& params) { return params.text("ret_typ") == "both" ? 2 : 1; }

DType topk_type(const Params& params, DType data, int index) {
  const std::string& type = params.text("ret_typ");
  if (type == "mask" || type == "value" || (type == "both" && index == 0)) return data;
  return params.dtype("dtype");
}

Status build_sort(Lowering& call) {
  Value x = call.in[0];
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, ordering_axis(call, x));
  const auto found =
      ordered(widened(x), axis, dims(x)[static_cast<std::size_t>(axis)], call.params.flag("is_ascend"));
  if (call.row.name == "sort") {
    call.out = {converted(found[0], x.get_element_type())};
  } else {
    INFLIGHT_TRY(check_index_type(call.params.dtype("dtype")));
    call.out = {converted(found[1], element_type(call.params.dtype("dtype")))};
  }
  return {};
}

Status build_cumsum(Lowering& call) {
  Value x = widened(call.in[0]);
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, ordering_axis(call, x));
  call.out = {converted(make<ov::op::v0::CumSum>(x, integer(axis)), call.in[0].get_element_type())};
  return {};
}

Status build_softmax(Lowering& call) {
  Value x = real(call.in[0]);
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", call.params.integer("axis"), x));
  if (!call.params.none("use_length") && call.params.flag("use_length"))
    return {StatusCode::kUnsupported,
            "attribute use_length: got True, want False: mask the data with where instead"};
  if (call.row.name == "softmin") x = make<ov::op::v0::Negative>(x);
  if (!call.params.none("temperature")) {
    const double temperature = call.params.number("temperature");
    if (temperature == 0) return bad_attribute("temperature", "0", "another number");
    x = divide(x, constant_like(x, temperature));
  }
  const Value result = call.row.name == "log_softmax" ? make<ov::op::v5::LogSoftmax>(x, axis)
                                                      : make<ov::op::v8::Softmax>(x, axis);
  const auto type =
      call.params.none("dtype") ? call.in[0].get_element_type() : element_type(call.params.dtype("dtype"));
  call.out = {converted(result, type)};
  return {};
}

// The last axis of one with the first of the other; the flags turn that round.
Status build_dot(Lowering& call) {
  const Ints a = dims(call.in[0]);
  const Ints b = dims(call.in[1]);
  const bool ta = call.params.flag("transpose_a");
  const bool tb = call.params.flag("transpose_b");
  if (a.empty() || b.empty()) return bad_input(a.empty() ? "lhs" : "rhs", "[]", "one axis at least");
  if (a.size() == 1 && b.size() == 1 && (ta || tb))
    return bad_attribute(ta ? "transpose_a" : "transpose_b", "True", "False for two vectors");
  const std::int64_t inner = ta ? a.front() : a.back();
  const std::int64_t inner_b = tb ? b.back() : b.front();
  if (inner != inner_b)
    return bad_input("rhs", text_of(b),
                     fmt::format("an extent of {} to multiply with {}", inner, text_of(a)));
  Ints to(a.begin() + (ta ? 1 : 0), a.end() - (ta ? 0 : 1));
  to.insert(to.end(), b.begin() + (tb ? 0 : 1), b.end() - (tb ? 1 : 0));
  if (to.empty()) to = {1};
  const Value left =
      reshaped(call.in[0], ta ? Ints{inner, product(a) / inner} : Ints{product(a) / inner, inner});
  const Value right =
      reshaped(call.in[1], tb ? Ints{product(b) / inner, inner} : Ints{inner, product(b) / inner});
  const auto type = call.in[0].get_element_type();
  call.out = {converted(reshaped(make<ov::op::v0::MatMul>(real(left), real(right), ta, tb), to), type)};
  return {};
}

Status build_batch_dot(Lowering& call) {
  const Ints a = dims(call.in[0]);
  const Ints b = dims(call.in[1]);
  const bool ta = call.params.flag("transpose_a");
  const bool tb = call.params.flag("transpose_b");
  const bool is_gemm = call.row.name == "_linalg_gemm2";
  bool fits = a.size() == b.size() && a.size() >= (is_gemm ? 2U : 3U);
  for (std::size_t i = 0; fits && i + 2 < a.size(); ++i) fits = a[i] == b[i];
  const auto inner = [](const Ints& s, bool last) { return s[s.size() - (last ? 1 : 2)]; };
  if (!fits || inner(a, !ta) != inner(b, tb)) {
    return bad_input(
        is_gemm ? "B" : "rhs", text_of(b),
        fmt::format("matrices to multiply with {}, transposed as the attributes say", text_of(a)));
  }
  const auto type = call.in[0].get_element_type();
  Value result = make<ov::op::v0::MatMul>(real(call.in[0]), real(call.in[1]), ta, tb);
  if (is_gemm) {
    if (call.params.integer("axis") != -2)
      return {StatusCode::kUnsupported,
              "attribute axis: another than -2 is not offered: transpose the inputs"};
    if (call.params.number("alpha") != 1)
      result = multiply(result, constant_like(result, call.params.number("alpha")));
  }
  call.out = {converted(result, type)};
  return {};
}

}  // namespace

void add_reduce_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  const std::vector<AttrSpec> reduce = {
      {"axis", K::kInts, "None"}, {"keepdims", K::kBool, "False"}, {"exclude", K::kBool, "False"}};
  for (const char* name : {"mean", "prod", "nansum", "nanprod"})
    add({.name = name, .attrs = reduce, .build = build_reduce});
  add({.name = "sum", .aliases = {"sum_axis"}, .attrs = reduce, .build = build_reduce});
  add({.name = "max", .aliases = {"max_axis"}, .attrs = reduce, .build = build_reduce});
  add({.name = "min", .aliases = {"min_axis"}, .attrs = reduce, .build = build_reduce});
  add({.name = "norm",
       .attrs = {{"ord", K::kInt, "2"},
                 {"axis", K::kInts, "None"},
                 {"dtype", K::kDType, "None"},
                 {"keepdims", K::kBool, "False"}},
       .type = TypeRule::kDTypeAttr,
       .build = build_norm});
  const std::vector<AttrSpec> arg = {{"axis", K::kInt, "None"}, {"keepdims", K::kBool, "False"}};
  add({.name = "argmax", .attrs = arg, .type = TypeRule::kF32, .build = build_arg_extreme});
  add({.name = "argmin", .attrs = arg, .type = TypeRule::kF32, .build = build_arg_extreme});
  add({.name = "argmax_channel", .type = TypeRule::kF32, .build = build_arg_extreme});
}

void add_order_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  add({.name = "topk",
       .attrs = {{"axis", K::kInt, "-1", {}, true},
                 {"k", K::kInt, "1"},
                 {"ret_typ", K::kEnum, "indices", "value|indices|mask|both"},
                 {"is_ascend", K::kBool, "False"},
                 {"dtype", K::kDType, "float32"}},
       .output_count = topk_outputs,
       .output_type = topk_type,
       .build = build_topk});
  add({.name = "sort",
       .attrs = {{"axis", K::kInt, "-1", {}, true}, {"is_ascend", K::kBool, "True"}},
       .build = build_sort});
  add({.name = "argsort",
       .attrs = {{"axis", K::kInt, "-1", {}, true},
                 {"is_ascend", K::kBool, "True"},
                 {"dtype", K::kDType, "float32"}},
       .type = TypeRule::kDTypeAttr,
       .build = build_sort});
  add({.name = "cumsum",
       .aliases = {"_np_cumsum"},
       .attrs = {{"axis", K::kInt, "None"}, {"dtype", K::kDType, "None"}},
       .inputs = {"a"},
       .build = build_cumsum});
  for (const char* name : {"softmax", "log_softmax", "softmin"}) {
    add({.name = name,
         .attrs = {{"axis", K::kInt, "-1"},
                   {"temperature", K::kFloat, "None"},
                   {"dtype", K::kDType, "None"},
                   {"use_length", K::kBool, "False"}},
         .type = TypeRule::kDTypeAttr,
         .build = build_softmax});
  }
  const std::vector<AttrSpec> dot = {{"transpose_a", K::kBool, "False"},
                                     {"transpose_b", K::kBool, "False"},
                                     {"forward_stype", K::kEnum, "None", "default|row_sparse|csr"}};
  add({.name = "dot", .attrs = dot, .inputs = {"lhs", "rhs"}, .build = build_dot});
  add({.name = "batch_dot", .attrs = dot, .inputs = {"lhs", "rhs"}, .build = build_batch_dot});
  add({.name = "_linalg_gemm2",
       .aliases = {"linalg_gemm2"},
       .attrs = {{"transpose_a", K::kBool, "False"},
                 {"transpose_b", K::kBool, "False"},
                 {"alpha", K::kFloat, "1"},
                 {"axis", K::kInt, "-2"}},
       .inputs = {"A", "B"},
       .build = build_batch_dot});
}

}  // namespace inflight::mx::detail
