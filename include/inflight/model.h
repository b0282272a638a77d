// SPDX-License-Identifier: Apache-2.0
// Model: a network as loaded, before it is compiled for a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight {

namespace internal {
struct ModelRep;
}

// What a model's image input wants its colours in. Frames are always RGB.
enum class ColorOrder : std::uint8_t { kRgb, kBgr };

// How a frame of another size comes into a model's image input.
enum class Fit : std::uint8_t {
  kStretch,    // resized to the input's height and width, whatever its aspect ratio
  kLetterbox,  // resized as a whole, keeping its aspect ratio, to the middle; the borders are grey (114)
  kCrop,       // the largest part of the input's aspect ratio, from the middle, resized
};

// How frames u8[H,W,3] become a model's image input. Runs inside the compiled network, in f32:
// convert, resize (bilinear, half-pixel centres) where the sizes differ, colour order, (pixel - mean) /
// scale.
struct ImageInput {
  int height = 0;  // of the frames
  int width = 0;
  ColorOrder color = ColorOrder::kRgb;
  std::vector<float> mean = {0.0F};   // one value, or one a channel in the model's colour order
  std::vector<float> scale = {1.0F};  // likewise; not 0
  std::string input = {};             // the input's name; "" where the model has one image input
  Fit fit = Fit::kStretch;            // where the sizes differ
};

struct ModelOptions {
  // Extents for inputs whose own are dynamic, by input name. Each must fit what the model allows.
  std::map<std::string, Shape> input_shapes = {};
};

// What `inflight info` prints of a model.
struct ModelSummary {
  std::map<std::string, std::size_t>
      operators;               // how many of each type; inputs, outputs and constants left out
  std::size_t parameters = 0;  // elements of constants
  std::size_t parameter_bytes = 0;
};

// A network as loaded: its inputs, its outputs and, unless opaque, its operators. A value: copies share what
// was loaded, which never changes. Safe to read from any number of threads.
class Model {
 public:
  // Reads ONNX, TensorFlow SavedModel (a folder), TensorFlow Lite, Paddle or OpenVINO IR, by content and
  // name.
  //   errors   kNotFound: no such file; kInvalidModel: empty, cut short, malformed, or with an operator that
  //   no
  //            reader knows (named in the message); kUnsupported: a file of another kind (PyTorch, MXNet,
  //            ...), an element type without a DType, or state kept between inferences; kInvalidArgument:
  //            options that do not fit the model
  static Result<Model> load(const std::string& path, const ModelOptions& options = {});
  // The same for an ONNX or TensorFlow Lite model in memory, which need not outlive the call.
  //   name     what messages call it
  static Result<Model> load_bytes(std::span<const std::byte> bytes, const std::string& name,
                                  const ModelOptions& options = {});
  // A model of which only inputs and outputs are known; the null backend runs it.
  //   errors   kInvalidArgument: a name that stands twice, or a shape that is not static
  static Result<Model> opaque(std::string name, std::vector<TensorSpec> inputs,
                              std::vector<TensorSpec> outputs);

  // This model taking frames u8[H,W,3] in place of its image input, which is f32 or f16 [N,3,H,W] or
  // [N,H,W,3] with N 1 or dynamic; dynamic height and width take the frames'.
  //   errors   kInvalidArgument: no such input, several candidates, not an image, or bad mean or scale
  Result<Model> with_image_input(const ImageInput& image) const;

  const std::string& name() const noexcept;
  std::span<const TensorSpec> inputs() const noexcept;
  std::span<const TensorSpec> outputs() const noexcept;
  // A string that the model file carries under `key` (ONNX metadata_props), where there is one.
  std::optional<std::string> metadata(const std::string& key) const;
  ModelSummary summary() const;

  const internal::ModelRep& rep() const noexcept { return *rep_; }
  explicit Model(std::shared_ptr<const internal::ModelRep> rep) : rep_(std::move(rep)) {}

 private:
  std::shared_ptr<const internal::ModelRep> rep_;
};

}  // namespace inflight
