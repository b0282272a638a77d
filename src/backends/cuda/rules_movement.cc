// SPDX-License-Identifier: Apache-2.0
// Operators that move elements to where their attributes say.
#include <fmt/format.h>

#include <algorithm>
#include <openvino/op/ops.hpp>

#include "backends/cuda/emitter.h"

namespace inflight::cuda {
namespace {

// Dimensions whose product is the same in both shapes pass through; only what is between them is counted again.
Indices reshaped(Emitter& emitter, const Extents& from, const Extents& to, const Indices& at) {
  Indices result(from.size(), Emitter::constant(0));
  std::size_t f = 0, t = 0;
  while (f < from.size()) {
    if (from[f] == 1) {
      ++f;
      continue;
    }
    while (t < to.size() && to[t] == 1) ++t;
    std::size_t f_end = f + 1, t_end = t + 1;
    std::int64_t f_count = from[f], t_count = to[t];
    while (f_count != t_count) {
      if (f_count < t_count)
        f_count *= from[f_end++];
      else
        t_count *= to[t_end++];
    }
    const auto part = [](const auto& all, std::size_t begin, std::size_t end) {
      return std::decay_t<decltype(all)>(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                         all.begin() + static_cast<std::ptrdiff_t>(end));
    };
    const Indices inner =
        f_end - f == 1 && t_end - t == 1
            ? Indices{at[t]}
            : emitter.split(emitter.flat(part(at, t, t_end), part(to, t, t_end)), part(from, f, f_end));
    std::copy(inner.begin(), inner.end(), result.begin() + static_cast<std::ptrdiff_t>(f));
    f = f_end;
    t = t_end;
  }
  return result;
}

Result<Lanes> emit_reshape(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at) {
  const Extents from = extents_of(node.input_value(0)), to = extents_of(node.output(output));
  return emit_moved(emitter, node.input_value(0), at,
                    [&](const Indices& lane) { return reshaped(emitter, from, to, lane); });
}

Result<Lanes> emit_transpose(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const std::size_t rank = node.get_input_shape(0).size();
  std::vector<std::int64_t> order = constant_integers(node, 1);
  if (order.empty())
    for (std::size_t d = rank; d-- > 0;) order.push_back(static_cast<std::int64_t>(d));
  return emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) {
    Indices from(rank);
    for (std::size_t d = 0; d < rank; ++d) from[normal_axis(order[d], rank)] = lane[d];
    return from;
  });
}

KernelKind inline_with_constant_1(const ov::Node& node) {
  return has_constant(node, 1) || node.get_input_size() < 2 ? KernelKind::kInline : KernelKind::kNone;
}

Result<Lanes> emit_broadcast(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const Extents in = extents_of(node.input_value(0)), out = extents_of(node.output(0));
  const auto& broadcast = dynamic_cast<const ov::op::util::BroadcastBase&>(node);
  const bool explicit_axes = node.get_input_size() > 2;
  const std::vector<std::int64_t> axes =
      explicit_axes ? constant_integers(node, 2) : std::vector<std::int64_t>{};
  ov::op::AutoBroadcastSpec spec(ov::op::AutoBroadcastType::NUMPY);
  if (const auto* v1 = dynamic_cast<const ov::op::v1::Broadcast*>(&node))
    spec = v1->get_broadcast_spec();
  else if (broadcast.get_broadcast_spec().m_type == ov::op::BroadcastType::PDPD)
    spec = {ov::op::AutoBroadcastType::PDPD, broadcast.get_broadcast_spec().m_axis};
  return emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) {
    if (!explicit_axes || axes.size() != in.size()) return broadcast_indices(in, out, spec, lane);
    Indices from(in.size());
    for (std::size_t d = 0; d < in.size(); ++d)
      from[d] = in[d] == 1 ? Emitter::constant(0) : lane[normal_axis(axes[d], out.size())];
    return from;
  });
}

KernelKind broadcast_kind(const ov::Node& node) {
  return node.get_input_size() < 3 || has_constant(node, 2) ? KernelKind::kInline : KernelKind::kNone;
}

// Where a slice starts and how it steps, in each dimension of its input.
struct SliceTerms {
  std::vector<std::int64_t> begin, step;
};

std::int64_t first_of_slice(std::int64_t begin, std::int64_t extent, std::int64_t step) {
  if (begin < 0) begin += extent;
  return step > 0 ? std::clamp<std::int64_t>(begin, 0, extent)
                  : std::clamp<std::int64_t>(begin, -1, extent - 1);
}

