// SPDX-License-Identifier: Apache-2.0
// Moving shapes on textured backgrounds, with known labels: a camera for whoever has none.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "media/source.h"

namespace inflight {

// The classes of the synthetic source; a frame's label is an index of this. models/shapes.onnx names the
// same.
inline constexpr std::array<std::string_view, 6> kShapeNames = {"circle", "square", "triangle",
                                                                "cross",  "star",   "ring"};

struct SyntheticOptions {
  std::uint64_t seed = 1;
  int width = 640;                     // 64 to 8192
  int height = 480;                    // 64 to 8192
  double fps = 60;                     // what fps() says; the generator itself never waits
  std::optional<std::int64_t> frames;  // where to end; endless without
};

// Draws frame k of a seed: one shape, wholly inside the picture, that moves and turns. Its class, colour,
// size, path and background hold for kFramesPerShape frames. Frame k is a pure function of (seed, width,
// height, k), in integers once the shape's corners are known, so anybody can make it again.
//   thread   const calls from any number of threads
class SyntheticRenderer {
 public:
  static constexpr std::int64_t kFramesPerShape = 30;

  //   errors   kInvalidArgument: width, height, fps or frames out of range
  static Result<std::unique_ptr<const SyntheticRenderer>> make(const SyntheticOptions& options);
  ~SyntheticRenderer();
  SyntheticRenderer(const SyntheticRenderer&) = delete;
  SyntheticRenderer& operator=(const SyntheticRenderer&) = delete;

  // Writes frame `index` (not negative) to `pixels`, u8[height,width,3]. Allocates nothing.
  void render(std::int64_t index, std::span<std::byte> pixels) const;
  int label(std::int64_t index) const noexcept;
  std::size_t frame_bytes() const noexcept;

 private:
  struct Scene;
  explicit SyntheticRenderer(std::unique_ptr<const Scene> scene) noexcept;
  std::unique_ptr<const Scene> scene_;
};

// The frames 0, 1, 2 ... of a SyntheticRenderer, in buffers from a pool: nothing is allocated once as many
// frames exist as are held at a time. next() never fails.
//   errors   kInvalidArgument, as SyntheticRenderer::make
Result<std::unique_ptr<FrameSource>> open_synthetic(const SyntheticOptions& options);

}  // namespace inflight
