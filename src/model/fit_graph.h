// SPDX-License-Identifier: Apache-2.0
// The arithmetic of image_fit.h inside a network, for frames whose size only running tells.
#pragma once

#include <cstdint>
#include <openvino/core/node_output.hpp>

namespace inflight::internal {

// Extents and places as i32[1] values.
struct RectInGraph {
  ov::Output<ov::Node> x;
  ov::Output<ov::Node> y;
  ov::Output<ov::Node> width;
  ov::Output<ov::Node> height;
};

// As letterbox_rect() and crop_rect(), for a frame [H,W,3] of up to 32,768 pixels a side and such an input.
RectInGraph letterbox_in_graph(const ov::Output<ov::Node>& frame, std::int64_t height, std::int64_t width);
RectInGraph crop_in_graph(const ov::Output<ov::Node>& frame, std::int64_t height, std::int64_t width);

}  // namespace inflight::internal
