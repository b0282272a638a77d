// SPDX-License-Identifier: Apache-2.0
#include "vision/canvas.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

namespace inflight::vision {
namespace {

std::uint32_t pixel(Canvas& canvas, int x, int y) {
  std::uint32_t value = 0;
  std::memcpy(&value, canvas.pixels() + y * canvas.stride() + x * 4, 4);
  return value & 0xFFFFFF;
}

// Pixel (x, y) is red x, green y, blue 7.
std::vector<std::byte> picture(int height, int width) {
  std::vector<std::byte> rgb;
  for (int i = 0; i < height * width; ++i) {
    rgb.insert(rgb.end(), {std::byte(i % width), std::byte(i / width), std::byte{7}});
  }
  return rgb;
}

TEST(Canvas, HoldsThePictureAsItIs) {
  Canvas canvas;
  for (const auto& [height, width] : {std::pair(3, 5), std::pair(1, 1), std::pair(200, 101)}) {
    ASSERT_TRUE(canvas.load(picture(height, width).data(), height, width).ok());
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        ASSERT_EQ(pixel(canvas, x, y), static_cast<std::uint32_t>(x << 16 | y << 8 | 7));
      }
    }
  }
}

TEST(Canvas, DrawsARectangleInsideItsBox) {
  Canvas canvas;
  ASSERT_TRUE(canvas.load(picture(120, 160).data(), 120, 160).ok());
  canvas.draw({{40, 50, 60, 30, 0.9F, 4}, ""});
  const std::uint32_t colour = colour_of(4);
  EXPECT_EQ(pixel(canvas, 40, 50), colour);
  EXPECT_EQ(pixel(canvas, 99, 79), colour);
  EXPECT_EQ(pixel(canvas, 70, 50), colour);
  EXPECT_EQ(pixel(canvas, 40, 65), colour);
  EXPECT_EQ(pixel(canvas, 39, 65), 39U << 16 | 65U << 8 | 7U);  // beside it
  EXPECT_EQ(pixel(canvas, 70, 65), 70U << 16 | 65U << 8 | 7U);  // in it
  EXPECT_EQ(pixel(canvas, 100, 79), 100U << 16 | 79U << 8 | 7U);
}

// Text changes pixels above the box, or in it where the box begins at the upper edge; never outside of the
// picture.
TEST(Canvas, WritesTextBesideTheBox) {
  for (const double y : {60.0, 0.0}) {
    Canvas canvas;
    ASSERT_TRUE(canvas.load(picture(120, 160).data(), 120, 160).ok());
    canvas.draw({{100, y, 60, 40, 0.9F, 4}, "traffic light 0.97"});
    std::set<std::uint32_t> colours;
    for (int x = 60; x < 160; ++x) colours.insert(pixel(canvas, x, y > 0 ? 54 : 6));
    EXPECT_TRUE(colours.count(colour_of(4)));
    EXPECT_GT(colours.size(), 4U);
  }
}

TEST(Canvas, TakesTextOfAnyKind) {
  Canvas canvas;
  ASSERT_TRUE(canvas.load(picture(8, 8).data(), 8, 8).ok());
  canvas.draw({{0, 0, 8, 8, 0.9F, 4}, "K\xC3\xA4se \xE7\x8A\xAC"});
  canvas.draw_lines(std::vector<std::string>{"", "a", std::string(5000, 'x')});
  ASSERT_TRUE(canvas.load(picture(8, 8).data(), 8, 8).ok());
  canvas.draw({{0, 0, 8, 8, 0.9F, 4}, ""});
  EXPECT_EQ(pixel(canvas, 0, 0), colour_of(4));
}

TEST(Canvas, RefusesWhatIsTooLarge) {
  Canvas canvas;
  EXPECT_EQ(canvas.load(picture(1, 40'000).data(), 1, 40'000).code(), StatusCode::kUnsupported);
  EXPECT_TRUE(canvas.load(picture(4, 4).data(), 4, 4).ok());
}

TEST(Colours, OfNeighboursDiffer) {
  std::set<std::uint32_t> colours;
  for (int category = 0; category < 80; ++category) colours.insert(colour_of(category));
  EXPECT_GT(colours.size(), 70U);
}

}  // namespace
}  // namespace inflight::vision
