// SPDX-License-Identifier: Apache-2.0
// Layers that make an image smaller or larger: pooling, upsampling.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "mx/arithmetic.h"
#include "mx/layers.h"

namespace inflight::mx::detail {
namespace {

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
        // A window that is all padding has a sum of 0, whatever divides it.
        const std::int64_t there = std::max<std::int64_t>(1, count_padding ? last - first : inside);
        next.push_back(size * static_cast<double>(there));
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
  if (params.text("pooling_convention") == "same" && (data.size() != 3 || type != "max"))
    return bad_attribute("pooling_convention", "same", "valid or full; same is for max over one axis");
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
  const bool even =
      after == w.pad &&
      (count_padding || std::all_of(w.pad.begin(), w.pad.end(), [](std::int64_t pad) { return pad == 0; }));
  if (even) {
    call.out = {mean};
  } else {
    const Value sum = multiply(mean, constant_like(mean, whole));
    call.out = {divide(sum, window_sizes(mean, w, data, out, count_padding))};
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

}  // namespace

void add_pool_rows(std::vector<OpRow>& rows) {
  const auto add = [&](OpRow row) { rows.push_back(std::move(row)); };
  using K = AttrKind;
  const AttrSpec layout{"layout", K::kEnum, "None", "NCW|NCHW|NCDHW|NWC|NHWC|NDHWC"};
  const AttrSpec cudnn_off{"cudnn_off", K::kBool, "False"};
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
}

}  // namespace inflight::mx::detail
