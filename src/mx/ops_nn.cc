// SPDX-License-Identifier: Apache-2.0
// Layers: convolution, pooling, activation, upsampling, and what ends a network.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "mx/arithmetic.h"
#include "mx/build.h"

namespace inflight::mx::detail {
namespace {

std::int64_t product(const Ints& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}
Ints list(const std::optional<Shape>& shape) {
  const auto extents = shape->dims();
  return {extents.begin(), extents.end()};
}
// [1, C, 1, 1] of a vector of C.
Value along_channels(const Value& vector, std::int64_t axes) {
  Ints shape(static_cast<std::size_t>(axes), 1);
  shape[1] = elements(vector);
  return reshaped(vector, shape);
}
ov::Strides strides(const Ints& values) { return ov::Strides(values.begin(), values.end()); }
ov::Shape extents(const Ints& values) { return ov::Shape(values.begin(), values.end()); }
ov::CoordinateDiff padding(const Ints& values) { return ov::CoordinateDiff(values.begin(), values.end()); }

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

// What the attributes of a convolution or a pooling say of each spatial axis.
struct Windows {
  Ints kernel;
  Ints stride;
  Ints dilate;
  Ints pad;
};

Result<Windows> read_windows(const Params& params) {
  Windows windows{params.ints("kernel"), params.ints("stride"), {}, params.ints("pad")};
  if (params.has("dilate")) windows.dilate = params.ints("dilate");
  const std::size_t axes = windows.kernel.size();
  if (axes < 1 || axes > 3) return bad_attribute("kernel", text_of(windows.kernel), "1 to 3 numbers");
  const auto check = [axes](const char* name, Ints& values, std::int64_t fallback,
                            std::int64_t least) -> Status {
    if (values.empty()) values.assign(axes, fallback);
    const bool fits = values.size() == axes &&
                      std::all_of(values.begin(), values.end(), [&](std::int64_t v) { return v >= least; });
    if (fits) return {};
    return bad_attribute(name, text_of(values), fmt::format("{} numbers of at least {}", axes, least));
  };
  INFLIGHT_TRY(check("kernel", windows.kernel, 1, 1));
  INFLIGHT_TRY(check("stride", windows.stride, 1, 1));
  INFLIGHT_TRY(check("dilate", windows.dilate, 1, 1));
  INFLIGHT_TRY(check("pad", windows.pad, 0, 0));
  return windows;
}

Status check_layout(const Params& params) {
  if (params.none("layout")) return {};
  const std::string& layout = params.text("layout");
  if (layout == "NCW" || layout == "NCHW" || layout == "NCDHW") return {};
  return {StatusCode::kUnsupported,
          fmt::format("attribute layout: got {}, want NCW, NCHW or NCDHW: transpose the data", layout)};
}

Status check_groups(const Params& params, std::int64_t channels) {
  const std::int64_t groups = params.integer("num_group");
  const std::int64_t filters = params.integer("num_filter");
  if (filters < 1) return bad_attribute("num_filter", fmt::format("{}", filters), "at least 1");
  if (groups >= 1 && filters % groups == 0 && channels % groups == 0) return {};
  return bad_attribute("num_group", fmt::format("{}", groups),
                       fmt::format("a divisor of {} channels and {} filters", channels, filters));
}

Status check_rank(const Ints& data, std::size_t spatial) {
  if (data.size() == spatial + 2) return {};
  return bad_input("data", text_of(data), fmt::format("{} axes for a kernel of {}", spatial + 2, spatial));
}

Status convolution_shapes(const Params& params, Shapes& shapes) {
  INFLIGHT_TRY_ASSIGN(const Windows windows, read_windows(params));
  INFLIGHT_TRY(want_shape(shapes, 2, "bias", {params.integer("num_filter")}));
  if (!shapes[0].has_value()) return {};
  const Ints data = list(shapes[0]);
  INFLIGHT_TRY(check_rank(data, windows.kernel.size()));
  INFLIGHT_TRY(check_groups(params, data[1]));
  Ints weight = {params.integer("num_filter"), data[1] / params.integer("num_group")};
  weight.insert(weight.end(), windows.kernel.begin(), windows.kernel.end());
  return want_shape(shapes, 1, "weight", weight);
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

Status deconvolution_shapes(const Params& params, Shapes& shapes) {
  INFLIGHT_TRY_ASSIGN(const Windows windows, read_windows(params));
  INFLIGHT_TRY(want_shape(shapes, 2, "bias", {params.integer("num_filter")}));
  if (!shapes[0].has_value()) return {};
  const Ints data = list(shapes[0]);
  INFLIGHT_TRY(check_rank(data, windows.kernel.size()));
  INFLIGHT_TRY(check_groups(params, data[1]));
  Ints weight = {data[1], params.integer("num_filter") / params.integer("num_group")};
  weight.insert(weight.end(), windows.kernel.begin(), windows.kernel.end());
  return want_shape(shapes, 1, "weight", weight);
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

// ---- pooling

// The number of windows on each axis.
Result<Ints> pooled_extents(const Params& params, const Windows& w, const Ints& data) {
  const std::string& convention = params.text("pooling_convention");
  Ints out;
  for (std::size_t i = 0; i < w.kernel.size(); ++i) {
    const std::int64_t room = data[i + 2] + 2 * w.pad[i];
    if (w.kernel[i] > room)
      return bad_attribute("kernel", text_of(w.kernel),
                           fmt::format("to fit into {} with its padding", text_of(data)));
    const std::int64_t rest = room - w.kernel[i];
    if (convention == "valid") {
      out.push_back(1 + rest / w.stride[i]);
    } else if (convention == "full") {
      out.push_back(1 + (rest + w.stride[i] - 1) / w.stride[i]);
    } else {
      out.push_back((room + w.stride[i] - 1) / w.stride[i]);
    }
  }
  return out;
}

// The number by which MXNet divides each window's sum, as an array of one element a window.
Value window_sizes(const Value& like, const Windows& w, const Ints& data, const Ints& out,
                   bool count_padding) {
  std::vector<double> sizes = {1};
  Ints shape = {1, 1};
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::vector<double> next;
    for (const double size : sizes) {
      for (std::int64_t at = 0; at < out[i]; ++at) {
        const std::int64_t first = at * w.stride[i] - w.pad[i];
        const std::int64_t last = std::min(first + w.kernel[i], data[i + 2] + w.pad[i]);
        const std::int64_t inside = std::min(last, data[i + 2]) - std::max<std::int64_t>(first, 0);
        next.push_back(size * static_cast<double>(count_padding ? last - first : inside));
      }
    }
    sizes = std::move(next);
    shape.push_back(out[i]);
  }
  return constant(like.get_element_type(), shape, sizes);
}

Value raised(const Value& x, std::int64_t power) {
  Value result = x;
  for (std::int64_t i = 1; i < power; ++i) result = multiply(result, x);
  return result;
}
Value root_of(const Value& x, std::int64_t power) {
  return power == 1 ? x : apply_unary(power == 2 ? "sqrt" : "cbrt", x);
}

Status pool_all(Lowering& call, std::int64_t power) {
  const Value& x = call.in[0];
  Ints axes;
  for (std::int64_t i = 2; i < rank(x); ++i) axes.push_back(i);
  const std::string& type = call.params.text("pool_type");
  if (type == "max") {
    call.out = {make<ov::op::v1::ReduceMax>(x, ints(axes), true)};
  } else if (type == "avg") {
    call.out = {make<ov::op::v1::ReduceMean>(x, ints(axes), true)};
  } else {
    call.out = {root_of(make<ov::op::v1::ReduceSum>(raised(x, power), ints(axes), true), power)};
  }
  return {};
}

Status build_pooling(Lowering& call) {
  INFLIGHT_TRY(check_layout(call.params));
  const Params& params = call.params;
  const Value& x = call.in[0];
  const Ints data = dims(x);
  const std::string& type = params.text("pool_type");
  std::int64_t power = 1;
  if (type == "lp") {
    power = params.none("p_value") ? 0 : params.integer("p_value");
    if (power < 1 || power > 3)
      return bad_attribute("p_value", params.none("p_value") ? "None" : fmt::format("{}", power),
                           "1, 2 or 3");
  }
  if (data.size() < 3 || data.size() > 5) return bad_input("data", text_of(data), "three to five axes");
  if (params.flag("global_pool")) return pool_all(call, power);
  INFLIGHT_TRY_ASSIGN(const Windows w, read_windows(params));
  INFLIGHT_TRY(check_rank(data, w.kernel.size()));
  for (std::size_t i = 0; i < w.pad.size(); ++i) {
    if (w.pad[i] >= w.kernel[i])
      return bad_attribute("pad", text_of(w.pad), "less than kernel " + text_of(w.kernel));
  }
  INFLIGHT_TRY_ASSIGN(const Ints out, pooled_extents(params, w, data));
  // Padding after the end so that the last window is there; then the windows are counted without rounding up.
  Ints after = w.pad;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::int64_t needed = (out[i] - 1) * w.stride[i] + w.kernel[i] - data[i + 2] - w.pad[i];
    if (needed >= w.kernel[i] + w.pad[i] && needed > w.pad[i])
      return bad_attribute("stride", text_of(w.stride), "windows that all begin inside");
    after[i] = std::max(w.pad[i], needed);
  }
  if (type == "max") {
    call.out = {make<ov::op::v1::MaxPool>(x, strides(w.stride), extents(w.pad), extents(after),
                                          extents(w.kernel), ov::op::RoundingType::FLOOR)};
    return {};
  }
  const Value mean =
      make<ov::op::v1::AvgPool>(raised(x, power), strides(w.stride), extents(w.pad), extents(after),
                                extents(w.kernel), false, ov::op::RoundingType::FLOOR);
  const auto whole = static_cast<double>(product(w.kernel));
  if (type != "avg") {
    call.out = {root_of(multiply(mean, constant_like(mean, whole)), power)};
    return {};
  }
  const bool count_padding = params.none("count_include_pad") || params.flag("count_include_pad");
  const bool even = after == w.pad &&
                    (count_padding || product(w.pad) + std::accumulate(w.pad.begin(), w.pad.end(), 0) == 0);
  if (even) {
    call.out = {mean};
  } else {
    const Value sum = multiply(mean, constant_like(mean, whole));
    call.out = {divide(sum, window_sizes(mean, w, data, out, count_padding))};
  }
  return {};
}

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

// ---- upsampling

int upsampling_inputs(const Params& params) {
  if (params.text("sample_type") == "bilinear") return 2;
  return static_cast<int>(std::clamp<std::int64_t>(params.integer("num_args"), 1, 4096));
}

std::string_view upsampling_input_name(const Params& params, int index) {
  if (params.text("sample_type") != "bilinear") return {};
  return index == 0 ? "data" : "weight";
}

Status upsampling_shapes(const Params& params, Shapes& shapes) {
  const std::int64_t scale = params.integer("scale");
  if (scale < 1) return bad_attribute("scale", fmt::format("{}", scale), "at least 1");
  if (params.text("sample_type") != "bilinear" || !shapes[0].has_value()) return {};
  const Ints data = list(shapes[0]);
  INFLIGHT_TRY(check_rank(data, 2));
  const std::int64_t kernel = 2 * scale - scale % 2;
  return want_shape(shapes, 1, "weight", {data[1], 1, kernel, kernel});
}

// Each element `rows` by `columns` times.
Value repeated(const Value& x, std::int64_t rows, std::int64_t columns) {
  const Ints s = dims(x);
  if (rows == 1 && columns == 1) return x;
  const Value apart = reshaped(x, {s[0], s[1], s[2], 1, s[3], 1});
  return reshaped(make<ov::op::v0::Tile>(apart, ints({1, 1, 1, rows, 1, columns})),
                  {s[0], s[1], s[2] * rows, s[3] * columns});
}

Status build_upsampling(Lowering& call) {
  const std::int64_t scale = call.params.integer("scale");
  const Ints first = dims(call.in[0]);
  INFLIGHT_TRY(check_rank(first, 2));
  if (call.params.text("sample_type") == "bilinear") {
    const auto edge = padding({scale / 2, scale / 2});  // ceil((scale - 1) / 2)
    const Value weight = reshaped(call.in[1], {first[1], 1, 1, dims(call.in[1])[2], dims(call.in[1])[3]});
    call.out = {make<ov::op::v1::GroupConvolutionBackpropData>(call.in[0], weight, strides({scale, scale}),
                                                               edge, edge, strides({1, 1}))};
    return {};
  }
  const std::int64_t height = first[2] * scale;
  const std::int64_t width = first[3] * scale;
  ov::OutputVector parts;
  for (std::size_t i = 0; i < call.in.size(); ++i) {
    const Ints shape = dims(call.in[i]);
    if (shape.size() != 4 || shape[0] != first[0] || height % shape[2] != 0 || width % shape[3] != 0) {
      return bad_input(input_name(call.row, call.params, static_cast<int>(i)), text_of(shape),
                       fmt::format("a shape that divides [{},?,{},{}]", first[0], height, width));
    }
    parts.push_back(repeated(call.in[i], height / shape[2], width / shape[3]));
  }
  Value result = parts[0];
  if (call.params.text("multi_input_mode") == "sum") {
    for (std::size_t i = 1; i < parts.size(); ++i) {
      if (dims(parts[i]) != dims(result))
        return bad_input(input_name(call.row, call.params, static_cast<int>(i)), text_of(dims(call.in[i])),
                         "as many channels");
      result = add(result, parts[i]);
    }
  } else if (parts.size() > 1) {
    result = make<ov::op::v0::Concat>(parts, 1);
  }
  call.out = {result};
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

Status build_softmax_activation(Lowering& call) {
  const Value& x = call.in[0];
  if (rank(x) < 2) return bad_input("data", text_of(dims(x)), "two axes at least");
  if (call.params.text("mode") == "channel") {
    call.out = {make<ov::op::v8::Softmax>(x, 1)};
  } else {
    const Value flat = reshaped(x, {dims(x)[0], elements(x) / dims(x)[0]});
    call.out = {reshaped(make<ov::op::v8::Softmax>(flat, 1), dims(x))};
  }
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
  add({.name = "Pooling",
       .aliases = {"Pooling_v1"},
       .attrs = {{"kernel", K::kInts, "()"},
                 {"pool_type", K::kEnum, "max", "max|avg|sum|lp"},
                 {"global_pool", K::kBool, "False"},
                 cudnn_off,
                 {"pooling_convention", K::kEnum, "valid", "full|valid|same"},
                 {"stride", K::kInts, "()"},
                 {"pad", K::kInts, "()"},
                 {"p_value", K::kInt, "None"},
                 {"count_include_pad", K::kBool, "None"},
                 layout},
       .build = build_pooling});
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
  add({.name = "UpSampling",
       .attrs = {{"scale", K::kInt},
                 {"num_filter", K::kInt, "0"},
                 {"sample_type", K::kEnum, nullptr, "nearest|bilinear"},
                 {"multi_input_mode", K::kEnum, "concat", "concat|sum"},
                 {"num_args", K::kInt},
                 {"workspace", K::kInt, "512"}},
       .inputs = {"args"},
       .variadic = true,
       .input_count = upsampling_inputs,
       .input_name = upsampling_input_name,
       .complete = upsampling_shapes,
       .weights = 2,
       .build = build_upsampling});
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
