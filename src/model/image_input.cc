// SPDX-License-Identifier: Apache-2.0
// How a model comes to take frames u8[H,W,3]: the conversion is put into a copy of its network.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <exception>
#include <openvino/core/model.hpp>
#include <openvino/core/preprocess/pre_post_process.hpp>
#include <utility>

#include "inflight/model.h"
#include "model/network.h"
#include "model/openvino_error.h"

namespace inflight {
namespace {

constexpr int kExtentMax = 1 << 15;  // pixels along one side of a frame

Status invalid(std::string message) { return {StatusCode::kInvalidArgument, std::move(message)}; }

Status check_channel_values(std::string_view what, const std::vector<float>& values, bool zero_allowed) {
  if (values.size() != 1 && values.size() != 3) {
    return invalid(fmt::format("{}: got {} values, want 1 or 3", what, values.size()));
  }
  for (const float value : values) {
    if (!std::isfinite(value)) return invalid(fmt::format("{}: got {}, want finite values", what, value));
    if (!zero_allowed && value == 0.0F)
      return invalid(fmt::format("{}: got 0, which nothing can be divided by", what));
  }
  return {};
}

Status check_options(const ImageInput& image) {
  if (image.height < 1 || image.width < 1 || image.height > kExtentMax || image.width > kExtentMax) {
    return invalid(fmt::format("frame: got {}x{} (height x width), want 1 to {} each", image.height,
                               image.width, kExtentMax));
  }
  INFLIGHT_TRY(check_channel_values("mean", image.mean, true));
  return check_channel_values("scale", image.scale, false);
}

enum class ImageLayout : std::uint8_t { kNone, kChannelsFirst, kChannelsLast };

bool one_or_dynamic(std::int64_t dim) { return dim == 1 || dim == Shape::kDynamic; }

ImageLayout layout_of(const TensorSpec& spec) {
  const Shape& shape = spec.shape;
  const bool is_float = spec.dtype == DType::kF32 || spec.dtype == DType::kF16;
  if (!is_float || shape.rank() != 4 || !one_or_dynamic(shape[0])) return ImageLayout::kNone;
  if (shape[1] == 3) return ImageLayout::kChannelsFirst;
  if (shape[3] == 3) return ImageLayout::kChannelsLast;
  return ImageLayout::kNone;
}

constexpr std::string_view kWanted = "f32 or f16, [N,3,H,W] or [N,H,W,3] with N 1 or dynamic";

// The index of the input that `image` means.
Result<std::size_t> find_input(std::span<const TensorSpec> inputs, const std::string& name) {
  std::vector<std::string> all;
  std::vector<std::size_t> images;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    all.push_back(fmt::format("\"{}\" {}", inputs[i].name, inputs[i].type_string()));
    const bool is_image = layout_of(inputs[i]) != ImageLayout::kNone;
    if (is_image) images.push_back(i);
    if (name.empty() || inputs[i].name != name) continue;
    if (!is_image) {
      return invalid(fmt::format("input {}: not an image input; want {}", all.back(), kWanted));
    }
    return i;
  }
  if (!name.empty())
    return invalid(fmt::format("input \"{}\": no such input; there is {}", name, fmt::join(all, ", ")));
  if (images.empty())
    return invalid(fmt::format("no image input ({}); there is {}", kWanted, fmt::join(all, ", ")));
  if (images.size() > 1) {
    return invalid(fmt::format("several image inputs, so say which: there is {}", fmt::join(all, ", ")));
  }
  return images.front();
}

// Batch 1, and the frame's height and width where the model leaves them open.
void fix_shape(ov::Model& network, std::size_t input, const ImageInput& image, ImageLayout layout) {
  const ov::Output<ov::Node> port = network.input(input);
  ov::PartialShape shape = port.get_partial_shape();
  const std::size_t height_axis = layout == ImageLayout::kChannelsFirst ? 2 : 1;
  shape[0] = 1;
  if (shape[height_axis].is_dynamic()) shape[height_axis] = image.height;
  if (shape[height_axis + 1].is_dynamic()) shape[height_axis + 1] = image.width;
  if (shape != port.get_partial_shape()) network.reshape({{port, shape}});
}

std::shared_ptr<ov::Model> convert_in_network(const std::shared_ptr<ov::Model>& network, std::size_t index,
                                              const ImageInput& image, ImageLayout layout) {
  using ov::preprocess::ColorFormat;
  const bool first = layout == ImageLayout::kChannelsFirst;
  const ov::Shape shape = network->input(index).get_shape();
  const ov::element::Type type = network->input(index).get_element_type();
  ov::preprocess::PrePostProcessor steps(network);
  ov::preprocess::InputInfo& input = steps.input(index);
  input.tensor()
      .set_element_type(ov::element::u8)
      .set_layout("NHWC")
      .set_color_format(ColorFormat::RGB)
      .set_spatial_static_shape(static_cast<std::size_t>(image.height),
                                static_cast<std::size_t>(image.width));
  input.model().set_layout(first ? "NCHW" : "NHWC");
  input.preprocess().convert_element_type(ov::element::f32);
  const std::size_t height = shape[first ? 2 : 1];
  const std::size_t width = shape[first ? 3 : 2];
  if (height != static_cast<std::size_t>(image.height) || width != static_cast<std::size_t>(image.width)) {
    input.preprocess().resize(ov::preprocess::ResizeAlgorithm::RESIZE_LINEAR);
  }
  if (image.color == ColorOrder::kBgr) input.preprocess().convert_color(ColorFormat::BGR);
  input.preprocess().mean(image.mean).scale(image.scale);
  if (type != ov::element::f32) input.preprocess().convert_element_type(type);
  return steps.build();
}

Result<Model> convert(const internal::ModelRep& rep, const ImageInput& image) {
  if (rep.network == nullptr)
    return invalid("only its inputs and outputs are known, so nothing can be put into it");
  INFLIGHT_TRY(check_options(image));
  INFLIGHT_TRY_ASSIGN(const std::size_t index, find_input(rep.inputs, image.input));
  const ImageLayout layout = layout_of(rep.inputs[index]);
  std::shared_ptr<ov::Model> network;
  try {
    network = rep.network->clone();
    fix_shape(*network, index, image, layout);
    network = convert_in_network(network, index, image, layout);
  } catch (const std::exception& error) {
    return invalid(fmt::format("input \"{}\" for frames of {}x{}: {}", rep.inputs[index].name, image.height,
                               image.width, internal::distil_openvino_error(error.what())));
  }
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<internal::ModelRep> made,
                      internal::make_rep(std::move(network), rep.name));
  // The names stay as they were, whatever the conversion called its own tensors.
  for (std::size_t i = 0; i < rep.inputs.size(); ++i) made->inputs[i].name = rep.inputs[i].name;
  for (std::size_t i = 0; i < rep.outputs.size(); ++i) made->outputs[i].name = rep.outputs[i].name;
  made->inputs[index].shape = {image.height, image.width, 3};
  made->metadata = rep.metadata;
  return Model(std::shared_ptr<const internal::ModelRep>(std::move(made)));
}

}  // namespace

Result<Model> Model::with_image_input(const ImageInput& image) const {
  Result<Model> converted = convert(*rep_, image);
  if (converted.ok()) return converted;
  return converted.status().with_context(fmt::format("model \"{}\"", rep_->name));
}

}  // namespace inflight
