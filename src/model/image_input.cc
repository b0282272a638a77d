// SPDX-License-Identifier: Apache-2.0
// How a model comes to take frames u8[H,W,3]: the conversion is put into a copy of its network.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <exception>
#include <openvino/core/model.hpp>
#include <utility>

#include "inflight/model.h"
#include "model/fill_inputs.h"
#include "model/image_graph.h"
#include "model/image_layout.h"
#include "model/network.h"
#include "model/openvino_error.h"

namespace inflight {
namespace {

using internal::ImageLayout;
using internal::ModelRep;

using internal::kFrameExtentMax;
constexpr std::string_view kWanted =
    "numbers [N,C,H,W], [N,H,W,C], [C,H,W], [H,W,C] or [H,W], with C 3, 1 or 4";

Status invalid(std::string message) { return {StatusCode::kInvalidArgument, std::move(message)}; }

// One value, or one a channel.
Status check_channel_values(std::string_view what, const std::vector<float>& values, std::size_t channels,
                            bool zero_allowed) {
  if (values.size() != 1 && values.size() != channels) {
    return invalid(fmt::format("{}: got {} values, want 1{}", what, values.size(),
                               channels == 1 ? std::string() : fmt::format(" or {}", channels)));
  }
  for (const float value : values) {
    if (!std::isfinite(value)) return invalid(fmt::format("{}: got {}, want finite values", what, value));
    if (!zero_allowed && value == 0.0F)
      return invalid(fmt::format("{}: got 0, which nothing can be divided by", what));
  }
  return {};
}

Status check_size(const ImageInput& image) {
  if (image.height == 0 && image.width == 0) return {};  // any
  if (image.height >= 1 && image.width >= 1 && image.height <= kFrameExtentMax &&
      image.width <= kFrameExtentMax)
    return {};
  return invalid(fmt::format("frame: got {}x{} (height x width), want 1 to {} each", image.height,
                             image.width, kFrameExtentMax));
}

struct Found {
  std::size_t index = 0;
  std::vector<ImageLayout> layouts;  // best first
};

// How likely an input is the picture where there are several.
int likeliness(const ImageLayout& layout) {
  return (layout.guessed ? 0 : 8) + (layout.channels == 3 ? 4 : 0) +
         static_cast<int>(layout.rank == 4 ? 2 : 0);
}

// The input that `image` means.
Result<Found> find_input(const ModelRep& rep, const std::string& name) {
  std::vector<std::string> all;
  std::vector<Found> likeliest;
  const auto ports = rep.network->inputs();
  for (std::size_t i = 0; i < rep.inputs.size(); ++i) {
    all.push_back(fmt::format("\"{}\" {}", rep.inputs[i].name, rep.inputs[i].type_string()));
    Found found{i, internal::image_layouts(ports[i].get_element_type(), ports[i].get_partial_shape())};
    if (!name.empty()) {
      if (rep.inputs[i].name != name) continue;
      if (!found.layouts.empty()) return found;
      return invalid(fmt::format("input {}: not an image input; want {}", all.back(), kWanted));
    }
    if (found.layouts.empty()) continue;
    const int likely = likeliness(found.layouts.front());
    const int most = likeliest.empty() ? -1 : likeliness(likeliest.front().layouts.front());
    if (likely > most) likeliest.clear();
    if (likely >= most) likeliest.push_back(std::move(found));
  }
  if (!name.empty())
    return invalid(fmt::format("input \"{}\": no such input; there is {}", name, fmt::join(all, ", ")));
  if (likeliest.empty())
    return invalid(fmt::format("no image input ({}); there is {}", kWanted, fmt::join(all, ", ")));
  if (likeliest.size() > 1) {
    return invalid(fmt::format("several image inputs, so say which: there is {}", fmt::join(all, ", ")));
  }
  return std::move(likeliest.front());
}

// A copy of the network in which the input's shape is closed, and the layout that the network computes with.
struct Closed {
  std::shared_ptr<ov::Model> network;
  ImageLayout layout;
};

Result<Closed> close_input(const ModelRep& rep, const Found& found, const ImageInput& image) {
  const ov::PartialShape open = rep.network->input(found.index).get_partial_shape();
  if (image.height == 0) {
    const ImageLayout& layout = found.layouts.front();
    const auto closed = [&open](std::size_t axis) {
      return open[axis].is_static() && open[axis].get_length() <= kFrameExtentMax;
    };
    if (open.rank().is_dynamic() || !closed(layout.height_axis()) || !closed(layout.width_axis())) {
      return invalid(fmt::format("input \"{}\" {}: want the frames' height and width, as it takes them over",
                                 rep.inputs[found.index].name, rep.inputs[found.index].type_string()));
    }
  }
  Status first;
  for (const ImageLayout& layout : found.layouts) {
    try {
      Closed closed{rep.network->clone(), layout};
      const ov::Output<ov::Node> port = closed.network->input(found.index);
      const ov::PartialShape shape =
          internal::closed_shape(port.get_partial_shape(), layout, image.height, image.width);
      if (shape != port.get_partial_shape()) closed.network->reshape({{port, shape}});
      if (closed.network->input(found.index).get_partial_shape().is_static()) return closed;
      if (first.ok()) first = invalid("its shape stays open");
    } catch (const std::exception& error) {
      if (first.ok()) first = invalid(internal::distil_openvino_error(error.what()));
    }
  }
  return first.with_context(fmt::format("input \"{}\" {} for frames of {}x{} (height x width)",
                                        rep.inputs[found.index].name, rep.inputs[found.index].type_string(),
                                        image.height, image.width));
}

std::string_view layout_in_words(const ImageLayout& layout) {
  if (layout.rank == 2) return "rows and columns";
  return layout.channels_first ? "channels first" : "channels last";
}

std::string colors_in_words(const ImageLayout& layout, ColorOrder color) {
  if (layout.channels == 1) return "grey";
  return fmt::format("{}{}", color == ColorOrder::kBgr ? "BGR" : "RGB",
                     layout.channels == 4 ? " and an alpha of 255" : "");
}

std::string_view fit_in_words(Fit fit) {
  switch (fit) {
    case Fit::kStretch:
      return "stretched";
    case Fit::kLetterbox:
      return "letterboxed";
    case Fit::kCrop:
      return "cropped";
  }
  return "";
}

ImageUse use_of(const TensorSpec& input, const ov::Shape& shape, const ImageLayout& layout,
                const ImageInput& image) {
  ImageUse use;
  use.height = static_cast<int>(shape[layout.height_axis()]);
  use.width = static_cast<int>(shape[layout.width_axis()]);
  use.channels = static_cast<int>(layout.channels);
  use.batch = layout.rank == 4 ? static_cast<int>(shape[0]) : 1;
  use.frame_size = input.shape.has_open_rank() || input.shape[layout.height_axis()] == Shape::kDynamic ||
                   input.shape[layout.width_axis()] == Shape::kDynamic;
  use.fit = image.fit;
  use.any_size = image.height == 0;
  return use;
}

std::string in_words(const TensorSpec& input, const ImageUse& use, const ImageLayout& layout,
                     const ImageInput& image) {
  std::string text = fmt::format("\"{}\" is the picture: {}, {}", input.name, layout_in_words(layout),
                                 colors_in_words(layout, image.color));
  text += use.frame_size
              ? ", of the frame's size"
              : fmt::format(", {} to {}x{} (height x width)", fit_in_words(use.fit), use.height, use.width);
  if (input.dtype == DType::kI8 && image.mean == std::vector<float>{128}) text += ", pixel - 128";
  if (use.batch > 1) text += fmt::format(", the same frame in each of the {} places of the batch", use.batch);
  return text;
}

// The network with the frame in place of input `index`; the other inputs keep their order, but for those that
// can be filled, where that is wanted.
std::shared_ptr<ov::Model> rebuilt(const ov::Model& network, const ModelRep& rep, std::size_t index,
                                   const internal::ImageGraph& graph, const ov::Shape& shape,
                                   const ImageLayout& layout, bool fill_others,
                                   std::vector<TensorSpec>& inputs, std::vector<std::string>& conversions) {
  ov::ParameterVector kept;
  const ov::ParameterVector& parameters = network.get_parameters();
  const auto feed = [](const ov::op::v0::Parameter& parameter, const ov::Output<ov::Node>& value) {
    for (ov::Input<ov::Node> target :
         parameter.output(0).get_node_shared_ptr()->output(0).get_target_inputs())
      target.replace_source_output(value);
  };
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const TensorSpec& spec = rep.inputs[i];
    if (i == index) {
      graph.frame->set_friendly_name(parameters[i]->get_friendly_name());
      graph.frame->output(0).set_names(parameters[i]->output(0).get_names());
      parameters[i]->output(0).set_names({});
      feed(*parameters[i], graph.input);
      kept.push_back(graph.frame);
      inputs.push_back(spec);
      continue;
    }
    const std::shared_ptr<ov::op::v0::Constant> value =
        fill_others ? internal::filling_of(*parameters[i], spec.name, shape[layout.height_axis()],
                                           shape[layout.width_axis()])
                    : nullptr;
    if (value == nullptr) {
      kept.push_back(parameters[i]);
      inputs.push_back(spec);
      continue;
    }
    feed(*parameters[i], value);
    conversions.push_back(
        fmt::format("\"{}\" is {}", spec.name, fmt::join(value->cast_vector<double>(), ",")));
  }
  return std::make_shared<ov::Model>(network.get_results(), network.get_sinks(), kept,
                                     network.get_variables(), network.get_friendly_name());
}

Result<Model> convert(const ModelRep& rep, ImageInput image) {
  if (rep.network == nullptr)
    return invalid("only its inputs and outputs are known, so nothing can be put into it");
  INFLIGHT_TRY(check_size(image));
  INFLIGHT_TRY_ASSIGN(const Found found, find_input(rep, image.input));
  const TensorSpec& input = rep.inputs[found.index];
  if (image.mean.empty()) image.mean = {input.dtype == DType::kI8 ? 128.0F : 0.0F};
  INFLIGHT_TRY(check_channel_values("mean", image.mean, found.layouts.front().channels, true));
  INFLIGHT_TRY(check_channel_values("scale", image.scale, found.layouts.front().channels, false));
  INFLIGHT_TRY_ASSIGN(Closed closed, close_input(rep, found, image));
  INFLIGHT_TRY(check_channel_values("mean", image.mean, closed.layout.channels, true));
  INFLIGHT_TRY(check_channel_values("scale", image.scale, closed.layout.channels, false));
  std::vector<TensorSpec> inputs;
  std::vector<std::string> conversions;
  ImageUse use;
  try {
    const ov::Output<ov::Node> port = closed.network->input(found.index);
    const ov::Shape& shape = port.get_shape();
    const internal::ImageGraph graph =
        internal::make_image_graph(image, port.get_element_type(), shape, closed.layout);
    use = use_of(input, shape, closed.layout, image);
    conversions.push_back(in_words(input, use, closed.layout, image));
    closed.network = rebuilt(*closed.network, rep, found.index, graph, shape, closed.layout,
                             image.fill_others, inputs, conversions);
  } catch (const std::exception& error) {
    return invalid(fmt::format("input \"{}\" for frames of {}x{}: {}", input.name, image.height, image.width,
                               internal::distil_openvino_error(error.what())));
  }
  INFLIGHT_TRY_ASSIGN(std::shared_ptr<ModelRep> made,
                      internal::make_rep(std::move(closed.network), rep.name));
  // The names stay as they were, whatever the conversion called its own tensors.
  for (std::size_t i = 0; i < inputs.size(); ++i) made->inputs[i].name = inputs[i].name;
  for (std::size_t i = 0; i < rep.outputs.size(); ++i) made->outputs[i].name = rep.outputs[i].name;
  made->metadata = rep.metadata;
  made->image_use = use;
  made->conversions = std::move(conversions);
  return Model(std::shared_ptr<const ModelRep>(std::move(made)));
}

}  // namespace

Result<Model> Model::with_image_input(const ImageInput& image) const {
  Result<Model> converted = convert(*rep_, image);
  if (converted.ok()) return converted;
  return converted.status().with_context(fmt::format("model \"{}\"", rep_->name));
}

}  // namespace inflight
