// SPDX-License-Identifier: Apache-2.0
// Slot: a place where one frame runs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "predictor/prediction_state.h"
#include "runtime/lane.h"

namespace inflight::internal {

// A bound program and the prediction that is on it. Used by one thread at a time: under the runtime's mutex by whoever
// assigns it; then by the worker, or by the launcher and, once it is out, by the poller.
class Slot final : public Work {
 public:
  // May throw std::bad_alloc; later it allocates nothing but what outputs need.
  Slot(PredictorCore& core, Program& program, std::shared_ptr<BoundProgram> bound);

  // Gives it its next prediction. Under the runtime's mutex: what the prediction's inputs wait for on the device is
  // fixed here, as no other prediction can end meanwhile.
  void assign(PredictionState& state) noexcept;

  bool start() noexcept override;
  void end() noexcept override;
  void lose(const Status& why) noexcept override;

 private:
  Status launch();
  Status view_input(std::size_t index);
  Status collect();
  Status status_of_chained_inputs() const;

  PredictorCore& core_;
  Program& program_;
  // What a lost device may still read and write: kept until the bound program has gone. Declared before it.
  std::vector<NDArray> lost_inputs_;
  std::vector<Buffer> lost_outputs_;
  Status lost_;
  std::shared_ptr<BoundProgram> bound_;
  PredictionState* state_ = nullptr;
  std::vector<bool> chained_;  // one an input: it is to come from a launch that is out
  std::vector<LaunchPoint> after_;
  std::vector<std::shared_ptr<BoundProgram>> after_kept_;  // what after_ points to, until the launch was made
  std::vector<TensorView> inputs_;          // as the program wants them; reused by every launch
  std::vector<MutableTensorView> outputs_;  // likewise
};

}  // namespace inflight::internal
