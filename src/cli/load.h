// SPDX-License-Identifier: Apache-2.0
// Models as the command line names them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "inflight/model.h"
#include "inflight/status.h"

namespace inflight::cli {

struct LoadedModel {
  Model model;
  std::string title;      // for people: its path, or that it is the embedded one
  bool embedded = false;  // the default classifier of the synthetic source's shapes
};

// Loads a file, or the embedded default model where there is no path.
//   errors   those of Model::load; kInvalidArgument: of `options`, which are those of --input-shape
Result<LoadedModel> load_model(const std::optional<std::string>& path, const ModelOptions& options = {});

// The model as one that takes frames u8[height,width,3] and nothing else, converted as the options say.
//   errors   kInvalidModel: it takes no images, or inputs beside them that nobody can fill; kInvalidArgument:
//            an option that says nothing of this model
Result<Model> fit_to_frames(const LoadedModel& loaded, const RunOptions& options, int height, int width);

// The class names that the model carries; empty where it has none.
std::vector<std::string> labels_of(const Model& model);

// Whether the model's only output is one score a class, by its declared type.
bool is_classifier(const Model& model);

}  // namespace inflight::cli
