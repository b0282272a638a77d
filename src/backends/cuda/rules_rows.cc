// SPDX-License-Identifier: Apache-2.0
// Operators whose element needs facts of its whole row: softmax and the normalisations.
#include <fmt/format.h>

#include <openvino/op/ops.hpp>

#include "backends/cuda/reduce.h"
#include "backends/cuda/rows.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

bool is_softmax(const ov::Node& node) {
  return ov::is_type<op::v1::Softmax>(&node) || ov::is_type<op::v8::Softmax>(&node);
}
bool is_log_softmax(const ov::Node& node) { return ov::is_type<op::v5::LogSoftmax>(&node); }
bool is_mvn(const ov::Node& node) {
  return ov::is_type<op::v0::MVN>(&node) || ov::is_type<op::v6::MVN>(&node);
}
bool is_normalize(const ov::Node& node) { return ov::is_type<op::v0::NormalizeL2>(&node); }
bool is_group_norm(const ov::Node& node) { return ov::is_type<op::v12::GroupNormalization>(&node); }

// Epsilon, and whether it is added to the variance (the sum of squares) or to its root; NormalizeL2 may instead
// take the larger of the two.
struct Epsilon {
  double value = 0;
  bool inside = true, larger = false;
};

Epsilon epsilon_of(const ov::Node& node) {
  if (const auto* mvn = dynamic_cast<const op::v0::MVN*>(&node)) return {mvn->get_eps(), true, false};
  if (const auto* mvn = dynamic_cast<const op::v6::MVN*>(&node))
    return {static_cast<double>(mvn->get_eps()), mvn->get_eps_mode() == op::MVNEpsMode::INSIDE_SQRT, false};
  if (const auto* group = dynamic_cast<const op::v12::GroupNormalization*>(&node))
    return {group->get_epsilon(), true, false};
  const auto& normalize = dynamic_cast<const op::v0::NormalizeL2&>(node);
  return {static_cast<double>(normalize.get_eps()), true, normalize.get_eps_mode() == op::EpsMode::MAX};
}

bool divides_by_deviation(const ov::Node& node) {
  if (const auto* mvn = dynamic_cast<const op::v0::MVN*>(&node)) return mvn->get_normalize_variance();
  if (const auto* mvn = dynamic_cast<const op::v6::MVN*>(&node)) return mvn->get_normalize_variance();
  return true;
}

std::vector<std::size_t> axes_of(const ov::Node& node) {
  const std::size_t rank = node.get_input_shape(0).size();
  std::vector<std::size_t> axes;
  if (const auto* softmax = dynamic_cast<const op::v1::Softmax*>(&node)) return {softmax->get_axis()};
  if (const auto* softmax = dynamic_cast<const op::v8::Softmax*>(&node))
    return {normal_axis(softmax->get_axis(), rank)};
  if (const auto* softmax = dynamic_cast<const op::v5::LogSoftmax*>(&node))
    return {normal_axis(softmax->get_axis(), rank)};
  if (const auto* mvn = dynamic_cast<const op::v0::MVN*>(&node)) {
    const ov::AxisSet set = mvn->get_reduction_axes();
    axes.assign(set.begin(), set.end());
    if (axes.empty())
      for (std::size_t d = mvn->get_across_channels() ? 1 : 2; d < rank; ++d) axes.push_back(d);
    return axes;
  }
  for (const std::int64_t axis : constant_integers(node, 1)) axes.push_back(normal_axis(axis, rank));
  return axes;
}

std::string inverse_deviation(Emitter& emitter, const std::string& type, const ov::element::Type& element,
                              const std::string& variance, const Epsilon& epsilon) {
  const std::string e = literal(epsilon.value, element);
  const std::string root = epsilon.larger   ? fmt::format("m_sqrt(m_max({}, {}))", variance, e)
                           : epsilon.inside ? fmt::format("m_sqrt({} + {})", variance, e)
                                            : fmt::format("(m_sqrt({}) + {})", variance, e);
  return emitter.local(type, fmt::format("({})1 / {}", type, root));
}