Result<Lanes> emit_slice(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const Extents in = extents_of(node.input_value(0));
  SliceTerms terms{std::vector<std::int64_t>(in.size(), 0), std::vector<std::int64_t>(in.size(), 1)};
  const auto starts = constant_integers(node, 1), steps = constant_integers(node, 3);
  const auto axes = constant_integers(node, 4);
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const std::size_t d = axes.empty() ? i : normal_axis(axes[i], in.size());
    terms.step[d] = steps[i];
    terms.begin[d] = first_of_slice(starts[i], in[d], steps[i]);
  }
  return emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) {
    Indices from(in.size());
    for (std::size_t d = 0; d < in.size(); ++d)
      from[d] = emitter.linear({{lane[d], terms.step[d]}}, terms.begin[d]);
    return from;
  });
}

KernelKind slice_kind(const ov::Node& node) {
  for (std::size_t i = 1; i < node.get_input_size(); ++i)
    if (!has_constant(node, i)) return KernelKind::kNone;
  return KernelKind::kInline;
}

bool in_mask(const std::vector<std::int64_t>& mask, std::size_t i) { return i < mask.size() && mask[i] != 0; }

Result<Lanes> emit_strided_slice(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto& slice = dynamic_cast<const ov::op::v1::StridedSlice&>(node);
  const Extents in = extents_of(node.input_value(0));
  const auto begin = constant_integers(node, 1);
  auto step = constant_integers(node, 3);
  if (step.empty()) step.assign(begin.size(), 1);
  // How many of the input's dimensions the ellipsis stands for.
  std::size_t named = 0;
  for (std::size_t i = 0; i < begin.size(); ++i)
    named += in_mask(slice.get_ellipsis_mask(), i) || in_mask(slice.get_new_axis_mask(), i) ? 0 : 1;
  std::vector<Places::size_type>
      source;  // of each of the input's dimensions: its dimension in the output, or none
  constexpr std::size_t kNone = ~std::size_t{0};
  SliceTerms terms;
  std::size_t out = 0;
  for (std::size_t i = 0; i < begin.size(); ++i) {
    if (in_mask(slice.get_ellipsis_mask(), i)) {
      for (std::size_t count = in.size() - named; count-- > 0;) {
        source.push_back(out++);
        terms.begin.push_back(0);
        terms.step.push_back(1);
      }
    } else if (in_mask(slice.get_new_axis_mask(), i)) {
      ++out;
    } else {
      const std::int64_t extent = in[source.size()];
      const bool shrinks = in_mask(slice.get_shrink_axis_mask(), i);
      const std::int64_t by = shrinks ? 1 : step[i];
      const bool from_end = in_mask(slice.get_begin_mask(), i) && !shrinks;
      terms.begin.push_back(from_end ? (by > 0 ? 0 : extent - 1) : first_of_slice(begin[i], extent, by));
      terms.step.push_back(by);
      source.push_back(shrinks ? kNone : out++);
    }
  }
  while (source.size() < in.size()) {
    source.push_back(out++);
    terms.begin.push_back(0);
    terms.step.push_back(1);
  }
  return emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) {
    Indices from(in.size());
    for (std::size_t d = 0; d < in.size(); ++d)
      from[d] = source[d] == kNone ? Emitter::constant(terms.begin[d])
                                   : emitter.linear({{lane[source[d]], terms.step[d]}}, terms.begin[d]);
    return from;
  });
}

