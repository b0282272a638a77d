// SPDX-License-Identifier: Apache-2.0
// Scatter operators, turned around: each element of the output looks for the updates that are meant for it, in
// their order, so that the result does not depend on the order of threads.
#include <fmt/format.h>

#include <openvino/op/ops.hpp>

#include "backends/cuda/emitter.h"
#include "backends/cuda/window.h"

namespace inflight::cuda {
namespace {

// `index` as the network gives it is `at`; a negative one counts from the end.
std::string is_meant(Emitter& emitter, const std::string& index, const Index& at, std::int64_t extent,
                     bool is_signed) {
  std::string condition = fmt::format("(long long){} == {}", index, emitter.text(at));
  if (is_signed) condition += fmt::format(" || (long long){} + {} == {}", index, extent, emitter.text(at));
  return condition;
}

Result<Lanes> emit_scatter_update(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const Extents data = extents_of(node.input_value(0)), indices = extents_of(node.input_value(1));
  const std::size_t axis = normal_axis(constant_integers(node, 3)[0], data.size());
  const std::string type = compute_type(node.get_output_element_type(0));
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    INFLIGHT_TRY_ASSIGN(const std::string start, emitter.emit(node.input_value(0), lane));
    const std::string result = emitter.variable(type, start);
    int opened = 0;
    const Index q = open_loop(emitter, element_count(indices), opened);
    const Indices where = emitter.split(q, indices);
    INFLIGHT_TRY_ASSIGN(const std::string index, emitter.emit(node.input_value(1), where));
    emitter.open(fmt::format("if ({})", is_meant(emitter, index, lane[axis], data[axis],
                                                 node.get_input_element_type(1).is_signed())));
    Indices from(lane.begin(), lane.begin() + static_cast<std::ptrdiff_t>(axis));
    from.insert(from.end(), where.begin(), where.end());
    from.insert(from.end(), lane.begin() + static_cast<std::ptrdiff_t>(axis) + 1, lane.end());
    INFLIGHT_TRY_ASSIGN(const std::string update, emitter.emit(node.input_value(2), from));
    emitter.line(fmt::format("{} = {};", result, update));
    close_window(emitter, opened + 1);
    return result;
  });
}

KernelKind axis_kind(const ov::Node& node) {
  return has_constant(node, 3) ? KernelKind::kWindow : KernelKind::kNone;
}

// How an update changes what is there. `%0` is that, `%1` the update.
std::string combined(ov::op::v12::ScatterElementsUpdate::Reduction reduction, const std::string& type,
                     const std::string& there, const std::string& update) {
  using Reduction = ov::op::v12::ScatterElementsUpdate::Reduction;
  switch (reduction) {
    case Reduction::NONE:
      return update;
    case Reduction::SUM:
    case Reduction::MEAN:
      return fmt::format("({})({} + {})", type, there, update);
    case Reduction::PROD:
      return fmt::format("({})({} * {})", type, there, update);
    case Reduction::MIN:
      return fmt::format("m_min({}, {})", update, there);
    case Reduction::MAX:
      return fmt::format("m_max({}, {})", update, there);
  }
  return update;
}

