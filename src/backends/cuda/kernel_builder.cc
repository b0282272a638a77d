// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernel_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <openvino/op/constant.hpp>
#include <set>

#include "backends/cuda/emitter.h"
#include "backends/cuda/rows.h"

namespace inflight::cuda {
namespace {

constexpr int kThreads = 128;
// Below so many threads blocks are half as large, so that they reach more of a device's processors.
constexpr std::int64_t kThreadsFew = 32768;
constexpr std::int64_t kBlocksMax = 1 << 30;
constexpr std::size_t kEarlyMax = 3;  // values that a kernel loads before it reduces its rows

bool is_static(const ov::Node& node) {
  for (const ov::Output<ov::Node>& input : node.input_values())
    if (input.get_partial_shape().is_dynamic() || input.get_element_type().is_dynamic()) return false;
  for (const ov::Output<const ov::Node>& output : node.outputs())
    if (output.get_partial_shape().is_dynamic() || compute_type(output.get_element_type()).empty())
      return false;
  return true;
}

// The nodes that a kernel of `value` computes, each after those that it reads.
std::vector<const ov::Node*> inner_nodes(const ov::Output<ov::Node>& value, const Placement& placed) {
  std::vector<const ov::Node*> order;
  std::set<const ov::Node*> seen;
  std::vector<std::pair<const ov::Node*, bool>> stack = {{value.get_node(), false}};
  while (!stack.empty()) {
    const auto [node, left] = stack.back();
    stack.pop_back();
    if (left) {
      order.push_back(node);
      continue;
    }
    if (!seen.insert(node).second) continue;
    stack.emplace_back(node, true);
    for (const ov::Output<ov::Node>& input : node->input_values())
      if (placed.count(input) == 0) stack.emplace_back(input.get_node(), false);
  }
  return order;
}

// The dimensions of a value from the outermost in memory to the innermost.
std::vector<std::size_t> memory_order(const Extents& extents, const Extents& strides) {
  std::vector<std::size_t> order(extents.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if ((extents[a] == 1) != (extents[b] == 1)) return extents[a] == 1;
    return strides[a] > strides[b];
  });
  return order;
}

// How many neighbours in memory a thread computes.
std::int64_t lanes_of(const Extents& extents, const Placed& to, const std::vector<std::size_t>& order,
                      const std::vector<const ov::Node*>& nodes, std::int64_t threads_wanted) {
  if (order.empty() || to.strides[order.back()] != 1) return 1;
  // Lanes of a window are channels; neighbours on another dimension have windows of their own.
  for (const ov::Node* node : nodes)
    if (kernel_kind(*node) == KernelKind::kWindow && (order.back() != 1 || extents.size() < 3)) return 1;
  const std::int64_t count = element_count(extents), bytes = static_cast<std::int64_t>(dtype_bytes(to.dtype));
  for (std::int64_t lanes = std::max<std::int64_t>(16 / bytes, 1); lanes > 1; lanes /= 2) {
    bool fits = extents[order.back()] % lanes == 0 && (lanes <= 2 || count / lanes >= threads_wanted);
    for (std::size_t d = 0; d < extents.size() && fits; ++d)
      fits = extents[d] == 1 || to.strides[d] == 1 || to.strides[d] % lanes == 0;
    if (fits) return lanes;
  }
  return 1;
}

Result<BuiltKernel> build_pointwise(const ov::Output<ov::Node>& value, const Placed& to,
                                    const Placement& placed, const std::vector<const ov::Node*>& nodes,
                                    const KernelOptions& options) {
  Emitter emitter(placed);
  const Extents extents = extents_of(value);
  const std::vector<std::size_t> order = memory_order(extents, to.strides);
  const std::int64_t lanes = lanes_of(extents, to, order, nodes, options.threads_wanted);
  const std::int64_t count = element_count(extents) / lanes;
  emitter.note_span(element_count(extents));
  emitter.open(
      fmt::format("for (idx t_ = (idx)blockIdx.x * blockDim.x + threadIdx.x; t_ < {}; "
                  "t_ += (idx)gridDim.x * blockDim.x)",
                  count));
  Extents sorted;
  for (const std::size_t d : order) sorted.push_back(extents[d]);
  if (lanes > 1) sorted.back() /= lanes;
  const Indices split = emitter.split({"t_", 0, 1, count}, sorted);
  Indices first(extents.size());
  for (std::size_t i = 0; i < order.size(); ++i) first[order[i]] = split[i];
  if (lanes > 1) first[order.back()] = emitter.linear({{split.back(), lanes}});
  Places at;
  for (std::int64_t j = 0; j < lanes; ++j) {
    at.push_back(first);
    if (!order.empty()) at.back()[order.back()].add += j;
  }
  INFLIGHT_TRY_ASSIGN(const Lanes names, emitter.emit(value, at));
  emitter.store(to, "y", at, names, value.get_element_type());
  emitter.close();
  const int threads = count < kThreadsFew ? kThreads / 2 : kThreads;
  return finish_kernel(emitter, to, (count + threads - 1) / threads, threads);
}

// The strides of a placed value with the shape of the domain: they say which elements are neighbours.
Extents strides_of(const std::vector<const ov::Node*>& nodes, const Placement& placed, const RowTerms& terms,
                   std::int64_t groups) {
  Extents wanted = terms.domain;
  if (groups > 0) {
    wanted.erase(wanted.begin() + 1);
    wanted[1] *= groups;
  }
  for (const ov::Node* node : nodes)
    for (const ov::Output<ov::Node>& input : node->input_values()) {
      const auto found = placed.find(input);
      if (found == placed.end() || extents_of(input) != wanted) continue;
      Extents strides = found->second.strides;
      if (groups > 0) strides.insert(strides.begin() + 1, strides[1] * terms.domain[2]);
      return strides;
    }
  return row_major_strides(terms.domain);
}

Status check_rows(const std::vector<const ov::Node*>& rows, const RowTerms& terms) {
  for (const ov::Node* node : rows) {
    const RowTerms other = row_terms(*node);
    if (other.domain.empty() && !terms.domain.empty())
      return unsupported(*node, "its result needs a place in memory");
    std::vector<std::size_t> mine = terms.axes, theirs = other.axes;
    std::sort(mine.begin(), mine.end());
    std::sort(theirs.begin(), theirs.end());
    if (other.domain != terms.domain || mine != theirs)
      return unsupported(*node,
                         "its rows differ from those of its reader, so its result needs a place in memory");
  }
  return {};
}

// Loads what is the same for all rows, such as the scale of a layer norm, before the row's reductions: it then waits for
// memory at the same time as the row.
Status load_early(Emitter& emitter, Frame& frame, const Placement& placed,
                  const std::vector<const ov::Node*>& nodes) {
  if (!frame.keeps || frame.lanes != 1 || frame.axes != std::vector<std::size_t>{frame.domain.size() - 1})
    return {};
  std::vector<ov::Output<ov::Node>> values;
  for (const ov::Node* node : nodes)
    for (const ov::Output<ov::Node>& input : node->input_values()) {
      const Extents extents = extents_of(input);
      if (placed.count(input) == 0 || extents.empty() || extents.back() != frame.length ||
          element_count(extents) != frame.length || values.size() == kEarlyMax ||
          std::find(values.begin(), values.end(), input) != values.end())
        continue;
      values.push_back(input);
    }
  if (values.empty() || frame.count == 1) return {};
  for (const ov::Output<ov::Node>& value : values) {
    declare_kept(emitter, frame, value);
    const Indices element = open_elements(emitter, frame);
    Indices at(extents_of(value).size(), Emitter::constant(0));
    at.back() = element.back();
    INFLIGHT_TRY(emit_kept(emitter, frame, value, at).status());
    close_elements(emitter);
  }
  return {};
}

Result<BuiltKernel> build_rows(const ov::Output<ov::Node>& value, const Placed& to, const Placement& placed,
                               const std::vector<const ov::Node*>& nodes,
                               const std::vector<const ov::Node*>& rows) {
  Emitter emitter(placed);
  const RowTerms terms = row_terms(*rows.front());
  INFLIGHT_TRY(check_rows(rows, terms));
  const bool grouped = terms.domain.size() > extents_of(rows.front()->input_value(0)).size();
  if (grouped && rows.size() > 1) return unsupported(*rows.back(), "its result needs a place in memory");
  const std::int64_t groups = grouped ? terms.domain[1] : 0;
  Frame frame = make_frame(terms.domain, terms.axes, strides_of(nodes, placed, terms, groups));
  frame.groups = groups;
  const Extents elements = extents_of(rows.front()->input_value(0));
  // The row's dimensions of a reduction's result, with or without those that are reduced.
  Extents kept = terms.domain, left;
  for (const std::size_t axis : terms.axes) kept[axis] = 1;
  for (const std::size_t d : [&] {
         auto all = frame.rows;
         std::sort(all.begin(), all.end());
         return all;
       }())
    left.push_back(terms.domain[d]);
  const Extents extents = extents_of(value);
  const bool of_rows = frame.length > 1 && extents != elements;
  if (of_rows && extents != kept && extents != left)
    return unsupported(*value.get_node(),
                       "it has other rows than what it reads, which needs a place in memory");
  emitter.note_span(element_count(elements));
  open_rows(emitter, frame);
  if (!of_rows && groups == 0) INFLIGHT_TRY(load_early(emitter, frame, placed, nodes));
  for (const ov::Node* node : rows) INFLIGHT_TRY(emit_row_facts(emitter, frame, *node));
  if (of_rows) {
    Indices at = frame.row;
    if (extents != kept) {
      at.clear();
      for (std::size_t d = 0; d < terms.domain.size(); ++d)
        if (std::find(terms.axes.begin(), terms.axes.end(), d) == terms.axes.end())
          at.push_back(frame.row[d]);
    }
    INFLIGHT_TRY_ASSIGN(const std::string name, emitter.emit(value, at));
    emitter.open(fmt::format("if (group_ == 0 && base_ + lane_ < {})", frame.count));
    emitter.store(to, "y", {at}, {name}, value.get_element_type());
    emitter.close();
  } else {
    const Indices at = value_indices(emitter, frame, open_elements(emitter, frame));
    INFLIGHT_TRY_ASSIGN(const std::string name, emitter.emit(value, at));
    emitter.open(frame.lanes == 1 ? "" : fmt::format("if (base_ + lane_ < {})", frame.count));
    emitter.store(to, "y", {at}, {name}, value.get_element_type());
    emitter.close();
    close_elements(emitter);
  }
  emitter.close();
  return finish_kernel(emitter, to, (frame.count + frame.lanes - 1) / frame.lanes, frame.threads);
}

}  // namespace

