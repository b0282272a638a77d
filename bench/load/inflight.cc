// SPDX-License-Identifier: Apache-2.0
// This library's predictor; CONFIG is a width, as of `inflight run --width`.
#include <utility>

#include "inflight/inflight.h"
#include "load/predictor_target.h"
#include "worker.h"

namespace bench_load {

using namespace inflight;

Result<System> make_system(const Wanted& wanted) {
  PredictorOptions options;
  INFLIGHT_TRY_ASSIGN(options.width, parse_width_policy(wanted.config));
  INFLIGHT_TRY_ASSIGN(options.precision, parse_precision(wanted.precision));
  options.in_flight_limit = wanted.limit;
  INFLIGHT_TRY_ASSIGN(options.runtime, Runtime::open(Device::cpu()));
  INFLIGHT_TRY_ASSIGN(const Model model, Model::load(wanted.model));
  const int threads = options.runtime.capacity();
  INFLIGHT_TRY_ASSIGN(load::PredictorTarget made, load::PredictorTarget::make(model, std::move(options)));
  auto target = std::make_unique<load::PredictorTarget>(std::move(made));
  INFLIGHT_TRY_ASSIGN(const Prediction prediction, target->predict());
  INFLIGHT_TRY_ASSIGN(const TensorView output, prediction.output(std::size_t{0}).read());
  INFLIGHT_TRY_ASSIGN(const std::span<const float> scores, output.as<float>());
  return System{"inflight " + wanted.config, threads, {scores.begin(), scores.end()}, std::move(target)};
}

}  // namespace bench_load
