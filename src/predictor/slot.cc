// SPDX-License-Identifier: Apache-2.0
#include "predictor/slot.h"

#include <fmt/format.h>

#include <cstring>

#include "base/check.h"

namespace inflight::internal {

Slot::Slot(Program& program, std::unique_ptr<BoundProgram> bound)
    : program_(program), bound_(std::move(bound)), word_(bound_->completion_word()) {
  inputs_.resize(program_.inputs().size());
  outputs_.resize(program_.outputs().size());
}

Status Slot::launch(PredictionState& state, BufferPool& outputs) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    INFLIGHT_TRY_ASSIGN(inputs_[i], state.inputs[i].read());
    // Checked at submit where the shape was known then; an array of another prediction may tell it only now.
    const TensorSpec& wanted = program_.inputs()[i];
    if (inputs_[i].shape != wanted.shape) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("input \"{}\": got {}{}, want {}", wanted.name, dtype_name(inputs_[i].dtype),
                                inputs_[i].shape.to_string(), wanted.type_string()));
    }
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    ArrayValue& value = state.values[i];
    if (value.shape.is_static()) value.buffer = outputs.acquire(program_.outputs()[i].bytes());
    outputs_[i] = {value.buffer.bytes(), value.dtype, value.shape};
  }
  ++generation_;
  return bound_->launch({inputs_, outputs_, state.width, generation_});
}

Status Slot::collect(PredictionState& state, BufferPool& outputs) {
  INFLIGHT_CHECK(word_.load(std::memory_order_acquire) == generation_);
  INFLIGHT_TRY(bound_->outcome());
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    ArrayValue& value = state.values[i];
    if (value.shape.is_static()) continue;
    const TensorView computed = bound_->dynamic_output(i);
    value.shape = computed.shape;
    value.buffer = outputs.acquire(computed.bytes());
    if (computed.bytes() != 0) std::memcpy(value.buffer.bytes(), computed.data, computed.bytes());
  }
  return Status();
}

}  // namespace inflight::internal
