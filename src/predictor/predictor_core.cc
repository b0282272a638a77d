// SPDX-License-Identifier: Apache-2.0
#include "predictor/predictor_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/scheduling.h"
#include "engine/start.h"

namespace inflight::internal {
namespace {

// The arrivals are told on the predictor's clock, and the watcher sleeps on the real one: only where both are
// the same is there a watch. On one processor it would only stand in the way of whoever submits.
double watch_share(const PredictorOptions& options) {
  return options.clock->real() && usable_processors() > 1 ? options.watch_share : 0;
}

}  // namespace

void PredictionState::destroy() noexcept {
  // The share in the core goes last: it may be what keeps the pool.
  const std::shared_ptr<PredictorCore> keep = std::move(core);
  keep->recycle(this);
}

void PredictionState::InputWaiter::completed() {
  const auto share = Ref<PredictionState>::adopt(state);
  state->core->input_came(*state);
}

PredictorCore::PredictorCore(PredictorOptions options, std::shared_ptr<Backend> backend,
                             std::shared_ptr<Program> program)
    : options_(std::move(options)),
      inputs_(program->inputs().begin(), program->inputs().end()),
      outputs_(program->outputs().begin(), program->outputs().end()),
      backend_(std::move(backend)),
      program_(std::move(program)),
      full_(StatusCode::kOverloaded,
            fmt::format("{0} of {0} predictions are in flight", options_.in_flight_limit)),
      untaken_(
          StatusCode::kOverloaded,
          fmt::format("{} finished predictions wait for take_finished(), as many as may; a caller that reads "
                      "its handles instead clears keep_finished",
                      options_.finished_limit)),
      shut_down_(StatusCode::kShuttingDown, "the predictor has been shut down"),
      arrivals_(watch_share(options_)) {}

PredictorCore::~PredictorCore() {
  INFLIGHT_CHECK(threads_.empty() && done_.empty());
  for (PredictionState* state : idle_states_) state->dispose();
}

void PredictorCore::recycle(PredictionState* state) noexcept {
  for (ArrayValue& value : state->values) value.take_buffer();
  state->recycle();
  const std::lock_guard lock(mutex_);
  idle_states_.push_back(state);
}

// ---- Submission
// ----------------------------------------------------------------------------------------------

namespace {

// The frame's array for an input, or null.
const NDArray* find_input(const Frame& frame, const TensorSpec& wanted, std::size_t count) {
  for (const Frame::Input& input : frame.inputs) {
    if (input.name == wanted.name || (count == 1 && input.name.empty())) return &input.array;
  }
  return nullptr;
}

constexpr int kLockSpins = 128;  // 2 to 5 us

Status cancelled() { return Status(StatusCode::kCancelled, "cancelled before it started"); }

}  // namespace

Status PredictorCore::check_fits(const Frame& frame) const {
  if (frame.inputs.size() != inputs_.size()) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("frame: got {} inputs, want {}", frame.inputs.size(), inputs_.size()));
  }
  for (const TensorSpec& wanted : inputs_) {
    const NDArray* array = find_input(frame, wanted, inputs_.size());
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
    // An array that is still to come may tell its shape only then; the slot looks again.
    const bool shape_known = array->can_read() || array->shape().is_static();
    if (array->dtype() != wanted.dtype || (shape_known && array->shape() != wanted.shape)) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("input \"{}\": got {}{}, want {}", wanted.name, dtype_name(array->dtype()),
                                array->shape().to_string(), wanted.type_string()));
    }
  }
  return Status();
}

// The lock, for submit(). It is held for some tens of instructions, mostly; who goes to sleep for it has to
// be woken, which takes a hundred times as long.
PredictorCore::Lock PredictorCore::lock_awake() {
  for (int spins = 0; spins < kLockSpins; ++spins) {
    if (mutex_.try_lock()) return {mutex_, std::adopt_lock};
    SpinLock::pause();
  }
  return Lock(mutex_);
}

// Takes a place and a state for it, or counts a refusal.
Result<PredictionState*> PredictorCore::admit(const Status& fits) {
  const TimePoint until = deadline_after(options_.block_timeout);
  bool may_wait = true;
  Lock lock = lock_awake();
  while (true) {
    const auto refuse = [&](const Status& why) {
      ++statistics_.submitted;
      ++statistics_.rejected;
      return why;
    };
    if (!fits.ok()) return refuse(fits);
    switch (decide({.in_flight = static_cast<int>(statistics_.in_flight),
                    .in_flight_limit = options_.in_flight_limit,
                    .untaken = untaken_count_,
                    .finished_limit = static_cast<std::size_t>(options_.finished_limit),
                    .policy = options_.overload,
                    .may_wait = may_wait,
                    .shutting_down = shutting_down_})) {
      case Admission::kRefuseFull:
        return refuse(full_);
      case Admission::kRefuseUntaken:
        return refuse(untaken_);
      case Admission::kRefuseShuttingDown:
        return refuse(shut_down_);
      case Admission::kWait:
        may_wait = place_.wait_until(lock, until) == std::cv_status::no_timeout;
        continue;
      case Admission::kAdmit:
        break;
    }
    break;
  }
  ++statistics_.submitted;
  ++statistics_.in_flight;
  statistics_.in_flight_max = std::max(statistics_.in_flight_max, statistics_.in_flight);
  PredictionState* state = nullptr;
  if (idle_states_.empty()) {
    state = new PredictionState(inputs_.size());
  } else {
    state = idle_states_.back();
    idle_states_.pop_back();
  }
  state->id = next_id_++;
  return state;
}

