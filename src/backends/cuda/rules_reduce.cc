// SPDX-License-Identifier: Apache-2.0
// Reductions. A small one is computed where it is read; a large one by the threads of a block.
#include <fmt/format.h>

#include <algorithm>
#include <openvino/op/ops.hpp>

#include "backends/cuda/reduce.h"
#include "backends/cuda/window.h"

namespace inflight::cuda {
namespace {

// A thread alone may read so many elements.
constexpr std::int64_t kWindowMax = 32;

// What a reduction does: `element` of each $0, then `functor` over them from `start`, then `result` of $0.
struct ReduceTerms {
  const char* functor;
  const char* element;
  const char* start;
  const char* result;
};

const std::map<std::string, ReduceTerms>& reduce_table() {
  namespace op = ov::op;
  static const std::map<std::string, ReduceTerms> table = {
      {rule_key(op::v1::ReduceSum::get_type_info_static()), {"Sum", "$0", "0", "$0"}},
      {rule_key(op::v1::ReduceMean::get_type_info_static()), {"Sum", "$0", "0", "m_div($0, (#)$n)"}},
      {rule_key(op::v1::ReduceMax::get_type_info_static()), {"Max", "$0", "lowest", "$0"}},
      {rule_key(op::v1::ReduceMin::get_type_info_static()), {"Min", "$0", "highest", "$0"}},
      {rule_key(op::v1::ReduceProd::get_type_info_static()), {"Prod", "$0", "1", "$0"}},
      {rule_key(op::v4::ReduceL1::get_type_info_static()), {"Sum", "m_abs($0)", "0", "$0"}},
      {rule_key(op::v4::ReduceL2::get_type_info_static()), {"Sum", "$0 * $0", "0", "m_sqrt($0)"}},
      {rule_key(op::v1::ReduceLogicalAnd::get_type_info_static()), {"And", "$0 != 0", "1", "$0"}},
      {rule_key(op::v1::ReduceLogicalOr::get_type_info_static()), {"Or", "$0 != 0", "0", "$0"}},
  };
  return table;
}

std::string with(std::string text, std::string_view word, const std::string& value) {
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + value.size()))
    text.replace(at, word.size(), value);
  return text;
}

std::string start_of(const ReduceTerms& terms, const ov::element::Type& type) {
  std::string start = terms.start;
  const bool highest = start == "highest";
  if (!highest && start != "lowest") return start;
  if (type.is_real()) return highest ? "F_INF" : "-F_INF";
  const int bits = static_cast<int>(type.bitwidth());
  if (!type.is_signed()) return highest ? fmt::format("({})~0ULL", compute_type(type)) : "0";
  const std::string top = fmt::format("(1ULL << {})", bits - 1);
  return fmt::format("({})({}{})", compute_type(type), top, highest ? " - 1" : "");
}

std::vector<std::size_t> reduced_axes(const ov::Node& node) {
  const std::size_t rank = node.get_input_shape(0).size();
  std::vector<std::size_t> axes;
  for (const std::int64_t axis : constant_integers(node, 1)) axes.push_back(normal_axis(axis, rank));
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  return axes;
}

bool keeps_dimensions(const ov::Node& node) {
  return node.get_output_shape(0).size() == node.get_input_shape(0).size();
}

std::string finished(Emitter& emitter, const ov::Node& node, const ReduceTerms& terms, const std::string& sum,
                     std::int64_t count) {
  const std::string type = compute_type(node.get_output_element_type(0));
  std::string text = with(with(terms.result, "$0", sum), "#", type);
  return emitter.local(type, with(text, "$n", std::to_string(count)));
}

std::int64_t reduced_count(const ov::Node& node) {
  std::int64_t count = 1;
  for (const std::size_t axis : reduced_axes(node)) count *= extents_of(node.input_value(0))[axis];
  return count;
}

KernelKind reduce_kind(const ov::Node& node) {
  if (!has_constant(node, 1)) return KernelKind::kNone;
  const std::int64_t count = reduced_count(node);
  return count == 1 ? KernelKind::kInline : count <= kWindowMax ? KernelKind::kWindow : KernelKind::kRows;
}

// The input's indices at an element of the output; those that are reduced are 0.
Indices input_indices(const ov::Node& node, const std::vector<std::size_t>& axes, const Indices& at) {
  const std::size_t rank = node.get_input_shape(0).size();
  Indices from;
  std::size_t o = 0;
  for (std::size_t d = 0; d < rank; ++d) {
    const bool reduced = std::binary_search(axes.begin(), axes.end(), d);
    from.push_back(reduced ? Emitter::constant(0) : at[o]);
    if (!reduced || keeps_dimensions(node)) ++o;
  }
  return from;
}

Result<Lanes> emit_reduce(Emitter& emitter, const ov::Node& node, std::size_t, const Places& at) {
  const std::vector<std::size_t> axes = reduced_axes(node);
  const Extents in = extents_of(node.input_value(0));
  if (reduce_kind(node) == KernelKind::kRows) {
    return emit_each(at, [&](const Indices& lane) -> Result<std::string> {
      return emitter.fact(node, 0, input_indices(node, axes, lane));
    });
  }
  const ReduceTerms& terms = reduce_table().at(rule_key(node.get_type_info()));
  const std::string type = compute_type(node.get_output_element_type(0));
  Places from;
  Lanes sums;
  for (const Indices& lane : at) {
    from.push_back(input_indices(node, axes, lane));
    sums.push_back(emitter.variable(type, start_of(terms, node.get_output_element_type(0))));
  }
  int opened = 0;
  for (const std::size_t axis : axes) {
    const Index tap = open_loop(emitter, in[axis], opened);
    for (Indices& lane : from) lane[axis] = tap;
  }
  INFLIGHT_TRY_ASSIGN(const Lanes values, emitter.emit(node.input_value(0), from));
  for (std::size_t j = 0; j < at.size(); ++j)
    emitter.line(fmt::format("{0} = {1}()({0}, ({2})({3}));", sums[j], terms.functor, type,
                             with(terms.element, "$0", values[j])));
  close_window(emitter, opened);
  Lanes lanes;
  for (const std::string& sum : sums)
    lanes.push_back(finished(emitter, node, terms, sum, reduced_count(node)));
  return lanes;
}

}  // namespace

bool is_reduction(const ov::Node& node) { return reduce_table().count(rule_key(node.get_type_info())) != 0; }

RowTerms reduction_terms(const ov::Node& node) {
  return {extents_of(node.input_value(0)), reduced_axes(node)};
}

Status emit_reduction_fact(Emitter& emitter, Frame& frame, const ov::Node& node) {
  const ReduceTerms& terms = reduce_table().at(rule_key(node.get_type_info()));
  const ov::element::Type type = node.get_output_element_type(0);
  INFLIGHT_TRY_ASSIGN(const std::string sum, emit_row_reduction(emitter, frame, node.input_value(0),
                                                                {terms.functor, compute_type(type),
                                                                 start_of(terms, type), terms.element}));
  emitter.keep_fact(node, 0, frame.row, finished(emitter, node, terms, sum, frame.length));
  return {};
}

void add_reduce_rules(RuleTable& table) {
  for (const auto& entry : reduce_table()) table[entry.first] = {reduce_kind, emit_reduce};
}

}  // namespace inflight::cuda
