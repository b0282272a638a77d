// SPDX-License-Identifier: Apache-2.0
#include "mx/build.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <numeric>

#include "base/check.h"

namespace inflight::mx::detail {
namespace {

ov::Shape ov_shape(const Ints& shape) { return ov::Shape(shape.begin(), shape.end()); }

}  // namespace

std::int64_t product(const Ints& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Value ints(const Ints& values) {
  return make<ov::op::v0::Constant>(ov::element::i64, ov::Shape{values.size()}, values);
}
Value integer(std::int64_t value) {
  return make<ov::op::v0::Constant>(ov::element::i64, ov::Shape{}, Ints{value});
}

Value constant_like(const Value& like, double value) {
  return constant(like.get_element_type(), {}, {value});
}

Value constant(ov::element::Type type, const Ints& shape, const std::vector<double>& values) {
  return make<ov::op::v0::Constant>(type, ov_shape(shape), values);
}

Value reshaped(const Value& x, const Ints& shape) {
  if (dims(x) == shape) return x;
  return make<ov::op::v1::Reshape>(x, ints(shape), false);
}
Value transposed(const Value& x, const Ints& order) { return make<ov::op::v1::Transpose>(x, ints(order)); }
Value converted(const Value& x, ov::element::Type type) {
  return x.get_element_type() == type ? x : make<ov::op::v0::Convert>(x, type);
}
Value broadcast_to(const Value& x, const Ints& shape) {
  if (dims(x) == shape) return x;
  return make<ov::op::v3::Broadcast>(x, ints(shape));
}
Value add(const Value& a, const Value& b) { return make<ov::op::v1::Add>(a, b); }
Value subtract(const Value& a, const Value& b) { return make<ov::op::v1::Subtract>(a, b); }
Value multiply(const Value& a, const Value& b) { return make<ov::op::v1::Multiply>(a, b); }
Value divide(const Value& a, const Value& b) { return make<ov::op::v1::Divide>(a, b, false); }

bool is_integer(ov::element::Type type) { return type.is_integral(); }
bool is_small_integer(ov::element::Type type) { return type.is_integral() && type.bitwidth() < 32; }
Value widened(const Value& x) {
  return is_small_integer(x.get_element_type()) ? converted(x, ov::element::i32) : x;
}
Value real(const Value& x) { return is_integer(x.get_element_type()) ? converted(x, ov::element::f32) : x; }

Result<std::int64_t> checked_axis(std::string_view attribute, std::int64_t axis, std::int64_t rank) {
  if (axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
  return bad_attribute(attribute, fmt::format("{}", axis),
                       fmt::format("{} to {} for {} axes", -rank, rank - 1, rank));
}

Result<std::int64_t> checked_axis(std::string_view attribute, std::int64_t axis, const Value& x) {
  return checked_axis(attribute, axis, rank(x));
}

std::string text_of(const Ints& values) { return fmt::format("[{}]", fmt::join(values, ",")); }

Status bad_attribute(std::string_view name, const std::string& got, const std::string& want) {
  return {StatusCode::kInvalidArgument, fmt::format("attribute {}: got {}, want {}", name, got, want)};
}
Status bad_input(std::string_view name, const std::string& got, const std::string& want) {
  return {StatusCode::kInvalidArgument, fmt::format("input {}: got {}, want {}", name, got, want)};
}

Status want_shape(Shapes& shapes, std::size_t index, std::string_view name, const Ints& shape) {
  if (index >= shapes.size()) return {};
  INFLIGHT_TRY_ASSIGN(const Shape wanted, Shape::make(shape));
  if (!shapes[index].has_value()) shapes[index] = wanted;
  if (*shapes[index] == wanted) return {};
  return bad_input(name, shapes[index]->to_string(), wanted.to_string());
}

}  // namespace inflight::mx::detail
