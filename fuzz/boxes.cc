// SPDX-License-Identifier: Apache-2.0
// Any outputs of any shape as those of a detector, by a guessed or a told head: boxes inside the frame or a status.
// The actual shapes may differ from the declared ones, as those of a model with open shapes may.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "support.h"
#include "vision/detector.h"

namespace {

using namespace inflight;
using namespace inflight::vision;

Shape make_shape(fuzz::Bytes& bytes, bool open) {
  constexpr std::int64_t kExtents[] = {0, 1, 2, 4, 5, 6, 7, 21, 63, 12, Shape::kDynamic};
  std::vector<std::int64_t> dims(static_cast<std::size_t>(bytes.below(5)));
  for (std::int64_t& dim : dims) dim = kExtents[bytes.below(open ? 11 : 10)];
  return *Shape::make(dims);
}

void check(const std::vector<Box>& boxes, const Geometry& geometry) {
  float before = 1e30F;
  for (const Box& box : boxes) {
    const bool inside = box.x >= 0 && box.y >= 0 && box.width > 0 && box.height > 0 &&
                        box.x + box.width <= geometry.frame_width * (1 + 1e-9) &&
                        box.y + box.height <= geometry.frame_height * (1 + 1e-9);
    if (!inside || !(box.score >= 0 && box.score <= 1) || box.score > before || box.category < 0)
      std::abort();
    before = box.score;
  }
  if (boxes.size() > BoxCollector::kBoxesMax) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr const char* kNames[] = {"boxes",  "scores", "labels", "num_detections",
                                    "priors", "logits", "x",      "dets"};
  constexpr DType kTypes[] = {DType::kF32, DType::kF32, DType::kF16, DType::kI64, DType::kU8, DType::kF64};
  fuzz::Bytes bytes(data, size);
  std::vector<TensorSpec> specs;
  std::vector<TensorView> views;
  std::vector<std::vector<std::uint8_t>> memory;
  const int count = bytes.below(5);
  for (int i = 0; i < count; ++i) {
    const TensorSpec spec{kNames[bytes.below(8)], kTypes[bytes.below(6)], make_shape(bytes, true)};
    const bool as_declared = spec.shape.is_static() && bytes.below(8) != 0;
    const Shape actual = as_declared ? spec.shape : make_shape(bytes, false);
    if (actual.elements() > 20'000) return 0;
    specs.push_back(spec);
    memory.emplace_back(dtype_bytes(spec.dtype) * actual.elements());
    views.push_back({nullptr, spec.dtype, actual});
  }
  for (std::size_t i = 0; i < memory.size(); ++i) {
    bytes.fill(memory[i]);
    views[i].data = memory[i].data();
  }
  const DetectorHints hints{32 * (1 + bytes.below(3)), 32 * (1 + bytes.below(3)),
                            static_cast<std::size_t>(bytes.below(4))};
  const Geometry geometry{1 + bytes.below(200),   1 + bytes.below(200),  hints.input_height,
                          hints.input_width,      bytes.below(9) - 4.0,  bytes.below(9) - 4.0,
                          1.0 + bytes.below(100), 1.0 + bytes.below(100)};
  const BoxOptions options{static_cast<float>(bytes.below(11)) / 10,
                           static_cast<float>(bytes.below(11)) / 10};
  for (int head = -1; head <= static_cast<int>(Head::kRtDetr); ++head) {
    const std::optional<Detector> guessed = head < 0 ? guess_detector(specs, hints) : std::nullopt;
    Result<Detector> detector = guessed ? Result<Detector>(*guessed)
                                        : make_detector(static_cast<Head>(std::max(head, 0)), specs, hints);
    if (!detector.ok()) continue;
    const Result<std::vector<Box>> boxes = decode_boxes(*detector, views, geometry, options);
    if (boxes.ok()) check(*boxes, geometry);
  }
  return 0;
}
