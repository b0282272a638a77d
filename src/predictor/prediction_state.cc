// SPDX-License-Identifier: Apache-2.0
#include "predictor/prediction_state.h"

#include <utility>

#include "predictor/predictor_core.h"

namespace inflight::internal {

PredictionState::PredictionState(std::size_t input_count, std::span<const TensorSpec> outputs, Device memory)
    : inputs(input_count), waiters(new InputWaiter[input_count]) {
  for (std::size_t i = 0; i < input_count; ++i) waiters[i].state = this;
  for (const TensorSpec& output : outputs) values.emplace_back(output.dtype, output.shape, memory);
}

void PredictionState::destroy() noexcept {
  // The reference to the core goes last: it may be the last one, and the core owns the pool.
  const std::shared_ptr<PredictorCore> keep = std::move(core);
  keep->recycle(this);
}

void PredictionState::recycle() noexcept {
  for (ArrayValue& value : values) value.set(value.declared(), Buffer());
  reset();
  reset_refs();
  completion.reset();
  launched.reset();
  launch_failed = false;
  stopping = false;
  stream_state.reset();
}

PredictionState* prediction_of(const NDArray& array) noexcept {
  return dynamic_cast<PredictionState*>(&array.version());
}

}  // namespace inflight::internal
