// SPDX-License-Identifier: Apache-2.0
// One admitted frame, from admission to the last handle.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "inflight/internal/var_state.h"
#include "inflight/predictor.h"

namespace inflight::internal {

// Where a prediction is on its way; changed under the core's mutex only.
//   kAdmitted (-> kAwaitingInputs) -> kQueued -> kRunning -> kDone
// All but kRunning may also step straight to kDone: cancelled, or an input that failed.
enum class Stage : std::uint8_t { kAdmitted, kAwaitingInputs, kQueued, kRunning, kDone };

// The version that a prediction writes (its outputs), and what the predictor knows of it. Recycled by its
// core's pool when the last handle goes.
class PredictionState final : public Version {
 public:
  // Told when an input that was still on its way has come.
  class InputWaiter final : public Waiter {
   public:
    PredictionState* state = nullptr;  // holds a share in it while it is in the input's list
    void completed() override;
  };

  explicit PredictionState(std::size_t input_count) : waiters(new InputWaiter[input_count]) {
    for (std::size_t i = 0; i < input_count; ++i) waiters[i].state = this;
    inputs.resize(input_count);
  }
  // A recycled state ends here and not by unref().
  void dispose() noexcept { delete this; }

  // Outputs by name, and the pool to go back to. Set while the state is out.
  std::shared_ptr<PredictorCore> core;

  std::uint64_t id = 0;
  std::uint64_t tag = 0;
  std::vector<NDArray> inputs;             // in the order of the model's; let go when the prediction is done
  std::unique_ptr<InputWaiter[]> waiters;  // one an input
  std::atomic<std::uint32_t> inputs_to_come{0};
  PredictionTimes times;
  Width width = Width::kNarrow;
  Outcome outcome = Outcome::kPending;

  // Guarded by the core's mutex.
  Stage stage = Stage::kAdmitted;
  PredictionState* previous = nullptr;  // in the list of its stage, if that has one
  PredictionState* next = nullptr;

  // The claim by which the engine lets nobody read the outputs before they are there.
  Access write;

  void recycle() noexcept {
    reset();
    reset_refs();
    completion.reset();
    outcome = Outcome::kPending;
    stage = Stage::kAdmitted;
  }

 private:
  ~PredictionState() override = default;
  void destroy() noexcept override;
};

// An intrusive doubly linked list of states, first in, first out. Holds no share.
class StateList {
 public:
  bool empty() const noexcept { return head_ == nullptr; }
  // Null: empty.
  PredictionState* front() const noexcept { return head_; }
  void push_back(PredictionState* state) noexcept {
    state->previous = tail_;
    state->next = nullptr;
    (tail_ == nullptr ? head_ : tail_->next) = state;
    tail_ = state;
  }
  // Requires one.
  PredictionState* pop_front() noexcept {
    PredictionState* state = head_;
    remove(state);
    return state;
  }
  void remove(PredictionState* state) noexcept {
    (state->previous == nullptr ? head_ : state->previous->next) = state->next;
    (state->next == nullptr ? tail_ : state->next->previous) = state->previous;
    state->previous = state->next = nullptr;
  }

 private:
  PredictionState* head_ = nullptr;
  PredictionState* tail_ = nullptr;
};

}  // namespace inflight::internal
