// SPDX-License-Identifier: Apache-2.0
// Box: one detected thing. How boxes come from a network's input to the frame, and which of them stay.
#pragma once

#include <cstddef>
#include <vector>

namespace inflight::vision {

// One thing that a detector found: a rectangle in the pixels of the frame, its corner at (x, y).
struct Box {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
  float score = 0;   // 0 to 1
  int category = 0;  // the class, by the model's own number
  friend bool operator==(const Box&, const Box&) = default;
};

// Where the frame lies in the network's input. All sizes are in pixels and above 0.
struct Geometry {
  int frame_height = 0, frame_width = 0;
  int input_height = 0, input_width = 0;
  // The whole frame in the input's pixels. A crop makes it larger than the input, and x or y negative.
  double x = 0, y = 0, width = 0, height = 0;

  // The frame is stretched over the whole input.
  static Geometry stretched(int frame_height, int frame_width, int input_height, int input_width);
};

struct BoxOptions {
  // Boxes with a lower score are left out. 0 to 1.
  float score_min = 0.25F;
  // Of two boxes of one class that overlap by more than this, the one with the higher score stays. 0 to 1.
  float iou_max = 0.45F;
};

// The area that both cover over the area that either covers: 0 to 1. 0 where a box has no area.
double iou(const Box& a, const Box& b);

// Gathers the candidates of one frame and makes the final boxes of them.
//   bound    the kCandidatesMax best candidates are considered, and kBoxesMax boxes stay
//   thread   one at a time
class BoxCollector {
 public:
  static constexpr std::size_t kCandidatesMax = 30'000;
  static constexpr std::size_t kBoxesMax = 300;

  BoxCollector(const Geometry& geometry, const BoxOptions& options)
      : geometry_(geometry), options_(options) {}

  // Adds one candidate by its corners in the input's pixels. Leaves out what is below the score, not a
  // number, infinite, a score above 1, without area, or of a class that no integer holds.
  void add(double x1, double y1, double x2, double y2, double score, double category);
  // The same, by its centre and size.
  void add_centred(double cx, double cy, double width, double height, double score, double category) {
    add(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2, score, category);
  }
  // The boxes, by falling score, clipped to the frame; those outside of it are left out. Leaves this empty.
  //   overlaps   whether boxes of one class may overlap by more than iou_max: the model has seen to that
  //              itself
  std::vector<Box> take(bool overlaps);

  float score_min() const noexcept { return options_.score_min; }

 private:
  const Geometry geometry_;
  const BoxOptions options_;
  std::vector<Box> candidates_;
};

// Keeps, for each class, the boxes that no better one overlaps by more than `iou_max`, at most `count`.
//   boxes    by falling score
//   source   greedy non-maximum suppression, as in R. Girshick et al., Rich feature hierarchies (2014)
std::vector<Box> suppress(const std::vector<Box>& boxes, float iou_max, std::size_t count);

}  // namespace inflight::vision
