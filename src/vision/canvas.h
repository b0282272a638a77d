// SPDX-License-Identifier: Apache-2.0
// Canvas: a frame that results are drawn on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "inflight/status.h"
#include "vision/boxes.h"

namespace inflight::vision {

// A box, and the line of text beside it (UTF-8).
struct BoxNote {
  Box box;
  std::string text;
};

// A picture in memory, 4 bytes a pixel: blue, green, red and one that means nothing. Draws with cairo. The
// sizes of lines and letters follow the picture's. Its memory is used again for the next frame of the same
// size.
//   thread   one at a time
class Canvas {
 public:
  // Replaces the picture by this one.
  //   rgb      u8[height,width,3], dense
  //   errors   kUnsupported: larger than 32,767 a side; kOutOfMemory
  Status load(const std::byte* rgb, int height, int width);

  // Draws a rectangle in the colour of its class and the text at its upper edge, inside the picture.
  void draw(const BoxNote& note);
  // Draws lines of text one below the other, in the upper left corner.
  void draw_lines(std::span<const std::string> lines);

  // The picture, with everything drawn. Valid until the next call of load().
  const std::uint8_t* pixels();
  int stride() const noexcept;  // bytes from one row to the next
  int height() const noexcept { return height_; }
  int width() const noexcept { return width_; }

 private:
  void draw_text(const std::string& text, double x, double y, std::uint32_t background);
  double text_width(const std::string& text);

  struct FreeSurface {
    void operator()(void* surface) const noexcept;
  };
  struct FreePen {
    void operator()(void* pen) const noexcept;
  };
  std::vector<std::uint8_t> memory_;            // of the picture
  std::unique_ptr<void, FreeSurface> surface_;  // a cairo_surface_t
  std::unique_ptr<void, FreePen> pen_;          // a cairo_t that draws on it
  int height_ = 0;
  int width_ = 0;
  double letter_ = 0;  // height of a line of text, pixels
  double line_ = 0;    // width of a rectangle's lines, pixels
};

// The colour of a class, 0xRRGGBB: neighbouring numbers look different.
std::uint32_t colour_of(int category);

}  // namespace inflight::vision
