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
// convert, resize (bilinear, half-pixel centres) where the sizes differ, channels, (pixel - mean) / scale.
//
//   channels   3: in the colour order; 1: grey, 0.299 R + 0.587 G + 0.114 B; 4: the three and an alpha of 255
//   integers   rounded to the nearest (half to even), and held to the bounds of the type
//   batch      of more than 1: each place has the same frame
struct ImageInput {
  // Of the frames. Both 0: of any size, which may change from frame to frame; the model's height and width
  // must not be open then.
  int height = 0;
  int width = 0;
  ColorOrder color = ColorOrder::kRgb;
  // One value, or one a channel in the model's colour order. None: 0, and 128 for an i8 input, whose values
  // are then pixel - 128: what quantised models want, whatever their zero point.
  std::vector<float> mean = {};
  std::vector<float> scale = {1.0F};  // one value, or one a channel; not 0
  std::string input = {};             // the input's name; "" where the model has one image input
  Fit fit = Fit::kStretch;            // where the sizes differ
  // Makes constants of other inputs whose value follows from the picture: its size in the network
  // (image_shape, im_info), a factor of 1 (scale_factor), or that nothing is trained (training).
  bool fill_others = false;
};

struct ModelOptions {
  // Extents for inputs whose own are dynamic, by input name; "" where the model has one input. Each must fit
  // what the model allows. Put in before the model is read, because some cannot be read while extents are
  // open.
  std::map<std::string, Shape> input_shapes = {};
  // Extents for pictures, used where a model cannot be read while the height and width of an image input are
  // open; 0: none.
  int frame_height = 0;
  int frame_width = 0;
};

// The image input that with_image_input() converted, as the network has it.
struct ImageUse {
  int height = 0;
  int width = 0;
  int channels = 3;
  int batch = 1;            // places, each of which has the same frame
  bool frame_size = false;  // height and width were open, and are the frame's
  bool any_size = false;    // takes frames u8[?,?,3] of changing size
  Fit fit = Fit::kStretch;
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

  // This model taking frames u8[H,W,3] in place of its image input: [N,C,H,W], [N,H,W,C], [C,H,W], [H,W,C] or
  // [H,W] of any number, C being 3, 1 or 4. An open height and width take the frames', an open batch is 1,
  // and open channels are what the network computes with.
  //   errors   kInvalidArgument: no such input, several candidates, not an image, or bad mean or scale
  Result<Model> with_image_input(const ImageInput& image) const;

  const std::string& name() const noexcept;
  std::span<const TensorSpec> inputs() const noexcept;
  std::span<const TensorSpec> outputs() const noexcept;
  // A string that the model file carries under `key` (ONNX metadata_props), where there is one.
  std::optional<std::string> metadata(const std::string& key) const;
  ModelSummary summary() const;
  // What with_image_input() made; nothing before.
  const std::optional<ImageUse>& image_use() const noexcept;
  // The same in words, a line for each input that it made something of.
  std::span<const std::string> conversions() const noexcept;

  const internal::ModelRep& rep() const noexcept { return *rep_; }
  explicit Model(std::shared_ptr<const internal::ModelRep> rep) : rep_(std::move(rep)) {}

 private:
  std::shared_ptr<const internal::ModelRep> rep_;
};

}  // namespace inflight