void PredictorCore::fill(PredictionState& state, Frame& frame) {
  state.core = shared_from_this();
  state.tag = frame.tag;
  state.times = {};
  state.times.submitted = options_.clock->now();
  state.times.due = frame.due.value_or(state.times.submitted);
  state.values.resize(outputs_.size());
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    state.values[i] = ArrayValue(outputs_[i].dtype, outputs_[i].shape);
  }
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    state.inputs[i] = *find_input(frame, inputs_[i], inputs_.size());
  frame.inputs.clear();
  state.write = {.op = nullptr, .var = &state, .write = true};
  INFLIGHT_CHECK(state.acquire(state.write));  // a new version: nobody else can have claimed it
}

Result<Prediction> PredictorCore::submit(Frame&& frame) {
  INFLIGHT_TRY_ASSIGN(PredictionState* const state, admit(check_fits(frame)));
  fill(*state, frame);
  Prediction prediction(Ref<PredictionState>::share(state));
  await_inputs(*state);
  return prediction;
}

void PredictorCore::await_inputs(PredictionState& state) {
  const auto there = [](const NDArray& input) { return input.can_read(); };
  if (std::all_of(state.inputs.begin(), state.inputs.end(), there)) {
    enqueue(state, Stage::kAdmitted);
    return;
  }
  // The count starts one above, so that nothing happens before every listener is in place; until then the
  // state is in no list, so that nobody can cancel it and take its inputs away meanwhile.
  state.inputs_to_come.store(static_cast<std::uint32_t>(inputs_.size()) + 1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    state.ref();
    if (!state.inputs[i].version().completion.add(state.waiters[i])) state.waiters[i].completed();
  }
  bool cancelling = false;
  {
    const Lock lock(mutex_);
    state.stage = Stage::kAwaitingInputs;
    awaiting_.push_back(&state);
    cancelling = cancelling_;
  }
  input_came(state);
  if (cancelling) cancel(state);  // shutdown() may have looked through the list before
}

void PredictorCore::input_came(PredictionState& state) {
  if (state.inputs_to_come.fetch_sub(1, std::memory_order_acq_rel) == 1)
    enqueue(state, Stage::kAwaitingInputs);
}

// Moves a prediction whose inputs are there on: to the queue, or to its end where an input failed. Does
// nothing where it has left `stage` meanwhile (cancelled).
void PredictorCore::enqueue(PredictionState& state, Stage stage) {
  Status why;
  bool queued = false;
  Wake whom = Wake::kOther;
  {
    const Lock lock = lock_awake();
    if (state.stage != stage) return;
    // What waited for an input comes when that does, and then it is not submit() that wakes.
    if (stage == Stage::kAwaitingInputs)
      awaiting_.remove(&state);
    else
      arrivals_.arrived(state.times.submitted);
    for (const NDArray& input : state.inputs) {
      if (why.ok()) why = input.status();
    }
    queued = why.ok() && !cancelling_;
    state.stage = queued ? Stage::kQueued : Stage::kDone;
    if (queued) {
      queued_.push_back(&state);
      whom = choose_wake(state.times.submitted);
    }
  }
  if (queued) {
    wake(whom);  // from here on the state is another thread's
    return;
  }
  if (why.ok()) {
    finish(state, nullptr, Outcome::kCancelled, cancelled());
  } else {
    finish(state, nullptr, Outcome::kFailed, why);
  }
}

// For a frame that has just been queued, under the same lock. No wake-up is lost: the holder of the watch,
// and everybody who is not asleep in work_, looks into the queue under the lock before sleeping (again).
PredictorCore::Wake PredictorCore::choose_wake(TimePoint now) {
  if (!watch_held_ || watch_called_) return Wake::kOther;
  watch_called_ = true;
  // Waking it costs the caller 25 to 60 us, and the whole prediction where the host runs both processors on
  // one.
  const bool long_asleep = watch_from_ > now + ArrivalWatch::kNap;
  return long_asleep ? Wake::kWatchAsleep : Wake::kWatchAwake;
}

// After the lock has been released, which the one who wakes takes next.
void PredictorCore::wake(Wake whom) {
  switch (whom) {
    case Wake::kWatchAwake:
      watch_call_.store(true, std::memory_order_release);
      return;
    case Wake::kWatchAsleep:
      watch_.notify_one();
      return;
    case Wake::kOther:
      work_.notify_one();
      return;
  }
}

// ---- The end
// -------------------------------------------------------------------------------------------------

// Takes a prediction that has not started out of its list. True: it is the caller's to finish.
bool PredictorCore::give_up(PredictionState& state, Stage stage) {
  const Lock lock(mutex_);
  if (state.stage != stage) return false;
  (stage == Stage::kQueued ? queued_ : awaiting_).remove(&state);
  state.stage = Stage::kDone;
  return true;
}