Status emit_softmax_facts(Emitter& emitter, Frame& frame, const ov::Node& node) {
  const ov::Output<ov::Node> x = node.input_value(0);
  const std::string type = compute_type(node.get_output_element_type(0));
  INFLIGHT_TRY_ASSIGN(const std::string largest,
                      emit_row_reduction(emitter, frame, x, {"Max", type, "-F_INF", "$0"}));
  INFLIGHT_TRY_ASSIGN(
      const std::string sum,
      emit_row_reduction(emitter, frame, x, {"Sum", type, "0", fmt::format("m_exp($0 - {})", largest)}));
  emitter.keep_fact(node, 0, frame.row, largest);
  emitter.keep_fact(node, 1, frame.row,
                    is_log_softmax(node) ? emitter.local(type, fmt::format("m_log({})", sum))
                                         : emitter.local(type, fmt::format("({})1 / {}", type, sum)));
  return {};
}

Status emit_normalize_facts(Emitter& emitter, Frame& frame, const ov::Node& node) {
  const ov::element::Type element = node.get_output_element_type(0);
  const std::string type = compute_type(element);
  INFLIGHT_TRY_ASSIGN(const std::string sum,
                      emit_row_reduction(emitter, frame, node.input_value(0), {"Sum", type, "0", "$0 * $0"}));
  emitter.keep_fact(node, 0, frame.row, inverse_deviation(emitter, type, element, sum, epsilon_of(node)));
  return {};
}

// The mean, then the mean of squared differences: two passes, exact where one is not.
Status emit_moment_facts(Emitter& emitter, Frame& frame, const ov::Node& node) {
  const ov::Output<ov::Node> x = node.input_value(0);
  const ov::element::Type element = node.get_output_element_type(0);
  const std::string type = compute_type(element), count = fmt::format("({}){}", type, frame.length);
  INFLIGHT_TRY_ASSIGN(const std::string sum, emit_row_reduction(emitter, frame, x, {"Sum", type, "0", "$0"}));
  const std::string mean = emitter.local(type, fmt::format("{} / {}", sum, count));
  emitter.keep_fact(node, 0, frame.row, mean);
  if (!divides_by_deviation(node)) return {};
  INFLIGHT_TRY_ASSIGN(const std::string squares,
                      emit_row_reduction(emitter, frame, x,
                                         {"Sum", type, "0", fmt::format("($0 - {0}) * ($0 - {0})", mean)}));
  const std::string variance = emitter.local(type, fmt::format("{} / {}", squares, count));
  emitter.keep_fact(node, 1, frame.row,
                    inverse_deviation(emitter, type, element, variance, epsilon_of(node)));
  return {};
}

// The row of an element, as the facts of rows are kept.
Indices row_of(const ov::Node& node, Indices at) {
  for (const std::size_t axis : axes_of(node)) at[axis] = Emitter::constant(0);
  return at;
}

Result<Lanes> emit_row_element(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const std::string type = compute_type(node.get_output_element_type(0));
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    const Indices row = row_of(node, lane);
    INFLIGHT_TRY_ASSIGN(const std::string first, emitter.fact(node, 0, row));
    INFLIGHT_TRY_ASSIGN(const std::string x, emitter.emit(node.input_value(0), lane));
    // Without axes each element is divided by itself.
    if (is_normalize(node) && axes_of(node).empty())
      return emitter.local(type, fmt::format("{} == 0 ? 0 : 1", x));
    if (is_normalize(node)) return emitter.local(type, fmt::format("{} * {}", x, first));
    if (is_mvn(node) && !divides_by_deviation(node))
      return emitter.local(type, fmt::format("{} - {}", x, first));
    INFLIGHT_TRY_ASSIGN(const std::string second, emitter.fact(node, 1, row));
    if (is_mvn(node)) return emitter.local(type, fmt::format("({} - {}) * {}", x, first, second));
    if (is_log_softmax(node)) return emitter.local(type, fmt::format("{} - {} - {}", x, first, second));
    return emitter.local(type, fmt::format("m_exp({} - {}) * {}", x, first, second));
  });
}

