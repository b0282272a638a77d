// SPDX-License-Identifier: Apache-2.0
// From the queue to the end of a prediction, and how callers look and wait. Submission is in submission.cc.
#include "predictor/predictor_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/scheduling.h"
#include "base/user_code.h"
#include "engine/start.h"

namespace inflight::internal {
namespace {

// Arrivals are times of the predictor's clock, and a watcher sleeps on the real one, so there is a watch only
// if both are the same. On one processor a watcher would only delay the submitting thread.
double watch_share(const PredictorOptions& options) {
  return options.clock->real() && usable_processors() > 1 ? options.watch_share : 0;
}

SchedulerOptions scheduler_options(const PredictorOptions& options, int slots, bool limit_auto) {
  return {.in_flight_limit = options.in_flight_limit,
          .finished_limit = static_cast<std::size_t>(options.finished_limit),
          .keep_finished = options.keep_finished,
          .policy = options.overload,
          .delivery = options.delivery,
          .width = options.width,
          .slots = slots,
          .limit_auto = limit_auto};
}

PredictionState& state_of(Job& job) { return static_cast<PredictionState&>(job); }

}  // namespace

Status cancelled() { return Status(StatusCode::kCancelled, "cancelled before it started"); }
Status stopped() { return Status(StatusCode::kCancelled, "cancelled while it ran"); }
Status expired() { return Status(StatusCode::kDeadlineExceeded, "its deadline passed before it started"); }

PredictorCore::PredictorCore(PredictorOptions options, std::shared_ptr<RuntimeOwner> runtime,
                             std::shared_ptr<Program> program, int units, int slots, bool limit_auto)
    : Lane(options.weight, watch_share(options)),
      options_(std::move(options)),
      inputs_(program->inputs().begin(), program->inputs().end()),
      outputs_(program->outputs().begin(), program->outputs().end()),
      runtime_core_(runtime->core()),
      launch_blocks_(runtime_core_->backend().launch_blocks()),
      chains_(!launch_blocks_ && runtime_core_->backend().orders_launches()),
      slots_count_(slots),
      full_(StatusCode::kOverloaded,
            limit_auto ? std::string("as many predictions are in flight as the automatic limit allows")
                       : fmt::format("{0} of {0} predictions are in flight", options_.in_flight_limit)),
      untaken_(
          StatusCode::kOverloaded,
          fmt::format("{} finished predictions wait for take_finished(), as many as may; a caller that reads "
                      "its handles instead clears keep_finished",
                      options_.finished_limit)),
      share_(StatusCode::kOverloaded, "the stream has as many predictions in flight as it may have"),
      streams_full_(StatusCode::kOverloaded,
                    fmt::format("{0} of {0} streams are open", Predictor::kStreamsMax)),
      too_late_(StatusCode::kDeadlineExceeded, "frame: its deadline passed while it waited for a place"),
      dropped_(StatusCode::kOverloaded, "dropped for another frame before it started"),
      late_(StatusCode::kOverloaded,
            "by the service times so far, the frame would finish after its deadline; retry_after() with the "
            "time to the deadline says when it would not"),
      shut_down_(StatusCode::kShuttingDown, "the predictor has been shut down"),
      watch_share_(watch_share(options_)),
      output_pool_(runtime_core_->backend().output_allocator()),
      runtime_(std::move(runtime)),
      program_(std::move(program)),
      mutex_(runtime_core_->mutex()),
      units_(units),
      scheduler_(scheduler_options(options_, slots, limit_auto)) {}

Status PredictorCore::start() {
  slots_.reserve(static_cast<std::size_t>(slots_count_));
  for (int i = 0; i < slots_count_; ++i) {
    INFLIGHT_TRY_ASSIGN(std::unique_ptr<BoundProgram> bound, program_->bind());
    INFLIGHT_TRY(bound->warm_up());
    // A later launch on the device may hold it for longer than this predictor lives, and it needs its
    // program.
    std::shared_ptr<BoundProgram> shared(bound.release(),
                                         [program = program_](const BoundProgram* ended) { delete ended; });
    slots_.push_back(std::make_unique<Slot>(*this, *program_, std::move(shared)));
  }
  for (int i = 0; i < options_.in_flight_limit; ++i) {
    auto* const state = new PredictionState(inputs_.size(), outputs_, output_pool_.device());
    const MutexLock lock(mutex_);
    idle_states_.push_back(*state);
  }
  for (const TensorSpec& output : outputs_) {
    if (!output.shape.is_static()) continue;
    INFLIGHT_TRY(output_pool_.reserve(output.bytes(), static_cast<std::size_t>(slots_count_)));
  }
  runtime_core_->enter(*this);
  entered_ = true;
  return Status();
}

PredictorCore::~PredictorCore() {
  INFLIGHT_CHECK(slots_.empty());
  while (Job* const job = idle_states_.pop_front()) state_of(*job).dispose();
}

void PredictorCore::recycle(PredictionState* state) noexcept {
  state->recycle();
  const MutexLock lock(mutex_);
  idle_states_.push_back(*state);
}

// ---- As a lane of the runtime

bool PredictorCore::can_launch() const noexcept {
  mutex_.assert_held();
  return scheduler_.can_launch();
}

int PredictorCore::next_units(bool alone) noexcept {
  mutex_.assert_held();
  next_width_ = scheduler_.next_width(options_.clock->now(), alone);
  return options_.width == WidthPolicy::kElastic && next_width_ == Width::kWide ? runtime_core_->capacity()
                                                                                : units_;
}

Work& PredictorCore::take() noexcept {
  mutex_.assert_held();
  PredictionState& state = state_of(*scheduler_.launch(options_.clock->now(), next_width_));
  Slot& slot = *slots_[static_cast<std::size_t>(state.slot)];
  slot.assign(state);
  return slot;
}

TimePoint PredictorCore::wake_at() const noexcept {
  mutex_.assert_held();
  // Only a real clock moves while a thread sleeps.
  return options_.clock->real() ? scheduler_.wake_at().value_or(TimePoint::max()) : TimePoint::max();
}

void PredictorCore::time_passed() noexcept {
  while (true) {
    PredictionState* state = nullptr;
    {
      const MutexLock lock(mutex_);
      Job* const job = scheduler_.expire(options_.clock->now());
      if (job == nullptr) return;
      state = &state_of(*job);
    }
    finish(*state, nullptr, Outcome::kExpired, expired());
  }
}

// ---- The end

bool PredictorCore::cancel(PredictionState& state) {
  std::shared_ptr<BoundProgram> bound;
  std::uint64_t generation = 0;
  {
    const MutexLock lock(mutex_);
    if (state.stage == Stage::kRunning) {
      const Slot& slot = *slots_[static_cast<std::size_t>(state.slot)];
      if (!slot.bound()->can_stop()) return false;
      if (std::exchange(state.stopping, true)) return true;
      bound = slot.bound();
      generation = slot.generation;
    } else if (!scheduler_.withdraw(state)) {
      return false;
    }
  }
  if (bound != nullptr) {
    bound->stop(generation);
  } else {
    finish(state, nullptr, Outcome::kCancelled, cancelled());
  }
  return true;
}

void PredictorCore::release_inputs(PredictionState& state) noexcept {
  for (std::size_t i = 0; i < state.inputs.size(); ++i) {
    PredictionState::InputWaiter& waiter = state.waiters[i];
    if (Completion* const awaited = std::exchange(waiter.awaited, nullptr);
        awaited != nullptr && awaited->remove(waiter)) {
      state.unref();
    }
  }
  for (NDArray& input : state.inputs) input = NDArray();
}

void PredictorCore::finish(PredictionState& state, Slot* slot, Outcome outcome,
                           const Status& status) noexcept {
  // The core's reference to a prediction in flight: it ends here, or goes on for what is kept to be taken.
  auto reference = Ref<PredictionState>::adopt(&state);
  release_inputs(state);
  const TimePoint now = options_.clock->now();
  PlaceWaiters granted;
  List<Job> superseded;
  Doorbell::Wake whom = Doorbell::Wake::kNobody;
  Status end = status;
  {
    const MutexLock lock(mutex_);
    if (state.stopping) {
      outcome = Outcome::kCancelled;
      end = stopped();
    }
    const std::size_t takeable = scheduler_.takeable();
    scheduler_.finished(state, outcome, now, granted);
    state.bound.reset();
    if (slot != nullptr) {
      const bool ran = state.times.launched != TimePoint();
      whom = runtime_core_->release(*this, *slot, ran ? now - state.times.launched : Duration(0));
    }
    publish_end(state, end);
    while (Job* const job = scheduler_.take_superseded()) superseded.push_back(*job);
    raise_event_fd(takeable);
  }
  runtime_core_->wake(whom);
  wake_granted(granted);
  finished_.notify_all();
  notify_end(state, end);
  while (Job* const job = superseded.pop_front()) Ref<PredictionState>::adopt(&state_of(*job));
}

// Published under the lock, notified after it: a thread that sees the result also sees its place free and the
// counts settled.
void PredictorCore::publish_end(PredictionState& state, const Status& status) noexcept {
  if (chains_ && !state.launched.ready()) {
    state.launch_failed = true;
    state.launched.publish(status);
  }
  state.completion.publish(status);
  if (options_.keep_finished) Ref<PredictionState>::share(&state).release();
}

// Under the lock, so that the descriptor shows at every instant what take_finished() would find.
void PredictorCore::raise_event_fd(std::size_t takeable_before) noexcept {
  if (takeable_before == 0 && scheduler_.takeable() > 0) event_fd_.raise();
}

void PredictorCore::notify_end(PredictionState& state, const Status& status) noexcept {
  if (state.launch_failed) state.launched.notify(&state);
  state.completion.notify(&state);
  release_and_start(state.write, status);
}

// The rest of the end of a prediction whose place another one has taken, as part of that one's admission: its
// inputs are released after its end shows, since its submitter's lock is held until then.
void PredictorCore::end_dropped(const Dropped& dropped) noexcept {
  PredictionState& state = *dropped.state;
  const auto reference = Ref<PredictionState>::adopt(&state);
  if (dropped.superseded) Ref<PredictionState>::adopt(&state);  // what would have been handed out
  release_inputs(state);
  finished_.notify_all();
  notify_end(state, dropped_);
}

// ---- Looking and waiting

void PredictorCore::take_finished(std::vector<Prediction>& finished) {
  finished.clear();
  const MutexLock lock(mutex_);
  if (scheduler_.takeable() == 0) return;
  finished.reserve(scheduler_.takeable());  // the last step that can fail
  event_fd_.lower();
  while (Job* const job = scheduler_.take()) {
    finished.emplace_back(Ref<PredictionState>::adopt(&state_of(*job)));
  }
}

void PredictorCore::discard_finished() noexcept {
  while (true) {
    Ref<PredictionState> untaken;
    const MutexLock lock(mutex_);
    Job* const job = scheduler_.take();
    if (job == nullptr) return;
    untaken = Ref<PredictionState>::adopt(&state_of(*job));  // released after the lock
  }
}

bool PredictorCore::wait_any(const TimePoint* until) {
  MutexLock lock(mutex_);
  while (scheduler_.takeable() == 0 && scheduler_.statistics().in_flight > 0) {
    if (until == nullptr) {
      finished_.wait(lock);
    } else if (!finished_.wait_until(lock, *until)) {
      break;
    }
  }
  return scheduler_.takeable() > 0;
}

Result<int> PredictorCore::event_fd() {
  if (!options_.keep_finished) {
    return Status(StatusCode::kUnsupported,
                  "event_fd: keep_finished is not set, so nothing is ever there to be taken");
  }
  const MutexLock lock(mutex_);
  return event_fd_.open(scheduler_.takeable() > 0);
}

void PredictorCore::close_event_fd() {
  const MutexLock lock(mutex_);
  event_fd_.close();
}

void PredictorCore::drain() {
  MutexLock lock(mutex_);
  while (scheduler_.statistics().in_flight > 0) finished_.wait(lock);
}

Statistics PredictorCore::statistics() const {
  const MutexLock lock(mutex_);
  return scheduler_.statistics();
}

Statistics PredictorCore::statistics(const SchedulerStream& stream) const {
  const MutexLock lock(mutex_);
  return scheduler_.statistics(stream);
}

StageLatencies PredictorCore::latencies() const {
  const MutexLock lock(mutex_);
  return scheduler_.latencies();
}

Duration PredictorCore::retry_after() const {
  const MutexLock lock(mutex_);
  return scheduler_.retry_after(options_.clock->now());
}

Duration PredictorCore::retry_after(Duration within) {
  const MutexLock lock(mutex_);
  return scheduler_.retry_after(options_.clock->now(), within);
}

void PredictorCore::shutdown(Shutdown how) {
  PlaceWaiters granted;
  {
    const MutexLock lock(mutex_);
    scheduler_.shut_down(granted);
    cancelling_ = cancelling_ || how == Shutdown::kCancel;
  }
  wake_granted(granted);
  // A submission that is under way sees cancelling_ and cancels its prediction.
  while (how == Shutdown::kCancel) {
    Job* job = nullptr;
    {
      const MutexLock lock(mutex_);
      job = scheduler_.withdraw_any();
    }
    if (job == nullptr) break;
    finish(state_of(*job), nullptr, Outcome::kCancelled, cancelled());
  }
  drain();
  {
    // One call ends the slots, the others wait for it.
    MutexLock lock(mutex_);
    while (ending_ == Ending::kNow) finished_.wait(lock);
    if (ending_ == Ending::kDone) return;
    ending_ = Ending::kNow;
  }
  if (entered_) runtime_core_->leave(*this);
  slots_.clear();
  program_.reset();
  runtime_.reset();
  {
    const MutexLock lock(mutex_);
    ending_ = Ending::kDone;
  }
  finished_.notify_all();
}

}  // namespace inflight::internal
