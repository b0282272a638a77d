// SPDX-License-Identifier: Apache-2.0
#include "model/fit_graph.h"

#include <memory>
#include <openvino/op/add.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/divide.hpp>
#include <openvino/op/gather.hpp>
#include <openvino/op/greater_eq.hpp>
#include <openvino/op/maximum.hpp>
#include <openvino/op/minimum.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/shape_of.hpp>
#include <openvino/op/subtract.hpp>
#include <utility>

namespace inflight::internal {
namespace {

namespace op = ov::op;

// An i32[1] value of the network. Products of two extents stay below 2^31. Devices may compare and divide in
// f32: so what is compared is a difference with 0, whose sign f32 keeps, and a quotient is corrected by its
// exact rest.
class Int {
 public:
  explicit Int(std::int64_t value)
      : value_(op::v0::Constant::create(ov::element::i32, {1}, {static_cast<std::int32_t>(value)})) {}
  explicit Int(ov::Output<ov::Node> value) : value_(std::move(value)) {}
  const ov::Output<ov::Node>& value() const { return value_; }

  friend Int operator+(const Int& a, const Int& b) { return make<op::v1::Add>(a, b); }
  friend Int operator-(const Int& a, const Int& b) { return make<op::v1::Subtract>(a, b); }
  friend Int operator*(const Int& a, const Int& b) { return make<op::v1::Multiply>(a, b); }
  friend Int clamped(const Int& a, const Int& low, const Int& high) {
    return make<op::v1::Minimum>(make<op::v1::Maximum>(a, low), high);
  }
  // 1 where it is 0 or more, else 0.
  friend Int not_negative(const Int& a) {
    const auto is = std::make_shared<op::v1::GreaterEqual>(a.value_, Int(0).value_);
    return Int(std::make_shared<op::v0::Convert>(is, ov::element::i32));
  }
  // Rounded down. Requires a of 0 or more and b above 0.
  friend Int quotient(const Int& a, const Int& b) {
    const Int about = make<op::v1::Divide>(a, b);
    const Int rest = a - about * b;
    return about + not_negative(rest - b) - not_negative(Int(-1) - rest);
  }
  // Rounded half up.
  friend Int ratio(const Int& a, const Int& b) {
    const Int down = quotient(a, b);
    return down + not_negative(Int(2) * (a - down * b) - b);
  }

 private:
  template <typename Op>
  static Int make(const Int& a, const Int& b) {
    return Int(std::make_shared<Op>(a.value_, b.value_));
  }
  ov::Output<ov::Node> value_;
};

struct Sizes {
  Int frame_height, frame_width, height, width;
  Int wide;  // 1 where the frame is wider than the input, or as wide
};

Sizes sizes_of(const ov::Output<ov::Node>& frame, std::int64_t input_height, std::int64_t input_width) {
  const auto shape = std::make_shared<op::v3::ShapeOf>(frame, ov::element::i32);
  const auto axis = op::v0::Constant::create(ov::element::i32, {}, {0});
  const auto extent = [&](std::int32_t index) {
    return Int(std::make_shared<op::v8::Gather>(
        shape, op::v0::Constant::create(ov::element::i32, {1}, {index}), axis));
  };
  const Int frame_height = extent(0);
  const Int frame_width = extent(1);
  const Int height(input_height);
  const Int width(input_width);
  return {frame_height, frame_width, height, width,
          not_negative(frame_width * height - frame_height * width)};
}

Int either(const Int& condition, const Int& yes, const Int& no) {
  return condition * yes + (Int(1) - condition) * no;
}

Int half(const Int& a) { return quotient(a, Int(2)); }

}  // namespace

RectInGraph letterbox_in_graph(const ov::Output<ov::Node>& frame, std::int64_t height, std::int64_t width) {
  const Sizes s = sizes_of(frame, height, width);
  const Int w =
      either(s.wide, s.width, clamped(ratio(s.frame_width * s.height, s.frame_height), Int(1), s.width));
  const Int h =
      either(s.wide, clamped(ratio(s.frame_height * s.width, s.frame_width), Int(1), s.height), s.height);
  return {half(s.width - w).value(), half(s.height - h).value(), w.value(), h.value()};
}

RectInGraph crop_in_graph(const ov::Output<ov::Node>& frame, std::int64_t height, std::int64_t width) {
  const Sizes s = sizes_of(frame, height, width);
  const Int w = either(s.wide, clamped(ratio(s.frame_height * s.width, s.height), Int(1), s.frame_width),
                       s.frame_width);
  const Int h = either(s.wide, s.frame_height,
                       clamped(ratio(s.frame_width * s.height, s.width), Int(1), s.frame_height));
  return {half(s.frame_width - w).value(), half(s.frame_height - h).value(), w.value(), h.value()};
}

}  // namespace inflight::internal
