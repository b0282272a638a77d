// SPDX-License-Identifier: Apache-2.0
// Pooling: the largest or the mean of a window.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <openvino/op/ops.hpp>

#include "backends/cuda/emitter.h"
#include "backends/cuda/window.h"

namespace inflight::cuda {
namespace {

Indices spatial(const Indices& at) { return {at.begin() + 2, at.end()}; }

Indices joined(const Indices& lane, const Indices& from) {
  Indices all = {lane[0], lane[1]};
  all.insert(all.end(), from.begin(), from.end());
  return all;
}

// The same rule for each lane by itself, where lanes have windows of their own.
Result<Lanes> one_by_one(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at,
                         EmitRule rule) {
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    INFLIGHT_TRY_ASSIGN(const Lanes one, rule(emitter, node, output, {lane}));
    return one[0];
  });
}

template <typename Pool>
WindowAxes axes_of(const Pool& pool, const ov::Strides& dilations) {
  const Extents in = extents_of(pool.input_value(0)), out = extents_of(pool.output(0));
  WindowAxes axes;
  for (std::size_t d = 2; d < in.size(); ++d) {
    WindowAxis axis;
    axis.in = in[d];
    axis.out = out[d];
    axis.kernel = static_cast<std::int64_t>(pool.get_kernel()[d - 2]);
    axis.stride = static_cast<std::int64_t>(pool.get_strides()[d - 2]);
    if (d - 2 < dilations.size()) axis.dilation = static_cast<std::int64_t>(dilations[d - 2]);
    axes.push_back(axis);
  }
  const ov::Shape& begin = pool.get_pads_begin();
  const ov::Shape& end = pool.get_pads_end();
  set_pads(axes, pool.get_auto_pad(), {begin.begin(), begin.end()}, {end.begin(), end.end()});
  return axes;
}

std::string lowest(const ov::Node& node) {
  const ov::element::Type type = node.get_input_element_type(0);
  if (type.is_real()) return "-F_INF";
  return type.is_signed() ? literal(-std::ldexp(1.0, static_cast<int>(type.bitwidth()) - 1), type) : "0";
}

// Keeps in `best` the larger of it and `value`, and in `place`, if there is one, where it was.
void keep_larger(Emitter& emitter, const std::string& best, const std::string& place,
                 const std::string& value, const std::string& at) {
  if (place.empty())
    emitter.line(fmt::format("{0} = m_max({1}, {0});", best, value));
  else
    emitter.line(
        fmt::format("if ({0} > {1} || {2} < 0) {{ {1} = {0}; {2} = {3}; }}", value, best, place, at));
}

// Where an element lies among those of the dimensions from `axis` on.
std::string flat_from(Emitter& emitter, const Indices& from, const Extents& in, std::size_t axis) {
  return emitter.text(emitter.flat(Indices(from.begin() + static_cast<std::ptrdiff_t>(axis), from.end()),
                                   Extents(in.begin() + static_cast<std::ptrdiff_t>(axis), in.end())));
}

Result<Lanes> emit_max(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at,
                       const WindowAxes& axes, std::size_t index_axis) {
  const std::string type = compute_type(node.get_input_element_type(0));
  const Extents in = extents_of(node.input_value(0));
  Lanes best, place;
  for (std::size_t j = 0; j < at.size(); ++j) {
    best.push_back(emitter.variable(type, lowest(node)));
    place.push_back(output == 0 ? "" : emitter.variable("long long", "-1"));
  }
  Indices taps, from;
  const int opened = open_window(emitter, axes, spatial(at[0]), taps, from);
  INFLIGHT_TRY_ASSIGN(
      const Lanes values,
      emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) { return joined(lane, from); }));
  for (std::size_t j = 0; j < at.size(); ++j)
    keep_larger(emitter, best[j], place[j], values[j],
                output == 0 ? "" : flat_from(emitter, joined(at[j], from), in, index_axis));
  close_window(emitter, opened);
  return output == 0 ? best : place;
}

template <typename Pool>
Result<Lanes> emit_max_pool(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at) {
  const auto& pool = dynamic_cast<const Pool&>(node);
  if (!lanes_share(at, 2)) return one_by_one(emitter, node, output, at, emit_max_pool<Pool>);
  if constexpr (std::is_same_v<Pool, ov::op::v1::MaxPool>) {
    return emit_max(emitter, node, 0, at, axes_of(pool, {}), 0);
  } else {
    return emit_max(emitter, node, output, at, axes_of(pool, pool.get_dilations()),
                    normal_axis(pool.get_axis(), node.get_input_shape(0).size()));
  }
}

