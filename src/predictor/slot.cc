// SPDX-License-Identifier: Apache-2.0
#include "predictor/slot.h"

#include <fmt/format.h>

#include <cstring>

#include "base/check.h"
#include "base/user_code.h"
#include "predictor/predictor_core.h"

namespace inflight::internal {

Slot::Slot(DeviceLane& device, std::shared_ptr<BoundProgram> bound)
    : Work(device, bound->completion_word()),
      device_(device),
      core_(device.core()),
      program_(*device.program()),
      bound_(std::move(bound)) {
  const std::size_t inputs = program_.inputs().size();
  const std::size_t outputs = program_.outputs().size();
  inputs_.resize(inputs);
  outputs_.resize(outputs);
  chained_.resize(inputs);
  after_.reserve(inputs);
  after_kept_.reserve(inputs);
  lost_inputs_.resize(inputs);
  lost_outputs_.resize(outputs);
}

void Slot::assign(PredictionState& state) noexcept {
  state_ = &state;
  ++generation;
  if (core_.chains()) {
    state.bound = bound_;
    state.generation = generation;
  }
  after_.clear();
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    chained_[i] = !state.inputs[i].can_read();
    if (!chained_[i]) continue;
    const PredictionState& source = *prediction_of(state.inputs[i]);
    INFLIGHT_CHECK(source.launched.ready() && source.bound != nullptr);
    after_.push_back({source.bound.get(), source.generation});
    after_kept_.push_back(source.bound);
  }
}

bool Slot::start() noexcept {
  PredictionState& state = *state_;
  if (state.times.launched >= state.deadline) {
    after_kept_.clear();
    state.times.launched = TimePoint();  // it was not
    core_.finish(state, this, Outcome::kExpired, expired());
    return false;
  }
  const Status status = call_user([this] { return launch(); });
  after_kept_.clear();
  if (!status.ok()) {
    fail(status);
    return false;
  }
  if (device_.launch_blocks()) {
    end();
    return false;
  }
  if (core_.chains()) state.launched.complete(Status(), &state);
  return true;
}

Status Slot::view_input(std::size_t index) {
  const NDArray& array = state_->inputs[index];
  if (chained_[index]) {
    // Written by the launch that it comes from, whose outputs have their memory.
    inputs_[index] = prediction_of(array)->values[array.index()].view();
    return Status();
  }
  INFLIGHT_TRY_ASSIGN(inputs_[index], array.view());
  // submit() checked the shape if it was known then; an output of another prediction may show it only now.
  const TensorSpec& wanted = program_.inputs()[index];
  if (wanted.shape.allows(inputs_[index].shape)) return Status();
  return Status(StatusCode::kInvalidArgument,
                fmt::format("input \"{}\": got {}{}, want {}", wanted.name, dtype_name(inputs_[index].dtype),
                            inputs_[index].shape.to_string(), wanted.type_string()));
}

Status Slot::launch() {
  INFLIGHT_TRY(lost_);
  for (std::size_t i = 0; i < inputs_.size(); ++i) INFLIGHT_TRY(view_input(i));
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    ArrayValue& value = state_->values[i];
    if (value.declared().is_static()) {
      INFLIGHT_TRY_ASSIGN(Buffer memory, device_.output_pool().acquire(program_.outputs()[i].bytes()));
      value.set(value.declared(), std::move(memory));
    }
    outputs_[i] = value.mutable_view();
  }
  return bound_->launch({inputs_, outputs_, state_->width, generation, after_});
}

void Slot::end() noexcept {
  PredictionState& state = *state_;
  const Status status = call_user([this] { return collect(); });
  if (!status.ok()) return fail(status);
  core_.finish(state, this, Outcome::kCompleted, status);
}

// The failure may say that the device is lost.
void Slot::fail(const Status& why) noexcept {
  device_.runtime().look_for_loss();
  core_.finish(*state_, this, Outcome::kFailed, why);
}

Status Slot::collect() {
  INFLIGHT_CHECK(done());
  INFLIGHT_TRY(status_of_chained_inputs());
  INFLIGHT_TRY(bound_->outcome());
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    ArrayValue& value = state_->values[i];
    if (value.declared().is_static()) continue;
    const TensorView computed = bound_->dynamic_output(i);
    INFLIGHT_TRY_ASSIGN(Buffer memory, device_.output_pool().acquire(computed.bytes()));
    if (computed.bytes() != 0) std::memcpy(memory.bytes(), computed.data, computed.bytes());
    value.set(computed.shape, std::move(memory));
  }
  return Status();
}

// A launch that came after a failed one has computed from undefined inputs. The poller ends launches in their
// order, so the inputs are ready.
Status Slot::status_of_chained_inputs() const {
  for (std::size_t i = 0; i < chained_.size(); ++i) {
    if (!chained_[i]) continue;
    if (!state_->inputs[i].can_read()) {
      return Status(StatusCode::kDeviceError,
                    "the device finished a launch before the one that it comes after");
    }
    INFLIGHT_TRY(state_->inputs[i].status());
  }
  return Status();
}

void Slot::lose(const Status& why) noexcept {
  PredictionState& state = *state_;
  lost_ = why;
  for (std::size_t i = 0; i < inputs_.size(); ++i) lost_inputs_[i] = state.inputs[i];
  for (std::size_t i = 0; i < outputs_.size(); ++i) lost_outputs_[i] = state.values[i].buffer();
  core_.finish(state, this, Outcome::kFailed, why);
}

}  // namespace inflight::internal
