// SPDX-License-Identifier: Apache-2.0
#include "media/rgb_converter.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

namespace inflight {
namespace {

constexpr std::size_t kBlock = 32;

// Decoders put numbers of the file into these fields, whatever the type has names for.
template <typename Enum>
int number_in(const Enum& field) {
  static_assert(sizeof field == sizeof(int));
  int number = 0;
  std::memcpy(&number, &field, sizeof number);
  return number;
}

ColorSpace color_space_of(const AVFrame& frame) {
  ColorSpace result;
  const int matrix = number_in(frame.colorspace);
  if (matrix != AVCOL_SPC_UNSPECIFIED && matrix != AVCOL_SPC_RGB) {
    result.coefficients = matrix;  // SWS_CS_* are the same numbers; unknown ones mean the default
  }
  // The yuvj formats are full range by their name.
  result.full_range = number_in(frame.color_range) == AVCOL_RANGE_JPEG ||
                      frame.format == AV_PIX_FMT_YUVJ420P || frame.format == AV_PIX_FMT_YUVJ422P ||
                      frame.format == AV_PIX_FMT_YUVJ444P || frame.format == AV_PIX_FMT_YUVJ440P ||
                      frame.format == AV_PIX_FMT_YUVJ411P ||
                      // libswscale knows it of other greys.
                      frame.format == AV_PIX_FMT_GRAYF32LE || frame.format == AV_PIX_FMT_GRAYF32BE;
  return result;
}

// Whether its planes may be turned before it becomes RGB, which are half as many bytes: each 2x2 pixels share
// a colour, and libswscale converts them alike wherever they are.
bool turns_by_planes(const AVFrame& frame) {
  return (frame.format == AV_PIX_FMT_YUV420P || frame.format == AV_PIX_FMT_YUVJ420P) &&
         frame.width % 2 == 0 && frame.height % 2 == 0;
}

}  // namespace

Status RgbConverter::convert_turned(const AVFrame& frame, const Orientation& orientation, std::byte* pixels) {
  const auto area = static_cast<std::size_t>(frame.width) * static_cast<std::size_t>(frame.height);
  // libswscale may read some bytes past a row.
  constexpr std::size_t kPadding = 64;
  if (planes_.size() != area * 3 / 2 + kPadding) {
    INFLIGHT_TRY_ASSIGN(planes_, Buffer::allocate(area * 3 / 2 + kPadding));
  }
  AVFrame turned = frame;  // its memory stays the frame's and ours
  if (orientation.swaps_sides()) std::swap(turned.width, turned.height);
  auto* to = reinterpret_cast<std::uint8_t*>(planes_.bytes());
  for (int plane = 0; plane < 3; ++plane) {
    const int shift = plane == 0 ? 0 : 1;
    turned.data[plane] = to;
    turned.linesize[plane] = turned.width >> shift;
    orient_plane(orientation, frame.data[plane], frame.linesize[plane], frame.height >> shift,
                 frame.width >> shift, to, turned.linesize[plane]);
    to += area >> (2 * shift);
  }
  return convert(turned, Orientation(), pixels);
}

Status RgbConverter::convert(const AVFrame& frame, const Orientation& orientation, std::byte* pixels) {
  if (orientation != Orientation() && turns_by_planes(frame))
    return convert_turned(frame, orientation, pixels);
  INFLIGHT_TRY(prepare(frame));
  // The vector code of libswscale works on blocks of up to 32 pixels: where a dense row does not end with a
  // block, it would leave the row's end unwritten or write past the picture, so such rows go by way of
  // `wide_`.
  const auto row_bytes = static_cast<std::size_t>(frame.width) * 3;
  const bool turned = orientation != Orientation();
  const bool dense = frame.width % kBlock == 0 && !turned;
  const std::size_t stride = dense ? row_bytes : (row_bytes + kBlock * 3 - 1) / (kBlock * 3) * kBlock * 3;
  if (!dense && wide_.size() != stride * static_cast<std::size_t>(frame.height)) {
    INFLIGHT_TRY_ASSIGN(wide_, Buffer::allocate(stride * static_cast<std::size_t>(frame.height)));
  }
  std::byte* target = dense ? pixels : wide_.bytes();
  const std::array<std::uint8_t*, 4> planes = {reinterpret_cast<std::uint8_t*>(target)};
  const std::array<int, 4> strides = {static_cast<int>(stride)};
  const int rows =
      sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height, planes.data(), strides.data());
  if (rows != frame.height)
    return Status(StatusCode::kInternal, "libswscale: a frame was not converted whole");
  if (turned) {
    orient(orientation, target, stride, frame.height, frame.width, pixels);
    return Status();
  }
  for (int y = 0; !dense && y < frame.height; ++y) {
    const auto row = static_cast<std::size_t>(y);
    std::memcpy(pixels + row * row_bytes, target + row * stride, row_bytes);
  }
  return Status();
}

// A scaler for frames like this one; kept while they stay alike.
Status RgbConverter::prepare(const AVFrame& frame) {
  const ColorSpace color = color_space_of(frame);
  if (scaler_ != nullptr && frame.format == format_ && frame.width == width_ && frame.height == height_ &&
      color == color_)
    return Status();
  scaler_.reset(sws_getContext(frame.width, frame.height, static_cast<AVPixelFormat>(frame.format),
                               frame.width, frame.height, AV_PIX_FMT_RGB24, SWS_BICUBIC, nullptr, nullptr,
                               nullptr));
  if (scaler_ == nullptr) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("pixel format {} cannot be turned to RGB", frame.format));
  }
  if (color != ColorSpace()) {
    // Answers -1 for formats that need no such numbers (RGB in): nothing is lost then.
    sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(color.coefficients), color.full_range ? 1 : 0,
                             sws_getCoefficients(SWS_CS_DEFAULT), 1, 0, 1 << 16, 1 << 16);
  }
  format_ = frame.format;
  width_ = frame.width;
  height_ = frame.height;
  color_ = color;
  return Status();
}

}  // namespace inflight
