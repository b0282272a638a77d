// SPDX-License-Identifier: Apache-2.0
// How a frame enters the predictor: it is checked, admitted, filled in, and queued once its inputs are ready.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/futex.h"
#include "base/user_code.h"
#include "engine/start.h"
#include "predictor/predictor_core.h"

namespace inflight::internal {
namespace {

// The frame's array for an input, or null.
const NDArray* find_input(const Frame& frame, const TensorSpec& wanted, std::size_t count) {
  for (const Frame::Input& input : frame.inputs) {
    if (input.name == wanted.name || (count == 1 && input.name.empty())) return &input.array;
  }
  return nullptr;
}

}  // namespace

// A thread that waits in submit(). It is on that thread's stack.
struct PredictorCore::BlockedSubmitter final : PlaceWaiter {
  std::atomic<std::uint32_t> decided{0};

  // False: the time came first.
  bool wait_until(const TimePoint* until) noexcept {
    while (decided.load(std::memory_order_acquire) == 0) {
      if (!futex_wait(decided, 0, until)) return decided.load(std::memory_order_acquire) != 0;
    }
    return true;
  }
};

void PredictorCore::wake_granted(PlaceWaiters& granted) noexcept {
  while (PlaceWaiter* const waiter = granted.pop_front()) {
    std::atomic<std::uint32_t>& decided = static_cast<BlockedSubmitter*>(waiter)->decided;
    decided.store(1, std::memory_order_release);
    // The waiter may be gone by now: this uses only its address.
    futex_wake_all(decided);
  }
}

Status PredictorCore::check_fits(const Frame& frame) const {
  if (frame.inputs.size() != inputs_.size()) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("frame: got {} inputs, want {}", frame.inputs.size(), inputs_.size()));
  }
  for (const TensorSpec& wanted : inputs_) {
    const NDArray* const array = find_input(frame, wanted, inputs_.size());
    if (array == nullptr) {
      return Status(
          StatusCode::kInvalidArgument,
          fmt::format("input \"{}\": missing, want {} (got \"{}\"{})", wanted.name, wanted.type_string(),
                      frame.inputs[0].name, frame.inputs.size() > 1 ? ", ..." : ""));
    }
    if (!*array) {
      return Status(StatusCode::kInvalidArgument, fmt::format("input \"{}\": got an empty NDArray, want {}",
                                                              wanted.name, wanted.type_string()));
    }
    // A pending array may get its actual shape only when it is ready; the slot checks that.
    const Shape shape = array->shape();
    const bool shape_known = array->can_read() || shape.is_static();
    if (array->dtype() != wanted.dtype || (shape_known && !wanted.shape.allows(shape))) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("input \"{}\": got {}{}, want {}", wanted.name, dtype_name(array->dtype()),
                                shape.to_string(), wanted.type_string()));
    }
    if (!runtime_core_->backend().reads(array->device())) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("input \"{}\": its memory is on {}, which {} does not read", wanted.name,
                                array->device().to_string(), runtime_core_->backend().device().to_string()));
    }
  }
  if (frame.deadline && *frame.deadline <= options_.clock->now()) {
    return Status(StatusCode::kDeadlineExceeded, "frame: its deadline had passed when it was submitted");
  }
  if (frame.deadline && options_.clock->real()) return runtime_core_->need_timekeeper();
  return Status();
}

Result<Prediction> PredictorCore::submit(Frame&& frame) {
  const Status fits = call_user([&] { return check_fits(frame); });
  INFLIGHT_TRY_ASSIGN(PredictionState* const state, admit(frame, fits));
  // From here on nothing can fail.
  fill(*state, frame);
  Prediction prediction(Ref<PredictionState>::share(state));
  await_inputs(*state);
  return prediction;
}

// A state for a new prediction; null: there is no memory for one.
PredictionState* PredictorCore::take_idle_state() noexcept {
  if (Job* const idle = idle_states_.pop_front()) return static_cast<PredictionState*>(idle);
  try {
    return new PredictionState(inputs_.size(), outputs_, output_pool_.device());
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// Waits until the scheduler has decided or block_timeout is over. Releases the mutex meanwhile. Clang's
// analysis cannot follow a lock that is passed in.
Admission PredictorCore::wait_for_place(MutexLock& lock) noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  const TimePoint until = deadline_after(options_.block_timeout);
  BlockedSubmitter waiter;
  scheduler_.wait_for_place(waiter);
  lock.unlock();
  const bool in_time = waiter.wait_until(&until);
  lock.lock();
  if (in_time) return waiter.decision;
  if (scheduler_.stop_waiting(waiter)) return Admission::kRefuseFull;
  // The decision came at the same time, and the thread that made it is about to wake this one.
  lock.unlock();
  waiter.wait_until(nullptr);
  lock.lock();
  return waiter.decision;
}

// Takes a place and a state for it, or counts a refusal.
Result<PredictionState*> PredictorCore::admit(const Frame& frame, const Status& fits) {
  MutexLock lock(mutex_);
  const auto refuse = [this](const Status& why) INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
    scheduler_.refuse();
    return why;
  };
  if (!fits.ok()) return refuse(fits);
  Admission decision = scheduler_.ask();
  TimePoint expected = TimePoint::max();
  if (options_.refuse_late && frame.deadline &&
      (decision == Admission::kAdmit || decision == Admission::kWait)) {
    expected = scheduler_.forecast(options_.clock->now());
    if (scheduler_.would_be_late(expected, *frame.deadline)) decision = Admission::kRefuseLate;
    if (expected == TimePoint::min()) expected = TimePoint::max();
  }
  const bool waits = decision == Admission::kWait;
  PredictionState* state = nullptr;
  if (waits || decision == Admission::kAdmit) {
    // Before the place is taken: a place cannot be given back without an outcome.
    state = take_idle_state();
    if (state == nullptr) return refuse(Status::out_of_memory("prediction", sizeof(PredictionState)));
  }
  if (waits) {
    decision = wait_for_place(lock);
    if (decision != Admission::kAdmit) idle_states_.push_back(*state);
  }
  switch (decision) {
    case Admission::kAdmit:
      break;
    case Admission::kRefuseUntaken:
      return refuse(untaken_);
    case Admission::kRefuseShuttingDown:
      return refuse(shut_down_);
    case Admission::kRefuseLate:
      scheduler_.refuse_late(options_.clock->now());
      return late_;
    case Admission::kWait:
    case Admission::kRefuseFull:
      scheduler_.refuse_full(options_.clock->now());
      return full_;
  }
  const TimePoint now = options_.clock->now();
  if (waits)
    scheduler_.admit_granted(*state, now);
  else
    scheduler_.admit(*state, now);
  if (!waits) state->expected = expected;
  state->times.due = frame.due.value_or(now);
  state->deadline = frame.deadline.value_or(TimePoint::max());
  return state;
}

