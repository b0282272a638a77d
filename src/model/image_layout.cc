// SPDX-License-Identifier: Apache-2.0
#include "model/image_layout.h"

#include <algorithm>
#include <cstdint>

namespace inflight::internal {
namespace {

using Type = ov::element::Type_t;

bool is_one_of(const ov::element::Type& type, std::initializer_list<Type> types) {
  return std::find(types.begin(), types.end(), static_cast<Type>(type)) != types.end();
}

bool can_hold_pixels(const ov::element::Type& type) {
  return is_one_of(type, {Type::f32, Type::f16, Type::bf16, Type::f64, Type::u8, Type::i8, Type::u16,
                          Type::i16, Type::u32, Type::i32, Type::u64, Type::i64});
}

// Wider integers are more often indices (of words, of boxes) than grey values.
bool can_hold_bare_grey(const ov::element::Type& type) {
  return is_one_of(type, {Type::f32, Type::f16, Type::bf16, Type::f64, Type::u8, Type::i8});
}

bool can_be(const ov::Dimension& dim, std::size_t extent) {
  return dim.compatible(ov::Dimension(static_cast<std::int64_t>(extent)));
}

bool can_be_a_side(const ov::Dimension& dim) { return dim.is_dynamic() || dim.get_length() > 0; }

void add_layout(const ov::PartialShape& shape, ImageLayout layout, std::vector<ImageLayout>& to) {
  const ov::Dimension& channels = shape[layout.channel_axis()];
  if (!can_be(channels, layout.channels) || !can_be_a_side(shape[layout.height_axis()]) ||
      !can_be_a_side(shape[layout.width_axis()]) || (layout.rank == 4 && !can_be_a_side(shape[0]))) {
    return;
  }
  layout.guessed = layout.guessed || channels.is_dynamic();
  to.push_back(layout);
}

}  // namespace

std::vector<ImageLayout> image_layouts(const ov::element::Type& type, const ov::PartialShape& shape) {
  std::vector<ImageLayout> layouts;
  if (!can_hold_pixels(type)) return layouts;
  const bool open_rank = shape.rank().is_dynamic();
  const ov::PartialShape known = open_rank ? ov::PartialShape::dynamic(4) : shape;
  const std::size_t rank = known.size();
  if (rank == 2) {
    // One row is a list of numbers, not a picture.
    const bool rows = std::all_of(known.begin(), known.end(), [](const ov::Dimension& dim) {
      return dim.is_dynamic() || dim.get_length() > 1;
    });
    if (rows && can_hold_bare_grey(type)) layouts.push_back({2, 1, false, false});
    return layouts;
  }
  if (rank != 3 && rank != 4) return layouts;
  const bool first = type.is_real();
  for (const std::size_t channels : {3, 1, 4}) {
    add_layout(known, {rank, channels, first, open_rank}, layouts);
    add_layout(known, {rank, channels, !first, open_rank}, layouts);
  }
  std::stable_sort(layouts.begin(), layouts.end(),
                   [](const ImageLayout& a, const ImageLayout& b) { return !a.guessed && b.guessed; });
  // A guess is of use only where nothing is known.
  if (!layouts.empty() && !layouts.front().guessed) {
    layouts.erase(std::find_if(layouts.begin(), layouts.end(),
                               [](const ImageLayout& layout) { return layout.guessed; }),
                  layouts.end());
  }
  return layouts;
}

ov::PartialShape closed_shape(const ov::PartialShape& shape, const ImageLayout& layout, int frame_height,
                              int frame_width) {
  ov::PartialShape closed = shape.rank().is_dynamic() ? ov::PartialShape::dynamic(4) : shape;
  const auto close = [&](std::size_t axis, std::int64_t extent) {
    if (closed[axis].is_dynamic()) closed[axis] = extent;
  };
  if (layout.rank == 4) close(0, 1);
  if (layout.rank > 2) close(layout.channel_axis(), static_cast<std::int64_t>(layout.channels));
  close(layout.height_axis(), frame_height);
  close(layout.width_axis(), frame_width);
  return closed;
}

}  // namespace inflight::internal
