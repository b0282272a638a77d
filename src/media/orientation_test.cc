// SPDX-License-Identifier: Apache-2.0
#include "media/orientation.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace inflight {
namespace {

// The picture  1 2 3  in this orientation, row by row; each pixel's three bytes are its number.
//              4 5 6
std::vector<int> shown(const Orientation& orientation) {
  std::vector<std::byte> from;
  for (int pixel = 1; pixel <= 6; ++pixel) from.insert(from.end(), 3, static_cast<std::byte>(pixel));
  std::vector<std::byte> to(from.size());
  orient(orientation, from.data(), 2, 3, to.data());
  std::vector<int> pixels;
  for (std::size_t i = 0; i < to.size(); i += 3) {
    EXPECT_EQ(to[i], to[i + 1]);
    EXPECT_EQ(to[i], to[i + 2]);
    pixels.push_back(static_cast<int>(to[i]));
  }
  return pixels;
}

struct Case {
  int exif;
  std::array<int, 4> matrix;  // a, b, c, d in whole numbers: (x, y) is shown at (a x + c y, b x + d y)
  std::vector<int> pixels;    // 2x3, or 3x2 where the sides change places
};

// Worked out by hand from EXIF's table of where the 0th row and the 0th column are.
const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {1, {1, 0, 0, 1}, {1, 2, 3, 4, 5, 6}},   {2, {-1, 0, 0, 1}, {3, 2, 1, 6, 5, 4}},
      {3, {-1, 0, 0, -1}, {6, 5, 4, 3, 2, 1}}, {4, {1, 0, 0, -1}, {4, 5, 6, 1, 2, 3}},
      {5, {0, 1, 1, 0}, {1, 4, 2, 5, 3, 6}},   {6, {0, 1, -1, 0}, {4, 1, 5, 2, 6, 3}},
      {7, {0, -1, -1, 0}, {6, 3, 5, 2, 4, 1}}, {8, {0, -1, 1, 0}, {3, 6, 2, 5, 1, 4}},
  };
  return all;
}

std::array<std::int32_t, 9> display_matrix(double a, double b, double c, double d) {
  const auto fixed = [](double value) { return static_cast<std::int32_t>(value * 65536); };
  return {fixed(a), fixed(b), 0, fixed(c), fixed(d), 0, 0, 0, 1 << 30};
}

TEST(Orientation, AllEightOfExif) {
  for (const Case& one : cases()) EXPECT_EQ(shown(Orientation::from_exif(one.exif)), one.pixels) << one.exif;
}

TEST(Orientation, AllEightDisplayMatrices) {
  for (const Case& one : cases()) {
    const auto& [a, b, c, d] = one.matrix;
    EXPECT_EQ(Orientation::from_display_matrix(display_matrix(a, b, c, d)), Orientation::from_exif(one.exif))
        << one.exif;
  }
}

TEST(Orientation, NearestQuarterTurnAtAnyScale) {
  for (const Case& one : cases()) {
    const auto& [a, b, c, d] = one.matrix;
    // The matrix, turned by 30 degrees more, at a scale of 0.1.
    const double cosine = 0.0866;
    const double sine = 0.05;
    const auto turned = display_matrix(cosine * a - sine * b, sine * a + cosine * b, cosine * c - sine * d,
                                       sine * c + cosine * d);
    EXPECT_EQ(Orientation::from_display_matrix(turned), Orientation::from_exif(one.exif)) << one.exif;
  }
}

// Larger than the blocks in which pixels are moved, with rows that do not follow each other closely.
TEST(Orientation, LargePicturesLikeSmallOnes) {
  constexpr int kHeight = 45;
  constexpr int kWidth = 70;
  constexpr std::size_t kStride = kWidth * 3 + 17;
  std::vector<std::byte> from(kHeight * kStride);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 7919 >> 4);
  for (const Case& one : cases()) {
    const Orientation orientation = Orientation::from_exif(one.exif);
    std::vector<std::byte> to(std::size_t{kHeight} * kWidth * 3);
    orient(orientation, from.data(), kStride, kHeight, kWidth, to.data());
    const int rows = orientation.transpose ? kWidth : kHeight;
    const int columns = orientation.transpose ? kHeight : kWidth;
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < columns; ++x) {
        const int shown_y = orientation.flip_y ? rows - 1 - y : y;
        const int shown_x = orientation.flip_x ? columns - 1 - x : x;
        const int row = orientation.transpose ? shown_x : shown_y;
        const int column = orientation.transpose ? shown_y : shown_x;
        const std::byte want =
            from[static_cast<std::size_t>(row) * kStride + static_cast<std::size_t>(column) * 3 + 2];
        ASSERT_EQ(to[static_cast<std::size_t>(y * columns + x) * 3 + 2], want) << one.exif;
      }
    }
  }
}

TEST(Orientation, NonsenseChangesNothing) {
  EXPECT_EQ(Orientation::from_exif(0), Orientation());
  EXPECT_EQ(Orientation::from_exif(9), Orientation());
  EXPECT_EQ(Orientation::from_display_matrix(display_matrix(0, 0, 0, 0)), Orientation());
  EXPECT_EQ(Orientation::from_display_matrix(display_matrix(1, 1, 1, 1)), Orientation());
}

// A plane of a byte a pixel is turned as pixels of three are, whatever of it fits into squares.
TEST(Orientation, PlanesAreTurnedAsPixelsAre) {
  for (const auto& [height, width] : {std::pair{1, 1}, {3, 5}, {8, 8}, {16, 24}, {17, 9}, {40, 61}}) {
    std::vector<std::uint8_t> plane;
    std::vector<std::byte> pixels;
    for (int i = 0; i < height * width; ++i) {
      plane.push_back(static_cast<std::uint8_t>(i * 7 + i / 256));
      pixels.insert(pixels.end(), 3, std::byte{plane.back()});
    }
    for (int value = 1; value <= 8; ++value) {
      const Orientation orientation = Orientation::from_exif(value);
      std::vector<std::byte> want(pixels.size());
      orient(orientation, pixels.data(), height, width, want.data());
      const int columns = orientation.swaps_sides() ? height : width;
      std::vector<std::uint8_t> turned(plane.size());
      orient_plane(orientation, plane.data(), width, height, width, turned.data(), columns);
      for (std::size_t i = 0; i < turned.size(); ++i)
        ASSERT_EQ(turned[i], std::to_integer<int>(want[3 * i])) << height << "x" << width << ", " << value;
    }
  }
}

}  // namespace
}  // namespace inflight
