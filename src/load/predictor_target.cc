// SPDX-License-Identifier: Apache-2.0
#include "load/predictor_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace inflight::load {

Result<NDArray> example_input(const TensorSpec& spec) {
  if (!spec.shape.is_static()) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("input \"{}\" {}: want a static shape; --input-shape gives one", spec.name,
                              spec.type_string()));
  }
  INFLIGHT_TRY_ASSIGN(Buffer buffer, Buffer::allocate(spec.bytes()));
  std::fill_n(buffer.bytes(), buffer.size(), std::byte{0});
  if (spec.dtype == DType::kF32) {
    for (std::size_t k = 0; k < buffer.size() / sizeof(float); ++k) {
      const float value = static_cast<float>(k * 7919 % 1000) / 1000;
      std::memcpy(buffer.bytes() + k * sizeof(float), &value, sizeof(float));
    }
  } else if (spec.dtype == DType::kU8) {
    for (std::size_t k = 0; k < buffer.size(); ++k)
      buffer.bytes()[k] = static_cast<std::byte>(k * 7919 % 256);
  }
  return NDArray::from_buffer(std::move(buffer), spec.dtype, spec.shape);
}

Result<PredictorTarget> PredictorTarget::make(const Model& model, PredictorOptions options) {
  options.overload = OverloadPolicy::kReject;
  options.keep_finished = true;
  options.finished_limit = std::max(options.finished_limit, 2 * options.in_flight_limit);
  std::vector<Frame::Input> inputs;
  for (const TensorSpec& spec : model.inputs()) {
    INFLIGHT_TRY_ASSIGN(NDArray array, example_input(spec));
    inputs.push_back({spec.name, std::move(array)});
  }
  INFLIGHT_TRY_ASSIGN(Predictor predictor, Predictor::create(model, std::move(options)));
  return PredictorTarget(std::move(predictor), std::move(inputs));
}

Status PredictorTarget::begin(int streams, std::optional<Duration> deadline) {
  deadline_ = deadline;
  streams_.clear();
  for (int i = 0; streams > 1 && i < streams; ++i) {
    INFLIGHT_TRY_ASSIGN(Stream stream, predictor_.open_stream({.name = fmt::format("stream {}", i)}));
    streams_.push_back(std::move(stream));
  }
  return {};
}

Result<bool> PredictorTarget::start(std::uint64_t index, int stream, TimePoint due) {
  Frame frame;
  if (!streams_.empty()) frame.stream = streams_[static_cast<std::size_t>(stream)];
  frame.inputs = inputs_;
  frame.tag = index;
  frame.due = due;
  if (deadline_) frame.deadline = due + *deadline_;
  const Result<Prediction> prediction = predictor_.submit(std::move(frame));
  if (prediction.ok()) return true;
  const StatusCode code = prediction.status().code();
  // A frame that is past its deadline is refused as well.
  if (code == StatusCode::kOverloaded || code == StatusCode::kDeadlineExceeded) return false;
  return prediction.status();
}

void PredictorTarget::take(std::vector<End>& ends) {
  predictor_.take_finished(finished_);
  for (const Prediction& prediction : finished_) {
    const PredictionTimes times = prediction.times();
    const int slot = prediction.slot();
    ends.push_back({.index = prediction.tag(),
                    .outcome = prediction.outcome(),
                    .started = times.launched,
                    .finished = times.finished,
                    .slot = slot,
                    .width = slot >= 0 ? std::optional(prediction.width()) : std::nullopt});
  }
  finished_.clear();
}

Result<Prediction> PredictorTarget::predict() {
  Frame frame;
  frame.inputs = inputs_;
  INFLIGHT_TRY_ASSIGN(Prediction prediction, predictor_.submit(std::move(frame)));
  INFLIGHT_TRY(prediction.wait());
  predictor_.take_finished(finished_);
  finished_.clear();
  return prediction;
}

}  // namespace inflight::load
