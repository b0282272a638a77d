// SPDX-License-Identifier: Apache-2.0
// Interpolate: nearest, linear, cubic and Pillow's filters, as weighted taps on each axis.
#include <fmt/format.h>

#include <cmath>
#include <openvino/op/ops.hpp>

#include "backends/cuda/emitter.h"
#include "backends/cuda/window.h"

namespace inflight::cuda {
namespace {

using Base = ov::op::util::InterpolateBase;
using Mode = Base::InterpolateMode;
using Coordinates = Base::CoordinateTransformMode;
using Nearest = Base::NearestMode;

// One axis that is interpolated. Extents are those of the padded input.
struct Axis {
  std::size_t dimension = 0;
  std::int64_t in = 1, out = 1;
  float scale = 1;
};

struct Terms {
  Base::InterpolateAttrs attributes;
  std::vector<Axis> axes;
  Extents pad_begin, pad_end, in;
};

std::vector<double> constant_reals(const ov::Node& node, std::size_t input) {
  const auto constant = ov::as_type_ptr<ov::op::v0::Constant>(node.get_input_node_shared_ptr(input));
  return constant == nullptr ? std::vector<double>{} : constant->cast_vector<double>();
}

// What an operator of opset 1 says, in the words of the later ones.
Base::InterpolateAttrs attributes_of(const ov::op::v0::Interpolate& node) {
  const auto& old = node.get_attrs();
  Base::InterpolateAttrs attributes;
  attributes.mode = old.mode == "nearest"                ? Mode::NEAREST
                    : old.mode == "cubic"                ? Mode::CUBIC
                    : node.get_input_shape(0).size() < 5 ? Mode::LINEAR_ONNX
                                                         : Mode::LINEAR;
  attributes.nearest_mode = Nearest::SIMPLE;
  attributes.coordinate_transformation_mode =
      old.align_corners ? Coordinates::ALIGN_CORNERS : Coordinates::ASYMMETRIC;
  attributes.antialias = old.antialias;
  attributes.pads_begin = old.pads_begin;
  attributes.pads_end = old.pads_end;
  return attributes;
}

Terms terms_of(const ov::Node& node) {
  Terms terms;
  terms.in = extents_of(node.input_value(0));
  const std::size_t rank = terms.in.size();
  std::vector<std::int64_t> axes;
  std::vector<double> scales;
  if (const auto* first = dynamic_cast<const ov::op::v0::Interpolate*>(&node)) {
    terms.attributes = attributes_of(*first);
    for (const std::size_t axis : first->get_attrs().axes) axes.push_back(static_cast<std::int64_t>(axis));
  } else {
    terms.attributes = dynamic_cast<const Base&>(node).get_attrs();
    const bool is_v4 = ov::is_type<ov::op::v4::Interpolate>(&node);
    axes = constant_integers(node, is_v4 ? 3 : 2);
    if (axes.empty())
      for (std::size_t d = 0; d < rank; ++d) axes.push_back(static_cast<std::int64_t>(d));
    if (terms.attributes.shape_calculation_mode == Base::ShapeCalcMode::SCALES)
      scales = constant_reals(node, is_v4 ? 2 : 1);
  }
  const auto pad = [&](const std::vector<std::size_t>& pads) {
    Extents all(rank, 0);
    for (std::size_t d = 0; d < rank && d < pads.size(); ++d) all[d] = static_cast<std::int64_t>(pads[d]);
    return all;
  };
  terms.pad_begin = pad(terms.attributes.pads_begin);
  terms.pad_end = pad(terms.attributes.pads_end);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    Axis axis;
    axis.dimension = normal_axis(axes[i], rank);
    axis.in = terms.in[axis.dimension] + terms.pad_begin[axis.dimension] + terms.pad_end[axis.dimension];
    axis.out = extents_of(node.output(0))[axis.dimension];
    axis.scale = i < scales.size() ? static_cast<float>(scales[i])
                                   : static_cast<float>(axis.out) / static_cast<float>(axis.in);
    const bool same = axis.in == axis.out && axis.scale == 1.0F &&
                      terms.attributes.coordinate_transformation_mode != Coordinates::TF_HALF_PIXEL_FOR_NN;
    if (!same) terms.axes.push_back(axis);
  }
  return terms;
}

std::string real(double value) { return literal(value, ov::element::f32); }

// Where the element lies in the input: a float.
std::string coordinate(Emitter& emitter, const Terms& terms, const Axis& axis, const Index& out) {
  const std::string x = fmt::format("(float){}", emitter.text(out)), scale = real(axis.scale);
  switch (terms.attributes.coordinate_transformation_mode) {
    case Coordinates::PYTORCH_HALF_PIXEL:
      if (axis.out == 1) return "0.0f";
      [[fallthrough]];
    case Coordinates::HALF_PIXEL:
      return emitter.local("float", fmt::format("({} + 0.5f) / {} - 0.5f", x, scale));
    case Coordinates::ASYMMETRIC:
      return emitter.local("float", fmt::format("{} / {}", x, scale));
    case Coordinates::TF_HALF_PIXEL_FOR_NN:
      return emitter.local("float", fmt::format("({} + 0.5f) / {}", x, scale));
    case Coordinates::ALIGN_CORNERS:
      if (axis.out == 1) return "0.0f";
      return emitter.local("float", fmt::format("{} * {} / {}", x, real(static_cast<double>(axis.in - 1)),
                                                real(static_cast<double>(axis.out - 1))));
  }
  return "0.0f";
}

Index nearest(Emitter& emitter, const Terms& terms, const Axis& axis, const Index& out) {
  const std::string x = coordinate(emitter, terms, axis, out);
  std::string rounded;
  switch (terms.attributes.nearest_mode) {
    case Nearest::ROUND_PREFER_FLOOR:
      rounded = fmt::format("({0} == m_floor({0}) + 0.5f ? m_floor({0}) : m_round({0}))", x);
      break;
    case Nearest::ROUND_PREFER_CEIL:
      rounded = fmt::format("m_round({})", x);
      break;
    case Nearest::FLOOR:
      rounded = fmt::format("m_floor({})", x);
      break;
    case Nearest::CEIL:
      rounded = fmt::format("m_ceil({})", x);
      break;
    case Nearest::SIMPLE:
      rounded = fmt::format("{}({})", axis.scale < 1 ? "m_ceil" : "m_trunc", x);
      break;
  }
  return emitter.named(fmt::format("clamp_index<idx>((idx){}, 0, {})", rounded, axis.in - 1), axis.in);
}

// The taps of one axis: `loop` opens a block in which `index` is the tap's place and `weight` its weight.
struct Tap {
  std::string index, weight;
  int opened = 0;
};

// Two taps whose weights are the distances to the other one.
Tap open_linear_onnx(Emitter& emitter, const Axis& axis, const std::string& x) {
  const std::string last = real(static_cast<double>(axis.in - 1));
  const std::string inside = emitter.local("float", fmt::format("m_max(0.0f, m_min({}, {}))", x, last));
  const std::string low = emitter.local("idx", fmt::format("(idx){}", inside));
  const std::string part = emitter.local("float", fmt::format("{} - (float){}", inside, low));
  Tap tap;
  const Index t = open_loop(emitter, 2, tap.opened);
  tap.index = emitter.local("idx", fmt::format("m_min<idx>({} + {}, {})", low, emitter.text(t), axis.in - 1));
  tap.weight = emitter.local("float", fmt::format("{0} == 0 ? 1.0f - {1} : {1}", emitter.text(t), part));
  return tap;
}

Tap open_cubic(Emitter& emitter, const Terms& terms, const Axis& axis, const std::string& x) {
  const std::string low = emitter.local("float", fmt::format("m_floor({})", x));
  const std::string s = emitter.local("float", fmt::format("{} - {}", x, low));
  Tap tap;
  const Index t = open_loop(emitter, 4, tap.opened);
  tap.index = emitter.local(
      "idx", fmt::format("clamp_index<idx>((idx){} + {} - 1, 0, {})", low, emitter.text(t), axis.in - 1));
  const std::string a = real(terms.attributes.cube_coeff);
  tap.weight = emitter.local(
      "float", fmt::format("{0} == 0 ? {2} * ({1} - 1.0f) * ({1} - 1.0f) * {1} : "
                           "{0} == 1 ? (({2} + 2.0f) * {1} - ({2} + 3.0f)) * {1} * {1} + 1.0f : "
                           "{0} == 2 ? (((-{2} - 2.0f) * {1} + (2.0f * {2} + 3.0f)) * {1} - {2}) * {1} : "
                           "-{2} * {1} * {1} * ({1} - 1.0f)",
                           emitter.text(t), s, a));
  return tap;
}

// A triangle around the place, wider where the picture shrinks; its weights need not sum up to 1.
Tap open_triangle(Emitter& emitter, const Terms& terms, const Axis& axis, const std::string& x) {
  const bool shrinks = terms.attributes.antialias && axis.scale < 1;
  const float a = shrinks ? axis.scale : 1.0F;
  const auto reach = shrinks ? static_cast<std::int64_t>(std::ceil(2.0F / a)) : 2;
  const std::string middle = emitter.local("idx", fmt::format("(idx)m_round({})", x));
  Tap tap;
  const Index t = open_loop(emitter, 2 * reach + 1, tap.opened);
  tap.index = emitter.local("idx", fmt::format("{} + {} - {}", middle, emitter.text(t), reach));
  emitter.open(fmt::format("if ({0} >= 0 && {0} < {1})", tap.index, axis.in));
  ++tap.opened;
  tap.weight = emitter.local("float", fmt::format("{0} * m_max(0.0f, 1.0f - m_abs({0} * ({1} - (float){2})))",
                                                  real(a), x, tap.index));
  return tap;
}

Tap open_pillow(Emitter& emitter, const Terms& terms, const Axis& axis, const Index& out) {
  const bool cubic = terms.attributes.mode == Mode::BICUBIC_PILLOW;
  const double step = static_cast<double>(axis.in) / static_cast<double>(axis.out);
  const double wide = std::max(step, 1.0), support = (cubic ? 2.0 : 1.0) * wide;
  const std::string center =
      emitter.local("float", fmt::format("((float){} + 0.5f) * {}", emitter.text(out), real(step)));
  const std::string low =
      emitter.local("idx", fmt::format("m_max<idx>((idx)({} - {} + 0.5f), 0)", center, real(support)));
  const std::string high = emitter.local(
      "idx", fmt::format("m_min<idx>((idx)({} + {} + 0.5f), {})", center, real(support), axis.in));
  Tap tap;
  tap.index = emitter.fresh('r');
  emitter.open(fmt::format("for (idx {0} = {1}; {0} < {2}; ++{0})", tap.index, low, high));
  tap.opened = 1;
  const std::string d = emitter.local(
      "float", fmt::format("m_abs(((float){} - {} + 0.5f) * {})", tap.index, center, real(1.0 / wide)));
  const std::string a = real(terms.attributes.cube_coeff);
  tap.weight = emitter.local(
      "float", cubic ? fmt::format("{0} < 1.0f ? (({1} + 2.0f) * {0} - ({1} + 3.0f)) * {0} * {0} + 1.0f : "
                                   "{0} < 2.0f ? ((({0} - 5.0f) * {0} + 8.0f) * {0} - 4.0f) * {1} : 0.0f",
                                   d, a)
                     : fmt::format("m_max(0.0f, 1.0f - {})", d));
  return tap;
}

Tap open_taps(Emitter& emitter, const Terms& terms, const Axis& axis, const Index& out) {
  const Mode mode = terms.attributes.mode;
  if (mode == Mode::BILINEAR_PILLOW || mode == Mode::BICUBIC_PILLOW)
    return open_pillow(emitter, terms, axis, out);
  const std::string x = coordinate(emitter, terms, axis, out);
  if (mode == Mode::LINEAR_ONNX) return open_linear_onnx(emitter, axis, x);
  if (mode == Mode::CUBIC) return open_cubic(emitter, terms, axis, x);
  return open_triangle(emitter, terms, axis, x);
}

// The condition under which an index of the padded input is one of the input, whose index replaces it.
std::string unpad(Emitter& emitter, const Terms& terms, Indices& at) {
  std::string inside;
  for (std::size_t d = 0; d < at.size(); ++d) {
    if (terms.pad_begin[d] == 0 && terms.pad_end[d] == 0) continue;
    at[d] = Emitter::plus(at[d], -terms.pad_begin[d]);
    inside += fmt::format("{0}{1} >= 0 && {1} < {2}", inside.empty() ? "" : " && ", emitter.text(at[d]),
                          terms.in[d]);
  }
  return inside;
}

Result<Lanes> emit_nearest(Emitter& emitter, const ov::Node& node, const Terms& terms, const Places& at) {
  Places from = at;
  std::string inside;
  for (Indices& lane : from) {
    for (const Axis& axis : terms.axes)
      lane[axis.dimension] = nearest(emitter, terms, axis, lane[axis.dimension]);
    inside = unpad(emitter, terms, lane);
  }
  if (inside.empty()) return emitter.emit(node.input_value(0), from);
  return emit_each(from, [&](Indices lane) -> Result<std::string> {
    std::string condition = "true";
    for (std::size_t d = 0; d < lane.size(); ++d)
      condition += fmt::format(" && {0} >= 0 && {0} < {1}", emitter.text(lane[d]), terms.in[d]);
    const std::string result = emitter.variable(compute_type(node.get_output_element_type(0)), "0");
    emitter.open(fmt::format("if ({})", condition));
    INFLIGHT_TRY_ASSIGN(const std::string value, emitter.emit(node.input_value(0), lane));
    emitter.line(fmt::format("{} = {};", result, value));
    emitter.close();
    return result;
  });
}

Result<Lanes> emit_interpolate(Emitter& emitter, const ov::Node& node, std::size_t output, const Places& at) {
  const Terms terms = terms_of(node);
  if (terms.attributes.mode == Mode::NEAREST) return emit_nearest(emitter, node, terms, at);
  bool together = true;
  for (const Indices& lane : at)
    for (std::size_t d = 0; d < lane.size(); ++d) {
      bool moves = terms.pad_begin[d] != 0 || terms.pad_end[d] != 0;
      for (const Axis& axis : terms.axes) moves = moves || axis.dimension == d;
      together = together && (!moves || (lane[d].base == at[0][d].base && lane[d].add == at[0][d].add));
    }
  if (!together)
    return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
      INFLIGHT_TRY_ASSIGN(const Lanes one, emit_interpolate(emitter, node, output, {lane}));
      return one[0];
    });
  Lanes sums;
  for (std::size_t j = 0; j < at.size(); ++j) sums.push_back(emitter.variable("float", "0"));
  const std::string total = emitter.variable("float", "0");
  Indices from = at[0];
  std::string weight = "1.0f";
  int opened = 0;
  for (const Axis& axis : terms.axes) {
    const Tap tap = open_taps(emitter, terms, axis, at[0][axis.dimension]);
    opened += tap.opened;
    from[axis.dimension] = {tap.index, 0, 1, 0};
    weight =
        weight == "1.0f" ? tap.weight : emitter.local("float", fmt::format("{} * {}", weight, tap.weight));
  }
  emitter.line(fmt::format("{} += {};", total, weight));
  const std::string inside = unpad(emitter, terms, from);
  if (!inside.empty()) {
    emitter.open(fmt::format("if ({})", inside));
    ++opened;
  }
  INFLIGHT_TRY_ASSIGN(const Lanes values, emit_moved(emitter, node.input_value(0), at, [&](Indices lane) {
                        unpad(emitter, terms, lane);
                        for (const Axis& axis : terms.axes) lane[axis.dimension] = from[axis.dimension];
                        return lane;
                      }));
  for (std::size_t j = 0; j < at.size(); ++j)
    emitter.line(fmt::format("{} += {} * {};", sums[j], weight, values[j]));
  close_window(emitter, opened);
  const ov::element::Type type = node.get_output_element_type(0);
  Lanes lanes;
  for (const std::string& sum : sums) {
    std::string mean = emitter.local("float", fmt::format("{1} == 0.0f ? 0.0f : {0} / {1}", sum, total));
    if (!type.is_real())
      mean = emitter.local(compute_type(type),
                           fmt::format("({})(long long)m_rint({})", compute_type(type), mean));
    lanes.push_back(mean);
  }
  return lanes;
}

KernelKind interpolate_kind(const ov::Node& node) {
  if (const auto* first = dynamic_cast<const ov::op::v0::Interpolate*>(&node)) {
    if (first->get_attrs().mode == "area") return KernelKind::kNone;
    return first->get_attrs().mode == "nearest" ? KernelKind::kInline : KernelKind::kWindow;
  }
  const Terms terms = terms_of(node);
  if (terms.attributes.shape_calculation_mode == Base::ShapeCalcMode::SCALES &&
      !has_constant(node, ov::is_type<ov::op::v4::Interpolate>(&node) ? 2 : 1))
    return KernelKind::kNone;
  return terms.attributes.mode == Mode::NEAREST ? KernelKind::kInline : KernelKind::kWindow;
}

}  // namespace

void add_interpolate_rules(RuleTable& table) {
  namespace op = ov::op;
  for (const auto& type :
       {op::v0::Interpolate::get_type_info_static(), op::v4::Interpolate::get_type_info_static(),
        op::v11::Interpolate::get_type_info_static()})
    table[rule_key(type)] = {interpolate_kind, emit_interpolate};
}

}  // namespace inflight::cuda
