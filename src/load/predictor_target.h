// SPDX-License-Identifier: Apache-2.0
// PredictorTarget: this library's own predictor under load.
#pragma once

#include <optional>
#include <vector>

#include "inflight/model.h"
#include "inflight/predictor.h"
#include "load/target.h"

namespace inflight::load {

// The same inputs for every system: element k of an f32 input is ((k * 7919) % 1000) / 1000, of a u8 one
// (k * 7919) % 256, of any other type 0.
//   errors   kInvalidArgument: a shape that is not static; kOutOfMemory
Result<NDArray> example_input(const TensorSpec& spec);

class PredictorTarget final : public Target {
 public:
  // Compiles the model. The predictor refuses what is past its limit, and its finished predictions are taken.
  static Result<PredictorTarget> make(const Model& model, PredictorOptions options);

  // Several streams are streams of the predictor; the frames of a single one name none.
  Status begin(int streams, std::optional<Duration> deadline) override;
  Result<bool> start(std::uint64_t index, int stream, TimePoint due) override;
  void take(std::vector<End>& ends) override;
  void wait_until(TimePoint when) override { predictor_.wait_any_until(when); }

  Predictor& predictor() noexcept { return predictor_; }
  // Of the last run; empty if it had one alone.
  const std::vector<Stream>& streams() const noexcept { return streams_; }
  // One prediction on the example inputs.
  Result<Prediction> predict();

 private:
  PredictorTarget(Predictor predictor, std::vector<Frame::Input> inputs)
      : predictor_(std::move(predictor)), inputs_(std::move(inputs)) {}

  Predictor predictor_;
  std::vector<Frame::Input> inputs_;
  std::optional<Duration> deadline_;
  std::vector<Stream> streams_;  // empty: frames name none
  std::vector<Prediction> finished_;
};

}  // namespace inflight::load
