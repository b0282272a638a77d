// SPDX-License-Identifier: Apache-2.0
#include "vision/boxes.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace inflight::vision {
namespace {

// A total order, so that the same outputs always give the same boxes.
bool is_better(const Box& a, const Box& b) {
  if (a.score != b.score) return a.score > b.score;
  return std::tie(a.category, a.x, a.y, a.width, a.height) <
         std::tie(b.category, b.x, b.y, b.width, b.height);
}

constexpr double kCategoryMax = 1e9;
// What rounding makes of 1 in half precision is a score; what is above that is none.
constexpr double kScoreMax = 1.01;

}  // namespace

Geometry Geometry::stretched(int frame_height, int frame_width, int input_height, int input_width) {
  return {frame_height,
          frame_width,
          input_height,
          input_width,
          0,
          0,
          static_cast<double>(input_width),
          static_cast<double>(input_height)};
}

double iou(const Box& a, const Box& b) {
  const double width = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const double height = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  if (!(width > 0) || !(height > 0)) return 0;
  const double both = width * height;
  const double either = a.width * a.height + b.width * b.height - both;
  return either > 0 ? both / either : 0;
}

std::vector<Box> suppress(const std::vector<Box>& boxes, float iou_max, std::size_t count) {
  std::vector<Box> kept;
  for (const Box& box : boxes) {
    if (kept.size() >= count) break;
    const bool covered = std::any_of(kept.begin(), kept.end(), [&](const Box& better) {
      return better.category == box.category && iou(better, box) > iou_max;
    });
    if (!covered) kept.push_back(box);
  }
  return kept;
}

void BoxCollector::add(double x1, double y1, double x2, double y2, double score, double category) {
  if (!(score >= options_.score_min && score <= kScoreMax)) return;
  if (!std::isfinite(x1) || !std::isfinite(y1) || !std::isfinite(x2) || !std::isfinite(y2)) return;
  if (!(category >= 0 && category <= kCategoryMax)) return;
  const double scale_x = geometry_.frame_width / geometry_.width;
  const double scale_y = geometry_.frame_height / geometry_.height;
  Box box;
  box.x = (x1 - geometry_.x) * scale_x;
  box.y = (y1 - geometry_.y) * scale_y;
  box.width = (x2 - x1) * scale_x;
  box.height = (y2 - y1) * scale_y;
  if (!(box.width > 0 && box.height > 0) || !std::isfinite(box.width * box.height)) return;
  box.score = static_cast<float>(std::min(score, 1.0));
  box.category = static_cast<int>(category);
  candidates_.push_back(box);
}

std::vector<Box> BoxCollector::take(bool overlaps) {
  const std::size_t count = std::min(candidates_.size(), kCandidatesMax);
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(count),
                    candidates_.end(), is_better);
  candidates_.resize(count);
  // A box outside of the frame must not take the place of one that is shown.
  const double frame_width = geometry_.frame_width;
  const double frame_height = geometry_.frame_height;
  std::erase_if(candidates_, [&](const Box& box) {
    return box.x >= frame_width || box.y >= frame_height || box.x + box.width <= 0 || box.y + box.height <= 0;
  });
  std::vector<Box> boxes;
  if (overlaps)
    boxes.assign(candidates_.begin(),
                 candidates_.begin() + static_cast<std::ptrdiff_t>(std::min(candidates_.size(), kBoxesMax)));
  else
    boxes = suppress(candidates_, options_.iou_max, kBoxesMax);
  candidates_.clear();
  // Clipped last: two boxes that stick out of the frame are compared by what the model found.
  for (Box& box : boxes) {
    const double right = std::min(box.x + box.width, frame_width);
    const double bottom = std::min(box.y + box.height, frame_height);
    box.x = std::max(box.x, 0.0);
    box.y = std::max(box.y, 0.0);
    box.width = right - box.x;
    box.height = bottom - box.y;
  }
  // What is left of a box may be too thin for a double.
  std::erase_if(boxes, [](const Box& box) { return !(box.width > 0 && box.height > 0); });
  return boxes;
}

}  // namespace inflight::vision
