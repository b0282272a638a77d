// SPDX-License-Identifier: Apache-2.0
// Layers that multiply with weights: fully connected, convolution, deconvolution.
#include <fmt/format.h>

#include <algorithm>

#include "mx/layers.h"

namespace inflight::mx::detail {
namespace {

// ---- fully connected

int inputs_with_bias(const Params& params) { return params.flag("no_bias") ? 2 : 3; }

Status fully_connected_shapes(const Params& params, Shapes& shapes) {
  const std::int64_t hidden = params.integer("num_hidden");
  if (hidden < 1) return bad_attribute("num_hidden", fmt::format("{}", hidden), "at least 1");
  INFLIGHT_TRY(want_shape(shapes, 2, "bias", {hidden}));
  if (!shapes[0].has_value()) return {};
  const Ints data = list(shapes[0]);
  if (data.empty()) return bad_input("data", "[]", "one axis at least");
  const std::int64_t width = params.flag("flatten") ? product(data) / data[0] : data.back();
  return want_shape(shapes, 1, "weight", {hidden, width});
}

Status build_fully_connected(Lowering& call) {
  const std::int64_t hidden = call.params.integer("num_hidden");
  Value x = real(call.in[0]);
  if (call.params.flag("flatten")) x = reshaped(x, {dims(x)[0], elements(x) / dims(x)[0]});
  const bool vector = rank(x) == 1;
  if (vector) x = reshaped(x, {1, elements(x)});
  Value y = make<ov::op::v0::MatMul>(x, real(call.in[1]), false, true);
  if (call.in.size() > 2) {
    Ints bias(static_cast<std::size_t>(rank(y)), 1);
    bias.back() = hidden;
    y = add(y, reshaped(real(call.in[2]), bias));
  }
  if (vector) y = reshaped(y, {hidden});
  call.out = {converted(y, call.in[0].get_element_type())};
  return {};
}

// ---- convolutions

Status check_groups(const Params& params, std::int64_t channels) {
  const std::int64_t groups = params.integer("num_group");
  const std::int64_t filters = params.integer("num_filter");
  if (filters < 1) return bad_attribute("num_filter", fmt::format("{}", filters), "at least 1");
  if (groups >= 1 && filters % groups == 0 && channels % groups == 0) return {};
  return bad_attribute("num_group", fmt::format("{}", groups),
                       fmt::format("a divisor of {} channels and {} filters", channels, filters));
}

// The shapes of weight and bias, from that of the data. A deconvolution's weight has the channels first.
Status weight_shapes(const Params& params, Shapes& shapes, bool channels_first) {
  INFLIGHT_TRY_ASSIGN(const Windows windows, read_windows(params));
  const std::int64_t filters = params.integer("num_filter");
  INFLIGHT_TRY(want_shape(shapes, 2, "bias", {filters}));
  if (!shapes[0].has_value()) return {};
  const Ints data = list(shapes[0]);
  INFLIGHT_TRY(check_rank(data, windows.kernel.size()));
  INFLIGHT_TRY(check_groups(params, data[1]));
  const std::int64_t groups = params.integer("num_group");
  Ints weight = channels_first ? Ints{data[1], filters / groups} : Ints{filters, data[1] / groups};
  weight.insert(weight.end(), windows.kernel.begin(), windows.kernel.end());
  return want_shape(shapes, 1, "weight", weight);
}

Status convolution_shapes(const Params& params, Shapes& shapes) {
  return weight_shapes(params, shapes, false);
}
Status deconvolution_shapes(const Params& params, Shapes& shapes) {
  return weight_shapes(params, shapes, true);
}

Value with_bias(const Lowering& call, const Value& y) {
  if (call.in.size() < 3) return y;
  return add(y, along_channels(call.in[2], rank(y)));
}

// Weights [F, C / G, ...] as [G, F / G, C / G, ...].
Value grouped(const Value& weight, std::int64_t groups) {
  Ints shape = dims(weight);
  shape[0] /= groups;
  shape.insert(shape.begin(), groups);
  return reshaped(weight, shape);
}

Status build_convolution(Lowering& call) {
  INFLIGHT_TRY(check_layout(call.params));
  INFLIGHT_TRY_ASSIGN(const Windows w, read_windows(call.params));
  const Ints data = dims(call.in[0]);
  for (std::size_t i = 0; i < w.kernel.size(); ++i) {
    const std::int64_t span = w.dilate[i] * (w.kernel[i] - 1) + 1;
    if (span > data[i + 2] + 2 * w.pad[i])
      return bad_attribute("kernel", text_of(w.kernel),
                           fmt::format("to fit into {} with its padding", text_of(data)));
  }
  const std::int64_t groups = call.params.integer("num_group");
  const auto pad = padding(w.pad);
  const Value y = groups == 1
                      ? make<ov::op::v1::Convolution>(call.in[0], call.in[1], strides(w.stride), pad, pad,
                                                      strides(w.dilate))
                      : make<ov::op::v1::GroupConvolution>(call.in[0], grouped(call.in[1], groups),
                                                           strides(w.stride), pad, pad, strides(w.dilate));
  call.out = {with_bias(call, y)};
  return {};
}

// The padding and the extra rows of a deconvolution, from the attributes or from the shape that is wanted.
Status deconvolution_edges(const Lowering& call, Windows& w, Ints& adj) {
  const std::size_t axes = w.kernel.size();
  const Ints target = call.params.ints("target_shape");
  adj = call.params.ints("adj");
  if (adj.empty()) adj.assign(axes, 0);
  if (adj.size() != axes) return bad_attribute("adj", text_of(adj), fmt::format("{} numbers", axes));
  const Ints data = dims(call.in[0]);
  const bool is_target =
      std::any_of(target.begin(), target.end(), [](std::int64_t extent) { return extent > 0; });
  if (is_target && target.size() != axes)
    return bad_attribute("target_shape", text_of(target), fmt::format("{} numbers", axes));
  for (std::size_t i = 0; i < axes; ++i) {
    if (is_target) {
      const std::int64_t whole = w.stride[i] * (data[i + 2] - 1) + w.dilate[i] * (w.kernel[i] - 1) + 1;
      if (target[i] > whole)
        return bad_attribute("target_shape", text_of(target), fmt::format("at most {}", whole));
      adj[i] = (whole - target[i]) % 2;
      w.pad[i] = (whole - target[i] + 1) / 2;
    }
    if (adj[i] < 0 || adj[i] >= w.stride[i])
      return bad_attribute("adj", text_of(adj), "at least 0 and less than stride " + text_of(w.stride));
  }
  return {};
}

Status build_deconvolution(Lowering& call) {
  INFLIGHT_TRY(check_layout(call.params));
  INFLIGHT_TRY_ASSIGN(Windows w, read_windows(call.params));
  Ints adj;
  INFLIGHT_TRY(deconvolution_edges(call, w, adj));
  const std::int64_t groups = call.params.integer("num_group");
  const auto pad = padding(w.pad);
  const Value y = groups == 1 ? make<ov::op::v1::ConvolutionBackpropData>(
                                    call.in[0], call.in[1], strides(w.stride), pad, pad, strides(w.dilate),
                                    ov::op::PadType::EXPLICIT, padding(adj))
                              : make<ov::op::v1::GroupConvolutionBackpropData>(
                                    call.in[0], grouped(call.in[1], groups), strides(w.stride), pad, pad,
                                    strides(w.dilate), ov::op::PadType::EXPLICIT, padding(adj));
  call.out = {with_bias(call, y)};
  return {};
}

}  // namespace

void add_conv_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  const AttrSpec no_bias{"no_bias", K::kBool, "False"};
  const AttrSpec layout{"layout", K::kEnum, "None", "NCW|NCHW|NCDHW|NWC|NHWC|NDHWC"};
  const AttrSpec tune{"cudnn_tune", K::kEnum, "None", "off|limited_workspace|fastest"};
  const AttrSpec cudnn_off{"cudnn_off", K::kBool, "False"};
  const std::vector<std::string_view> weights = {"data", "weight", "bias"};
  add({.name = "FullyConnected",
       .attrs = {{"num_hidden", K::kInt}, no_bias, {"flatten", K::kBool, "True"}},
       .inputs = weights,
       .input_count = inputs_with_bias,
       .complete = fully_connected_shapes,
       .weights = 6,
       .build = build_fully_connected});
  add({.name = "Convolution",
       .aliases = {"Convolution_v1"},
       .attrs = {{"kernel", K::kInts},
                 {"stride", K::kInts, "()"},
                 {"dilate", K::kInts, "()"},
                 {"pad", K::kInts, "()"},
                 {"num_filter", K::kInt},
                 {"num_group", K::kInt, "1"},
                 {"workspace", K::kInt, "1024"},
                 no_bias,
                 tune,
                 cudnn_off,
                 layout},
       .inputs = weights,
       .input_count = inputs_with_bias,
       .complete = convolution_shapes,
       .weights = 6,
       .build = build_convolution});
  add({.name = "Deconvolution",
       .attrs = {{"kernel", K::kInts},
                 {"stride", K::kInts, "()"},
                 {"dilate", K::kInts, "()"},
                 {"pad", K::kInts, "()"},
                 {"adj", K::kInts, "()"},
                 {"target_shape", K::kInts, "()"},
                 {"num_filter", K::kInt},
                 {"num_group", K::kInt, "1"},
                 {"workspace", K::kInt, "512"},
                 {"no_bias", K::kBool, "True"},
                 tune,
                 cudnn_off,
                 layout},
       .inputs = weights,
       .input_count = inputs_with_bias,
       .complete = deconvolution_shapes,
       .weights = 6,
       .build = build_deconvolution});
}

}  // namespace inflight::mx::detail