// How many positions of a window count: all, or those inside of the input. As on the CPU, all count if there is any
// padding and it is not excluded, and also where a rounded-up output reaches past it.
std::string counted(Emitter& emitter, const WindowAxis& axis, const Index& out, bool inside_only) {
  if (!inside_only) return std::to_string(axis.kernel);
  const std::int64_t low = 0, high = axis.in;
  const std::int64_t last = (axis.out - 1) * axis.stride - axis.pad_begin + (axis.kernel - 1) * axis.dilation;
  if (-axis.pad_begin >= low && last < high) return std::to_string(axis.kernel);
  const std::string start = emitter.text(emitter.linear({{out, axis.stride}}, -axis.pad_begin));
  // Positions before `low` and from `high` on, of those `dilation` apart.
  const std::string before =
      fmt::format("m_max<idx>(({} - {} + {}) / {}, 0)", low, start, axis.dilation - 1, axis.dilation);
  const std::string until = fmt::format("m_min<idx>(({} - {} + {}) / {}, {})", high, start, axis.dilation - 1,
                                        axis.dilation, axis.kernel);
  return emitter.text(emitter.named(fmt::format("{} - {}", until, before)));
}

template <typename Pool>
Result<Lanes> emit_avg_pool(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at) {
  const auto& pool = dynamic_cast<const Pool&>(node);
  if (!lanes_share(at, 2)) return one_by_one(emitter, node, output, at, emit_avg_pool<Pool>);
  WindowAxes axes;
  if constexpr (std::is_same_v<Pool, ov::op::v16::AvgPool>)
    axes = axes_of(pool, pool.get_dilations());
  else
    axes = axes_of(pool, {});
  const std::string type = compute_type(node.get_output_element_type(0));
  Lanes sums;
  for (std::size_t j = 0; j < at.size(); ++j) sums.push_back(emitter.variable(type, "0"));
  Indices taps, from;
  const int opened = open_window(emitter, axes, spatial(at[0]), taps, from);
  INFLIGHT_TRY_ASSIGN(
      const Lanes values,
      emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) { return joined(lane, from); }));
  for (std::size_t j = 0; j < at.size(); ++j) emitter.line(fmt::format("{} += {};", sums[j], values[j]));
  close_window(emitter, opened);
  const bool padded = std::any_of(axes.begin(), axes.end(), [](const WindowAxis& axis) {
    return axis.pad_begin > 0 || axis.pad_end > 0;
  });
  std::vector<std::string> counts;
  for (std::size_t d = 0; d < axes.size(); ++d)
    counts.push_back(counted(emitter, axes[d], at[0][d + 2], pool.get_exclude_pad() || !padded));
  Lanes means;
  for (const std::string& sum : sums)
    means.push_back(emitter.local(type, fmt::format("{} / ({})({})", sum, type, fmt::join(counts, " * "))));
  return means;
}

