// SPDX-License-Identifier: Apache-2.0
#include "cli/load.h"

#include <fmt/format.h>

#include <utility>

#include "cli/classify.h"
#include "cli/default_model.h"

namespace inflight::cli {
namespace {

// A model that does not suit the command is bad input, not bad usage: exit code 3.
Status as_bad_model(const Status& status) {
  if (status.code() != StatusCode::kInvalidArgument) return status;
  return {StatusCode::kInvalidModel, std::string(status.message())};
}

bool takes_frames(const TensorSpec& input) {
  return input.dtype == DType::kU8 && input.shape.rank() == 3 && input.shape[2] == 3;
}

ImageInput image_input(const LoadedModel& loaded, const RunOptions& options, int height, int width) {
  ImageInput image;
  image.height = height;
  image.width = width;
  if (loaded.embedded) {
    image.color = kDefaultModelWantsRgb ? ColorOrder::kRgb : ColorOrder::kBgr;
    image.mean = {kDefaultModelMean};
    image.scale = {kDefaultModelScale};
  }
  image.color = options.color.value_or(image.color);
  image.mean = options.mean.value_or(image.mean);
  image.scale = options.scale.value_or(image.scale);
  return image;
}

}  // namespace

Result<LoadedModel> load_model(const std::optional<std::string>& path) {
  if (!path) {
    INFLIGHT_TRY_ASSIGN(Model model, Model::load_bytes(default_model_bytes(), "shapes"));
    return LoadedModel{std::move(model), "shapes (embedded)", true};
  }
  Result<Model> model = Model::load(*path);
  if (!model.ok()) return as_bad_model(model.status());
  return LoadedModel{std::move(*model), *path, false};
}

Result<Model> fit_to_frames(const LoadedModel& loaded, const RunOptions& options, int height, int width) {
  const std::span<const TensorSpec> inputs = loaded.model.inputs();
  if (inputs.size() == 1 && takes_frames(inputs[0])) {
    if (options.color || options.mean || options.scale) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("--color, --mean, --scale: model \"{}\" takes frames as they are, {}",
                                loaded.title, inputs[0].type_string()));
    }
    if (inputs[0].shape == Shape{height, width, 3}) return loaded.model;
    return Status(StatusCode::kInvalidModel,
                  fmt::format("model \"{}\" takes frames {}, the source has u8[{},{},3]", loaded.title,
                              inputs[0].type_string(), height, width));
  }
  Result<Model> fitted = loaded.model.with_image_input(image_input(loaded, options, height, width));
  if (!fitted.ok()) return as_bad_model(fitted.status());
  if (fitted->inputs().size() != 1) {
    std::string others;
    for (const TensorSpec& input : inputs) {
      others += fmt::format("{}\"{}\" {}", others.empty() ? "" : ", ", input.name, input.type_string());
    }
    return Status(
        StatusCode::kInvalidModel,
        fmt::format("model \"{}\" takes more than an image: {}; run has only frames", loaded.title, others));
  }
  return fitted;
}

std::vector<std::string> labels_of(const Model& model) {
  const std::optional<std::string> labels = model.metadata("labels");
  return labels ? parse_labels(*labels) : std::vector<std::string>();
}

bool is_classifier(const Model& model) {
  if (model.outputs().size() != 1) return false;
  return are_scores({nullptr, model.outputs()[0].dtype, model.outputs()[0].shape});
}

}  // namespace inflight::cli
