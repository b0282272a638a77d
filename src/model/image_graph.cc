// SPDX-License-Identifier: Apache-2.0
#include "model/image_graph.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <openvino/op/add.hpp>
#include <openvino/op/clamp.hpp>
#include <openvino/op/concat.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/divide.hpp>
#include <openvino/op/gather.hpp>
#include <openvino/op/interpolate.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/pad.hpp>
#include <openvino/op/reduce_sum.hpp>
#include <openvino/op/reshape.hpp>
#include <openvino/op/round.hpp>
#include <openvino/op/slice.hpp>
#include <openvino/op/subtract.hpp>
#include <openvino/op/tile.hpp>
#include <openvino/op/transpose.hpp>
#include <openvino/op/unsqueeze.hpp>
#include <vector>

#include "model/fit_graph.h"
#include "model/image_fit.h"

namespace inflight::internal {
namespace {

namespace op = ov::op;
using Value = ov::Output<ov::Node>;

constexpr float kBorder = 114;                                 // grey, as the exporters of YOLO pad
constexpr float kOpaque = 255;                                 // alpha
constexpr std::array<float, 3> kGrey{0.299F, 0.587F, 0.114F};  // of ITU-R BT.601

Value integers(const std::vector<std::int64_t>& values) {
  return op::v0::Constant::create(ov::element::i64, {values.size()}, values);
}

Value floats(const ov::Shape& shape, const std::vector<float>& values) {
  return op::v0::Constant::create(ov::element::f32, shape, values);
}

Value converted(const Value& value, const ov::element::Type& type) {
  if (value.get_element_type() == type) return value;
  return std::make_shared<op::v0::Convert>(value, type);
}

// [1,H,W,3] cut to a part.
Value cut(const Value& value, const PixelRect& part) {
  return std::make_shared<op::v8::Slice>(value, integers({part.y, part.x}),
                                         integers({part.y + part.height, part.x + part.width}),
                                         integers({1, 1}), integers({1, 2}));
}

op::v4::Interpolate::InterpolateAttrs bilinear() {
  using Interpolate = op::v4::Interpolate;
  Interpolate::InterpolateAttrs how;
  how.mode = Interpolate::InterpolateMode::LINEAR;
  how.shape_calculation_mode = Interpolate::ShapeCalcMode::SIZES;
  how.coordinate_transformation_mode = Interpolate::CoordinateTransformMode::HALF_PIXEL;
  how.pads_begin = {0, 0};
  how.pads_end = {0, 0};
  return how;
}

// f32[1,H,W,3] to another size: bilinear, half-pixel centres.
Value resized(const Value& value, std::int64_t height, std::int64_t width) {
  const ov::Shape& from = value.get_shape();
  if (from[1] == static_cast<std::size_t>(height) && from[2] == static_cast<std::size_t>(width)) return value;
  const Value scales = floats({2}, {static_cast<float>(height) / static_cast<float>(from[1]),
                                    static_cast<float>(width) / static_cast<float>(from[2])});
  return std::make_shared<op::v4::Interpolate>(value, integers({height, width}), scales, integers({1, 2}),
                                               bilinear());
}

// u8[1,H,W,3] as f32[1,height,width,3].
Value fitted(const Value& frame, Fit fit, std::int64_t height, std::int64_t width) {
  const auto from_height = static_cast<std::int64_t>(frame.get_shape()[1]);
  const auto from_width = static_cast<std::int64_t>(frame.get_shape()[2]);
  if (fit == Fit::kCrop) {
    const PixelRect part = crop_rect(from_height, from_width, height, width);
    const bool whole = part.width == from_width && part.height == from_height;
    return resized(converted(whole ? frame : cut(frame, part), ov::element::f32), height, width);
  }
  const Value pixels = converted(frame, ov::element::f32);
  if (fit == Fit::kStretch) return resized(pixels, height, width);
  const PixelRect place = letterbox_rect(from_height, from_width, height, width);
  Value inside = resized(pixels, place.height, place.width);
  if (place.height == height && place.width == width) return inside;
  return std::make_shared<op::v1::Pad>(
      inside, integers({0, place.y, place.x, 0}),
      integers({0, height - place.height - place.y, width - place.width - place.x, 0}), floats({}, {kBorder}),
      op::PadMode::CONSTANT);
}

// The same for frames of any size, by sizes that the network computes.
Value resized_to(const Value& value, const Value& sizes) {
  return std::make_shared<op::v4::Interpolate>(value, sizes, floats({2}, {1, 1}), integers({1, 2}),
                                               bilinear());
}

Value joined(const ov::OutputVector& values) { return std::make_shared<op::v0::Concat>(values, 0); }

Value small(std::int64_t value) {
  return op::v0::Constant::create(ov::element::i32, {1}, {static_cast<std::int32_t>(value)});
}

// u8[1,H,W,3] of any size as f32[1,height,width,3].
//   frame    the same without the batch
Value fitted_of_any_size(const Value& frame, const Value& batched, Fit fit, std::int64_t height,
                         std::int64_t width) {
  const Value whole = integers({height, width});
  if (fit == Fit::kStretch) return resized_to(converted(batched, ov::element::f32), whole);
  if (fit == Fit::kCrop) {
    const RectInGraph part = crop_in_graph(frame, height, width);
    const Value ends = joined({std::make_shared<op::v1::Add>(part.y, part.height),
                               std::make_shared<op::v1::Add>(part.x, part.width)});
    const Value kept = std::make_shared<op::v8::Slice>(
        batched, joined({part.y, part.x}), ends, joined({small(1), small(1)}), joined({small(1), small(2)}));
    return resized_to(converted(kept, ov::element::f32), whole);
  }
  const RectInGraph place = letterbox_in_graph(frame, height, width);
  const Value inside = resized_to(converted(batched, ov::element::f32), joined({place.height, place.width}));
  const auto rest = [](std::int64_t all, const Value& before, const Value& taken) -> Value {
    const Value after = std::make_shared<op::v1::Subtract>(small(all), before);
    return std::make_shared<op::v1::Subtract>(after, taken);
  };
  const Value padded = std::make_shared<op::v1::Pad>(
      inside, joined({small(0), place.y, place.x, small(0)}),
      joined({small(0), rest(height, place.y, place.height), rest(width, place.x, place.width), small(0)}),
      floats({}, {kBorder}), op::PadMode::CONSTANT);
  // From here on everything is static again.
  return std::make_shared<op::v1::Reshape>(padded, integers({1, height, width, 3}), false);
}

// f32[1,H,W,3], RGB, with the channels that the model wants.
Value with_channels(const Value& rgb, std::size_t channels, ColorOrder color) {
  if (channels == 1) {
    const Value weighted = std::make_shared<op::v1::Multiply>(
        rgb, floats({1, 1, 1, 3}, std::vector<float>(kGrey.begin(), kGrey.end())));
    return std::make_shared<op::v1::ReduceSum>(weighted, integers({3}), true);
  }
  Value ordered = rgb;
  if (color == ColorOrder::kBgr)
    ordered = std::make_shared<op::v8::Gather>(rgb, integers({2, 1, 0}), integers({3}));
  if (channels == 3) return ordered;
  const ov::Shape& shape = rgb.get_shape();
  const Value alpha = op::v0::Constant::create(rgb.get_element_type(), {1, shape[1], shape[2], 1}, {kOpaque});
  return std::make_shared<op::v0::Concat>(ov::OutputVector{ordered, alpha}, 3);
}

bool all_are(const std::vector<float>& values, float value) {
  return std::all_of(values.begin(), values.end(), [value](float each) { return each == value; });
}

// (pixel - mean) / scale
Value normalised(Value value, const std::vector<float>& mean, const std::vector<float>& scale) {
  if (!all_are(mean, 0))
    value = std::make_shared<op::v1::Subtract>(value, floats({1, 1, 1, mean.size()}, mean));
  if (!all_are(scale, 1))
    value = std::make_shared<op::v1::Divide>(value, floats({1, 1, 1, scale.size()}, scale));
  return value;
}

template <typename T>
Value clamped_to(const Value& value) {
  return std::make_shared<op::v0::Clamp>(value, static_cast<double>(std::numeric_limits<T>::min()),
                                         static_cast<double>(std::numeric_limits<T>::max()));
}

// f32 as the network's element type; integers are rounded to the nearest, half to even, and end at their
// bounds.
Value of_type(Value value, const ov::element::Type& type) {
  if (!type.is_integral_number()) return converted(value, type);
  value = std::make_shared<op::v5::Round>(value, op::v5::Round::RoundMode::HALF_TO_EVEN);
  // Pixels and what means and scales make of them stay far from the bounds of wider types.
  if (type == ov::element::u8) value = clamped_to<std::uint8_t>(value);
  if (type == ov::element::i8) value = clamped_to<std::int8_t>(value);
  if (type == ov::element::u16) value = clamped_to<std::uint16_t>(value);
  if (type == ov::element::i16) value = clamped_to<std::int16_t>(value);
  if (type == ov::element::u32 || type == ov::element::u64) {
    value = std::make_shared<op::v0::Clamp>(value, 0.0, 2147483520.0);  // the largest float below 2^31
  }
  return converted(value, type);
}

// [1,H,W,C] as the network lays it out, once for each place of the batch.
Value laid_out(Value value, const ov::Shape& shape, const ImageLayout& layout) {
  if (layout.rank > 2 && layout.channels_first)
    value = std::make_shared<op::v1::Transpose>(value, integers({0, 3, 1, 2}));
  if (layout.rank < 4) {
    const std::vector<std::int64_t> dims(shape.begin(), shape.end());
    return std::make_shared<op::v1::Reshape>(value, integers(dims), false);
  }
  if (shape[0] == 1) return value;
  return std::make_shared<op::v0::Tile>(value, integers({static_cast<std::int64_t>(shape[0]), 1, 1, 1}));
}

}  // namespace

ImageGraph make_image_graph(const ImageInput& image, const ov::element::Type& type, const ov::Shape& shape,
                            const ImageLayout& layout) {
  const bool any_size = image.height == 0;
  const ov::Dimension side(1, kFrameExtentMax);
  const ov::PartialShape frame_shape =
      any_size ? ov::PartialShape{side, side, 3} : ov::PartialShape{image.height, image.width, 3};
  const auto frame = std::make_shared<op::v0::Parameter>(ov::element::u8, frame_shape);
  const Value batched = std::make_shared<op::v0::Unsqueeze>(frame, integers({0}));
  const auto height = static_cast<std::int64_t>(shape[layout.height_axis()]);
  const auto width = static_cast<std::int64_t>(shape[layout.width_axis()]);
  const bool as_it_is = all_are(image.mean, 0) && all_are(image.scale, 1) && height == image.height &&
                        width == image.width && layout.channels != 1;
  Value value;
  if (type == ov::element::u8 && as_it_is) {
    value = with_channels(batched, layout.channels, image.color);
  } else {
    value = any_size ? fitted_of_any_size(frame, batched, image.fit, height, width)
                     : fitted(batched, image.fit, height, width);
    value = with_channels(value, layout.channels, image.color);
    value = of_type(normalised(value, image.mean, image.scale), type);
  }
  return {frame, laid_out(value, shape, layout)};
}

}  // namespace inflight::internal
