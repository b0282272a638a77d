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

// The frame's array for an input, or null. Requires as many inputs as the model has.
const NDArray* find_named(const Frame& frame, const TensorSpec& wanted) {
  for (const Frame::Input& input : frame.inputs) {
    if (input.name == wanted.name) return &input.array;
  }
  return nullptr;
}
inline const NDArray* find_input(const Frame& frame, const TensorSpec& wanted) {
  const bool only = frame.inputs.size() == 1 && frame.inputs[0].name.empty();
  return only ? &frame.inputs[0].array : find_named(frame, wanted);
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
    const NDArray* const array = find_input(frame, wanted);
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
    for (const auto& lane : lanes_) {
      if (lane->backend().reads(array->device())) continue;
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("input \"{}\": its memory is on {}, which {} does not read", wanted.name,
                                array->device().to_string(), lane->backend().device().to_string()));
    }
  }
  if (frame.stream && frame.stream.state_->core.get() != this) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("frame: its stream \"{}\" is of another predictor", frame.stream.name()));
  }
  if (frame.deadline && *frame.deadline <= options_.clock->now()) {
    return Status(StatusCode::kDeadlineExceeded, "frame: its deadline had passed when it was submitted");
  }
  if (frame.deadline && options_.clock->real()) return first_.runtime().need_timekeeper();
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
    return new PredictionState(inputs_.size(), outputs_, first_.output_pool().device());
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// A stream of another predictor is none of this one's.
SchedulerStream& PredictorCore::stream_of(const Frame& frame) noexcept {
  StreamState* const stream = frame.stream.state_.get();
  if (stream == nullptr || stream->core.get() != this) return scheduler_.unnamed();
  return *stream;
}

// Waits until the scheduler has decided or the time has come. Releases the mutex meanwhile. Clang's analysis
// cannot follow a lock that is passed in.
Admission PredictorCore::wait_for_place(SchedulerStream& stream, TimePoint until,
                                        MutexLock& lock) noexcept INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
  BlockedSubmitter waiter;
  waiter.stream = &stream;
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

// Counts a refusal, and says why.
const Status& PredictorCore::refusal(Admission decision, SchedulerStream& stream,
                                     const Frame& frame) noexcept {
  const TimePoint now = options_.clock->now();
  switch (decision) {
    case Admission::kRefuseUntaken:
      scheduler_.refuse(stream);
      return untaken_;
    case Admission::kRefuseShuttingDown:
      scheduler_.refuse(stream);
      return shut_down_;
    case Admission::kRefuseLost:
      scheduler_.refuse(stream);
      return lost_;
    case Admission::kRefuseLate:
      scheduler_.refuse_late(stream, now);
      return late_;
    case Admission::kRefuseShare:
      scheduler_.refuse_full(stream, now);
      return share_;
    default:
      scheduler_.refuse_full(stream, now);
      return frame.deadline && *frame.deadline <= now ? too_late_ : full_;
  }
}

// For refuse_late: the decision, or kRefuseLate if the frame would not finish by its deadline.
//   expected   receives when it would finish; max(): nothing was measured yet, or it waits for a place first
Admission PredictorCore::unless_late(Admission decision, const SchedulerStream& stream, const Frame& frame,
                                     TimePoint& expected) noexcept {
  const bool replaces = decision == Admission::kReplace;
  if (decision != Admission::kAdmit && decision != Admission::kWait && !replaces) return decision;
  const Job* const replaced = replaces ? &scheduler_.victim(stream) : nullptr;
  const TimePoint now = options_.clock->now();
  const TimePoint finish = scheduler_.forecast(stream, now, replaced);
  if (scheduler_.would_be_late(now, finish, *frame.deadline)) return Admission::kRefuseLate;
  if (finish != TimePoint::min() && decision != Admission::kWait) expected = finish;
  return decision;
}

// Takes a place and a state for it, or counts a refusal.
Result<PredictionState*> PredictorCore::admit(const Frame& frame, const Status& fits) {
  Dropped dropped;
  auto admitted = [&]() -> Result<PredictionState*> {
    MutexLock lock(mutex_);
    SchedulerStream& stream = stream_of(frame);
    const auto refuse = [&](const Status& why) INFLIGHT_NO_THREAD_SAFETY_ANALYSIS {
      scheduler_.refuse(stream);
      return why;
    };
    if (!fits.ok()) return refuse(fits);
    if (scheduler_.has_streams()) scheduler_.seen(stream, options_.clock->now());
    Admission decision = scheduler_.ask(stream);
    TimePoint expected = TimePoint::max();
    if (options_.refuse_late && frame.deadline) decision = unless_late(decision, stream, frame, expected);
    const bool can = decision == Admission::kAdmit || decision == Admission::kReplace;
    if (!can && decision != Admission::kWait) return refusal(decision, stream, frame);
    // Before the place is taken: a place cannot be given back without an outcome.
    PredictionState* const state = take_idle_state();
    if (state == nullptr) return refuse(Status::out_of_memory("prediction", sizeof(PredictionState)));
    state->stream = &stream;
    TimePoint now;
    if (decision == Admission::kAdmit) {
      now = options_.clock->now();
      scheduler_.admit(*state, now);
    } else if (const Admission came = admit_otherwise(decision, frame, *state, lock, dropped);
               came == Admission::kAdmit) {
      now = state->times.submitted;
    } else {
      idle_states_.push_back(*state);
      return refusal(came, stream, frame);
    }
    state->expected = expected;
    state->times.due = frame.due.value_or(now);
    state->deadline = frame.deadline.value_or(TimePoint::max());
    return state;
  }();
  if (dropped.state != nullptr) end_dropped(dropped);
  return admitted;
}

