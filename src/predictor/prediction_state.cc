// SPDX-License-Identifier: Apache-2.0
#include "predictor/prediction_state.h"

#include <utility>

#include "engine/start.h"
#include "predictor/notification.h"
#include "predictor/predictor_core.h"

namespace inflight::internal {

PredictionState::PredictionState(std::size_t input_count, std::span<const TensorSpec> outputs, Device memory)
    : inputs(input_count), waiters(new InputWaiter[input_count]) {
  for (std::size_t i = 0; i < input_count; ++i) waiters[i].state = this;
  for (const TensorSpec& output : outputs) values.emplace_back(output.dtype, output.shape, memory);
}

void PredictionState::destroy() noexcept {
  // The reference to the core goes last: it may be what keeps the pool.
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
}

PredictionState* prediction_of(const NDArray& array) noexcept {
  return dynamic_cast<PredictionState*>(&array.version());
}

// ---- Notification

namespace {

// What this thread notifies. Nested where a listener ends another prediction; from kDepthMax on, that one joins the
// list of the innermost loop.
struct NotifyLoop {
  static constexpr int kDepthMax = 8;
  static thread_local NotifyLoop* innermost;

  List<PredictionState, NotifyTag> list;  // holds a reference to each
  int depth = 0;
};

thread_local NotifyLoop* NotifyLoop::innermost = nullptr;

void notify(PredictionState& state) noexcept {
  if (state.launch_failed) state.launched.notify(&state);
  state.completion.notify(&state);
  release_and_start(state.write, state.completion.status());
}

}  // namespace

void notify_end(Ref<PredictionState> reference) noexcept {
  NotifyLoop* const outer = NotifyLoop::innermost;
  if (outer != nullptr && outer->depth == NotifyLoop::kDepthMax) {
    outer->list.push_back(*reference.release());
    return;
  }
  NotifyLoop loop;
  loop.depth = outer == nullptr ? 0 : outer->depth + 1;
  NotifyLoop::innermost = &loop;
  while (reference) {
    notify(*reference);
    reference = Ref<PredictionState>::adopt(loop.list.pop_front());
  }
  NotifyLoop::innermost = outer;
}

}  // namespace inflight::internal
