// SPDX-License-Identifier: Apache-2.0
#include "media/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"

namespace inflight {
namespace {

constexpr int kExtentMin = 64;
constexpr int kExtentMax = 8192;
constexpr int kBackgrounds = 6;
constexpr int kMargin = 64;  // how much larger than the picture a background is: room to drift
constexpr int kCornersMax = 12;
constexpr int kSubpixel = 16;  // bits behind the point of a coordinate in fixed point

// SplitMix64 (Steele, Lea and Flood 2014): a stream of numbers from any seed, the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  // Uniform in [0, bound); bound is far below 2^32, so the bias does not show.
  int below(int bound) {
    return static_cast<int>(((next() >> 32) * static_cast<std::uint64_t>(bound)) >> 32);
  }
  int between(int low, int high) { return low + below(high - low + 1); }

 private:
  std::uint64_t state_;
};

std::uint64_t mix(std::uint64_t seed, std::uint64_t what, std::uint64_t index) {
  Random random(seed ^ (what * 0xd6e8feb86659fd93U));
  return random.next() ^ (index * 0xff51afd7ed558ccdU);
}

using Color = std::array<int, 3>;

// BT.601 luma, in 0..255.
int luma(const Color& c) { return (299 * c[0] + 587 * c[1] + 114 * c[2]) / 1000; }

struct Background {
  int stride = 0;                   // bytes a row
  Color mean{};                     // its base colour
  std::vector<std::uint8_t> bytes;  // (height + kMargin) rows
};

// A gradient between four colours near a base colour, soft blobs, and noise of a few levels a pixel.
Background draw_background(std::uint64_t seed, int width, int height) {
  constexpr int kCell = 32;  // pixels between the random values that the blobs interpolate
  Random random(seed);
  Background result;
  const int w = width + kMargin;
  const int h = height + kMargin;
  result.stride = w * 3;
  result.bytes.resize(static_cast<std::size_t>(w) * h * 3);
  for (int& channel : result.mean) channel = random.between(40, 215);
  std::array<Color, 4> corner;
  for (Color& color : corner) {
    for (int c = 0; c < 3; ++c) color[c] = result.mean[c] + random.between(-40, 40);
  }
  const int columns = w / kCell + 2;
  std::vector<int> blobs(static_cast<std::size_t>(columns) * (h / kCell + 2));
  for (int& blob : blobs) blob = random.between(-22, 22);
  const int noise = random.between(2, 12);
  std::uint8_t* out = result.bytes.data();
  for (int y = 0; y < h; ++y) {
    for (int x = 0; x < w; ++x) {
      const int* cell = &blobs[static_cast<std::size_t>(y / kCell) * columns + x / kCell];
      const int fx = x % kCell;
      const int fy = y % kCell;
      const int blob = ((cell[0] * (kCell - fx) + cell[1] * fx) * (kCell - fy) +
                        (cell[columns] * (kCell - fx) + cell[columns + 1] * fx) * fy) /
                       (kCell * kCell);
      const int grain = blob + random.between(-noise, noise);
      for (int c = 0; c < 3; ++c) {
        const int top = corner[0][c] * (w - x) + corner[1][c] * x;
        const int bottom = corner[2][c] * (w - x) + corner[3][c] * x;
        const auto gradient = static_cast<int>(
            (static_cast<std::int64_t>(top) * (h - y) + static_cast<std::int64_t>(bottom) * y) / w / h);
        *out++ = static_cast<std::uint8_t>(std::clamp(gradient + grain, 0, 255));
      }
    }
  }
  return result;
}

// A colour whose brightness differs from the background's by enough to be seen through gradient and noise.
Color contrasting_color(Random& random, const Color& background) {
  constexpr int kContrastMin = 90;
  constexpr int kTries = 32;
  for (int i = 0; i < kTries; ++i) {
    const Color color = {random.below(256), random.below(256), random.below(256)};
    if (std::abs(luma(color) - luma(background)) >= kContrastMin) return color;
  }
  return luma(background) < 128 ? Color{255, 255, 255} : Color{0, 0, 0};
}

struct Point {
  std::int64_t x;  // fixed point, kSubpixel bits
  std::int64_t y;
};

// Where a shape is and how it looks, in one frame.
struct Pose {
  int kind = 0;  // index of kShapeNames
  Point center{};
  int radius = 0;   // of the circle around it, pixels
  double turn = 0;  // radians
  Color color{};
  int background = 0;
  int offset_x = 0;  // of the picture within the background
  int offset_y = 0;
};

// One row of a picture to be coloured.
struct Pen {
  std::uint8_t* pixels;
  const std::uint8_t* color_row;  // a row of the colour
  int width;
  int height;
  void span(int y, std::int64_t from, std::int64_t to) const {
    // Pixel x belongs to the span when its centre x + 1/2 does.
    constexpr std::int64_t kHalf = std::int64_t{1} << (kSubpixel - 1);
    constexpr std::int64_t kUp = (std::int64_t{1} << kSubpixel) - 1;
    const auto begin = std::max<std::int64_t>(0, (from - kHalf + kUp) >> kSubpixel);
    const auto end = std::min<std::int64_t>(width, (to - kHalf + kUp) >> kSubpixel);
    if (begin >= end) return;
    std::memcpy(pixels + (static_cast<std::int64_t>(y) * width + begin) * 3, color_row,
                static_cast<std::size_t>(end - begin) * 3);
  }
};

int first_row(std::int64_t y) {
  return static_cast<int>((y + (std::int64_t{1} << (kSubpixel - 1)) - 1) >> kSubpixel);
}

// Even-odd fill, one row at a time, at the rows' centres.
void fill_polygon(const Pen& pen, std::span<const Point> corners) {
  std::int64_t top = corners[0].y;
  std::int64_t bottom = corners[0].y;
  for (const Point& p : corners) {
    top = std::min(top, p.y);
    bottom = std::max(bottom, p.y);
  }
  const int row_end = std::min(pen.height, first_row(bottom));
  std::array<std::int64_t, kCornersMax> crossings;
  for (int row = std::max(0, first_row(top)); row < row_end; ++row) {
    const std::int64_t y = (std::int64_t{row} << kSubpixel) + (std::int64_t{1} << (kSubpixel - 1));
    std::size_t count = 0;
    const Point* a = &corners.back();
    for (const Point& b : corners) {
      if ((a->y <= y) != (b.y <= y)) crossings[count++] = a->x + (b.x - a->x) * (y - a->y) / (b.y - a->y);
      a = &b;
    }
    std::sort(crossings.begin(), crossings.begin() + static_cast<std::ptrdiff_t>(count));
    for (std::size_t i = 0; i + 1 < count; i += 2) pen.span(row, crossings[i], crossings[i + 1]);
  }
}

// Half the chord of a circle of `radius` at `dy` from its centre, or -1 where the row misses it.
std::int64_t half_chord(std::int64_t radius, std::int64_t dy) {
  const std::int64_t square = radius * radius - dy * dy;  // below 2^60: a radius is at most 2^11 pixels
  if (square < 0) return -1;
  return static_cast<std::int64_t>(std::sqrt(static_cast<double>(square)));
}

// A disc, or a ring where `inner` is above 0.
void fill_circle(const Pen& pen, Point center, std::int64_t outer, std::int64_t inner) {
  const int row_end = std::min(pen.height, first_row(center.y + outer));
  for (int row = std::max(0, first_row(center.y - outer)); row < row_end; ++row) {
    const std::int64_t y = (std::int64_t{row} << kSubpixel) + (std::int64_t{1} << (kSubpixel - 1));
    const std::int64_t out = half_chord(outer, y - center.y);
    if (out < 0) continue;
    const std::int64_t in = inner > 0 ? half_chord(inner, y - center.y) : -1;
    if (in < 0) {
      pen.span(row, center.x - out, center.x + out);
    } else {
      pen.span(row, center.x - out, center.x - in);
      pen.span(row, center.x + in, center.x + out);
    }
  }
}

// The corners of the polygon shapes on the unit circle, before they are turned.
struct Corners {
  std::size_t count = 0;
  std::array<std::array<double, 2>, kCornersMax> at{};
  void add(double x, double y) { at[count++] = {x, y}; }
};

Corners corners_of(int kind) {
  Corners corners;
  const auto around = [&corners](int points, double inner) {
    const int steps = inner > 0 ? 2 * points : points;
    for (int i = 0; i < steps; ++i) {
      const double angle = 2 * std::numbers::pi * i / steps;
      const double r = inner > 0 && i % 2 == 1 ? inner : 1.0;
      corners.add(r * std::cos(angle), r * std::sin(angle));
    }
  };
  const std::string_view name = kShapeNames[static_cast<std::size_t>(kind)];
  if (name == "square") around(4, 0);
  if (name == "triangle") around(3, 0);
  if (name == "star") around(5, 0.42);
  if (name == "cross") {
    const double arm = 0.3;  // half the width of an arm
    const double tip = std::sqrt(1 - arm * arm);
    for (const auto& [cx, cy] : {std::pair{1, 0}, std::pair{0, 1}, std::pair{-1, 0}, std::pair{0, -1}}) {
      corners.add(cx * tip + cy * arm, cy * tip - cx * arm);  // one side of the arm's tip
      corners.add(cx * tip - cy * arm, cy * tip + cx * arm);  // the other
      corners.add((cx - cy) * arm, (cx + cy) * arm);          // where it meets the next arm
    }
  }
  return corners;
}

Status check_options(const SyntheticOptions& o) {
  const auto extent_ok = [](int extent) { return extent >= kExtentMin && extent <= kExtentMax; };
  if (!extent_ok(o.width) || !extent_ok(o.height)) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("synthetic source: got {}x{}, want {} to {} each way", o.width, o.height,
                              kExtentMin, kExtentMax));
  }
  if (!(o.fps >= 0) || !std::isfinite(o.fps)) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("synthetic source: fps: got {}, want 0 or more", o.fps));
  }
  if (o.frames.has_value() && *o.frames < 0) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("synthetic source: frames: got {}, want 0 or more", *o.frames));
  }
  return Status();
}

}  // namespace

