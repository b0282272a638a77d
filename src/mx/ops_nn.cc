// SPDX-License-Identifier: Apache-2.0
// Activations, and what ends a network.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "mx/arithmetic.h"
#include "mx/layers.h"

namespace inflight::mx::detail {
namespace {

// ---- activations

Status build_activation(Lowering& call) {
  call.out = {apply_unary(call.params.text("act_type"), call.in[0])};
  return {};
}

int leaky_inputs(const Params& params) { return params.text("act_type") == "prelu" ? 2 : 1; }

Status leaky_shapes(const Params& params, Shapes& shapes) {
  if (params.text("act_type") != "prelu" || !shapes[0].has_value() || shapes[1].has_value()) return {};
  return want_shape(shapes, 1, "gamma", {shapes[0]->rank() > 1 ? (*shapes[0])[1] : 1});
}

Value exp_minus_one(const Value& x) { return apply_unary("expm1", x); }

Status build_leaky(Lowering& call) {
  const Value& x = call.in[0];
  const std::string& type = call.params.text("act_type");
  const Value zero = constant_like(x, 0);
  const Value positive = make<ov::op::v1::Greater>(x, zero);
  const auto select = [&](const Value& negative) { return make<ov::op::v1::Select>(positive, x, negative); };
  if (type == "gelu") {
    const Value erf = make<ov::op::v0::Erf>(multiply(x, constant_like(x, std::sqrt(0.5))));
    call.out = {multiply(multiply(x, constant_like(x, 0.5)), add(erf, constant_like(x, 1)))};
  } else if (type == "elu") {
    call.out = {select(multiply(exp_minus_one(x), constant_like(x, call.params.number("slope"))))};
  } else if (type == "selu") {
    constexpr double kAlpha = 1.6732632423543772848170429916717;
    constexpr double kLambda = 1.0507009873554804934193349852946;
    call.out = {
        multiply(select(multiply(exp_minus_one(x), constant_like(x, kAlpha))), constant_like(x, kLambda))};
  } else if (type == "prelu") {
    const Ints gamma = dims(call.in[1]);
    const bool channels = gamma.size() == 1 && (gamma[0] == 1 || (rank(x) > 1 && gamma[0] == dims(x)[1]));
    if (!channels && gamma != dims(x))
      return bad_input("gamma", text_of(gamma),
                       fmt::format("one element, or one a channel of {}", text_of(dims(x))));
    Value slope = call.in[1];
    if (channels && gamma[0] > 1) slope = along_channels(slope, rank(x));
    call.out = {channels ? make<ov::op::v0::PRelu>(x, call.in[1]) : select(multiply(x, slope))};
  } else {
    const double slope = type == "leaky"
                             ? call.params.number("slope")
                             : (call.params.number("lower_bound") + call.params.number("upper_bound")) / 2;
    call.out = {select(multiply(x, constant_like(x, slope)))};
  }
  return {};
}

// ---- ends of networks

Status softmax_label(const Params& params, Shapes& shapes) {
  if (!shapes[0].has_value()) return {};
  const Ints data = list(shapes[0]);
  if (data.size() < 2) return bad_input("data", text_of(data), "two axes at least");
  if (shapes[1].has_value() && list(shapes[1]) == data) return {};
  if (!params.flag("multi_output")) return want_shape(shapes, 1, "label", Ints(data.begin(), data.end() - 1));
  const Ints flat = {data[0], product(data) / data[0] / data[1]};
  Ints dropped = data;
  dropped.erase(dropped.begin() + 1);
  Ints kept = data;
  kept[1] = 1;
  if (shapes[1].has_value() && (list(shapes[1]) == dropped || list(shapes[1]) == kept)) return {};
  return want_shape(shapes, 1, "label", flat);
}

Status build_softmax_output(Lowering& call) {
  const Value& x = call.in[0];
  if (call.params.flag("multi_output")) {
    call.out = {make<ov::op::v8::Softmax>(x, 1)};
  } else if (call.params.flag("preserve_shape")) {
    call.out = {make<ov::op::v8::Softmax>(x, rank(x) - 1)};
  } else {
    const Value flat = reshaped(x, {dims(x)[0], elements(x) / dims(x)[0]});
    call.out = {reshaped(make<ov::op::v8::Softmax>(flat, 1), dims(x))};
  }
  return {};
}

// "instance" is over the last axis, as MXNet computes it, whatever its documents say.
Status build_softmax_activation(Lowering& call) {
  const Value& x = call.in[0];
  const bool channel = call.params.text("mode") == "channel";
  if (rank(x) < (channel ? 3 : 2))
    return bad_input("data", text_of(dims(x)), fmt::format("{} axes at least", channel ? 3 : 2));
  call.out = {make<ov::op::v8::Softmax>(x, channel ? 1 : rank(x) - 1)};
  return {};
}

Status build_dropout(Lowering& call) {
  if (call.params.text("mode") == "always") {
    return {StatusCode::kUnsupported,
            "attribute mode: got always, want training: dropping elements in inference is not offered"};
  }
  call.out = {call.in[0]};
  return {};
}

}  // namespace

void add_nn_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  add({.name = "Activation",
       .attrs = {{"act_type", K::kEnum, nullptr, "relu|sigmoid|tanh|softrelu|softsign"}},
       .build = build_activation});
  add({.name = "LeakyReLU",
       .attrs = {{"act_type", K::kEnum, "leaky", "elu|gelu|leaky|prelu|rrelu|selu"},
                 {"slope", K::kFloat, "0.25"},
                 {"lower_bound", K::kFloat, "0.125"},
                 {"upper_bound", K::kFloat, "0.334"}},
       .inputs = {"data", "gamma"},
       .input_count = leaky_inputs,
       .complete = leaky_shapes,
       .weights = 2,
       .build = build_leaky});
  add({.name = "SoftmaxOutput",
       .aliases = {"Softmax"},
       .attrs = {{"grad_scale", K::kFloat, "1"},
                 {"ignore_label", K::kFloat, "-1"},
                 {"multi_output", K::kBool, "False"},
                 {"use_ignore", K::kBool, "False"},
                 {"preserve_shape", K::kBool, "False"},
                 {"normalization", K::kEnum, "null", "null|batch|valid"},
                 {"out_grad", K::kBool, "False"},
                 {"smooth_alpha", K::kFloat, "0"}},
       .inputs = {"data", "label"},
       .complete = softmax_label,
       .free_inputs = 2,
       .build = build_softmax_output});
  add({.name = "SoftmaxActivation",
       .attrs = {{"mode", K::kEnum, "instance", "channel|instance"}},
       .build = build_softmax_activation});
  add({.name = "Dropout",
       .attrs = {{"p", K::kFloat, "0.5"},
                 {"mode", K::kEnum, "training", "always|training"},
                 {"axes", K::kInts, "()"},
                 {"cudnn_off", K::kBool, "False"}},
       .build = build_dropout});
}

}  // namespace inflight::mx::detail
