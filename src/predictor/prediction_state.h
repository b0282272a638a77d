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

namespace inflight::internal {

// The version that a prediction writes (its outputs), and what the predictor knows of it. Its core's pool takes it
// back when the last handle goes.
class PredictionState final : public Version, public Job {
 public:
  // Waits for an input that is still to come: until it is ready, or until the device has it in its queue, where the
  // prediction that computes it runs on the same device.
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

  // Outputs by name, and the pool to go back to. Set while the state is out.
  std::shared_ptr<PredictorCore> core;

  std::uint64_t tag = 0;
  std::vector<NDArray> inputs;  // in the order of the model's; empty handles once the prediction is done
  std::unique_ptr<InputWaiter[]> waiters;  // one an input
  std::atomic<std::uint32_t> inputs_to_come{0};

  // For those that come after it on the device. `launched` is published once its outputs have their memory and the
  // device has its launch, or at its end. The other two are written before that; `bound` is cleared at the end, under
  // the core's mutex.
  Completion launched;
  bool launch_failed = false;  // it ended before it was launched: its end publishes `launched`
  std::shared_ptr<BoundProgram> bound;
  std::uint64_t generation = 0;

  // The claim by which the engine lets nobody read the outputs before they are there.
  Access write;

  // Makes it as new, for the pool.
  void recycle() noexcept;

 private:
  ~PredictionState() override = default;
  void destroy() noexcept override;
};

// The prediction that computes an array, or null where something else does or did.
PredictionState* prediction_of(const NDArray& array) noexcept;

}  // namespace inflight::internal