struct SyntheticRenderer::Scene {
  std::uint64_t seed = 0;
  int width = 0;
  int height = 0;
  std::array<int, kShapeNames.size()> order{};  // the classes as they take turns
  std::array<Corners, kShapeNames.size()> corners;
  std::vector<Background> backgrounds;

  int kind_of(std::int64_t index) const noexcept {
    return order[static_cast<std::size_t>(index / kFramesPerShape) % order.size()];
  }

  Pose pose(std::int64_t index) const {
    Random random(mix(seed, 1, static_cast<std::uint64_t>(index / kFramesPerShape)));
    const int step = static_cast<int>(index % kFramesPerShape);
    Pose pose;
    pose.kind = kind_of(index);
    const int least = std::min(width, height);
    pose.radius = random.between(least * 50 / 480, least * 120 / 480);
    pose.background = random.below(kBackgrounds);
    pose.color = contrasting_color(random, backgrounds[static_cast<std::size_t>(pose.background)].mean);
    // Both ends of the path lie where the shape is inside the picture, and so does the straight line between.
    const auto along = [&random, step](int low, int high) {
      const std::int64_t from = random.between(low, high);
      const std::int64_t to = random.between(low, high);
      return (from << kSubpixel) + ((to - from) << kSubpixel) * step / kFramesPerShape;
    };
    pose.center.x = along(pose.radius + 1, width - pose.radius - 1);
    pose.center.y = along(pose.radius + 1, height - pose.radius - 1);
    pose.turn = 2 * std::numbers::pi * (random.below(4096) + random.between(-68, 68) * step) / 4096;
    pose.offset_x = static_cast<int>(along(0, kMargin) >> kSubpixel);
    pose.offset_y = static_cast<int>(along(0, kMargin) >> kSubpixel);
    return pose;
  }
};

