// SPDX-License-Identifier: Apache-2.0
// What the rules of all operators share: types, shapes, literals, broadcasting, the table.
#include <fmt/format.h>

#include <cmath>
#include <openvino/op/constant.hpp>

#include "backends/cuda/emitter.h"

namespace inflight::cuda {

std::string compute_type(const ov::element::Type& type) {
  switch (type) {
    case ov::element::Type_t::f16:
    case ov::element::Type_t::bf16:
    case ov::element::Type_t::f32:
      return "float";
    case ov::element::Type_t::f64:
      return "double";
    case ov::element::Type_t::boolean:
    case ov::element::Type_t::u8:
      return "unsigned char";
    case ov::element::Type_t::i8:
      return "signed char";
    case ov::element::Type_t::u16:
      return "unsigned short";
    case ov::element::Type_t::i16:
      return "short";
    case ov::element::Type_t::u32:
      return "unsigned";
    case ov::element::Type_t::i32:
      return "int";
    case ov::element::Type_t::u64:
      return "unsigned long long";
    case ov::element::Type_t::i64:
      return "long long";
    default:
      return "";
  }
}

std::string storage_type(DType dtype) {
  switch (dtype) {
    case DType::kBool:
    case DType::kU8:
      return "unsigned char";
    case DType::kI8:
      return "signed char";
    case DType::kF16:
    case DType::kBF16:
    case DType::kU16:
      return "unsigned short";
    case DType::kI16:
      return "short";
    case DType::kU32:
      return "unsigned";
    case DType::kI32:
      return "int";
    case DType::kU64:
      return "unsigned long long";
    case DType::kI64:
      return "long long";
    case DType::kF32:
      return "float";
    case DType::kF64:
      return "double";
  }
  return "";
}

bool is_real(const ov::element::Type& type) { return type.is_real(); }

Status unsupported(const ov::Node& node, std::string_view why) {
  return Status(StatusCode::kUnsupported,
                fmt::format("{} '{}': {}", node.get_type_name(), node.get_friendly_name(), why));
}

Extents extents_of(const ov::Output<ov::Node>& value) {
  const ov::Shape& shape = value.get_shape();
  return {shape.begin(), shape.end()};
}

Extents extents_of(const ov::Output<const ov::Node>& value) {
  const ov::Shape& shape = value.get_shape();
  return {shape.begin(), shape.end()};
}

std::int64_t element_count(const Extents& extents) {
  std::int64_t count = 1;
  for (const std::int64_t extent : extents) count *= extent;
  return count;
}

Extents row_major_strides(const Extents& extents) {
  Extents strides(extents.size());
  std::int64_t stride = 1;
  for (std::size_t d = extents.size(); d-- > 0;) {
    strides[d] = stride;
    stride *= extents[d];
  }
  return strides;
}

namespace {

std::shared_ptr<ov::op::v0::Constant> constant_input(const ov::Node& node, std::size_t input) {
  if (input >= node.get_input_size()) return nullptr;
  return ov::as_type_ptr<ov::op::v0::Constant>(node.get_input_node_shared_ptr(input));
}

}  // namespace

bool has_constant(const ov::Node& node, std::size_t input) { return constant_input(node, input) != nullptr; }

std::vector<std::int64_t> constant_integers(const ov::Node& node, std::size_t input) {
  const auto constant = constant_input(node, input);
  return constant == nullptr ? std::vector<std::int64_t>{} : constant->cast_vector<std::int64_t>();
}

std::size_t normal_axis(std::int64_t axis, std::size_t rank) {
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<std::int64_t>(rank) : axis);
}

std::string literal(double value, const ov::element::Type& type) {
  const std::string name = compute_type(type);
  if (type == ov::element::boolean) return fmt::format("((unsigned char){})", value != 0 ? 1 : 0);
  if (!type.is_real()) {
    if (value >= 9.2e18) return fmt::format("(({}){:.0f}ULL)", name, value);
    if (value <= -9.2233720368547e18) return fmt::format("(({})(-9223372036854775807LL - 1))", name);
    return fmt::format("(({}){}LL)", name, static_cast<std::int64_t>(value));
  }
  if (std::isnan(value)) return name == "float" ? "F_NAN" : "((double)F_NAN)";
  if (name == "float") value = static_cast<double>(static_cast<float>(value));
  if (std::isinf(value)) return fmt::format("(({}){}F_INF)", name, value < 0 ? "-" : "");
  std::string text = fmt::format("{:.17g}", value);
  if (name == "float") text = fmt::format("{:.9g}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  if (name == "float") text += 'f';
  return std::signbit(value) ? fmt::format("({})", text) : text;
}

Indices broadcast_indices(const Extents& input, const Extents& output, const ov::op::AutoBroadcastSpec& spec,
                          const Indices& at) {
  std::size_t first = output.size() - input.size();
  if (spec.m_type == ov::op::AutoBroadcastType::PDPD && spec.m_axis >= 0 && first > 0)
    first = static_cast<std::size_t>(spec.m_axis);
  Indices from(input.size());
  for (std::size_t d = 0; d < input.size(); ++d) {
    const std::size_t o = first + d;
    // PDPD lets trailing dimensions of one element stand past the output's.
    from[d] = input[d] == 1 || o >= output.size() ? Emitter::constant(0) : at[o];
  }
  return from;
}

std::string rule_key(const ov::DiscreteTypeInfo& type) {
  return fmt::format("{}::{}", type.version_id == nullptr ? "" : type.version_id, type.name);
}

const RuleTable& rule_table() {
  static const RuleTable table = [] {
    RuleTable rules;
    add_elementwise_rules(rules);
    add_movement_rules(rules);
    add_gather_rules(rules);
    add_scatter_rules(rules);
    add_pool_rules(rules);
    add_convolution_rules(rules);
    add_interpolate_rules(rules);
    add_reduce_rules(rules);
    add_rows_rules(rules);
    return rules;
  }();
  return table;
}

}  // namespace inflight::cuda
