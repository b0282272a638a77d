// SPDX-License-Identifier: Apache-2.0
// Which inputs of a network can be a picture, and where its rows, columns and channels lie there.
#pragma once

#include <cstddef>
#include <openvino/core/partial_shape.hpp>
#include <openvino/core/type/element_type.hpp>
#include <optional>
#include <vector>

namespace inflight::internal {

// One way to see an input as a picture.
struct ImageLayout {
  std::size_t rank = 4;  // 4: with a batch, 3: a picture, 2: rows and columns of grey values
  std::size_t channels = 3;
  bool channels_first = true;  // of rank 3 and 4
  bool guessed = false;        // the number of channels or of dimensions is open, and this is a guess

  std::size_t height_axis() const { return rank == 2 ? 0 : (rank - 3) + (channels_first ? 1 : 0); }
  std::size_t width_axis() const { return height_axis() + 1; }
  // Requires a rank above 2.
  std::size_t channel_axis() const { return channels_first ? rank - 3 : rank - 1; }
};

// How an input can be seen as a picture, best first: what the extents say before what is a guess, three
// channels before one before four, and channels first before channels last (the other way round for integers,
// which is how quantised models come). Empty where it cannot be one.
std::vector<ImageLayout> image_layouts(const ov::element::Type& type, const ov::PartialShape& shape);

// The input's shape with what is open put in: batch 1, the layout's channels, and the frame's height and
// width.
ov::PartialShape closed_shape(const ov::PartialShape& shape, const ImageLayout& layout, int frame_height,
                              int frame_width);

}  // namespace inflight::internal
