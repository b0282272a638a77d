// SPDX-License-Identifier: Apache-2.0
// What builders of operators are written with: a node of a network in one word.
#pragma once

#include <cstdint>
#include <memory>
#include <openvino/core/node.hpp>
#include <openvino/op/ops.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "model/element_types.h"
#include "mx/op_table.h"

namespace inflight::mx::detail {

using Value = ov::Output<ov::Node>;
using Ints = std::vector<std::int64_t>;

// One operator on its way into a network.
struct Lowering {
  const OpRow& row;
  const Params& params;
  std::vector<Value> in;        // of static shape
  std::optional<Value> scalar;  // where the attribute "scalar" comes as an input of input 0's type
  std::vector<Value> out;       // what the builder adds
};

template <typename Op, typename... Args>
Value make(Args&&... args) {
  return std::make_shared<Op>(std::forward<Args>(args)...)->output(0);
}

inline Ints dims(const Value& x) {
  const ov::Shape& shape = x.get_shape();
  return Ints(shape.begin(), shape.end());
}
inline std::int64_t rank(const Value& x) { return static_cast<std::int64_t>(x.get_shape().size()); }
inline std::int64_t elements(const Value& x) {
  return static_cast<std::int64_t>(ov::shape_size(x.get_shape()));
}

std::int64_t product(const Ints& shape);

// Constants: a list of integers, one of them, and one value of another's type.
Value ints(const Ints& values);
Value integer(std::int64_t value);
Value constant_like(const Value& like, double value);
Value constant(ov::element::Type type, const Ints& shape, const std::vector<double>& values);

Value reshaped(const Value& x, const Ints& shape);
Value transposed(const Value& x, const Ints& order);
Value converted(const Value& x, ov::element::Type type);
Value broadcast_to(const Value& x, const Ints& shape);
Value add(const Value& a, const Value& b);
Value subtract(const Value& a, const Value& b);
Value multiply(const Value& a, const Value& b);
Value divide(const Value& a, const Value& b);  // integers towards zero

// Whether arithmetic in this type must go through i32, where OpenVINO would saturate and MXNet wraps around.
bool is_small_integer(ov::element::Type type);
bool is_integer(ov::element::Type type);
// x in a type that computes as MXNet does: i32 for small integers and bool.
Value widened(const Value& x);
// x in f32 where it is an integer.
Value real(const Value& x);

// An axis of `rank`, which may count from the end.
//   errors   kInvalidArgument: "attribute axis: got 4, want -4 to 3 for [1,2,3,4]"
Result<std::int64_t> checked_axis(std::string_view attribute, std::int64_t axis, const Value& x);
Result<std::int64_t> checked_axis(std::string_view attribute, std::int64_t axis, std::int64_t rank);

// "[2,3]" of a list.
std::string text_of(const Ints& values);
// kInvalidArgument: "attribute NAME: got GOT, want WANT"
Status bad_attribute(std::string_view name, const std::string& got, const std::string& want);
// kInvalidArgument: "input NAME: got GOT, want WANT"
Status bad_input(std::string_view name, const std::string& got, const std::string& want);

// For OpRow::complete: that shapes[index] is `shape`, where it is not known yet; an error where it is
// another.
Status want_shape(Shapes& shapes, std::size_t index, std::string_view name, const Ints& shape);

}  // namespace inflight::mx::detail
