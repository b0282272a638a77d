// SPDX-License-Identifier: Apache-2.0
#include "vision/canvas.h"

#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace inflight::vision {
namespace {

constexpr std::uint32_t kPanel = 0x202020;
constexpr std::size_t kPadding = 64;

template <typename Pen>
cairo_t* pen_of(const Pen& pen) {
  return static_cast<cairo_t*>(pen.get());
}

struct Rgb {
  double r, g, b;
};

Rgb rgb_of(std::uint32_t colour) {
  return {((colour >> 16) & 0xFF) / 255.0, ((colour >> 8) & 0xFF) / 255.0, (colour & 0xFF) / 255.0};
}

void set_colour(cairo_t* pen, std::uint32_t colour) {
  const Rgb rgb = rgb_of(colour);
  cairo_set_source_rgb(pen, rgb.r, rgb.g, rgb.b);
}

// Black on light colours and white on dark ones, by the luminance of BT.601.
std::uint32_t readable_on(std::uint32_t colour) {
  const Rgb rgb = rgb_of(colour);
  return 0.299 * rgb.r + 0.587 * rgb.g + 0.114 * rgb.b > 0.5 ? 0x000000 : 0xFFFFFF;
}

}  // namespace

void Canvas::FreeSurface::operator()(void* surface) const noexcept {
  cairo_surface_destroy(static_cast<cairo_surface_t*>(surface));
}

void Canvas::FreePen::operator()(void* pen) const noexcept { cairo_destroy(static_cast<cairo_t*>(pen)); }

// Steps of the golden ratio around the circle of hues.
std::uint32_t colour_of(int category) {
  const double hue = std::fmod(0.33 + category * 0.618033988749895, 1.0) * 6;
  const auto channel = [hue](double offset) {
    const double k = std::fmod(offset + hue, 6.0);
    const double value = 1 - 0.85 * std::clamp(std::min(k, 4 - k), 0.0, 1.0);
    return static_cast<std::uint32_t>(std::lround(value * 255));
  };
  return channel(5) << 16 | channel(3) << 8 | channel(1);
}

Status Canvas::load(const std::byte* rgb, int height, int width) {
  if (surface_ == nullptr || height != height_ || width != width_) {
    pen_.reset();
    // In memory of ours, for what reads it next may read a few bytes beyond the last row, as libswscale does.
    const int row_bytes = cairo_format_stride_for_width(CAIRO_FORMAT_RGB24, width);
    if (row_bytes > 0)
      memory_.assign(static_cast<std::size_t>(row_bytes) * static_cast<std::size_t>(height) + kPadding, 0);
    surface_.reset(
        cairo_image_surface_create_for_data(memory_.data(), CAIRO_FORMAT_RGB24, width, height, row_bytes));
    auto* const surface = static_cast<cairo_surface_t*>(surface_.get());
    const cairo_status_t made = cairo_surface_status(surface);
    if (made != CAIRO_STATUS_SUCCESS) {
      surface_.reset();
      return {
          made == CAIRO_STATUS_NO_MEMORY ? StatusCode::kOutOfMemory : StatusCode::kUnsupported,
          fmt::format("cannot draw on a frame of {}x{}: {}", width, height, cairo_status_to_string(made))};
    }
    pen_.reset(cairo_create(surface));
    height_ = height;
    width_ = width;
    const double side = std::min(height, width);
    letter_ = std::clamp(side / 40, 10.0, 32.0);
    line_ = std::max(1.0, std::round(side / 240));
    cairo_select_font_face(pen_of(pen_), "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
    cairo_set_font_size(pen_of(pen_), letter_);
  }
  auto* const surface = static_cast<cairo_surface_t*>(surface_.get());
  cairo_surface_flush(surface);
  std::uint8_t* row = cairo_image_surface_get_data(surface);
  const auto* in = reinterpret_cast<const std::uint8_t*>(rgb);
  for (int y = 0; y < height; ++y, row += stride()) {
    auto* const out = reinterpret_cast<std::uint32_t*>(row);
    for (int x = 0; x < width; ++x, in += 3) {
      out[x] = std::uint32_t{in[0]} << 16 | std::uint32_t{in[1]} << 8 | in[2];
    }
  }
  cairo_surface_mark_dirty(surface);
  return {};
}

double Canvas::text_width(const std::string& text) {
  cairo_text_extents_t extents;
  cairo_text_extents(pen_of(pen_), text.c_str(), &extents);
  return extents.x_advance;
}

// The upper left corner of the text's panel is at (x, y), moved so that the panel lies inside the picture.
void Canvas::draw_text(const std::string& text, double x, double y, std::uint32_t background) {
  cairo_t* const pen = pen_of(pen_);
  const double margin = std::max(1.0, letter_ / 8);
  const double width = text_width(text) + 2 * margin;
  const double height = letter_ * 1.25;
  x = std::max(0.0, std::min(x, width_ - width));
  y = std::max(0.0, std::min(y, height_ - height));
  set_colour(pen, background);
  cairo_rectangle(pen, x, y, width, height);
  cairo_fill(pen);
  set_colour(pen, readable_on(background));
  cairo_move_to(pen, x + margin, y + letter_);
  cairo_show_text(pen, text.c_str());
}

void Canvas::draw(const BoxNote& note) {
  cairo_t* const pen = pen_of(pen_);
  const Box& box = note.box;
  const std::uint32_t colour = colour_of(box.category);
  set_colour(pen, colour);
  cairo_set_line_width(pen, line_);
  // The line lies inside the box, so that it is seen at the frame's edge as well.
  const double inset = line_ / 2;
  cairo_rectangle(pen, box.x + inset, box.y + inset, std::max(box.width - line_, 0.0),
                  std::max(box.height - line_, 0.0));
  cairo_stroke(pen);
  if (!note.text.empty()) draw_text(note.text, box.x, box.y - letter_ * 1.25, colour);
}

void Canvas::draw_lines(std::span<const std::string> lines) {
  double y = letter_ / 4;
  for (const std::string& line : lines) {
    if (y + letter_ > height_ && &line != lines.data()) return;
    draw_text(line, letter_ / 4, y, kPanel);
    y += letter_ * 1.25;
  }
}

const std::uint8_t* Canvas::pixels() {
  auto* const surface = static_cast<cairo_surface_t*>(surface_.get());
  cairo_surface_flush(surface);
  return cairo_image_surface_get_data(surface);
}

int Canvas::stride() const noexcept {
  return cairo_image_surface_get_stride(static_cast<cairo_surface_t*>(surface_.get()));
}

}  // namespace inflight::vision
