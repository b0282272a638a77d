// SPDX-License-Identifier: Apache-2.0
// CumSum and TopK: kernels of their own, with a row a block.
#include <fmt/format.h>

#include <openvino/op/ops.hpp>

#include "backends/cuda/rows.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

// A row of at most so many bytes is copied to shared memory.
constexpr std::int64_t kSharedMax = 32'768;

const op::util::TopKBase* as_top_k(const ov::Node& node) {
  return dynamic_cast<const op::util::TopKBase*>(&node);
}

struct Row {
  std::int64_t count = 1, length = 1;
  std::size_t axis = 0;
  Extents extents;  // with 1 in the place of the axis
};

Row row_of(const ov::Node& node, std::size_t axis) {
  Row row;
  row.axis = axis;
  row.extents = extents_of(node.input_value(0));
  row.length = row.extents[axis];
  row.extents[axis] = 1;
  row.count = element_count(row.extents);
  return row;
}

Indices open_row(Emitter& emitter, const Row& row) {
  emitter.open(fmt::format("for (idx row_ = blockIdx.x; row_ < {}; row_ += gridDim.x)", row.count));
  return emitter.split({"row_", 0, 1, row.count}, row.extents);
}

int threads_of(const Row& row) {
  return row.length <= 64 ? 32 : row.length <= 256 ? 64 : row.length <= 1024 ? 128 : 256;
}

Result<BuiltKernel> build_cum_sum(const op::v0::CumSum& node, const Placed& to, const Placement& placed) {
  Emitter emitter(placed);
  const Row row = row_of(node, normal_axis(constant_integers(node, 1)[0], node.get_input_shape(0).size()));
  const std::string type = compute_type(node.get_output_element_type(0));
  Indices at = open_row(emitter, row);
  const std::string carry = emitter.variable(type, "0");
  emitter.open(fmt::format("for (idx base_ = 0; base_ < {}; base_ += blockDim.x)", row.length));
  emitter.line("const idx k_ = base_ + threadIdx.x;");
  const std::string x = emitter.variable(type, "0");
  const auto place = [&](std::int64_t shift) {
    return node.is_reverse() ? emitter.linear({{{"k_", 0, 1, 0}, -1}}, row.length - 1 - shift)
                             : Index{"k_", shift, 1, 0};
  };
  emitter.open(fmt::format("if (k_ < {})", row.length));
  at[row.axis] = place(0);
  INFLIGHT_TRY_ASSIGN(const std::string value, emitter.emit(node.input_value(0), at));
  emitter.line(fmt::format("{} = {};", x, value));
  emitter.close();
  const std::string total = emitter.variable(type, "0");
  const std::string sum =
      emitter.local(type, fmt::format("({})({} + block_scan({}, {}))", type, carry, x, total));
  // What is stored one place on leaves out its own element.
  const std::int64_t shift = node.is_exclusive() ? 1 : 0;
  emitter.open(fmt::format("if (k_ + {} < {})", shift, row.length));
  at[row.axis] = place(shift);
  emitter.store(to, "y", {at}, {sum}, node.get_output_element_type(0));
  emitter.close();
  if (shift == 1) {
    emitter.open("if (k_ == 0)");
    at[row.axis] = Emitter::constant(node.is_reverse() ? row.length - 1 : 0);
    emitter.store(to, "y", {at}, {"0"}, node.get_output_element_type(0));
    emitter.close();
  }
  emitter.line(fmt::format("{0} = ({1})({0} + {2});", carry, type, total));
  emitter.close();
  emitter.close();
  return finish_kernel(emitter, to, row.count, threads_of(row));
}

struct TopK {
  const op::util::TopKBase& node;
  Row row;
  std::size_t output;
  std::string type, value_type;
  bool is_max;
};

std::string comes_before(const TopK& top, const std::string& a, const std::string& i, const std::string& b,
                         const std::string& j) {
  return fmt::format("ranks_before<{}>({}, {}, {}, {})", top.is_max, a, i, b, j);
}

Status store_result(Emitter& emitter, const TopK& top, const Placed& to, Indices at, const Index& place,
                    const std::string& value, const std::string& index) {
  at[top.row.axis] = place;
  emitter.store(to, "y", {at}, {top.output == 0 ? value : index},
                top.node.get_output_element_type(top.output));
  return {};
}

// The first of a row alone needs one reduction.
Status emit_first(Emitter& emitter, const TopK& top, const Placed& to, Indices at) {
  emitter.line(fmt::format("Ranked<{0}> best_ = {{({0})0, -1}};", top.value_type));
  emitter.open(fmt::format("for (idx k_ = threadIdx.x; k_ < {}; k_ += blockDim.x)", top.row.length));
  at[top.row.axis] = {"k_", 0, 1, top.row.length};
  INFLIGHT_TRY_ASSIGN(const std::string x, emitter.emit(top.node.input_value(0), at));
  emitter.line(
      fmt::format("best_ = First<{}>()(best_, Ranked<{}>{{{}, k_}});", top.is_max, top.value_type, x));
  emitter.close();
  emitter.line(fmt::format("best_ = block_reduce(best_, First<{}>());", top.is_max));
  emitter.open("if (threadIdx.x == 0)");
  INFLIGHT_TRY(store_result(emitter, top, to, at, Emitter::constant(0), "best_.value", "best_.at"));
  emitter.close();
  return {};
}

