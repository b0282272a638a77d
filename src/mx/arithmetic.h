// SPDX-License-Identifier: Apache-2.0
// The functions of one and two values that several operators are made of.
#pragma once

#include <span>
#include <string_view>

#include "mx/build.h"

namespace inflight::mx::detail {

// One value from two of the same element type, as MXNet computes it. The result has that type, too.
struct BinaryFunction {
  std::string_view name;      // "add": elemwise_add, broadcast_add
  std::string_view elemwise;  // the operator that wants the same shapes: "elemwise_add", "_mod"
  std::vector<std::string_view> aliases;
  std::string_view broadcast;  // the one that broadcasts
  std::vector<std::string_view> broadcast_aliases;
  std::string_view scalar;  // the one with a scalar: "_plus_scalar"
  std::string_view scalar_alias;
  std::string_view reverse;  // the one with the scalar on the left, where there is one
  std::string_view reverse_alias;
  Value (*apply)(const Value& a, const Value& b);
};
std::span<const BinaryFunction> binary_functions();

// Applies `function` in a type that computes as MXNet does, and converts back.
Value apply_binary(const BinaryFunction& function, const Value& a, const Value& b);

// One value from one of f32 or f16.
struct UnaryFunction {
  std::string_view name;
  std::vector<std::string_view> aliases;
  Value (*apply)(const Value& x);
  bool keeps_integers = false;  // computes integers as such, too
};
std::span<const UnaryFunction> unary_functions();
// By name; requires that there is one.
Value apply_unary(std::string_view name, const Value& x);

}  // namespace inflight::mx::detail
