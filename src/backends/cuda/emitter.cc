// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/emitter.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <openvino/op/constant.hpp>

namespace inflight::cuda {

Emitter::Emitter(const Placement& placed) : placed_(placed) { known_.emplace_back(); }

const Placed* Emitter::placed(const ov::Output<ov::Node>& value) const {
  const auto found = placed_.find(value);
  return found == placed_.end() ? nullptr : &found->second;
}

void Emitter::line(std::string_view text) {
  body_.append(static_cast<std::size_t>(indent_) * 2, ' ');
  body_ += text;
  body_ += '\n';
}

void Emitter::open(std::string_view head) {
  line(head.empty() ? "{" : fmt::format("{} {{", head));
  ++indent_;
  known_.emplace_back();
}

void Emitter::close() {
  --indent_;
  known_.pop_back();
  line("}");
}

std::string Emitter::fresh(char letter) { return fmt::format("{}{}", letter, names_++); }

const std::string* Emitter::find(const std::string& key) const {
  for (auto scope = known_.rbegin(); scope != known_.rend(); ++scope) {
    const auto found = scope->find(key);
    if (found != scope->end()) return &found->second;
  }
  return nullptr;
}

std::string Emitter::local(const std::string& type, const std::string& expression) {
  const std::string key = type + ' ' + expression;
  if (const std::string* name = find(key)) return *name;
  // The same expression has the same name in every scope: what is kept of one loop is found in the next.
  std::string& name = names_of_[key];
  if (name.empty()) name = fresh(type == "idx" ? 'i' : 'v');
  line(fmt::format("const {} {} = {};", type, name, expression));
  known_.back()[key] = name;
  return name;
}

std::string Emitter::variable(const std::string& type, const std::string& initial) {
  std::string name = fresh('a');
  line(fmt::format("{} {} = {};", type, name, initial));
  return name;
}

std::string Emitter::key(const ov::Output<ov::Node>& value, const Indices& at) const {
  std::string key = fmt::format("@{}:{}", fmt::ptr(value.get_node()), value.get_index());
  for (const Index& index : at) key += fmt::format(",{}+{}", index.base, index.add);
  return key;
}

void Emitter::remember(const ov::Output<ov::Node>& value, const Indices& at, const std::string& name) {
  known_.back()[key(value, at)] = name;
}

std::string Emitter::text(const Index& index) const {
  if (index.base.empty()) return fmt::format("{}", index.add);
  if (index.add == 0) return index.base;
  return fmt::format("({} {} {})", index.base, index.add < 0 ? '-' : '+', std::abs(index.add));
}

Index Emitter::plus(Index index, std::int64_t value) {
  index.add += value;
  return index;
}

Index Emitter::named(const std::string& expression, std::int64_t limit, std::int64_t multiple) {
  return {local("idx", expression), 0, multiple, limit};
}

Index Emitter::linear(const std::vector<std::pair<Index, std::int64_t>>& terms, std::int64_t add,
                      std::int64_t limit) {
  std::string expression;
  std::int64_t multiple = 0, bound = 1;
  const Index* alone = nullptr;
  int count = 0;
  for (const auto& [index, factor] : terms) {
    add += index.add * factor;
    if (index.base.empty() || factor == 0) continue;
    alone = factor == 1 ? &index : nullptr;
    multiple = std::gcd(multiple, std::abs(factor) * index.multiple);
    bound = index.limit > 0 && factor > 0 && bound > 0 ? bound + factor * (index.limit - 1) : 0;
    if (count++ > 0) expression += " + ";
    expression += factor == 1 ? index.base : fmt::format("{} * {}", index.base, factor);
  }
  if (count == 0) return constant(add);
  if (count == 1 && alone != nullptr)
    return {alone->base, alone->add * 0 + add, alone->multiple, alone->limit};
  Index sum = named(expression, bound > 0 ? bound : limit, multiple);
  sum.add = add;
  return sum;
}

Index Emitter::divided(const Index& index, std::int64_t by) {
  if (by == 1) return index;
  if (index.base.empty()) return constant(index.add / by);
  if (index.limit > 0 && index.add >= 0 && index.limit - 1 + index.add < by) return constant(0);
  const bool whole = index.multiple % by == 0;
  const bool below =
      index.multiple > 0 && by % index.multiple == 0 && index.add >= 0 && index.add < index.multiple;
  if (whole || below) {
    Index quotient = named(fmt::format("{} / {}", index.base, by),
                           index.limit > 0 ? (index.limit - 1) / by + 1 : 0, whole ? index.multiple / by : 1);
    if (whole) quotient.add = index.add >= 0 ? index.add / by : -((-index.add + by - 1) / by);
    return quotient;
  }
  return named(fmt::format("{} / {}", text(index), by),
               index.limit > 0 && index.add >= 0 ? (index.limit - 1 + index.add) / by + 1 : 0);
}

Index Emitter::modulo(const Index& index, std::int64_t by) {
  if (by == 1) return constant(0);
  if (index.base.empty()) return constant(index.add % by);
  if (index.limit > 0 && index.add >= 0 && index.limit - 1 + index.add < by) return index;
  if (index.multiple % by == 0) return constant(((index.add % by) + by) % by);
  if (by % index.multiple == 0 && index.add >= 0 && index.add < index.multiple) {
    Index rest = named(fmt::format("{} % {}", index.base, by), by - index.multiple + 1, index.multiple);
    rest.add = index.add;
    return rest;
  }
  return named(fmt::format("{} % {}", text(index), by), by);
}

Indices Emitter::split(Index index, const Extents& extents) {
  Indices at(extents.size());
  for (std::size_t d = extents.size(); d-- > 0;) {
    if (extents[d] == 1) {
      at[d] = constant(0);
      continue;
    }
    const bool outermost = std::all_of(extents.begin(), extents.begin() + static_cast<std::ptrdiff_t>(d),
                                       [](auto n) { return n == 1; });
    at[d] = outermost ? index : modulo(index, extents[d]);
    if (!outermost) index = divided(index, extents[d]);
  }
  return at;
}

Index Emitter::flat(const Indices& at, const Extents& extents) {
  return offset_of(row_major_strides(extents), at);
}

Index Emitter::offset_of(const Extents& strides, const Indices& at) {
  std::vector<std::pair<Index, std::int64_t>> terms;
  for (std::size_t d = 0; d < at.size(); ++d) terms.emplace_back(at[d], strides[d]);
  return linear(terms);
}

bool is_packed(const Indices& offsets) {
  const auto lanes = static_cast<std::int64_t>(offsets.size());
  if (lanes < 2) return false;
  const Index& first = offsets.front();
  if ((first.base.empty() ? 0 : first.multiple) % lanes != 0 || first.add % lanes != 0) return false;
  for (std::int64_t j = 1; j < lanes; ++j) {
    const Index& lane = offsets[static_cast<std::size_t>(j)];
    if (lane.base != first.base || lane.add != first.add + j) return false;
  }
  return true;
}

void Emitter::keep_fact(const ov::Node& node, int number, const Indices& row, const std::string& name) {
  known_.back()[fact_key(node, number, row)] = name;
}

void Emitter::keep(const ov::Output<ov::Node>& value, const Indices& at, const std::string& name) {
  kept_.push_back(value);
  known_[1][key(value, at)] = name;  // the scope of the row
}

bool Emitter::is_kept(const ov::Output<ov::Node>& value) const {
  return std::find(kept_.begin(), kept_.end(), value) != kept_.end();
}

std::string Emitter::kept_name(const ov::Output<ov::Node>& value) const {
  return fmt::format("c{}", std::find(kept_.begin(), kept_.end(), value) - kept_.begin());
}

std::string Emitter::fact_key(const ov::Node& node, int number, const Indices& row) {
  std::string key = fmt::format("#{}:{}", fmt::ptr(&node), number);
  for (const Index& index : row) key += fmt::format(",{}+{}", index.base, index.add);
  return key;
}

Result<std::string> Emitter::fact(const ov::Node& node, int number, const Indices& row) const {
  if (const std::string* name = find(fact_key(node, number, row))) return *name;
  return unsupported(node, "it works a row at a time, so its result needs a place in memory");
}

std::size_t Emitter::read_of(const ov::Output<ov::Node>& value, DType dtype) {
  const auto found = std::find(reads_.begin(), reads_.end(), value);
  if (found != reads_.end()) return static_cast<std::size_t>(found - reads_.begin());
  reads_.push_back(value);
  read_types_.push_back(dtype);
  return reads_.size() - 1;
}

namespace {

// An element in memory, as the value that is computed with.
std::string loaded(DType dtype, const std::string& address, const std::string& type) {
  switch (dtype) {
    case DType::kF16:
      return type == "float" ? fmt::format("load_f16({})", address)
                             : fmt::format("({})load_f16({})", type, address);
    case DType::kBF16:
      return type == "float" ? fmt::format("load_bf16({})", address)
                             : fmt::format("({})load_bf16({})", type, address);
    default:
      return fmt::format("({})*({})", type, address);
  }
}

std::string stored(DType dtype, const std::string& value) {
  switch (dtype) {
    case DType::kF16:
      return fmt::format("to_f16((float){})", value);
    case DType::kBF16:
      return fmt::format("to_bf16((float){})", value);
    default:
      return fmt::format("({}){}", storage_type(dtype), value);
  }
}

std::int64_t span_of(const Extents& extents, const Extents& strides) {
  std::int64_t span = 1;
  for (std::size_t d = 0; d < extents.size(); ++d)
    span += std::max<std::int64_t>(extents[d] - 1, 0) * strides[d];
  return span;
}

}  // namespace

Result<Lanes> Emitter::load(const ov::Output<ov::Node>& value, const Placed& from, const Places& at) {
  const std::string type = compute_type(value.get_element_type());
  const std::string pointer = fmt::format("p{}", read_of(value, from.dtype));
  note_span(span_of(extents_of(value), from.strides));
  Indices offsets;
  for (const Indices& lane : at) offsets.push_back(offset_of(from.strides, lane));
  Lanes lanes;
  if (from.aligned && is_packed(offsets)) {
    const std::string pack = fmt::format("Pack<{}, {}>", storage_type(from.dtype), at.size());
    const std::string all =
        local(pack, fmt::format("*(const {}*)({} + {})", pack, pointer, text(offsets[0])));
    for (std::size_t j = 0; j < at.size(); ++j)
      lanes.push_back(local(type, loaded(from.dtype, fmt::format("&{}.at[{}]", all, j), type)));
    return lanes;
  }
  for (const Index& offset : offsets)
    lanes.push_back(local(type, loaded(from.dtype, fmt::format("{} + {}", pointer, text(offset)), type)));
  return lanes;
}

void Emitter::store(const Placed& to, const std::string& pointer, const Places& at, const Lanes& values,
                    const ov::element::Type&) {
  Indices offsets;
  for (const Indices& lane : at) offsets.push_back(offset_of(to.strides, lane));
  if (to.aligned && is_packed(offsets)) {
    const std::string pack = fmt::format("Pack<{}, {}>", storage_type(to.dtype), at.size());
    const std::string all = fresh('s');
    line(fmt::format("{} {};", pack, all));
    for (std::size_t j = 0; j < at.size(); ++j)
      line(fmt::format("{}.at[{}] = {};", all, j, stored(to.dtype, values[j])));
    line(fmt::format("*({}*)({} + {}) = {};", pack, pointer, text(offsets[0]), all));
    return;
  }
  for (std::size_t j = 0; j < at.size(); ++j)
    line(fmt::format("{}[{}] = {};", pointer, text(offsets[j]), stored(to.dtype, values[j])));
}

Result<std::string> Emitter::emit(const ov::Output<ov::Node>& value, const Indices& at) {
  INFLIGHT_TRY_ASSIGN(const Lanes lanes, emit(value, Places{at}));
  return lanes[0];
}

Result<Index> Emitter::emit_index(const ov::Output<ov::Node>& value, const Indices& at) {
  INFLIGHT_TRY_ASSIGN(const std::string name, emit(value, at));
  return named("(idx)" + name);
}

Result<Lanes> Emitter::emit(const ov::Output<ov::Node>& value, const Places& at) {
  const ov::Node& node = *value.get_node();
  const ov::element::Type type = value.get_element_type();
  if (compute_type(type).empty())
    return unsupported(node, fmt::format("elements of type {} are not offered", type.get_type_name()));
  // Each place once: a value that is broadcast along the lanes is computed once.
  Places missing;
  std::vector<std::string> keys;
  for (const Indices& lane : at) {
    keys.push_back(key(value, lane));
    if (find(keys.back()) == nullptr &&
        std::find(keys.begin(), keys.end() - 1, keys.back()) == keys.end() - 1)
      missing.push_back(lane);
  }
  if (!missing.empty()) {
    Lanes made;
    if (const Placed* from = placed(value)) {
      INFLIGHT_TRY_ASSIGN(made, load(value, *from, missing));
    } else if (ov::is_type<ov::op::v0::Constant>(&node)) {
      const auto* const constant = static_cast<const ov::op::v0::Constant*>(&node);
      if (!constant->get_all_data_elements_bitwise_identical())
        return unsupported(node, "a constant of several elements has no place in memory");
      const std::string text =
          type.is_real() || type == ov::element::boolean ? literal(constant->cast_vector<double>(1)[0], type)
          : type == ov::element::u64
              ? fmt::format("{}ULL", constant->cast_vector<std::uint64_t>(1)[0])
              : fmt::format("(({}){}LL)", compute_type(type), constant->cast_vector<std::int64_t>(1)[0]);
      made.assign(missing.size(), text);
    } else {
      const auto rule = rule_table().find(rule_key(node.get_type_info()));
      if (rule == rule_table().end()) return unsupported(node, "no kernel is known for it");
      if (rule->second.emit == nullptr)
        return unsupported(node, "it works a row at a time, so its result needs a place in memory");
      INFLIGHT_TRY_ASSIGN(made, rule->second.emit(*this, node, value.get_index(), missing));
    }
    for (std::size_t j = 0; j < missing.size(); ++j) remember(value, missing[j], made[j]);
  }
  Lanes lanes;
  for (const std::string& one : keys) lanes.push_back(*find(one));
  return lanes;
}

}  // namespace inflight::cuda
