// SPDX-License-Identifier: Apache-2.0
// From the queue to the end of a prediction, and how callers look and wait. Submission is in submission.cc.
#include "predictor/predictor_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
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

SchedulerOptions scheduler_options(const PredictorOptions& options, const std::vector<DevicePart>& parts,
                                   bool limit_auto) {
  std::vector<SchedulerOptions::OfDevice> devices;
  devices.reserve(parts.size());
  for (const DevicePart& part : parts) devices.push_back({part.slots, part.width, part.offer});
  return {.in_flight_limit = options.in_flight_limit,
          .finished_limit = static_cast<std::size_t>(options.finished_limit),
          .keep_finished = options.keep_finished,
          .policy = options.overload,
          .delivery = options.delivery,
          .devices = std::move(devices),
          .limit_auto = limit_auto};
}

std::vector<std::unique_ptr<DeviceLane>> make_lanes(PredictorCore& core, const PredictorOptions& options,
                                                    const std::vector<DevicePart>& parts, double share) {
  std::vector<std::unique_ptr<DeviceLane>> lanes;
  lanes.reserve(parts.size());
  for (const DevicePart& part : parts)
    lanes.push_back(std::make_unique<DeviceLane>(core, lanes.size(), part, options.weight, share));
  return lanes;
}

PredictionState& state_of(Job& job) { return static_cast<PredictionState&>(job); }

}  // namespace

Status cancelled() { return Status(StatusCode::kCancelled, "cancelled before it started"); }
Status stopped() { return Status(StatusCode::kCancelled, "cancelled while it ran"); }
Status expired() { return Status(StatusCode::kDeadlineExceeded, "its deadline passed before it started"); }

PredictorCore::PredictorCore(PredictorOptions options, std::shared_ptr<RuntimeOwner> runtime,
                             std::vector<DevicePart> parts, bool limit_auto)
    : options_(std::move(options)),
      inputs_(parts[0].program->inputs().begin(), parts[0].program->inputs().end()),
      outputs_(parts[0].program->outputs().begin(), parts[0].program->outputs().end()),
      watch_share_(watch_share(options_) / static_cast<double>(parts.size())),
      lanes_(make_lanes(*this, options_, parts, watch_share_)),
      first_(*lanes_.front()),
      several_(lanes_.size() > 1),
      chains_(!several_ && !first_.launch_blocks() && first_.backend().orders_launches()),
      slots_count_(std::accumulate(parts.begin(), parts.end(), 0,
                                   [](int sum, const DevicePart& part) { return sum + part.slots; })),
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
      runtime_(std::move(runtime)),
      mutex_(first_.runtime().mutex()),
      scheduler_(scheduler_options(options_, parts, limit_auto)) {}

Status PredictorCore::start() {
  slots_.reserve(static_cast<std::size_t>(slots_count_));
  for (const auto& lane : lanes_) {
    Status bound = bind_slots(*lane);
    if (!bound.ok()) return several_ ? bound.with_context(lane->backend().device().to_string()) : bound;
  }
  for (int i = 0; i < options_.in_flight_limit; ++i) {
    auto* const state = new PredictionState(inputs_.size(), outputs_, first_.output_pool().device());
    const MutexLock lock(mutex_);
    idle_states_.push_back(*state);
  }
  for (const auto& lane : lanes_) INFLIGHT_TRY(lane->enter());
  return Status();
}

