// SPDX-License-Identifier: Apache-2.0
#include "media/orientation.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace inflight {
namespace {

constexpr std::size_t kPixelBytes = 3;
constexpr int kBlock = 32;

constexpr int kSquare = 8;

// Makes columns of rows in a square of bytes: swaps quarters, then quarters of those, then bytes. Byte 0 is
// the lowest.
void transpose_square(std::array<std::uint64_t, kSquare>& rows) {
  const auto swap = [&rows](std::size_t a, std::size_t b, int bits, std::uint64_t mask) {
    const std::uint64_t change = ((rows[a] >> bits) ^ rows[b]) & mask;
    rows[b] ^= change;
    rows[a] ^= change << bits;
  };
  for (const std::size_t i : {0, 1, 2, 3}) swap(i, i + 4, 32, 0x00000000FFFFFFFF);
  for (const std::size_t i : {0, 1, 4, 5}) swap(i, i + 2, 16, 0x0000FFFF0000FFFF);
  for (const std::size_t i : {0, 2, 4, 6}) swap(i, i + 1, 8, 0x00FF00FF00FF00FF);
}

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
  orient(orientation, from, static_cast<std::size_t>(width) * kPixelBytes, height, width, to);
}

void orient(const Orientation& orientation, const std::byte* from, std::size_t from_stride, int height,
            int width, std::byte* to) {
  const int rows = orientation.swaps_sides() ? width : height;
  const int columns = orientation.swaps_sides() ? height : width;
  // One step to the right in the shown picture is this many bytes in the coded one.
  const auto stride = static_cast<std::ptrdiff_t>(from_stride);
  const auto pixel = static_cast<std::ptrdiff_t>(kPixelBytes);
  const std::ptrdiff_t across = (orientation.transpose ? stride : pixel) * (orientation.flip_x ? -1 : 1);
  const std::ptrdiff_t down = (orientation.transpose ? pixel : stride) * (orientation.flip_y ? -1 : 1);
  const std::byte* const origin =
      from - (orientation.flip_x ? across * (columns - 1) : 0) - (orientation.flip_y ? down * (rows - 1) : 0);
  const std::byte* const last = from + stride * (height - 1) + pixel * (width - 1);
  // In blocks, for a transposition reads down the columns of the coded picture.
  for (int top = 0; top < rows; top += kBlock) {
    const int bottom = std::min(top + kBlock, rows);
    for (int left = 0; left < columns; left += kBlock) {
      const int right = std::min(left + kBlock, columns);
      for (int y = top; y < bottom; ++y) {
        const std::byte* source = origin + down * y + across * left;
        std::byte* target = to + (std::ptrdiff_t{y} * columns + left) * pixel;
        // A byte more of each, which is one move and not two. The pixel after it overwrites that, so the last
        // one of the block goes alone; so does the coded picture's last one, behind which nothing may be
        // read.
        for (int x = left; x + 1 < right; ++x, source += across, target += pixel) {
          if (source == last)
            std::memcpy(target, source, kPixelBytes);
          else
            std::memcpy(target, source, kPixelBytes + 1);
        }
        std::memcpy(target, source, kPixelBytes);
      }
    }
  }
}

void orient_plane(const Orientation& orientation, const std::uint8_t* from, std::ptrdiff_t from_stride,
                  int height, int width, std::uint8_t* to, std::ptrdiff_t to_stride) {
  if (!orientation.transpose) {
    for (int y = 0; y < height; ++y) {
      const std::uint8_t* const row = from + from_stride * (orientation.flip_y ? height - 1 - y : y);
      if (orientation.flip_x)
        std::reverse_copy(row, row + width, to + to_stride * y);
      else
        std::copy(row, row + width, to + to_stride * y);
    }
    return;
  }
  // Flips are the order in which rows are read and written; what is left is out[column][row] =
  // in[row][column].
  if (orientation.flip_x) {
    from += from_stride * (height - 1);
    from_stride = -from_stride;
  }
  if (orientation.flip_y) {
    to += to_stride * (width - 1);
    to_stride = -to_stride;
  }
  const bool in_squares = std::endian::native == std::endian::little;
  const int rows = in_squares ? height / kSquare * kSquare : 0;
  const int columns = in_squares ? width / kSquare * kSquare : 0;
  // Written in order: that costs less here than to read in order.
  for (int column = 0; column < columns; column += kSquare) {
    for (int row = 0; row < rows; row += kSquare) {
      std::array<std::uint64_t, kSquare> square{};
      for (int i = 0; i < kSquare; ++i)
        std::memcpy(&square[static_cast<std::size_t>(i)], from + from_stride * (row + i) + column, kSquare);
      transpose_square(square);
      for (int i = 0; i < kSquare; ++i)
        std::memcpy(to + to_stride * (column + i) + row, &square[static_cast<std::size_t>(i)], kSquare);
    }
  }
  for (int column = 0; column < width; ++column) {
    for (int row = column < columns ? rows : 0; row < height; ++row)
      to[to_stride * column + row] = from[from_stride * row + column];
  }
}

}  // namespace inflight