// One of several inputs, by where the index on the axis lies. Lanes that may differ are computed one by one.
Result<Lanes> emit_concat(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto& concat = dynamic_cast<const ov::op::v0::Concat&>(node);
  const std::size_t axis = normal_axis(concat.get_axis(), node.get_output_shape(0).size());
  std::vector<std::int64_t> ends;
  for (std::size_t i = 0; i < node.get_input_size(); ++i)
    ends.push_back((ends.empty() ? 0 : ends.back()) + extents_of(node.input_value(i))[axis]);
  const Index& first = at[0][axis];
  bool together = true;
  for (const Indices& lane : at) {
    const bool same_base = lane[axis].base == first.base;
    const bool aligned = std::all_of(ends.begin(), ends.end(), [&](std::int64_t end) {
      const std::int64_t unit = first.multiple;
      return end % unit == 0 && first.add / unit == lane[axis].add / unit && lane[axis].add >= 0;
    });
    together = together && same_base && (lane[axis].add == first.add || aligned);
  }
  if (!together)
    return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
      INFLIGHT_TRY_ASSIGN(const Lanes one, emit_concat(emitter, node, 0, {lane}));
      return one[0];
    });
  const std::string type = compute_type(node.get_output_element_type(0));
  Lanes lanes;
  for (std::size_t j = 0; j < at.size(); ++j) lanes.push_back(emitter.variable(type, "0"));
  bool first_part = true;
  for (std::size_t i = 0; i < node.get_input_size(); ++i) {
    const std::int64_t begin = i == 0 ? 0 : ends[i - 1];
    if (ends[i] == begin) continue;
    const bool last = ends[i] == ends.back();
    const std::string head =
        last ? (first_part ? "" : "else")
             : fmt::format("{}if ({} < {})", first_part ? "" : "else ", emitter.text(first), ends[i]);
    emitter.open(head);
    INFLIGHT_TRY_ASSIGN(const Lanes part, emit_moved(emitter, node.input_value(i), at, [&](Indices lane) {
                          lane[axis].add -= begin;
                          return lane;
                        }));
    for (std::size_t j = 0; j < at.size(); ++j) emitter.line(fmt::format("{} = {};", lanes[j], part[j]));
    emitter.close();
    first_part = false;
    if (last) break;
  }
  return lanes;
}

Result<Lanes> emit_split(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at) {
  const std::size_t axis = normal_axis(constant_integers(node, 1)[0], node.get_input_shape(0).size());
  std::int64_t begin = 0;
  for (std::size_t o = 0; o < output; ++o) begin += extents_of(node.output(o))[axis];
  return emit_moved(emitter, node.input_value(0), at, [&](Indices lane) {
    lane[axis] = Emitter::plus(lane[axis], begin);
    return lane;
  });
}

Result<Lanes> emit_tile(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const Extents in = extents_of(node.input_value(0));
  return emit_moved(emitter, node.input_value(0), at, [&](const Indices& lane) {
    Indices from(in.size());
    const std::size_t first = lane.size() - in.size();
    for (std::size_t d = 0; d < in.size(); ++d)
      from[d] = in[d] == extents_of(node.output(0))[first + d] ? lane[first + d]
                                                               : emitter.modulo(lane[first + d], in[d]);
    return from;
  });
}

std::string all_of(const std::vector<std::string>& conditions) {
  return conditions.empty() ? "true" : fmt::format("{}", fmt::join(conditions, " && "));
}

Result<std::string> emit_pad_one(Emitter& emitter, const ov::op::util::PadBase& pad, const Indices& at) {
  const Extents in = extents_of(pad.input_value(0)), out = extents_of(pad.output(0));
  const auto begin = pad.get_pads_begin();
  const ov::op::PadMode mode = pad.get_pad_mode();
  Indices from(in.size());
  std::vector<std::string> conditions;
  for (std::size_t d = 0; d < in.size(); ++d) {
    from[d] = Emitter::plus(at[d], -begin[d]);
    from[d].limit = 0;
    const std::string i = emitter.text(from[d]), n = std::to_string(in[d]);
    const bool before = begin[d] > 0, after = out[d] - begin[d] > in[d];
    if (!before && !after) continue;
    if (mode == ov::op::PadMode::CONSTANT) {
      if (before) conditions.push_back(fmt::format("{} >= 0", i));
      if (after) conditions.push_back(fmt::format("{} < {}", i, n));
    } else {
      const char* function = mode == ov::op::PadMode::EDGE      ? "clamp_index<idx>({}, 0, {} - 1)"
                             : mode == ov::op::PadMode::REFLECT ? "reflect_index<idx>({}, {})"
                                                                : "symmetric_index<idx>({}, {})";
      from[d] = emitter.named(fmt::format(fmt::runtime(function), i, n), in[d]);
    }
  }
  if (conditions.empty()) return emitter.emit(pad.input_value(0), from);
  const std::string type = compute_type(pad.get_output_element_type(0));
  std::string filler = "0";
  if (pad.get_input_size() > 3) {
    INFLIGHT_TRY_ASSIGN(filler, emitter.emit(pad.input_value(3), Indices{}));
  }
  const std::string result = emitter.variable(type, filler);
  emitter.open(fmt::format("if ({})", all_of(conditions)));
  INFLIGHT_TRY_ASSIGN(const std::string inside, emitter.emit(pad.input_value(0), from));
  emitter.line(fmt::format("{} = {};", result, inside));
  emitter.close();
  return result;
}

