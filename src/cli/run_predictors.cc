// SPDX-License-Identifier: Apache-2.0
#include "cli/run_predictors.h"

#include <string>
#include <utility>
#include <vector>

#include "cli/tuning.h"
#include "inflight/predictor.h"

namespace inflight::cli {
namespace {

struct Overload {
  OverloadPolicy policy;
  Duration timeout;
};

// Of a predictor and of its streams. With `block` the loop waits for a place before it submits: it can look at
// signals and take what has finished meanwhile, which a blocked submit() could not. But an automatic limit may
// fall between the look and the submission: then the submission waits for the end of a prediction.
Overload overload_of(const RunOptions& options, const LoopPlan& plan) {
  const bool waits = plan.pace == Pace::kUnpaced || options.policy == OverloadPolicy::kBlock;
  if (waits && options.limit == Predictor::kInFlightLimitAuto)
    return {OverloadPolicy::kBlock, std::chrono::seconds(1)};
  const bool block = options.policy == OverloadPolicy::kBlock;
  return {block ? OverloadPolicy::kReject : options.policy, Duration::max()};
}

Result<Predictor> make_predictor(const Model& model, Runtime runtime, const RunOptions& options,
                                 const LoopPlan& plan, TuningBar* bar = nullptr) {
  PredictorOptions wanted;
  wanted.runtime = std::move(runtime);
  wanted.in_flight_limit = options.limit;
  wanted.precision = options.precision;
  wanted.width = options.width;
  wanted.tune = options.tune;
  if (bar != nullptr) wanted.tune_progress = bar->callback();
  wanted.finished_limit = plan.finished_limit;
  const Overload overload = overload_of(options, plan);
  wanted.overload = overload.policy;
  wanted.block_timeout = overload.timeout;
  wanted.refuse_late = options.refuse_late;
  Result<Predictor> predictor = Predictor::create(model, std::move(wanted));
  // Every option has been checked: what is wrong is the model.
  if (predictor.ok() || predictor.status().code() != StatusCode::kInvalidArgument) return predictor;
  return Status(StatusCode::kInvalidModel, std::string(predictor.status().message()));
}

// Of the predictor: one for each source, if there are several.
std::vector<StreamOptions> stream_options(const RunOptions& options, const LoopPlan& plan) {
  const Overload overload = overload_of(options, plan);
  std::vector<StreamOptions> streams;
  for (const std::string& source : options.sources) {
    streams.push_back({.name = source, .policy = overload.policy, .block_timeout = overload.timeout});
  }
  if (streams.size() == 1) streams.clear();
  return streams;
}

}  // namespace

ModelOptions model_options(const RunOptions& options, int height, int width) {
  return {.input_shapes = options.input_shapes, .frame_height = height, .frame_width = width};
}

Result<std::unique_ptr<SizedPredictors>> make_predictors(const Model& model, const Runtime& runtime,
                                                         const RunOptions& options, const LoopPlan& plan,
                                                         const LoadedModel& loaded, const FrameSource& source,
                                                         bool reload) {
  // Only at the start: later the terminal shows the run.
  TuningBar bar;
  INFLIGHT_TRY_ASSIGN(Predictor first, make_predictor(model, runtime, options, plan, &bar));
  bar.finish();
  const auto make = [=](int height, int width) -> Result<SizedPredictors::Made> {
    LoadedModel for_size = loaded;
    if (reload) {
      INFLIGHT_TRY_ASSIGN(for_size, load_model(options.model, model_options(options, height, width)));
    }
    // The first size's program stays static, which is the fastest. One program takes all others, where it
    // can.
    const bool any_size = !model.image_use()->frame_size;
    INFLIGHT_TRY_ASSIGN(const Model fitted,
                        fit_to_frames(for_size, options, any_size ? 0 : height, any_size ? 0 : width));
    INFLIGHT_TRY_ASSIGN(Predictor predictor, make_predictor(fitted, runtime, options, plan));
    return SizedPredictors::Made{std::move(predictor), any_size};
  };
  return std::make_unique<SizedPredictors>(std::move(first), source.height(), source.width(),
                                           plan.in_flight_limit, plan.finished_limit, make,
                                           stream_options(options, plan));
}

}  // namespace inflight::cli