// Binds and warms up the slots of one device, with memory for their outputs.
Status PredictorCore::bind_slots(DeviceLane& lane) {
  for (int i = 0; i < lane.slots(); ++i) {
    INFLIGHT_TRY_ASSIGN(std::unique_ptr<BoundProgram> bound, lane.program()->bind());
    INFLIGHT_TRY(bound->warm_up());
    // A later launch on the device may hold it for longer than this predictor lives, and it needs its
    // program.
    std::shared_ptr<BoundProgram> shared(
        bound.release(), [program = lane.program()](const BoundProgram* ended) { delete ended; });
    slots_.push_back(std::make_unique<Slot>(lane, std::move(shared)));
  }
  for (const TensorSpec& output : outputs_) {
    if (!output.shape.is_static()) continue;
    INFLIGHT_TRY(lane.output_pool().reserve(output.bytes(), static_cast<std::size_t>(lane.slots())));
  }
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

// ---- For the lanes

Work& PredictorCore::take(std::size_t device, Width width, int thread) noexcept {
  PredictionState& state = state_of(*scheduler_.launch(device, options_.clock->now(), width, thread));
  Slot& slot = *slots_[static_cast<std::size_t>(state.slot)];
  slot.assign(state);
  return slot;
}

TimePoint PredictorCore::wake_at() const noexcept {
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

void PredictorCore::device_lost(std::size_t device, const Status& why) noexcept {
  lost_ = why;
  scheduler_.lose(device, refused_by_loss_);
  nothing_starts_ = nothing_starts_ || scheduler_.all_lost();
}

void PredictorCore::after_loss() noexcept {
  PlaceWaiters refused;
  bool last = false;
  DeviceLane* next = &first_;
  Doorbell::Call call;
  {
    const MutexLock lock(mutex_);
    refused.append(refused_by_loss_);
    last = scheduler_.all_lost();
    // What waits may have been announced on the device that is lost.
    if (scheduler_.can_launch()) {
      next = &lane_of_next();
      call = next->runtime().announce(Doorbell::kLate);
    }
  }
  next->runtime().wake(call);
  wake_granted(refused);
  if (last) end_what_waits();
}

// Ends what has not started: nothing starts any more. A submission that is under way sees nothing_starts_ and ends
// its prediction.
void PredictorCore::end_what_waits() noexcept {
  while (true) {
    Job* job = nullptr;
    Status why = cancelled();
    Outcome outcome = Outcome::kCancelled;
    {
      const MutexLock lock(mutex_);
      job = scheduler_.withdraw_any();
      if (!cancelling_) {
        why = lost_;
        outcome = Outcome::kFailed;
      }
    }
    if (job == nullptr) return;
    finish(state_of(*job), nullptr, outcome, why);
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
  Doorbell::Call call;
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
      call = slot->device().runtime().release(slot->device(), *slot,
                                              ran ? now - state.times.launched : Duration(0));
    }
    publish_end(state, end);
    while (Job* const job = scheduler_.take_superseded()) superseded.push_back(*job);
    raise_event_fd(takeable);
  }
  if (slot != nullptr) slot->device().runtime().wake(call);
  wake_granted(granted);
  finished_.notify_all();
  if (slot != nullptr && !slot->device().launch_blocks() && state.awaited_by_code()) {
    RuntimeCore::before_user_code();
  }
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

std::string PredictorCore::device_description() const {
  std::string text;
  for (const auto& lane : lanes_) text += (text.empty() ? "" : ", ") + lane->backend().device_description();
  return text;
}

std::vector<DeviceStatistics> PredictorCore::device_statistics() const {
  std::vector<DeviceStatistics> all;
  for (const auto& lane : lanes_) {
    all.push_back(
        {lane->backend().device(), lane->backend().device_description(), lane->slots(), 0, 0, Status()});
  }
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].completed = scheduler_.devices()[i].completed;
    all[i].failed = scheduler_.devices()[i].failed;
    all[i].lost = lanes_[i]->why_lost();
  }
  return all;
}

bool PredictorCore::has_place(SchedulerStream& stream) {
  const MutexLock lock(mutex_);
  scheduler_.seen(stream, options_.clock->now());
  switch (scheduler_.ask(stream)) {
    case Admission::kWait:
    case Admission::kRefuseFull:
    case Admission::kRefuseShare:
    case Admission::kRefuseUntaken:
      return false;
    case Admission::kAdmit:
    case Admission::kReplace:
    case Admission::kRefuseLate:
    case Admission::kRefuseShuttingDown:
    case Admission::kRefuseLost:
      return true;
  }
  return true;
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
    nothing_starts_ = nothing_starts_ || cancelling_;
  }
  wake_granted(granted);
  if (how == Shutdown::kCancel) end_what_waits();
  drain();
  {
    // One call ends the slots, the others wait for it.
    MutexLock lock(mutex_);
    while (ending_ == Ending::kNow) finished_.wait(lock);
    if (ending_ == Ending::kDone) return;
    ending_ = Ending::kNow;
  }
  for (const auto& lane : lanes_) lane->leave();
  slots_.clear();
  for (const auto& lane : lanes_) lane->release_program();
  runtime_.reset();
  {
    const MutexLock lock(mutex_);
    ending_ = Ending::kDone;
  }
  finished_.notify_all();
}

}  // namespace inflight::internal
