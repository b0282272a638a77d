// SPDX-License-Identifier: Apache-2.0
// Where a frame lies in a network's input: the arithmetic of `Fit`, on integers but for the last step. What
// converts frames follows it to the pixel, and what maps results back to the frame uses the same numbers.
#pragma once

#include <algorithm>
#include <cstdint>

#include "inflight/model.h"

namespace inflight {

// The whole frame in the network's input, in the input's pixels. Where a crop cuts parts off, it is larger
// than the input, and x or y is negative. A point p of the input lies at (p - x) / width of the frame's
// width.
struct FitRect {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

namespace internal {

// numerator / denominator, rounded half up. Requires both above 0.
constexpr std::int64_t rounded_ratio(std::int64_t numerator, std::int64_t denominator) {
  return (2 * numerator + denominator) / (2 * denominator);
}

struct PixelRect {
  std::int64_t x = 0;
  std::int64_t y = 0;
  std::int64_t width = 0;
  std::int64_t height = 0;
};

// kLetterbox: the part of the input that the frame is resized to. The longer side fills the input; the other
// one is rounded half up, and is 1 at least. Of an odd rest the right or the lower border has the pixel more.
constexpr PixelRect letterbox_rect(std::int64_t frame_height, std::int64_t frame_width,
                                   std::int64_t input_height, std::int64_t input_width) {
  const bool wide = frame_width * input_height >= frame_height * input_width;
  const std::int64_t width =
      wide
          ? input_width
          : std::clamp<std::int64_t>(rounded_ratio(frame_width * input_height, frame_height), 1, input_width);
  const std::int64_t height =
      wide ? std::clamp<std::int64_t>(rounded_ratio(frame_height * input_width, frame_width), 1, input_height)
           : input_height;
  return {(input_width - width) / 2, (input_height - height) / 2, width, height};
}

// kCrop: the part of the frame that is resized to the whole input: the largest of the input's aspect ratio,
// from the middle. Its cut side is rounded half up, and is 1 at least. Of an odd rest one pixel more is cut
// off on the right or below.
constexpr PixelRect crop_rect(std::int64_t frame_height, std::int64_t frame_width, std::int64_t input_height,
                              std::int64_t input_width) {
  const bool wide = frame_width * input_height >= frame_height * input_width;
  const std::int64_t width =
      wide ? std::clamp<std::int64_t>(rounded_ratio(frame_height * input_width, input_height), 1, frame_width)
           : frame_width;
  const std::int64_t height =
      wide
          ? frame_height
          : std::clamp<std::int64_t>(rounded_ratio(frame_width * input_height, input_width), 1, frame_height);
  return {(frame_width - width) / 2, (frame_height - height) / 2, width, height};
}

}  // namespace internal

// Requires sizes of 1 to 2^20.
constexpr FitRect fit_rect(Fit fit, int frame_height, int frame_width, int input_height, int input_width) {
  if (fit == Fit::kLetterbox) {
    const internal::PixelRect rect =
        internal::letterbox_rect(frame_height, frame_width, input_height, input_width);
    return {static_cast<double>(rect.x), static_cast<double>(rect.y), static_cast<double>(rect.width),
            static_cast<double>(rect.height)};
  }
  if (fit == Fit::kCrop) {
    const internal::PixelRect cut = internal::crop_rect(frame_height, frame_width, input_height, input_width);
    const double scale_x = static_cast<double>(input_width) / static_cast<double>(cut.width);
    const double scale_y = static_cast<double>(input_height) / static_cast<double>(cut.height);
    return {-static_cast<double>(cut.x) * scale_x, -static_cast<double>(cut.y) * scale_y,
            frame_width * scale_x, frame_height * scale_y};
  }
  return {0, 0, static_cast<double>(input_width), static_cast<double>(input_height)};
}

}  // namespace inflight
