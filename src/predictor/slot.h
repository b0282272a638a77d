// SPDX-License-Identifier: Apache-2.0
// Slot: a place where one frame runs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "predictor/device_lane.h"
#include "predictor/prediction_state.h"
#include "runtime/lane.h"

namespace inflight::internal {

// A bound program and the prediction that runs on it. One thread at a time uses it: the thread that assigns
// it, under the runtime's mutex; then the worker, or the thread that launches and, once the launch is out, the poller.
class Slot final : public Work {
 public:
  // May throw std::bad_alloc. Later it allocates only the memory of outputs.
  Slot(DeviceLane& device, std::shared_ptr<BoundProgram> bound);

  // Gives it its next prediction, under the runtime's mutex. It fixes which launches the prediction comes
  // after: no other prediction can end meanwhile.
  void assign(PredictionState& state) noexcept;

  DeviceLane& device() const noexcept { return device_; }
  const std::shared_ptr<BoundProgram>& bound() const noexcept { return bound_; }

  bool start() noexcept override;
  void end() noexcept override;
  void lose(const Status& why) noexcept override;

 private:
  Status launch();
  Status view_input(std::size_t index);
  Status collect();
  Status status_of_chained_inputs() const;

  void fail(const Status& why) noexcept;

  DeviceLane& device_;
  PredictorCore& core_;
  Program& program_;
  // Memory that a lost device may still read and write: kept until the bound program has gone, so declared
  // before it.
  std::vector<NDArray> lost_inputs_;
  std::vector<Buffer> lost_outputs_;
  Status lost_;
  std::shared_ptr<BoundProgram> bound_;
  PredictionState* state_ = nullptr;
  std::vector<bool> chained_;  // for each input: a launch that is out computes it
  std::vector<LaunchPoint> after_;
  std::vector<std::shared_ptr<BoundProgram>> after_kept_;  // what after_ points to, until the launch was made
  std::vector<TensorView> inputs_;          // as the program wants them; reused by every launch
  std::vector<MutableTensorView> outputs_;  // likewise
};

}  // namespace inflight::internal