// Takes the place of another prediction, or waits for a place.
//   dropped   receives the prediction that has ended for this one, for end_dropped()
//   returns   kAdmit, or why not
Admission PredictorCore::admit_otherwise(Admission decision, const Frame& frame, PredictionState& state,
                                         MutexLock& lock, Dropped& dropped) noexcept {
  if (decision == Admission::kReplace) {
    dropped.state = static_cast<PredictionState*>(&scheduler_.victim(*state.stream));
    replace(dropped, state, options_.clock->now());
    return Admission::kAdmit;
  }
  const Admission came = wait_for_place(*state.stream, block_until(frame), lock);
  if (came == Admission::kAdmit) scheduler_.admit_granted(state, options_.clock->now());
  return came;
}

// Gives the place of one prediction to another one, in one step.
void PredictorCore::replace(Dropped& dropped, PredictionState& state, TimePoint now) noexcept {
  const std::size_t takeable = scheduler_.takeable();
  scheduler_.replace(*dropped.state, state, now);
  publish_end(*dropped.state, dropped_);
  dropped.superseded = scheduler_.take_superseded() != nullptr;
  raise_event_fd(takeable);
}

// For how long the frame may wait for a place.
TimePoint PredictorCore::block_until(const Frame& frame) const noexcept {
  const StreamState* const stream = frame.stream.state_.get();
  const TimePoint until =
      deadline_after(stream == nullptr ? options_.block_timeout : stream->options.block_timeout);
  // Only a real clock moves while a thread sleeps.
  return frame.deadline && options_.clock->real() ? std::min(until, *frame.deadline) : until;
}

void PredictorCore::fill(PredictionState& state, Frame& frame) noexcept {
  state.core = shared_from_this();
  state.tag = frame.tag;
  if (frame.stream) state.stream_state = std::move(frame.stream.state_);
  for (std::size_t i = 0; i < inputs_.size(); ++i) state.inputs[i] = *find_input(frame, inputs_[i]);
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
  const bool follows = source != nullptr && source->core->chains_ &&
                       &source->core->first_.runtime() == &first_.runtime() && input.shape().is_static();
  return follows ? source->launched : ready;
}

// Of the device that the next launch is for; of the first, if none has room: then the device that makes room takes
// it.
DeviceLane& PredictorCore::lane_of_next() noexcept {
  std::uint32_t room = 0;
  for (std::size_t i = 0; i < lanes_.size(); ++i) room |= std::uint32_t{lanes_[i]->runtime().has_room()} << i;
  const std::size_t next = scheduler_.next_device(room);
  return next == Scheduler::kNoDevice ? first_ : *lanes_[next];
}

// For the watch: on the stream's own line, if it has one.
void PredictorCore::arrived(const PredictionState& state, DeviceLane& lane, TimePoint now) noexcept {
  StreamState* const stream = state.stream_state.get();
  if (stream != nullptr && stream->line && stream->line->linked()) {
    lane.runtime().arrived(*stream->line, now);
  } else {
    lane.runtime().arrived(lane, now);
  }
}

// Of a keep-latest stream to which several threads submit: what more than one frame waits. It is to end as
// dropped.
PredictionState* PredictorCore::withdraw_overtaken(const SchedulerStream& stream) noexcept {
  Job* const job = scheduler_.overtaken(stream);
  if (job == nullptr) return nullptr;
  scheduler_.withdraw(*job);
  return static_cast<PredictionState*>(job);
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
  bool nothing_starts = false;
  PredictionState* overtaken = nullptr;
  {
    const MutexLock lock(mutex_);
    scheduler_.await_inputs(state);
    overtaken = withdraw_overtaken(*state.stream);
    first_.runtime().wake_at_changed(wake_at());
    nothing_starts = nothing_starts_;
  }
  if (overtaken != nullptr) finish(*overtaken, nullptr, Outcome::kDropped, dropped_);
  if (nothing_starts) end_what_waits();  // it may have looked through the list before
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
  PredictionState* overtaken = nullptr;
  Doorbell::Call call;
  DeviceLane* lane = nullptr;
  {
    const MutexLock lock(mutex_);
    const bool waited = state.stage == Stage::kAwaitingInputs;
    if (!waited && state.stage != Stage::kAdmitted) return;
    for (const NDArray& input : state.inputs) {
      if (why.ok() && input.can_read()) why = input.status();
    }
    if (why.ok() && nothing_starts_) {
      why = cancelling_ ? cancelled() : lost_;
      outcome = cancelling_ ? Outcome::kCancelled : Outcome::kFailed;
    }
    if (why.ok()) {
      // A frame that waited for an input arrives with that input and not with submit(), so it does not count
      // for the watch.
      const TimePoint now = waited ? options_.clock->now() : state.times.submitted;
      lane = several_ ? &lane_of_next() : &first_;
      if (!waited) arrived(state, *lane, now);
      scheduler_.inputs_came(state, now);
      overtaken = withdraw_overtaken(*state.stream);
      if (scheduler_.can_launch()) call = lane->runtime().announce(now);
      if (state.deadline != TimePoint::max()) first_.runtime().wake_at_changed(wake_at());
    } else if (waited) {
      scheduler_.withdraw(state);
    }
  }
  if (why.ok()) {
    lane->runtime().wake(call);  // another thread may own the state by now
    if (overtaken != nullptr) finish(*overtaken, nullptr, Outcome::kDropped, dropped_);
    return;
  }
  finish(state, nullptr, outcome, why);
}

}  // namespace inflight::internal
