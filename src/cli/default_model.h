// SPDX-License-Identifier: Apache-2.0
// The model that `inflight run` uses when it is given none: models/shapes.onnx, embedded in the program.
#pragma once

#include <cstddef>
#include <span>

namespace inflight {

// The ONNX file's bytes, which live as long as the program. Its input is `image` f32[1,3,48,64], its output
// `scores` f32[1,6], one probability for each of kShapeNames (media/synthetic.h), which its metadata repeats
// under "labels". models/README.md has its preprocessing and accuracy.
std::span<const std::byte> default_model_bytes() noexcept;

// What the model wants of a picture: RGB, resized linearly (half-pixel centres, no antialiasing) in f32, then
// (pixel - mean) / scale.
inline constexpr bool kDefaultModelWantsRgb = true;
inline constexpr float kDefaultModelMean = 127.5F;
inline constexpr float kDefaultModelScale = 127.5F;

}  // namespace inflight
