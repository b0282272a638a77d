// SPDX-License-Identifier: Apache-2.0
#include "media/synthetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace inflight {
namespace {

using Pixels = std::vector<std::byte>;

std::unique_ptr<const SyntheticRenderer> make(std::uint64_t seed, int width = 640, int height = 480) {
  SyntheticOptions options;
  options.seed = seed;
  options.width = width;
  options.height = height;
  return std::move(SyntheticRenderer::make(options)).value();
}

Pixels render(const SyntheticRenderer& renderer, std::int64_t index) {
  Pixels pixels(renderer.frame_bytes());
  renderer.render(index, pixels);
  return pixels;
}

TEST(Synthetic, SourceDeliversWhatTheRendererDraws) {
  SyntheticOptions options;
  options.seed = 7;
  options.frames = 70;
  const auto source = std::move(open_synthetic(options)).value();
  const auto renderer = make(7);
  for (int i = 0; i < 70; ++i) {
    auto frame = source->next();
    ASSERT_TRUE(frame.ok() && frame->has_value());
    const VideoFrame& got = **frame;
    EXPECT_EQ(got.index, i);
    EXPECT_EQ(got.height, 480);
    EXPECT_EQ(got.width, 640);
    EXPECT_EQ(got.label, renderer->label(i));
    const Pixels want = render(*renderer, i);
    ASSERT_EQ(got.pixels.size(), want.size());
    ASSERT_EQ(std::memcmp(got.pixels.bytes(), want.data(), want.size()), 0) << "frame " << i;
  }
  for (int i = 0; i < 2; ++i) {
    const auto end = source->next();
    ASSERT_TRUE(end.ok());
    EXPECT_FALSE(end->has_value());
  }
}

TEST(Synthetic, AnyFrameCanBeMadeAgainInAnyOrder) {
  const auto first = make(3);
  const auto second = make(3);
  for (const std::int64_t index : {100'000'000'007LL, 5LL, 0LL, 31LL, 5LL}) {
    EXPECT_EQ(render(*first, index), render(*second, index)) << index;
  }
}

TEST(Synthetic, SeedAndIndexChangeThePicture) {
  const auto one = make(1);
  const auto two = make(2);
  EXPECT_NE(render(*one, 0), render(*two, 0));
  EXPECT_NE(render(*one, 0), render(*one, 1));
}

TEST(Synthetic, LabelHoldsForOneShapeThenChangesAndAllAppear) {
  const auto renderer = make(1);
  std::set<int> seen;
  for (std::int64_t index = 0; index < 6 * SyntheticRenderer::kFramesPerShape; ++index) {
    const int label = renderer->label(index);
    ASSERT_GE(label, 0);
    ASSERT_LT(label, static_cast<int>(kShapeNames.size()));
    seen.insert(label);
    const bool boundary = (index + 1) % SyntheticRenderer::kFramesPerShape == 0;
    EXPECT_EQ(renderer->label(index + 1) != label, boundary) << index;
  }
  EXPECT_EQ(seen.size(), kShapeNames.size());
}

// The shape's colour: that of most stretches of eight equal pixels. Nothing in a background comes near it.
std::uint32_t shape_color(const std::vector<std::uint32_t>& picture, int width) {
  std::map<std::uint32_t, int> stretches;
  for (std::size_t i = 1, run = 0; i < picture.size(); ++i) {
    run = picture[i] == picture[i - 1] && i % static_cast<std::size_t>(width) != 0 ? run + 1 : 0;
    if (run == 7) ++stretches[picture[i]];
  }
  const auto most = std::max_element(stretches.begin(), stretches.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  EXPECT_GE(most->second, 8);
  return most->first;
}

TEST(Synthetic, ShapeIsFullyInside) {
  for (const auto& [width, height] : {std::pair{640, 480}, std::pair{333, 1001}, std::pair{1920, 300}}) {
    const auto renderer = make(11, width, height);
    for (std::int64_t index = 0; index < 1200; index += 29) {
      const Pixels pixels = render(*renderer, index);
      std::vector<std::uint32_t> picture(pixels.size() / 3);
      for (std::size_t i = 0; i < picture.size(); ++i) std::memcpy(&picture[i], &pixels[i * 3], 3);
      const std::uint32_t shape = shape_color(picture, width);
      for (std::size_t i = 0; i < picture.size(); ++i) {
        const int x = static_cast<int>(i) % width;
        const int y = static_cast<int>(i) / width;
        if (x == 0 || y == 0 || x == width - 1 || y == height - 1) {
          ASSERT_NE(picture[i], shape) << "frame " << index << " at " << x << ", " << y;
        }
      }
    }
  }
}

TEST(Synthetic, BuffersAreReused) {
  const auto source = std::move(open_synthetic({})).value();
  std::set<const std::byte*> addresses;
  for (int i = 0; i < 100; ++i) addresses.insert((*source->next())->pixels.bytes());
  EXPECT_EQ(addresses.size(), 1U);
}

TEST(Synthetic, InterruptEnds) {
  const auto source = std::move(open_synthetic({})).value();
  ASSERT_TRUE(source->next()->has_value());
  source->interrupt();
  EXPECT_FALSE(source->next()->has_value());
}

TEST(Synthetic, RefusesOptionsOutOfRange) {
  const auto code = [](auto change) {
    SyntheticOptions options;
    change(options);
    const auto source = open_synthetic(options);
    return source.ok() ? StatusCode::kOk : source.status().code();
  };
  EXPECT_EQ(code([](SyntheticOptions& o) { o.width = 64; }), StatusCode::kOk);
  EXPECT_EQ(code([](SyntheticOptions& o) { o.width = 63; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](SyntheticOptions& o) { o.height = 8193; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](SyntheticOptions& o) { o.fps = -1; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](SyntheticOptions& o) { o.fps = NAN; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](SyntheticOptions& o) { o.frames = -1; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](SyntheticOptions& o) { o.frames = 0; }), StatusCode::kOk);
}

TEST(SyntheticSource, ReservesMemoryForAsManyFramesAsAreAliveAtOnce) {
  SyntheticOptions options;
  options.frames = 3;
  const auto source = std::move(open_synthetic(options)).value();
  ASSERT_TRUE(source->reserve(2).ok());
  // The first two come out of the reserve, in whatever order; what comes back is used again.
  const std::byte* first = (**source->next()).pixels.bytes();
  const std::byte* second = (**source->next()).pixels.bytes();
  EXPECT_EQ(first, second);
}

}  // namespace
}  // namespace inflight
