// SPDX-License-Identifier: Apache-2.0
// Writes the body of a kernel: "the value of this output at these indices", as lines of code and the name of the
// local variable that holds it.
#pragma once

#include <cstdint>
#include <map>
#include <openvino/core/node.hpp>
#include <openvino/op/util/attr_types.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/cuda/kernel_builder.h"

namespace inflight::cuda {

// A local variable of integer type plus a constant.
struct Index {
  std::string base;  // "": the constant alone
  std::int64_t add = 0;
  std::int64_t multiple = 1;  // base is a multiple of it
  std::int64_t limit = 0;     // base is in [0, limit); 0: not known
};
// One for each dimension of a value.
using Indices = std::vector<Index>;
// A thread computes several elements at a time, its lanes, so that they are loaded and stored together.
using Places = std::vector<Indices>;
using Lanes = std::vector<std::string>;

// The type of C in which an element of a network is computed; "" if there is none. f16 and bf16 are float.
std::string compute_type(const ov::element::Type& type);
// The type of C of an element in memory: f16 and bf16 are unsigned short.
std::string storage_type(DType dtype);
bool is_real(const ov::element::Type& type);

Status unsupported(const ov::Node& node, std::string_view why);

class Emitter {
 public:
  explicit Emitter(const Placement& placed);

  // The names of the variables that hold `value`, one for each lane. They are of compute_type.
  Result<Lanes> emit(const ov::Output<ov::Node>& value, const Places& at);
  Result<std::string> emit(const ov::Output<ov::Node>& value, const Indices& at);
  // An integer that the network computes, such as an index, as a variable of type idx.
  Result<Index> emit_index(const ov::Output<ov::Node>& value, const Indices& at);

  // Lines of code. A variable that is declared between open() and close() is known there only.
  void line(std::string_view text);
  void open(std::string_view head = "");
  void close();
  // A constant variable with the value of `expression`; the same one if it exists already.
  std::string local(const std::string& type, const std::string& expression);
  // A variable that later lines assign to.
  std::string variable(const std::string& type, const std::string& initial);
  // A name that is not in use.
  std::string fresh(char letter);
  // Makes emit(value, at) answer `name`, until the innermost open() closes.
  void remember(const ov::Output<ov::Node>& value, const Indices& at, const std::string& name);

  // What a row kernel has found out about a row before it computes the row's elements, such as the sum.
  void keep_fact(const ov::Node& node, int number, const Indices& row, const std::string& name);
  Result<std::string> fact(const ov::Node& node, int number, const Indices& row) const;

  // In a row kernel: emit(value, at) is `name` in all loops over the row that follow.
  void keep(const ov::Output<ov::Node>& value, const Indices& at, const std::string& name);
  bool is_kept(const ov::Output<ov::Node>& value) const;
  std::string kept_name(const ov::Output<ov::Node>& value) const;

  // Arithmetic of indices. Those of constants are computed here.
  static Index constant(std::int64_t value) { return {"", value, 1, 0}; }
  std::string text(const Index& index) const;
  static Index plus(Index index, std::int64_t value);
  Index named(const std::string& expression, std::int64_t limit = 0, std::int64_t multiple = 1);
  Index linear(const std::vector<std::pair<Index, std::int64_t>>& terms, std::int64_t add = 0,
               std::int64_t limit = 0);
  // Of an index that is not negative.
  Index divided(const Index& index, std::int64_t by);
  Index modulo(const Index& index, std::int64_t by);
  // The index of each dimension of the element at `index` in row-major order.
  Indices split(Index index, const Extents& extents);
  Index flat(const Indices& at, const Extents& extents);

  // The elements that a store writes, in order. `offset` is in elements.
  void store(const Placed& to, const std::string& pointer, const Places& at, const Lanes& values,
             const ov::element::Type& type);
  // The offset of an element, as an expression.
  Index offset_of(const Extents& strides, const Indices& at);