Result<Lanes> emit_scatter_elements(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  using Reduction = ov::op::v12::ScatterElementsUpdate::Reduction;
  const auto* v12 = dynamic_cast<const ov::op::v12::ScatterElementsUpdate*>(&node);
  const Reduction reduction = v12 == nullptr ? Reduction::NONE : v12->get_reduction();
  const bool keeps = v12 == nullptr || v12->get_use_init_val() || reduction == Reduction::NONE;
  const Extents data = extents_of(node.input_value(0)), updates = extents_of(node.input_value(2));
  const std::size_t axis = normal_axis(constant_integers(node, 3)[0], data.size());
  const ov::element::Type element = node.get_output_element_type(0);
  const std::string type = compute_type(element);
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    INFLIGHT_TRY_ASSIGN(const std::string start, emitter.emit(node.input_value(0), lane));
    const std::string result = emitter.variable(type, start),
                      count = emitter.variable("int", keeps ? "1" : "0");
    std::string reached = "true";
    for (std::size_t d = 0; d < data.size(); ++d)
      if (d != axis && updates[d] < data[d])
        reached += fmt::format(" && {} < {}", emitter.text(lane[d]), updates[d]);
    emitter.open(fmt::format("if ({})", reached));
    int opened = 1;
    Indices where = lane;
    where[axis] = open_loop(emitter, updates[axis], opened);
    INFLIGHT_TRY_ASSIGN(const std::string index, emitter.emit(node.input_value(1), where));
    emitter.open(fmt::format("if ({})", is_meant(emitter, index, lane[axis], data[axis],
                                                 node.get_input_element_type(1).is_signed())));
    INFLIGHT_TRY_ASSIGN(const std::string update, emitter.emit(node.input_value(2), where));
    // The first update replaces a value that does not take part.
    emitter.line(fmt::format("{0} = {1} == 0 ? {2} : {3};", result, count, update,
                             combined(reduction, type, result, update)));
    emitter.line(fmt::format("++{};", count));
    close_window(emitter, opened + 1);
    if (reduction == Reduction::MEAN) {
      const std::string divide = element.is_signed() && !element.is_real() ? "m_floor_div" : "m_div";
      return emitter.local(type,
                           fmt::format("{0} > 1 ? {1}({2}, ({3}){0}) : {2}", count, divide, result, type));
    }
    return result;
  });
}

Result<Lanes> emit_scatter_nd(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  using Reduction = ov::op::v15::ScatterNDUpdate::Reduction;
  const auto* v15 = dynamic_cast<const ov::op::v15::ScatterNDUpdate*>(&node);
  const Reduction reduction = v15 == nullptr ? Reduction::NONE : v15->get_reduction();
  const Extents data = extents_of(node.input_value(0)), indices = extents_of(node.input_value(1));
  const auto depth = static_cast<std::size_t>(indices.back());
  const Extents outer(indices.begin(), indices.end() - 1);
  const std::string type = compute_type(node.get_output_element_type(0));
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    INFLIGHT_TRY_ASSIGN(const std::string start, emitter.emit(node.input_value(0), lane));
    const std::string result = emitter.variable(type, start);
    int opened = 0;
    const Indices where = emitter.split(open_loop(emitter, element_count(outer), opened), outer);
    for (std::size_t k = 0; k < depth; ++k) {
      Indices part = where;
      part.push_back(Emitter::constant(static_cast<std::int64_t>(k)));
      INFLIGHT_TRY_ASSIGN(const std::string index, emitter.emit(node.input_value(1), part));
      emitter.open(fmt::format(
          "if ({})", is_meant(emitter, index, lane[k], data[k], node.get_input_element_type(1).is_signed())));
      ++opened;
    }
    Indices from = where;
    from.insert(from.end(), lane.begin() + static_cast<std::ptrdiff_t>(depth), lane.end());
    INFLIGHT_TRY_ASSIGN(const std::string update, emitter.emit(node.input_value(2), from));
    const std::string next =
        reduction == Reduction::SUM    ? fmt::format("({})({} + {})", type, result, update)
        : reduction == Reduction::SUB  ? fmt::format("({})({} - {})", type, result, update)
        : reduction == Reduction::PROD ? fmt::format("({})({} * {})", type, result, update)
        : reduction == Reduction::MIN  ? fmt::format("m_min({}, {})", update, result)
        : reduction == Reduction::MAX  ? fmt::format("m_max({}, {})", update, result)
                                       : update;
    emitter.line(fmt::format("{} = {};", result, next));
    close_window(emitter, opened);
    return result;
  });
}

}  // namespace

void add_scatter_rules(RuleTable& table) {
  namespace op = ov::op;
  table[rule_key(op::v3::ScatterUpdate::get_type_info_static())] = {axis_kind, emit_scatter_update};
  table[rule_key(op::v3::ScatterElementsUpdate::get_type_info_static())] = {axis_kind, emit_scatter_elements};
  table[rule_key(op::v12::ScatterElementsUpdate::get_type_info_static())] = {axis_kind,
                                                                             emit_scatter_elements};
  table[rule_key(op::v3::ScatterNDUpdate::get_type_info_static())] = {always_window, emit_scatter_nd};
  table[rule_key(op::v15::ScatterNDUpdate::get_type_info_static())] = {always_window, emit_scatter_nd};
}

}  // namespace inflight::cuda
