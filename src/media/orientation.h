// SPDX-License-Identifier: Apache-2.0
// Orientation: how a coded picture is turned and mirrored to be shown upright.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace inflight {

// One of the eight ways, as a transposition followed by flips. The default changes nothing.
struct Orientation {
  bool transpose = false;  // rows become columns, first
  bool flip_x = false;     // then left and right change places
  bool flip_y = false;     // then top and bottom change places

  // EXIF 2.32, tag 0x0112: 1 to 8; any other value changes nothing.
  static Orientation from_exif(int value);
  // The display matrix of FFmpeg and ISO/IEC 14496-12: (x, y) is shown at (a x + c y, b x + d y), where
  // a, b, c, d are elements 0, 1, 3 and 4 in 16.16 fixed point. An angle between quarter turns is taken
  // for the nearest one, and scales are left out; a matrix without an inverse changes nothing.
  static Orientation from_display_matrix(std::span<const std::int32_t, 9> matrix);

  // Whether height and width change places.
  bool swaps_sides() const { return transpose; }
  friend bool operator==(const Orientation&, const Orientation&) = default;
};

// Writes the picture `from`, rgb[height,width,3] dense, in this orientation to `to`, which has as many
// bytes and does not overlap it.
void orient(const Orientation& orientation, const std::byte* from, int height, int width, std::byte* to);
// The same, where a row of `from` begins `from_stride` bytes after the one before.
void orient(const Orientation& orientation, const std::byte* from, std::size_t from_stride, int height,
            int width, std::byte* to);

// The same of one plane of a picture, a byte a pixel.
void orient_plane(const Orientation& orientation, const std::uint8_t* from, std::ptrdiff_t from_stride,
                  int height, int width, std::uint8_t* to, std::ptrdiff_t to_stride);

}  // namespace inflight