bool PredictorCore::cancel(PredictionState& state) {
  if (!give_up(state, Stage::kQueued) && !give_up(state, Stage::kAwaitingInputs)) return false;
  finish(state, nullptr, Outcome::kCancelled, cancelled());
  return true;
}

void PredictorCore::let_go_of_inputs(PredictionState& state) {
  for (std::size_t i = 0; i < state.inputs.size(); ++i) {
    if (state.inputs[i].version().completion.remove(state.waiters[i])) state.unref();
  }
  for (NDArray& input : state.inputs) input = NDArray();
}

void PredictorCore::finish(PredictionState& state, Slot* slot, Outcome outcome, const Status& status) {
  // The core's share in a prediction in flight: it ends here, or becomes that of done_.
  auto share = Ref<PredictionState>::adopt(&state);
  const std::shared_ptr<PredictorCore> keep = state.core;
  let_go_of_inputs(state);
  state.times.finished = options_.clock->now();
  state.outcome = outcome;
  {
    const Lock lock(mutex_);
    state.stage = Stage::kDone;
    --statistics_.in_flight;
    switch (outcome) {
      case Outcome::kCompleted:
        ++statistics_.completed;
        break;
      case Outcome::kFailed:
        ++statistics_.failed;
        break;
      case Outcome::kCancelled:
        ++statistics_.cancelled;
        break;
      default:
        check_failed("outcome of an admitted frame", __FILE__, __LINE__);
    }
    if (slot != nullptr) {
      slot->current = nullptr;
      free_slots_.push_back(slot);
    }
    if (outcome == Outcome::kCompleted) {
      const Duration service = state.times.finished - state.times.launched;
      service_mean_ += (service - service_mean_) / 8;
    }
    // Published inside, told outside: whoever sees the result also sees its place free and the books settled.
    state.completion.publish(status);
    if (options_.keep_finished) {
      done_.push_back(Ref<PredictionState>(share).release());
      // Inside, so that the descriptor says at every instant what take_finished() would find.
      if (untaken_count_++ == 0) event_fd_.raise();
    }
  }
  place_.notify_one();
  finished_.notify_all();
  if (slot != nullptr) work_.notify_one();
  state.completion.tell();
  release_and_start(state.write, status);
}

// ---- Looking and waiting
// -------------------------------------------------------------------------------------

void PredictorCore::take_finished(std::vector<Prediction>& finished) {
  finished.clear();
  const Lock lock(mutex_);
  if (untaken_count_ > 0) event_fd_.lower();
  for (; untaken_count_ > 0; --untaken_count_) {
    finished.emplace_back(Ref<PredictionState>::adopt(done_.pop_front()));
  }
}

bool PredictorCore::wait_any(const TimePoint* until) {
  Lock lock(mutex_);
  const auto enough = [this] { return untaken_count_ > 0 || statistics_.in_flight == 0; };
  if (until == nullptr) {
    finished_.wait(lock, enough);
  } else {
    finished_.wait_until(lock, *until, enough);
  }
  return untaken_count_ > 0;
}

Result<int> PredictorCore::event_fd() {
  if (!options_.keep_finished) {
    return Status(StatusCode::kUnsupported,
                  "event_fd: keep_finished is not set, so nothing is ever there to be taken");
  }
  const Lock lock(mutex_);
  return event_fd_.open(untaken_count_ > 0);
}

void PredictorCore::close_event_fd() {
  const Lock lock(mutex_);
  event_fd_.close();
}

void PredictorCore::drain() {
  Lock lock(mutex_);
  finished_.wait(lock, [this] { return statistics_.in_flight == 0; });
}

Statistics PredictorCore::statistics() const {
  const Lock lock(mutex_);
  return statistics_;
}

Duration PredictorCore::retry_after() const {
  const Lock lock(mutex_);
  if (statistics_.in_flight < static_cast<std::uint64_t>(options_.in_flight_limit)) return Duration(0);
  return service_mean_ / slots_count_;
}

void PredictorCore::shutdown(Shutdown how) {
  {
    const Lock lock(mutex_);
    shutting_down_ = true;
    cancelling_ = cancelling_ || how == Shutdown::kCancel;
  }
  place_.notify_all();
  while (how == Shutdown::kCancel) {
    Ref<PredictionState> next;
    {
      const Lock lock(mutex_);
      PredictionState* const first = queued_.front() != nullptr ? queued_.front() : awaiting_.front();
      if (first == nullptr) break;
      next = Ref<PredictionState>::share(first);
    }
    if (!cancel(*next)) std::this_thread::yield();  // it started, or is just being admitted
  }
  drain();
  const std::lock_guard ending(ending_mutex_);
  {
    const Lock lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  watch_.notify_all();
  watch_call_.store(true, std::memory_order_release);
  {
    const std::lock_guard lock(launched_mutex_);
    polling_ends_ = true;
  }
  launched_wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  slots_.clear();
  program_.reset();
}

}  // namespace inflight::internal