// Lanes that lie on a dimension which is not padded share the condition, and so their loads.
Result<Lanes> emit_pad(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const auto& pad = dynamic_cast<const ov::op::util::PadBase&>(node);
  const Extents in = extents_of(node.input_value(0)), out = extents_of(node.output(0));
  const auto begin = pad.get_pads_begin();
  bool together = pad.get_pad_mode() == ov::op::PadMode::CONSTANT;
  std::vector<std::string> conditions;
  for (std::size_t d = 0; d < in.size() && together; ++d) {
    const bool before = begin[d] > 0, after = out[d] - begin[d] > in[d];
    for (const Indices& lane : at)
      together =
          together && ((!before && !after) || (lane[d].base == at[0][d].base && lane[d].add == at[0][d].add));
    const std::string i = emitter.text(Emitter::plus(at[0][d], -begin[d]));
    if (before) conditions.push_back(fmt::format("{} >= 0", i));
    if (after) conditions.push_back(fmt::format("{} < {}", i, in[d]));
  }
  if (!together || conditions.empty())
    return emit_each(at, [&](const Indices& lane) { return emit_pad_one(emitter, pad, lane); });
  std::string filler = "0";
  if (pad.get_input_size() > 3) {
    INFLIGHT_TRY_ASSIGN(filler, emitter.emit(pad.input_value(3), Indices{}));
  }
  Lanes lanes;
  for (std::size_t j = 0; j < at.size(); ++j)
    lanes.push_back(emitter.variable(compute_type(pad.get_output_element_type(0)), filler));
  emitter.open(fmt::format("if ({})", all_of(conditions)));
  INFLIGHT_TRY_ASSIGN(const Lanes inside, emit_moved(emitter, node.input_value(0), at, [&](Indices lane) {
                        for (std::size_t d = 0; d < in.size(); ++d) {
                          lane[d].add -= begin[d];
                          if (begin[d] != 0) lane[d].limit = 0;
                        }
                        return lane;
                      }));
  for (std::size_t j = 0; j < at.size(); ++j) emitter.line(fmt::format("{} = {};", lanes[j], inside[j]));
  emitter.close();
  return lanes;
}

KernelKind pad_kind(const ov::Node& node) {
  return has_constant(node, 1) && has_constant(node, 2) ? KernelKind::kInline : KernelKind::kNone;
}

KernelKind split_kind(const ov::Node& node) {
  return has_constant(node, 1) ? KernelKind::kInline : KernelKind::kNone;
}

}  // namespace

void add_movement_rules(RuleTable& table) {
  namespace op = ov::op;
  const auto add = [&](const ov::DiscreteTypeInfo& type, KernelKind (*kind)(const ov::Node&), EmitRule rule) {
    table[rule_key(type)] = {kind, rule};
  };
  add(op::v1::Reshape::get_type_info_static(), always_inline, emit_reshape);
  add(op::v0::Squeeze::get_type_info_static(), always_inline, emit_reshape);
  add(op::v15::Squeeze::get_type_info_static(), always_inline, emit_reshape);
  add(op::v0::Unsqueeze::get_type_info_static(), always_inline, emit_reshape);
  add(op::v0::Result::get_type_info_static(), always_inline, emit_reshape);
  add(op::v1::Transpose::get_type_info_static(), inline_with_constant_1, emit_transpose);
  add(op::v1::Broadcast::get_type_info_static(), broadcast_kind, emit_broadcast);
  add(op::v3::Broadcast::get_type_info_static(), broadcast_kind, emit_broadcast);
  add(op::v8::Slice::get_type_info_static(), slice_kind, emit_slice);
  add(op::v1::StridedSlice::get_type_info_static(), slice_kind, emit_strided_slice);
  add(op::v0::Concat::get_type_info_static(), always_inline, emit_concat);
  add(op::v1::Split::get_type_info_static(), split_kind, emit_split);
  add(op::v1::VariadicSplit::get_type_info_static(), split_kind, emit_split);
  add(op::v0::Tile::get_type_info_static(), always_inline, emit_tile);
  add(op::v1::Pad::get_type_info_static(), pad_kind, emit_pad);
  add(op::v12::Pad::get_type_info_static(), pad_kind, emit_pad);
}

}  // namespace inflight::cuda