BuiltKernel finish_kernel(const Emitter& emitter, const Placed& to, std::int64_t blocks, int threads) {
  std::string parameters;
  for (std::size_t i = 0; i < emitter.reads().size(); ++i)
    parameters += fmt::format("const {}* RESTRICT p{}, ", storage_type(emitter.read_types()[i]), i);
  BuiltKernel kernel;
  kernel.source =
      fmt::format("extern \"C\" KERNEL void BOUNDS({}) run({}{}* RESTRICT y) {{\n  typedef {} idx;\n{}}}\n",
                  threads, parameters, storage_type(to.dtype),
                  emitter.span_max() < (std::int64_t{1} << 30) ? "int" : "long long", emitter.body());
  kernel.reads = emitter.reads();
  kernel.blocks = std::clamp<std::int64_t>(blocks, 1, kBlocksMax);
  kernel.threads = threads;
  return kernel;
}

KernelKind kernel_kind(const ov::Node& node) {
  if (!is_static(node)) return KernelKind::kNone;
  const auto rule = rule_table().find(rule_key(node.get_type_info()));
  return rule == rule_table().end() ? KernelKind::kNone : rule->second.kind(node);
}

std::vector<std::string> covered_operators() {
  std::vector<std::string> names;
  for (const auto& rule : rule_table()) names.push_back(rule.first);
  return names;
}

