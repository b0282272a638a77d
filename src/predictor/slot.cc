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
    if (value.declared().is_static()) {
      INFLIGHT_TRY_ASSIGN(Buffer buffer, outputs.acquire(program_.outputs()[i].bytes()));
      value.set(value.declared(), std::move(buffer));
    }
    outputs_[i] = value.mutable_view();
  }
  ++generation_;
  return bound_->launch({inputs_, outputs_, state.width, generation_});
}

Status Slot::collect(PredictionState& state, BufferPool& outputs) {
  INFLIGHT_CHECK(word_.load(std::memory_order_acquire) == generation_);
  INFLIGHT_TRY(bound_->outcome());
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    ArrayValue& value = state.values[i];
    if (value.declared().is_static()) continue;
    const TensorView computed = bound_->dynamic_output(i);
    INFLIGHT_TRY_ASSIGN(Buffer buffer, outputs.acquire(computed.bytes()));
    if (computed.bytes() != 0) std::memcpy(buffer.bytes(), computed.data, computed.bytes());
    value.set(computed.shape, std::move(buffer));
  }
  return Status();
}

}  // namespace inflight::internal