void PredictorCore::fill(PredictionState& state, Frame& frame) noexcept {
  state.core = shared_from_this();
  state.tag = frame.tag;
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    state.inputs[i] = *find_input(frame, inputs_[i], inputs_.size());
  frame.inputs.clear();
  state.write = {.op = nullptr, .var = &state, .write = true};
  INFLIGHT_CHECK(state.acquire(state.write));  // a new version: no other code can have claimed it
}

// The completion after which a launch may use the input: that of the input itself or, if a launch on this
// device computes it, that by which the device has that launch.
Completion& PredictorCore::available(const NDArray& input) const noexcept {
  Completion& ready = input.version().completion;
  if (!chains_ || ready.ready()) return ready;
  PredictionState* const source = prediction_of(input);
  const bool follows =
      source != nullptr && source->core->runtime_core_ == runtime_core_ && input.shape().is_static();
  return follows ? source->launched : ready;
}

void PredictorCore::await_inputs(PredictionState& state) noexcept {
  const auto there = [this](const NDArray& input) { return available(input).ready(); };
  if (std::all_of(state.inputs.begin(), state.inputs.end(), there)) {
    enqueue(state);
    return;
  }
  // The count starts one above, so that the last input cannot queue the state before every listener is in
  // place. Until then the state is in no list, so no thread can cancel it and release its inputs.
  state.inputs_to_come.store(static_cast<std::uint32_t>(inputs_.size()) + 1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    PredictionState::InputWaiter& waiter = state.waiters[i];
    state.ref();
    waiter.awaited = &available(state.inputs[i]);
    if (!waiter.awaited->add(waiter)) {
      waiter.awaited = nullptr;
      waiter.completed();
    }
  }
  bool cancelling = false;
  {
    const MutexLock lock(mutex_);
    scheduler_.await_inputs(state);
    runtime_core_->wake_at_changed(wake_at());
    cancelling = cancelling_;
  }
  if (cancelling) cancel(state);  // shutdown() may have looked through the list before
  input_came(state);
}

void PredictionState::InputWaiter::completed() {
  const auto reference = Ref<PredictionState>::adopt(state);
  state->core->input_came(*state);
}

void PredictorCore::input_came(PredictionState& state) noexcept {
  if (state.inputs_to_come.fetch_sub(1, std::memory_order_acq_rel) == 1) enqueue(state);
}

// Puts a prediction whose inputs are ready into the queue, or ends it if an input failed. Does nothing if it
// has ended meanwhile (cancelled, expired).
void PredictorCore::enqueue(PredictionState& state) noexcept {
  Status why;
  Outcome outcome = Outcome::kFailed;
  Doorbell::Wake whom = Doorbell::Wake::kNobody;
  {
    const MutexLock lock(mutex_);
    const bool waited = state.stage == Stage::kAwaitingInputs;
    if (!waited && state.stage != Stage::kAdmitted) return;
    for (const NDArray& input : state.inputs) {
      if (why.ok() && input.can_read()) why = input.status();
    }
    if (why.ok() && cancelling_) {
      why = cancelled();
      outcome = Outcome::kCancelled;
    }
    if (why.ok()) {
      // A frame that waited for an input arrives with that input and not with submit(), so it does not count
      // for the watch.
      const TimePoint now = waited ? options_.clock->now() : state.times.submitted;
      if (!waited) runtime_core_->arrived(*this, now);
      scheduler_.inputs_came(state, now);
      if (scheduler_.can_launch()) whom = runtime_core_->announce(now);
      if (state.deadline != TimePoint::max()) runtime_core_->wake_at_changed(wake_at());
    } else if (waited) {
      scheduler_.withdraw(state);
    }
  }
  if (why.ok()) {
    runtime_core_->wake(whom);  // another thread may own the state by now
    return;
  }
  finish(state, nullptr, outcome, why);
}

}  // namespace inflight::internal
