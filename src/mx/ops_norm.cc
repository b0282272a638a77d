// SPDX-License-Identifier: Apache-2.0
// Layers that normalise.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "mx/build.h"

namespace inflight::mx::detail {
namespace {

Value plus(const Value& x, double term) { return add(x, constant_like(x, term)); }
Value root(const Value& x) { return make<ov::op::v0::Sqrt>(x); }
Value mean_of(const Value& x, const Ints& axes) { return make<ov::op::v1::ReduceMean>(x, ints(axes), true); }

// A vector along one axis of `axes`.
Value along(const Value& vector, std::int64_t axis, std::int64_t axes) {
  Ints shape(static_cast<std::size_t>(axes), 1);
  shape[static_cast<std::size_t>(axis)] = elements(vector);
  return reshaped(vector, shape);
}

Ints axes_from(std::int64_t first, std::int64_t rank) {
  Ints axes;
  for (std::int64_t i = first; i < rank; ++i) axes.push_back(i);
  return axes;
}

// (x - mean) / sqrt(variance + eps), both over `axes`.
Value normalised(const Value& x, const Ints& axes, double eps) {
  if (axes.empty()) return subtract(x, x);
  const Value centred = subtract(x, mean_of(x, axes));
  return divide(centred, root(plus(mean_of(multiply(centred, centred), axes), eps)));
}

// Inputs from `first` on are vectors along the axis that the attribute names, or along axis 1.
Status vectors_along(const Params& params, Shapes& shapes, std::initializer_list<const char*> names) {
  if (!shapes[0].has_value()) return {};
  const auto rank = static_cast<std::int64_t>(shapes[0]->rank());
  const auto axis = checked_axis("axis", params.has("axis") ? params.integer("axis") : 1, rank);
  if (!axis.ok()) return axis.status();
  std::size_t index = 1;
  for (const char* name : names) {
    INFLIGHT_TRY(want_shape(shapes, index++, name, {(*shapes[0])[static_cast<std::size_t>(*axis)]}));
  }
  return {};
}

Status batch_norm_shapes(const Params& params, Shapes& shapes) {
  return vectors_along(params, shapes, {"gamma", "beta", "moving_mean", "moving_var"});
}

Status build_batch_norm(Lowering& call) {
  if (call.params.flag("output_mean_var")) {
    return {StatusCode::kUnsupported,
            "attribute output_mean_var: got True, want False: read the states instead"};
  }
  const Value& x = call.in[0];
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", call.params.integer("axis"), x));
  const double eps = call.params.number("eps");
  Value scale = divide(constant_like(call.in[4], 1), root(plus(call.in[4], eps)));
  if (!call.params.flag("fix_gamma")) scale = multiply(scale, call.in[1]);
  const Value shift = subtract(call.in[2], multiply(call.in[3], scale));
  call.out = {add(multiply(x, along(scale, axis, rank(x))), along(shift, axis, rank(x)))};
  return {};
}

Status gamma_and_beta(const Params& params, Shapes& shapes) {
  return vectors_along(params, shapes, {"gamma", "beta"});
}

Status build_instance_norm(Lowering& call) {
  const Value& x = call.in[0];
  if (rank(x) < 3) return bad_input("data", text_of(dims(x)), "three axes at least");
  const Value y = normalised(x, axes_from(2, rank(x)), call.params.number("eps"));
  call.out = {add(multiply(y, along(call.in[1], 1, rank(x))), along(call.in[2], 1, rank(x)))};
  return {};
}

Status build_layer_norm(Lowering& call) {
  if (call.params.flag("output_mean_var")) {
    return {StatusCode::kUnsupported,
            "attribute output_mean_var: got True, want False: compute them with mean"};
  }
  const Value& x = call.in[0];
  INFLIGHT_TRY_ASSIGN(const std::int64_t axis, checked_axis("axis", call.params.integer("axis"), x));
  const Value y = normalised(x, {axis}, call.params.number("eps"));
  call.out = {add(multiply(y, along(call.in[1], axis, rank(x))), along(call.in[2], axis, rank(x)))};
  return {};
}

Status build_l2_normalization(Lowering& call) {
  const Value& x = call.in[0];
  const std::string& mode = call.params.text("mode");
  if (rank(x) < (mode == "instance" ? 1 : 3))
    return bad_input("data", text_of(dims(x)), "more axes for mode " + mode);
  const Ints axes = mode == "channel" ? Ints{1} : axes_from(mode == "instance" ? 1 : 2, rank(x));
  const Value squares = multiply(x, x);
  const Value sum = axes.empty() ? squares : make<ov::op::v1::ReduceSum>(squares, ints(axes), true);
  call.out = {divide(x, root(plus(sum, call.params.number("eps"))))};
  return {};
}

Status build_lrn(Lowering& call) {
  const std::int64_t size = call.params.integer("nsize");
  if (size < 1) return bad_attribute("nsize", fmt::format("{}", size), "at least 1");
  if (rank(call.in[0]) != 4) return bad_input("data", text_of(dims(call.in[0])), "four axes");
  call.out = {make<ov::op::v0::LRN>(call.in[0], ints({1}), call.params.number("alpha"),
                                    call.params.number("beta"), call.params.number("knorm"),
                                    static_cast<std::size_t>(size))};
  return {};
}

}  // namespace

void add_norm_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  add({.name = "BatchNorm",
       .aliases = {"BatchNorm_v1", "CuDNNBatchNorm"},
       .attrs = {{"eps", K::kFloat, "0.001"},
                 {"momentum", K::kFloat, "0.9"},
                 {"fix_gamma", K::kBool, "True"},
                 {"use_global_stats", K::kBool, "False"},
                 {"output_mean_var", K::kBool, "False"},
                 {"axis", K::kInt, "1"},
                 {"cudnn_off", K::kBool, "False"},
                 {"min_calib_range", K::kFloat, "None"},
                 {"max_calib_range", K::kFloat, "None"}},
       .inputs = {"data", "gamma", "beta", "moving_mean", "moving_var"},
       .aux = 2,
       .complete = batch_norm_shapes,
       .weights = 0x1e,
       .build = build_batch_norm});
  add({.name = "InstanceNorm",
       .attrs = {{"eps", K::kFloat, "0.001"}},
       .inputs = {"data", "gamma", "beta"},
       .complete = gamma_and_beta,
       .weights = 6,
       .build = build_instance_norm});
  add({.name = "LayerNorm",
       .attrs = {{"axis", K::kInt, "-1"},
                 {"eps", K::kFloat, "1e-05"},
                 {"output_mean_var", K::kBool, "False"}},
       .inputs = {"data", "gamma", "beta"},
       .complete = gamma_and_beta,
       .weights = 6,
       .build = build_layer_norm});
  add({.name = "L2Normalization",
       .attrs = {{"eps", K::kFloat, "1e-10"}, {"mode", K::kEnum, "instance", "channel|instance|spatial"}},
       .build = build_l2_normalization});
  add({.name = "LRN",
       .attrs = {{"alpha", K::kFloat, "0.0001"},
                 {"beta", K::kFloat, "0.75"},
                 {"knorm", K::kFloat, "2"},
                 {"nsize", K::kInt}},
       .build = build_lrn});
}

}  // namespace inflight::mx::detail