  const std::string& body() const { return body_; }
  const std::vector<ov::Output<ov::Node>>& reads() const { return reads_; }
  const std::vector<DType>& read_types() const { return read_types_; }
  bool is_placed(const ov::Output<ov::Node>& value) const { return placed_.count(value) != 0; }
  const Placed* placed(const ov::Output<ov::Node>& value) const;
  // At least this many elements are addressed: decides whether 32 bits are enough.
  void note_span(std::int64_t elements) { span_max_ = elements > span_max_ ? elements : span_max_; }
  std::int64_t span_max() const { return span_max_; }

 private:
  Result<Lanes> load(const ov::Output<ov::Node>& value, const Placed& from, const Places& at);
  static std::string fact_key(const ov::Node& node, int number, const Indices& row);
  std::string key(const ov::Output<ov::Node>& value, const Indices& at) const;
  const std::string* find(const std::string& key) const;
  std::size_t read_of(const ov::Output<ov::Node>& value, DType dtype);

  const Placement& placed_;
  std::string body_;
  int indent_ = 1;
  int names_ = 0;
  std::int64_t span_max_ = 0;
  std::vector<std::map<std::string, std::string>> known_;  // innermost scope last
  std::map<std::string, std::string> names_of_;            // of the constant variables, in all scopes
  std::vector<ov::Output<ov::Node>> kept_;
  std::vector<ov::Output<ov::Node>> reads_;
  std::vector<DType> read_types_;
};

// True if these offsets are consecutive from a multiple of their number: what one load or store may cover.
bool is_packed(const Indices& offsets);

// One operator: what kind of kernel it needs, and the code of one of its elements.
using EmitRule = Result<Lanes> (*)(Emitter&, const ov::Node&, std::size_t output, const Places& at);
struct OperatorRule {
  KernelKind (*kind)(const ov::Node&);
  EmitRule emit;  // null: kRows only
};
using RuleTable = std::map<std::string, OperatorRule>;  // "opset version::type", as in rule_key()
std::string rule_key(const ov::DiscreteTypeInfo& type);
const RuleTable& rule_table();

// Each file of rules adds its own.
void add_elementwise_rules(RuleTable& table);
void add_movement_rules(RuleTable& table);
void add_gather_rules(RuleTable& table);
void add_scatter_rules(RuleTable& table);
void add_pool_rules(RuleTable& table);
void add_convolution_rules(RuleTable& table);
void add_interpolate_rules(RuleTable& table);
void add_reduce_rules(RuleTable& table);
void add_rows_rules(RuleTable& table);

inline KernelKind always_inline(const ov::Node&) { return KernelKind::kInline; }
inline KernelKind always_window(const ov::Node&) { return KernelKind::kWindow; }
inline KernelKind always_rows(const ov::Node&) { return KernelKind::kRows; }

// Helpers of rules.
Extents extents_of(const ov::Output<ov::Node>& value);
Extents extents_of(const ov::Output<const ov::Node>& value);
std::int64_t element_count(const Extents& extents);
Extents row_major_strides(const Extents& extents);
// The elements of a constant input; empty if the input is none.
std::vector<std::int64_t> constant_integers(const ov::Node& node, std::size_t input);
bool has_constant(const ov::Node& node, std::size_t input);
std::size_t normal_axis(std::int64_t axis, std::size_t rank);
std::string literal(double value, const ov::element::Type& type);
// The indices of an input that is broadcast to `output`.
Indices broadcast_indices(const Extents& input, const Extents& output, const ov::op::AutoBroadcastSpec& spec,
                          const Indices& at);

// emit(input) at indices that `map` makes of each lane's.
template <typename Map>
Result<Lanes> emit_moved(Emitter& emitter, const ov::Output<ov::Node>& input, const Places& at, Map map) {
  Places from;
  from.reserve(at.size());
  for (const Indices& lane : at) from.push_back(map(lane));
  return emitter.emit(input, from);
}
// The same code for each lane by itself.
template <typename One>
Result<Lanes> emit_each(const Places& at, One one) {
  Lanes lanes;
  lanes.reserve(at.size());
  for (const Indices& lane : at) {
    Result<std::string> name = one(lane);
    if (!name.ok()) return name.status();
    lanes.push_back(std::move(name).value());
  }
  return lanes;
}

}  // namespace inflight::cuda
