// SPDX-License-Identifier: Apache-2.0
#include "vision/boxes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace inflight::vision {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

std::vector<Box> boxes_of(const Geometry& geometry, double x1, double y1, double x2, double y2) {
  BoxCollector collector(geometry, {});
  collector.add(x1, y1, x2, y2, 0.5, 3);
  return collector.take(false);
}

TEST(Iou, IsTheSharedPartOfTheUnion) {
  const Box a{0, 0, 10, 10, 1, 0};
  EXPECT_DOUBLE_EQ(iou(a, a), 1);
  EXPECT_DOUBLE_EQ(iou(a, {5, 0, 10, 10, 1, 0}), 50.0 / 150);
  EXPECT_DOUBLE_EQ(iou(a, {10, 0, 10, 10, 1, 0}), 0);  // they touch
  EXPECT_DOUBLE_EQ(iou(a, {2, 2, 5, 5, 1, 0}), 0.25);
  EXPECT_DOUBLE_EQ(iou({0, 0, 0, 0, 1, 0}, {0, 0, 0, 0, 1, 0}), 0);
}

TEST(BoxCollector, MapsAStretchedInputToTheFrame) {
  const std::vector<Box> boxes = boxes_of(Geometry::stretched(480, 640, 240, 320), 10, 20, 30, 60);
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_EQ(boxes[0], (Box{20, 40, 40, 80, 0.5F, 3}));
}

// A frame of 200x100 in an input of 100x100: 100x50 of it, with 25 rows of border above and below.
TEST(BoxCollector, MapsALetterboxedInputToTheFrame) {
  const Geometry geometry{100, 200, 100, 100, 0, 25, 100, 50};
  const std::vector<Box> boxes = boxes_of(geometry, 10, 30, 60, 50);
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_EQ(boxes[0], (Box{20, 10, 100, 40, 0.5F, 3}));
  EXPECT_TRUE(boxes_of(geometry, 0, 0, 100, 25).empty());  // in the border
}

// A frame of 200x100 of which the input holds the middle 100x100, 1:1.
TEST(BoxCollector, MapsACroppedInputToTheFrame) {
  const Geometry geometry{100, 200, 100, 100, -50, 0, 200, 100};
  const std::vector<Box> boxes = boxes_of(geometry, 0, 0, 100, 100);
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_EQ(boxes[0], (Box{50, 0, 100, 100, 0.5F, 3}));
}

TEST(BoxCollector, ClipsToTheFrame) {
  const std::vector<Box> boxes = boxes_of(Geometry::stretched(100, 100, 100, 100), -10, -20, 30, 300);
  ASSERT_EQ(boxes.size(), 1U);
  EXPECT_EQ(boxes[0], (Box{0, 0, 30, 100, 0.5F, 3}));
}

TEST(BoxCollector, LeavesOutWhatIsNoBox) {
  BoxCollector collector(Geometry::stretched(100, 100, 100, 100), {});
  collector.add(kNan, 0, 10, 10, 0.5, 0);
  collector.add(0, 0, kInf, 10, 0.5, 0);
  collector.add(-kInf, 0, 10, 10, 0.5, 0);
  collector.add(0, 0, 10, 10, kNan, 0);
  collector.add(0, 0, 10, 10, kInf, 0);
  collector.add(0, 0, 10, 10, 1.5, 0);
  collector.add(0, 0, 10, 10, 0.5, kNan);
  collector.add(0, 0, 10, 10, 0.5, -1);
  collector.add(0, 0, 10, 10, 0.5, 1e300);
  collector.add(10, 0, 10, 10, 0.5, 0);  // no width
  collector.add(0, 10, 10, 0, 0.5, 0);   // upside down
  collector.add(0, 0, 1e300, 1e300, 0.5, 0);
  collector.add(200, 0, 210, 10, 0.5, 0);  // beside the frame
  collector.add(0, 0, 10, 10, 0.2499, 0);
  EXPECT_TRUE(collector.take(false).empty());
  collector.add(0, 0, 10, 10, 0.25, 0);
  EXPECT_EQ(collector.take(false).size(), 1U);
  EXPECT_TRUE(collector.take(false).empty());
}

TEST(BoxCollector, KeepsNoMoreThanItsBound) {
  BoxCollector collector(Geometry::stretched(1000, 1000, 1000, 1000), {});
  for (int i = 0; i < 400; ++i) collector.add(i, 0, i + 1, 1, 0.3 + i / 1000.0, i);
  const std::vector<Box> boxes = collector.take(true);
  ASSERT_EQ(boxes.size(), BoxCollector::kBoxesMax);
  EXPECT_FLOAT_EQ(boxes[0].score, 0.699F);
  EXPECT_TRUE(std::is_sorted(boxes.begin(), boxes.end(),
                             [](const Box& a, const Box& b) { return a.score > b.score; }));
}

TEST(Suppress, IsPerClass) {
  const std::vector<Box> boxes = {{0, 0, 10, 10, 0.9F, 0}, {1, 0, 10, 10, 0.8F, 0}, {1, 0, 10, 10, 0.7F, 1}};
  const std::vector<Box> kept = suppress(boxes, 0.45F, 10);
  EXPECT_EQ(kept, (std::vector<Box>{boxes[0], boxes[2]}));
  EXPECT_EQ(suppress(boxes, 0.9F, 10), boxes);
  EXPECT_EQ(suppress(boxes, 0.9F, 1).size(), 1U);
}

// The oracle: take the best, strike out what it covers, and again; with a list of flags and no early end.
std::vector<Box> suppress_slowly(std::vector<Box> boxes, float iou_max) {
  std::vector<Box> kept;
  while (!boxes.empty()) {
    const auto best = std::max_element(boxes.begin(), boxes.end(),
                                       [](const Box& a, const Box& b) { return a.score < b.score; });
    const Box chosen = *best;
    kept.push_back(chosen);
    std::vector<Box> rest;
    for (auto box = boxes.begin(); box != boxes.end(); ++box) {
      if (box == best) continue;
      const double left = std::max(box->x, chosen.x), top = std::max(box->y, chosen.y);
      const double right = std::min(box->x + box->width, chosen.x + chosen.width);
      const double bottom = std::min(box->y + box->height, chosen.y + chosen.height);
      const double both = std::max(0.0, right - left) * std::max(0.0, bottom - top);
      const double either = box->width * box->height + chosen.width * chosen.height - both;
      if (box->category != chosen.category || both / either <= iou_max) rest.push_back(*box);
    }
    boxes = rest;
  }
  return kept;
}

TEST(Suppress, AgreesWithItsOracle) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> place(0, 80), size(1, 40), score(0.3, 1);
  for (int round = 0; round < 200; ++round) {
    BoxCollector collector(Geometry::stretched(200, 200, 200, 200), {0.25F, 0.3F});
    std::vector<Box> all;
    for (int i = 0; i < 60; ++i) {
      const Box box{std::floor(place(random)), std::floor(place(random)),         std::ceil(size(random)),
                    std::ceil(size(random)),   static_cast<float>(score(random)), i % 3};
      all.push_back(box);
      collector.add(box.x, box.y, box.x + box.width, box.y + box.height, box.score, box.category);
    }
    EXPECT_EQ(collector.take(false), suppress_slowly(all, 0.3F)) << "round " << round;
  }
}

}  // namespace
}  // namespace inflight::vision