Result<BuiltKernel> build_kernel(const ov::Output<ov::Node>& value, const Placed& to, const Placement& placed,
                                 const KernelOptions& options) {
  Placement others = placed;  // the value itself is computed even if it has its place already
  others.erase(value);
  if (value.get_partial_shape().is_dynamic())
    return unsupported(*value.get_node(), "its shape is known only while it runs");
  if (element_count(extents_of(value)) == 0) return finish_kernel(Emitter(others), to, 1, kThreads);
  const std::vector<const ov::Node*> nodes = inner_nodes(value, others);
  std::vector<const ov::Node*> rows;
  for (const ov::Node* node : nodes)
    if (!ov::is_type<ov::op::v0::Constant>(node)) {
      const KernelKind kind = kernel_kind(*node);
      if (kind == KernelKind::kNone)
        return unsupported(*node, is_static(*node) ? "no kernel is known for it, or not with these attributes"
                                                   : "its shapes are known only while it runs");
      if (kind == KernelKind::kRows) rows.push_back(node);
    }
  if (rows.empty()) return build_pointwise(value, to, others, nodes, options);
  if (has_own_kernel(*value.get_node()) && rows.size() == 1) return build_own_kernel(value, to, others);
  return build_rows(value, to, others, nodes, rows);
}

}  // namespace inflight::cuda