// The window of an adaptive pool: from floor(o * in / out) to ceil((o + 1) * in / out).
Result<Lanes> emit_adaptive(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at) {
  if (!lanes_share(at, 2)) return one_by_one(emitter, node, output, at, emit_adaptive);
  const bool is_max = ov::is_type<ov::op::v8::AdaptiveMaxPool>(&node);
  const Extents in = extents_of(node.input_value(0)), out = extents_of(node.output(0));
  const std::string type = compute_type(node.get_input_element_type(0));
  Lanes best, place;
  for (std::size_t j = 0; j < at.size(); ++j) {
    best.push_back(emitter.variable(type, is_max ? lowest(node) : "0"));
    place.push_back(output == 0 ? "" : emitter.variable("long long", "-1"));
  }
  Indices from;
  std::vector<std::string> begins, ends, counts;
  for (std::size_t d = 2; d < in.size(); ++d) {
    const std::string o = emitter.text(at[0][d]);
    begins.push_back(emitter.local("idx", fmt::format("{} * {} / {}", o, in[d], out[d])));
    ends.push_back(
        emitter.local("idx", fmt::format("(({} + 1) * {} + {}) / {}", o, in[d], out[d] - 1, out[d])));
    counts.push_back(fmt::format("({} - {})", ends.back(), begins.back()));
  }
  for (std::size_t d = 2; d < in.size(); ++d) {
    const std::string i = emitter.fresh('r');
    emitter.open(fmt::format("for (idx {0} = {1}; {0} < {2}; ++{0})", i, begins[d - 2], ends[d - 2]));
    from.push_back({i, 0, 1, in[d]});
  }
  INFLIGHT_TRY_ASSIGN(
      const Lanes values,
      emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) { return joined(lane, from); }));
  for (std::size_t j = 0; j < at.size(); ++j) {
    if (is_max)
      keep_larger(emitter, best[j], place[j], values[j],
                  output == 0 ? "" : flat_from(emitter, joined(at[j], from), in, 2));
    else
      emitter.line(fmt::format("{} += {};", best[j], values[j]));
  }
  close_window(emitter, static_cast<int>(from.size()));
  if (is_max) return output == 0 ? best : place;
  Lanes means;
  for (const std::string& sum : best)
    means.push_back(emitter.local(type, fmt::format("{} / ({})({})", sum, type, fmt::join(counts, " * "))));
  return means;
}

// x / (bias + alpha / n * sum of squares of the neighbours) ^ beta.
Result<Lanes> emit_lrn(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto& lrn = dynamic_cast<const ov::op::v0::LRN&>(node);
  const Extents in = extents_of(node.input_value(0));
  const auto size = static_cast<std::int64_t>(lrn.get_nsize());
  const ov::element::Type element = node.get_output_element_type(0);
  const std::string type = compute_type(element);
  const ov::AxisSet axes = lrn.get_reduction_axes();
  double count = 1;
  for (std::size_t k = 0; k < axes.size(); ++k) count *= static_cast<double>(size);
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    const std::string sum = emitter.variable(type, "0");
    Indices from = lane;
    int opened = 0;
    for (const std::size_t axis : axes) {
      const Index tap = open_loop(emitter, size, opened);
      from[axis] = emitter.linear({{lane[axis], 1}, {tap, 1}}, -(size - 1) / 2);
      emitter.open(fmt::format("if ({0} >= 0 && {0} < {1})", emitter.text(from[axis]), in[axis]));
      ++opened;
    }
    INFLIGHT_TRY_ASSIGN(const std::string value, emitter.emit(node.input_value(0), from));
    emitter.line(fmt::format("{0} += {1} * {1};", sum, value));
    close_window(emitter, opened);
    INFLIGHT_TRY_ASSIGN(const std::string x, emitter.emit(node.input_value(0), lane));
    return emitter.local(
        type, fmt::format("{} / m_pow({} + {} * {}, {})", x, literal(lrn.get_bias(), element),
                          literal(lrn.get_alpha() / count, element), sum, literal(lrn.get_beta(), element)));
  });
}

KernelKind lrn_kind(const ov::Node& node) {
  return has_constant(node, 1) ? KernelKind::kWindow : KernelKind::kNone;
}

}  // namespace

void add_pool_rules(RuleTable& table) {
  namespace op = ov::op;
  const auto add = [&](const ov::DiscreteTypeInfo& type, EmitRule rule) {
    table[rule_key(type)] = {always_window, rule};
  };
  add(op::v1::MaxPool::get_type_info_static(), emit_max_pool<op::v1::MaxPool>);
  add(op::v8::MaxPool::get_type_info_static(), emit_max_pool<op::v8::MaxPool>);
  add(op::v14::MaxPool::get_type_info_static(), emit_max_pool<op::v14::MaxPool>);
  add(op::v1::AvgPool::get_type_info_static(), emit_avg_pool<op::v1::AvgPool>);
  add(op::v14::AvgPool::get_type_info_static(), emit_avg_pool<op::v14::AvgPool>);
  add(op::v16::AvgPool::get_type_info_static(), emit_avg_pool<op::v16::AvgPool>);
  add(op::v8::AdaptiveAvgPool::get_type_info_static(), emit_adaptive);
  add(op::v8::AdaptiveMaxPool::get_type_info_static(), emit_adaptive);
  table[rule_key(op::v0::LRN::get_type_info_static())] = {lrn_kind, emit_lrn};
}

}  // namespace inflight::cuda
