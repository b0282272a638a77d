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
  image.fit = options.fit.value_or(image.fit);
  image.fill_others = true;
  return image;
}

// What would be accepted and ignored is refused.
Status check_options(const LoadedModel& loaded, const ImageUse& use, const RunOptions& options) {
  if (options.fit && use.frame_size) {
    return {StatusCode::kInvalidArgument,
            fmt::format("--fit: model \"{}\" takes frames of any size", loaded.title)};
  }
  if (options.color && use.channels == 1) {
    return {StatusCode::kInvalidArgument,
            fmt::format("--color: model \"{}\" takes grey pictures", loaded.title)};
  }
  return {};
}

}  // namespace

Result<LoadedModel> load_model(const std::optional<std::string>& path, const ModelOptions& options) {
  if (!path) {
    INFLIGHT_TRY_ASSIGN(Model model, Model::load_bytes(default_model_bytes(), "shapes"));
    return LoadedModel{std::move(model), "shapes (embedded)", true};
  }
  Result<Model> model = Model::load(*path, options);
  if (model.ok()) return LoadedModel{std::move(*model), *path, false};
  const Status& status = model.status();
  if (status.code() == StatusCode::kInvalidArgument && !options.input_shapes.empty())
    return status.with_context("--input-shape");
  return as_bad_model(status);
}

Result<Model> fit_to_frames(const LoadedModel& loaded, const RunOptions& options, int height, int width) {
  Result<Model> fitted = loaded.model.with_image_input(image_input(loaded, options, height, width));
  if (!fitted.ok()) return as_bad_model(fitted.status());
  INFLIGHT_TRY(check_options(loaded, *fitted->image_use(), options));
  if (fitted->inputs().size() == 1) return fitted;
  std::string others;
  for (const TensorSpec& input : loaded.model.inputs()) {
    others += fmt::format("{}\"{}\" {}", others.empty() ? "" : ", ", input.name, input.type_string());
  }
  return Status(
      StatusCode::kInvalidModel,
      fmt::format("model \"{}\" takes more than an image: {}; run has only frames", loaded.title, others));
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