SyntheticRenderer::SyntheticRenderer(std::unique_ptr<const Scene> scene) noexcept
    : scene_(std::move(scene)) {}

SyntheticRenderer::~SyntheticRenderer() = default;

Result<std::unique_ptr<const SyntheticRenderer>> SyntheticRenderer::make(const SyntheticOptions& options) {
  INFLIGHT_TRY(check_options(options));
  auto scene = std::make_unique<Scene>();
  scene->seed = options.seed;
  scene->width = options.width;
  scene->height = options.height;
  Random random(mix(options.seed, 2, 0));
  for (std::size_t i = 0; i < kShapeNames.size(); ++i) {
    scene->corners[i] = corners_of(static_cast<int>(i));
    scene->order[i] = static_cast<int>(i);
    std::swap(scene->order[i], scene->order[static_cast<std::size_t>(random.below(static_cast<int>(i) + 1))]);
  }
  for (int i = 0; i < kBackgrounds; ++i) {
    scene->backgrounds.push_back(
        draw_background(mix(options.seed, 3, static_cast<std::uint64_t>(i)), options.width, options.height));
  }
  return std::unique_ptr<const SyntheticRenderer>(new SyntheticRenderer(std::move(scene)));
}

void SyntheticRenderer::render(std::int64_t index, std::span<std::byte> pixels) const {
  INFLIGHT_CHECK(index >= 0 && pixels.size() == frame_bytes());
  const Scene& scene = *scene_;
  const Pose pose = scene.pose(index);
  auto* out = reinterpret_cast<std::uint8_t*>(pixels.data());
  const std::size_t row_bytes = static_cast<std::size_t>(scene.width) * 3;
  const Background& background = scene.backgrounds[static_cast<std::size_t>(pose.background)];
  for (int y = 0; y < scene.height; ++y) {
    std::memcpy(out + static_cast<std::size_t>(y) * row_bytes,
                &background.bytes[static_cast<std::size_t>(y + pose.offset_y) * background.stride +
                                  static_cast<std::size_t>(pose.offset_x) * 3],
                row_bytes);
  }
  // The widest span is a diameter: at most a quarter of kExtentMax to each side.
  std::array<std::uint8_t, std::size_t{kExtentMax / 2 + 2} * 3> color_row;
  for (int x = 0; x < 2 * pose.radius + 2; ++x) {
    for (int c = 0; c < 3; ++c)
      color_row[static_cast<std::size_t>(x) * 3 + static_cast<std::size_t>(c)] =
          static_cast<std::uint8_t>(pose.color[c]);
  }
  const Pen pen{out, color_row.data(), scene.width, scene.height};
  const std::int64_t radius = std::int64_t{pose.radius} << kSubpixel;
  const std::string_view name = kShapeNames[static_cast<std::size_t>(pose.kind)];
  if (name == "circle") return fill_circle(pen, pose.center, radius, 0);
  if (name == "ring") return fill_circle(pen, pose.center, radius, radius * 55 / 100);
  const Corners& shape = scene.corners[static_cast<std::size_t>(pose.kind)];
  // Rounding to whole 1/65536 pixels hides what two mathematics libraries may differ by.
  const double sin = std::sin(pose.turn) * static_cast<double>(radius);
  const double cos = std::cos(pose.turn) * static_cast<double>(radius);
  std::array<Point, kCornersMax> corners{};
  for (std::size_t i = 0; i < shape.count; ++i) {
    const auto [x, y] = shape.at[i];
    corners[i] = {pose.center.x + std::llround(x * cos - y * sin),
                  pose.center.y + std::llround(x * sin + y * cos)};
  }
  fill_polygon(pen, {corners.data(), shape.count});
}