// The element of the row at k: of shared memory if it fits.
Result<std::string> element(Emitter& emitter, const TopK& top, Indices at, const std::string& k,
                            bool shared) {
  if (shared) return emitter.local(top.value_type, fmt::format("shared_[{}]", k));
  at[top.row.axis] = {k, 0, 1, top.row.length};
  return emitter.emit(top.node.input_value(0), at);
}

// Each thread counts, for its elements, those that come before: that is the element's rank. Sorted by index, the
// place of a chosen element is the number of chosen ones with a lower index.
Status emit_ranks(Emitter& emitter, const TopK& top, const Placed& to, const Indices& at) {
  const std::int64_t n = top.row.length, k = static_cast<std::int64_t>(top.node.get_k());
  const bool by_index = top.node.get_sort_type() == op::TopKSortType::SORT_INDICES;
  const bool shared =
      n * static_cast<std::int64_t>(top.node.get_input_element_type(0).size() < 4 ? 4 : 8) <= kSharedMax;
  if (shared) {
    emitter.line(fmt::format("SHARED {} shared_[{}];", top.value_type, n));
    emitter.line("__syncthreads();");
    emitter.open(fmt::format("for (idx k_ = threadIdx.x; k_ < {}; k_ += blockDim.x)", n));
    INFLIGHT_TRY_ASSIGN(const std::string x, element(emitter, top, at, "k_", false));
    emitter.line(fmt::format("shared_[k_] = {};", x));
    emitter.close();
    emitter.line("__syncthreads();");
  }
  if (by_index) emitter.line(fmt::format("SHARED Ranked<{}> last_;", top.value_type));
  for (int pass = by_index ? 0 : 1; pass < 2; ++pass) {
    emitter.open(fmt::format("for (idx k_ = threadIdx.x; k_ < {}; k_ += blockDim.x)", n));
    INFLIGHT_TRY_ASSIGN(const std::string x, element(emitter, top, at, "k_", shared));
    const std::string rank = emitter.variable("idx", "0");
    const bool chosen = by_index && pass == 1;
    if (chosen) emitter.open(fmt::format("if (!{})", comes_before(top, "last_.value", "last_.at", x, "k_")));
    emitter.open(fmt::format("for (idx q_ = 0; q_ < {}; ++q_)", chosen ? "k_" : std::to_string(n)));
    INFLIGHT_TRY_ASSIGN(const std::string other, element(emitter, top, at, "q_", shared));
    emitter.line(fmt::format("{} += {};", rank,
                             chosen ? "!" + comes_before(top, "last_.value", "last_.at", other, "q_")
                                    : comes_before(top, other, "q_", x, "k_")));
    emitter.close();
    if (by_index && pass == 0) {
      emitter.line(
          fmt::format("if ({} == {}) last_ = Ranked<{}>{{{}, k_}};", rank, k - 1, top.value_type, x));
    } else {
      emitter.open(chosen ? "" : fmt::format("if ({} < {})", rank, k));
      INFLIGHT_TRY(store_result(emitter, top, to, at, {rank, 0, 1, k}, x, "k_"));
      emitter.close();
    }
    if (chosen) emitter.close();
    emitter.close();
    emitter.line("__syncthreads();");
  }
  return {};
}

Result<BuiltKernel> build_top_k(const op::util::TopKBase& node, std::size_t output, const Placed& to,
                                const Placement& placed) {
  Emitter emitter(placed);
  const std::size_t axis = normal_axis(node.get_provided_axis(), node.get_input_shape(0).size());
  const TopK top{node,
                 row_of(node, axis),
                 output,
                 compute_type(node.get_output_element_type(output)),
                 compute_type(node.get_input_element_type(0)),
                 node.get_mode() == op::TopKMode::MAX};
  const Indices at = open_row(emitter, top.row);
  INFLIGHT_TRY(node.get_k() == 1 ? emit_first(emitter, top, to, at) : emit_ranks(emitter, top, to, at));
  emitter.close();
  return finish_kernel(emitter, to, top.row.count, threads_of(top.row));
}

}  // namespace

bool has_own_kernel(const ov::Node& node) {
  return as_top_k(node) != nullptr || ov::is_type<op::v0::CumSum>(&node);
}

Result<BuiltKernel> build_own_kernel(const ov::Output<ov::Node>& value, const Placed& to,
                                     const Placement& placed) {
  if (const auto* top = as_top_k(*value.get_node())) return build_top_k(*top, value.get_index(), to, placed);
  return build_cum_sum(dynamic_cast<const op::v0::CumSum&>(*value.get_node()), to, placed);
}

}  // namespace inflight::cuda
