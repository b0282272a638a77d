// SPDX-License-Identifier: Apache-2.0
#include "media/orientation.h"

#include <cmath>
#include <cstring>

namespace inflight {
namespace {

constexpr std::size_t kPixelBytes = 3;

}  // namespace

Orientation Orientation::from_exif(int value) {
  switch (value) {
    case 2:
      return {.flip_x = true};
    case 3:
      return {.flip_x = true, .flip_y = true};
    case 4:
      return {.flip_y = true};
    case 5:
      return {.transpose = true};
    case 6:
      return {.transpose = true, .flip_x = true};
    case 7:
      return {.transpose = true, .flip_x = true, .flip_y = true};
    case 8:
      return {.transpose = true, .flip_y = true};
    default:
      return {};
  }
}

Orientation Orientation::from_display_matrix(std::span<const std::int32_t, 9> matrix) {
  const double a = matrix[0];
  const double b = matrix[1];
  const double c = matrix[3];
  const double d = matrix[4];
  const double determinant = a * d - b * c;
  if (determinant == 0) return {};
  // Without its mirroring the matrix is a rotation; (x, y) is twice its cosine and sine.
  const double mirror = determinant < 0 ? -1.0 : 1.0;
  const double x = mirror * a + d;
  const double y = mirror * b - c;
  Orientation result;
  result.transpose = std::abs(y) > std::abs(x);
  result.flip_x = result.transpose ? -y < 0 : mirror * x < 0;
  result.flip_y = result.transpose ? mirror * y < 0 : x < 0;
  return result;
}

void orient(const Orientation& orientation, const std::byte* from, int height, int width, std::byte* to) {
  const int rows = orientation.swaps_sides() ? width : height;
  const int columns = orientation.swaps_sides() ? height : width;
  for (int y = 0; y < rows; ++y) {
    const int shown_y = orientation.flip_y ? rows - 1 - y : y;
    for (int x = 0; x < columns; ++x) {
      const int shown_x = orientation.flip_x ? columns - 1 - x : x;
      const auto from_y = static_cast<std::size_t>(orientation.transpose ? shown_x : shown_y);
      const auto from_x = static_cast<std::size_t>(orientation.transpose ? shown_y : shown_x);
      std::memcpy(to, from + (from_y * static_cast<std::size_t>(width) + from_x) * kPixelBytes, kPixelBytes);
      to += kPixelBytes;
    }
  }
}

}  // namespace inflight
