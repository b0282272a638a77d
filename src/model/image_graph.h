// SPDX-License-Identifier: Apache-2.0
// The operators that make a network's image input of a frame.
#pragma once

#include <memory>
#include <openvino/core/node.hpp>
#include <openvino/op/parameter.hpp>

#include "inflight/model.h"
#include "model/image_layout.h"

namespace inflight::internal {

inline constexpr int kFrameExtentMax = 1 << 15;  // pixels along one side of a frame

struct ImageGraph {
  std::shared_ptr<ov::op::v0::Parameter> frame;  // u8[H,W,3]
  ov::Output<ov::Node> input;                    // what the network's input was
};

//   image    of height and width 0: frames of any size
//   shape    of the network's input: static
//   throws   what OpenVINO throws
ImageGraph make_image_graph(const ImageInput& image, const ov::element::Type& type, const ov::Shape& shape,
                            const ImageLayout& layout);

}  // namespace inflight::internal