int SyntheticRenderer::label(std::int64_t index) const noexcept { return scene_->kind_of(index); }

std::size_t SyntheticRenderer::frame_bytes() const noexcept {
  return static_cast<std::size_t>(scene_->width) * static_cast<std::size_t>(scene_->height) * 3;
}

namespace {

class SyntheticSource final : public FrameSource {
 public:
  SyntheticSource(const SyntheticOptions& options, std::unique_ptr<const SyntheticRenderer> renderer)
      : options_(options), renderer_(std::move(renderer)) {}

  Result<std::optional<VideoFrame>> next() override {
    if (interrupted_.load(std::memory_order_relaxed) || (options_.frames && index_ >= *options_.frames)) {
      return std::optional<VideoFrame>();
    }
    VideoFrame frame;
    INFLIGHT_TRY_ASSIGN(frame.pixels, pool_.acquire(renderer_->frame_bytes()));
    frame.height = options_.height;
    frame.width = options_.width;
    frame.index = index_++;
    frame.label = renderer_->label(frame.index);
    renderer_->render(frame.index, {frame.pixels.bytes(), frame.pixels.size()});
    return std::optional<VideoFrame>(std::move(frame));
  }
  Status reserve(std::size_t frames) override { return pool_.reserve(renderer_->frame_bytes(), frames); }
  void interrupt() noexcept override { interrupted_.store(true, std::memory_order_relaxed); }
  double fps() const noexcept override { return options_.fps; }
  int height() const noexcept override { return options_.height; }
  int width() const noexcept override { return options_.width; }
  bool live() const noexcept override { return false; }
  std::string description() const override {
    return fmt::format("synthetic {}x{}, seed {}", options_.width, options_.height, options_.seed);
  }

 private:
  const SyntheticOptions options_;
  const std::unique_ptr<const SyntheticRenderer> renderer_;
  BufferPool pool_;
  std::int64_t index_ = 0;
  std::atomic<bool> interrupted_{false};
};

}  // namespace

Result<std::unique_ptr<FrameSource>> open_synthetic(const SyntheticOptions& options) {
  INFLIGHT_TRY_ASSIGN(auto renderer, SyntheticRenderer::make(options));
  return std::unique_ptr<FrameSource>(std::make_unique<SyntheticSource>(options, std::move(renderer)));
}

}  // namespace inflight
