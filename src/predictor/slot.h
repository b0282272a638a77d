// SPDX-License-Identifier: Apache-2.0
// Slot: a place where one frame runs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "predictor/prediction_state.h"

namespace inflight::internal {

// A bound program and the prediction that is on it. Used by one thread at a time: the worker, or first the
// launcher and then, from a successful launch until the completion, the poller.
class Slot {
 public:
  Slot(Program& program, std::unique_ptr<BoundProgram> bound);

  // Gives `state` its output buffers and launches it. Not ok: nothing was started.
  Status launch(PredictionState& state, BufferPool& outputs);
  // The device has finished the last launch. One acquire load.
  bool done() const noexcept { return word_.load(std::memory_order_acquire) >= generation_; }
  // Takes the result over: how it went, and the outputs whose shape only running told. Requires done().
  Status collect(PredictionState& state, BufferPool& outputs);

  PredictionState* current = nullptr;  // the prediction on it; null when free

 private:
  Program& program_;
  const std::unique_ptr<BoundProgram> bound_;
  const std::atomic<std::uint64_t>& word_;
  std::uint64_t generation_ = 0;
  std::vector<TensorView> inputs_;          // as the program wants them; reused by every launch
  std::vector<MutableTensorView> outputs_;  // likewise
};

}  // namespace inflight::internal
