// SPDX-License-Identifier: Apache-2.0
// One admitted frame, from admission to the last handle.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "inflight/internal/var_state.h"
#include "inflight/predictor.h"
#include "predictor/scheduler.h"
#include "predictor/stream_state.h"

namespace inflight::internal {

// The version that a prediction writes (its outputs), and what the predictor keeps of it. It returns to its
// core's pool when the last handle goes.
class PredictionState final : public Version, public Job {
 public:
  // Waits for a pending input: until it is ready or, if a prediction on the same device computes it, until
  // the device has that launch.
  class InputWaiter final : public Waiter {
   public:
    PredictionState* state = nullptr;  // it holds a reference while it is in a list
    Completion* awaited = nullptr;     // null: it is in no list
    void completed() override;
  };

  // May throw std::bad_alloc; later it allocates nothing.
  PredictionState(std::size_t input_count, std::span<const TensorSpec> outputs, Device memory);
  // A state in the pool ends here and not by unref().
  void dispose() noexcept { delete this; }

  // The predictor, for the names of outputs and for the pool. Set while the state is not in the pool.
  std::shared_ptr<PredictorCore> core;

  std::shared_ptr<StreamState> stream_state;  // null: its frame named no stream

  std::uint64_t tag = 0;
  std::vector<NDArray> inputs;  // in the order of the model's; empty handles once the prediction is done
  std::unique_ptr<InputWaiter[]> waiters;  // one an input
  std::atomic<std::uint32_t> inputs_to_come{0};

  // For predictions that come after it on the device. `launched` is published once its outputs have their
  // memory and the device has its launch, or at its end. `bound` and `generation` are written when it gets its
  // slot, and `bound` is cleared at the end, both under the core's mutex.
  Completion launched;
  bool launch_failed = false;  // it ended before it was launched: its end publishes `launched`
  std::shared_ptr<BoundProgram> bound;
  std::uint64_t generation = 0;
  bool stopping = false;  // cancel() has told the device to stop it; under the core's mutex

  // The claim that keeps operations of an engine from reading the outputs before they are ready.
  Access write;

  // Whether its end calls listeners or starts operations of an engine.
  bool awaited_by_code() noexcept { return launch_failed || completion.has_waiters() || awaited(); }

  // Resets it for the pool.
  void recycle() noexcept;

 private:
  ~PredictionState() override = default;
  void destroy() noexcept override;
};

// The prediction that computes an array; null: no prediction does.
PredictionState* prediction_of(const NDArray& array) noexcept;

}  // namespace inflight::internal