// The rows of a group normalisation are groups of channels, so the facts' key cannot be told from an element's
// indices. A kernel computes no other row operator beside it.
Result<Lanes> emit_group_norm(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const std::string type = compute_type(node.get_output_element_type(0));
  return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
    INFLIGHT_TRY_ASSIGN(const std::string mean, emitter.fact(node, 0, {}));
    INFLIGHT_TRY_ASSIGN(const std::string inverse, emitter.fact(node, 1, {}));
    INFLIGHT_TRY_ASSIGN(const std::string x, emitter.emit(node.input_value(0), lane));
    INFLIGHT_TRY_ASSIGN(const std::string scale, emitter.emit(node.input_value(1), Indices{lane[1]}));
    INFLIGHT_TRY_ASSIGN(const std::string bias, emitter.emit(node.input_value(2), Indices{lane[1]}));
    return emitter.local(type, fmt::format("({} - {}) * {} * {} + {}", x, mean, inverse, scale, bias));
  });
}

KernelKind axes_kind(const ov::Node& node) {
  return has_constant(node, 1) ? KernelKind::kRows : KernelKind::kNone;
}

}  // namespace

RowTerms row_terms(const ov::Node& node) {
  if (is_reduction(node)) return reduction_terms(node);
  if (is_group_norm(node)) {
    Extents domain = extents_of(node.input_value(0));
    const std::int64_t groups = dynamic_cast<const op::v12::GroupNormalization&>(node).get_num_groups();
    domain[1] /= groups;
    domain.insert(domain.begin() + 1, groups);
    RowTerms terms{domain, {}};
    for (std::size_t d = 2; d < domain.size(); ++d) terms.axes.push_back(d);
    return terms;
  }
  if (is_softmax(node) || is_log_softmax(node) || is_mvn(node) || is_normalize(node))
    return {extents_of(node.input_value(0)), axes_of(node)};
  return {};
}

Status emit_row_facts(Emitter& emitter, Frame& frame, const ov::Node& node) {
  if (is_reduction(node)) return emit_reduction_fact(emitter, frame, node);
  if (is_softmax(node) || is_log_softmax(node)) return emit_softmax_facts(emitter, frame, node);
  if (is_normalize(node)) return emit_normalize_facts(emitter, frame, node);
  if (!is_group_norm(node)) return emit_moment_facts(emitter, frame, node);
  INFLIGHT_TRY(emit_moment_facts(emitter, frame, node));
  for (int number = 0; number < 2; ++number) {
    INFLIGHT_TRY_ASSIGN(const std::string name, emitter.fact(node, number, frame.row));
    emitter.keep_fact(node, number, {}, name);
  }
  return {};
}

void add_rows_rules(RuleTable& table) {
  const auto add = [&](const ov::DiscreteTypeInfo& type, KernelKind (*kind)(const ov::Node&), EmitRule rule) {
    table[rule_key(type)] = {kind, rule};
  };
  add(op::v1::Softmax::get_type_info_static(), always_rows, emit_row_element);
  add(op::v8::Softmax::get_type_info_static(), always_rows, emit_row_element);
  add(op::v5::LogSoftmax::get_type_info_static(), always_rows, emit_row_element);
  add(op::v0::MVN::get_type_info_static(), always_rows, emit_row_element);
  add(op::v6::MVN::get_type_info_static(), axes_kind, emit_row_element);
  add(op::v0::NormalizeL2::get_type_info_static(), axes_kind, emit_row_element);
  add(op::v12::GroupNormalization::get_type_info_static(), always_rows, emit_group_norm);
  add(op::v0::CumSum::get_type_info_static(), axes_kind, nullptr);
  for (const auto& type : {op::v1::TopK::get_type_info_static(), op::v3::TopK::get_type_info_static(),
                           op::v11::TopK::get_type_info_static()})
    add(type, axes_kind, nullptr);
}

}  // namespace inflight::cuda
