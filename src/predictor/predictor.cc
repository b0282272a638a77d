// SPDX-License-Identifier: Apache-2.0
#include "inflight/predictor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/scheduling.h"
#include "base/user_code.h"
#include "base/words.h"
#include "inflight/completion_queue.h"
#include "predictor/predictor_core.h"

namespace inflight {

using internal::DevicePart;
using internal::PredictionState;
using internal::PredictorCore;
using internal::Ref;

namespace {

using internal::Word;

constexpr std::array<Word<Outcome>, 7> kOutcomes = {{{Outcome::kPending, "pending"},
                                                     {Outcome::kCompleted, "completed"},
                                                     {Outcome::kFailed, "failed"},
                                                     {Outcome::kRejected, "rejected"},
                                                     {Outcome::kDropped, "dropped"},
                                                     {Outcome::kExpired, "expired"},
                                                     {Outcome::kCancelled, "cancelled"}}};
constexpr std::array<Word<WidthPolicy>, 3> kWidthPolicies = {
    {{WidthPolicy::kElastic, "elastic"}, {WidthPolicy::kWide, "wide"}, {WidthPolicy::kNarrow, "narrow"}}};
constexpr std::array<Word<LimitReason>, 3> kLimitReasons = {
    {{LimitReason::kFixed, "fixed"}, {LimitReason::kMeasuring, "measuring"}, {LimitReason::kKnee, "knee"}}};

}  // namespace

std::string_view outcome_name(Outcome outcome) { return internal::word_of<Outcome>(outcome, kOutcomes); }
std::string_view limit_reason_name(LimitReason reason) {
  return internal::word_of<LimitReason>(reason, kLimitReasons);
}
std::string_view width_policy_name(WidthPolicy policy) {
  return internal::word_of<WidthPolicy>(policy, kWidthPolicies);
}
Result<WidthPolicy> parse_width_policy(std::string_view text) {
  return internal::parse_word<WidthPolicy>("width", text, kWidthPolicies);
}

// ---- Prediction

Prediction::Prediction() noexcept = default;
Prediction::Prediction(Ref<PredictionState> state) noexcept
    : state_(std::move(state)), completion_(&state_->completion) {}
Prediction::Prediction(const Prediction&) noexcept = default;
Prediction::Prediction(Prediction&&) noexcept = default;
Prediction& Prediction::operator=(Prediction other) noexcept {
  std::swap(state_, other.state_);
  std::swap(completion_, other.completion_);
  return *this;
}
Prediction::~Prediction() = default;

std::uint64_t Prediction::id() const noexcept { return state_->id; }
std::uint64_t Prediction::tag() const noexcept { return state_->tag; }
Stream Prediction::stream() const noexcept { return Stream(state_->stream_state); }
Outcome Prediction::outcome() const noexcept { return can_read() ? state_->outcome : Outcome::kPending; }
std::size_t Prediction::output_count() const noexcept { return state_->values.size(); }

Status Prediction::status() const {
  if (!can_read()) return Status(StatusCode::kNotReady, "the prediction has not finished yet");
  return completion_->status();
}

NDArray Prediction::output(std::size_t index) const {
  INFLIGHT_CHECK(index < output_count());
  return NDArray(state_, index);
}

Result<NDArray> Prediction::output(std::string_view name) const {
  const auto specs = state_->core->outputs();
  std::string names;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name == name) return output(i);
    names += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", specs[i].name);
  }
  return Status(StatusCode::kNotFound, fmt::format("output \"{}\": the model has {}", name, names));
}

Width Prediction::width() const noexcept { return can_read() ? state_->width : Width::kNarrow; }

int Prediction::slot() const noexcept {
  return can_read() && state_->times.launched != TimePoint() ? state_->slot : -1;
}

PredictionTimes Prediction::times() const noexcept {
  if (can_read()) return state_->times;
  PredictionTimes so_far;  // the rest is being written
  so_far.due = state_->times.due;
  so_far.submitted = state_->times.submitted;
  return so_far;
}

Status Prediction::wait() const {
  completion_->wait();
  return completion_->status();
}

Status Prediction::wait_for(Duration timeout) const { return wait_until(deadline_after(timeout)); }

Status Prediction::wait_until(TimePoint when) const {
  if (!completion_->wait_until(when)) {
    return Status(StatusCode::kDeadlineExceeded, "the prediction did not finish in time");
  }
  return completion_->status();
}

internal::Version& Prediction::version() const noexcept { return *state_; }

bool Prediction::cancel() const { return !can_read() && state_->core->cancel(*state_); }

// It is here because src/ndarray does not know predictions.
void CompletionQueue::add(const Prediction& prediction, std::uint64_t tag) {
  add_version(prediction.version(), tag);
}

// ---- Predictor

namespace {

Status check_bounds(std::string_view what, int got, int low, int high) {
  if (got >= low && got <= high) return Status();
  return Status(StatusCode::kInvalidArgument, fmt::format("{}: got {}, want {} to {}", what, got, low, high));
}

Status check_weight(double weight) {
  if (weight > 0 && weight <= Predictor::kWeightMax) return Status();
  return Status(StatusCode::kInvalidArgument,
                fmt::format("weight: got {}, want above 0, to {}", weight, Predictor::kWeightMax));
}

Status check_options(const StreamOptions& options, int in_flight_limit) {
  INFLIGHT_TRY(check_bounds("in_flight_limit", options.in_flight_limit, 0, in_flight_limit));
  INFLIGHT_TRY(check_bounds("priority", options.priority, Predictor::kPriorityMin, Predictor::kPriorityMax));
  if (options.block_timeout < Duration(0)) {
    return Status(StatusCode::kInvalidArgument, "block_timeout: got a negative time, want 0 or more");
  }
  return check_weight(options.weight);
}

Status check_delivery(Delivery delivery, bool keep_finished) {
  if (delivery == Delivery::kAsCompleted || keep_finished) return Status();
  return Status(StatusCode::kInvalidArgument,
                fmt::format("delivery: got {} without keep_finished, so nothing is handed out; want {}",
                            delivery_name(delivery), delivery_name(Delivery::kAsCompleted)));
}

Status check_options(const PredictorOptions& options) {
  if (options.in_flight_limit != Predictor::kInFlightLimitAuto) {
    INFLIGHT_TRY(check_bounds("in_flight_limit", options.in_flight_limit, 1, Predictor::kInFlightLimitMax));
  }
  INFLIGHT_TRY(check_bounds("finished_limit", options.finished_limit, 1, Predictor::kFinishedLimitMax));
  INFLIGHT_TRY(check_bounds("slots", options.slots, 0, Predictor::kSlotsMax));
  if (options.block_timeout < Duration(0)) {
    return Status(StatusCode::kInvalidArgument, "block_timeout: got a negative time, want 0 or more");
  }
  if (!(options.watch_share >= 0 && options.watch_share <= 1)) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("watch_share: got {}, want 0 to 1", options.watch_share));
  }
  INFLIGHT_TRY(check_weight(options.weight));
  INFLIGHT_TRY(check_delivery(options.delivery, options.keep_finished));
  if (options.clock == nullptr) return Status(StatusCode::kInvalidArgument, "clock: got null");
  if (!options.devices.empty() && (options.runtime || options.device != Device::cpu())) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("devices: got {} of them beside {}, want one of both", options.devices.size(),
                              options.runtime ? "a runtime" : "the device " + options.device.to_string()));
  }
  if (options.runtime && options.threads != 0) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("threads: got {} with a runtime that is shared, want 0: they are the runtime's",
                              options.threads));
  }
  return Status();
}

// Offers the medium width if the program has it and it is between the others.
void offer_medium(DevicePart& part) {
  const Program& program = *part.program;
  const int at_once = program.has(Width::kMedium) ? program.concurrency(Width::kMedium) : 0;
  if (at_once <= 1 || at_once >= part.slots) return;
  part.offer.medium_at_once = at_once;
  part.offer.medium_alone = program.alone(Width::kMedium);
  part.offer.medium_together = program.together(Width::kMedium);
}

// Compiles the model for the widths of the policy. Where elastic has nothing to choose from, it becomes narrow.
Result<DevicePart> compile(std::shared_ptr<internal::RuntimeCore> core, const Model& model,
                           const PredictorOptions& options) {
  DevicePart part;
  part.width = options.width;
  CompileOptions wanted{.precision = options.precision,
                        .many_launches = true,
                        .threads = core->threads(),
                        .pin_threads = true,
                        .tune = options.tune};
  wanted.progress = options.tune_progress;
  if (part.width == WidthPolicy::kElastic && core->capacity() == 1) part.width = WidthPolicy::kNarrow;
  if (part.width == WidthPolicy::kWide) wanted.widths = {Width::kWide};
  if (part.width == WidthPolicy::kElastic) {
    wanted.widths = {Width::kWide, Width::kNarrow};
    wanted.elastic = true;
  }
  INFLIGHT_TRY_ASSIGN(part.program, core->backend().compile(model, wanted));
  const Program& program = *part.program;
  const bool chooses =
      program.has(Width::kWide) && program.concurrency(Width::kNarrow) > program.concurrency(Width::kWide);
  if (part.width == WidthPolicy::kElastic && !chooses) part.width = WidthPolicy::kNarrow;
  const Width width = part.width == WidthPolicy::kWide ? Width::kWide : Width::kNarrow;
  const int capacity = core->capacity();
  const int at_once = std::clamp(program.concurrency(width), 1, capacity);
  part.units = capacity / at_once;
  const int wanted_slots = options.slots > 0 ? std::min(options.slots, at_once) : at_once;
  part.slots = std::min(wanted_slots, capacity / part.units);
  part.offer = {.wide_alone = program.alone(Width::kWide),
                .narrow_alone = program.alone(Width::kNarrow),
                .wake_cost = program.wake_cost()};
  if (part.slots == at_once) part.offer.narrow_together = program.together(Width::kNarrow);
  if (part.width == WidthPolicy::kElastic) offer_medium(part);
  part.runtime = std::move(core);
  return part;
}

Status check_same(const char* what, std::span<const TensorSpec> first, const DevicePart& first_part,
                  std::span<const TensorSpec> second, const DevicePart& second_part) {
  const auto on = [](const DevicePart& part) { return part.runtime->backend().device().to_string(); };
  if (first.size() != second.size()) {
    return Status(
        StatusCode::kUnsupported,
        fmt::format("devices: the model has {} {}s on {} and {} on {}, want the same on each device",
                    first.size(), what, on(first_part), second.size(), on(second_part)));
  }
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (first[i] == second[i]) continue;
    return Status(
        StatusCode::kUnsupported,
        fmt::format("devices: {} \"{}\" is {} on {}, and \"{}\" {} on {}, want the same on each device", what,
                    first[i].name, first[i].type_string(), on(first_part), second[i].name,
                    second[i].type_string(), on(second_part)));
  }
  return Status();
}

// Outputs of which the shape is known only after running are copied by the host.
Status check_output_memory(const DevicePart& part, const PredictorOptions& options) {
  Backend& backend = part.runtime->backend();
  if (internal::output_allocator(backend, options)->device().is_host()) return Status();
  for (const TensorSpec& output : part.program->outputs()) {
    if (output.shape.is_static()) continue;
    return Status(StatusCode::kUnsupported,
                  fmt::format("outputs_on_device: output \"{}\" is {} on {}, want a static shape",
                              output.name, output.type_string(), backend.device().to_string()));
  }
  return Status();
}

// A frame that is submitted does not know yet where it will run.
Status check_alike(const std::vector<DevicePart>& parts, const PredictorOptions& options) {
  if (parts.size() == 1) return check_output_memory(parts.front(), options);
  for (const DevicePart& part : parts) {
    const DevicePart& first = parts.front();
    INFLIGHT_TRY(check_same("input", first.program->inputs(), first, part.program->inputs(), part));
    INFLIGHT_TRY(check_same("output", first.program->outputs(), first, part.program->outputs(), part));
    const Device memory = internal::output_allocator(part.runtime->backend(), options)->device();
    if (memory.is_host()) continue;
    return Status(
        StatusCode::kUnsupported,
        fmt::format("devices: {} leaves outputs in the memory of {}, want the host's where there are "
                    "several devices",
                    part.runtime->backend().device().to_string(), memory.to_string()));
  }
  return Status();
}

// The model on each device of the runtime that is not lost.
Result<std::vector<DevicePart>> compile_all(const internal::RuntimeOwner& runtime, const Model& model,
                                            const PredictorOptions& options) {
  std::vector<DevicePart> parts;
  Status lost;
  for (const auto& core : runtime.cores()) {
    if (Status why = core->why_lost(); !why.ok()) {
      lost = std::move(why);
      continue;
    }
    Result<DevicePart> part = compile(core, model, options);
    if (!part.ok()) {
      if (runtime.cores().size() == 1) return part.status();
      return part.status().with_context(core->backend().device().to_string());
    }
    parts.push_back(std::move(*part));
  }
  if (parts.empty()) return lost;
  INFLIGHT_TRY(check_alike(parts, options));
  return parts;
}

Status moved_from() {
  return Status(StatusCode::kInvalidArgument, "predictor: it was moved from, and is none any more");
}

}  // namespace

Predictor::Predictor(std::shared_ptr<PredictorCore> core) noexcept : core_(std::move(core)) {}
Predictor::Predictor(Predictor&&) noexcept = default;
Predictor& Predictor::operator=(Predictor&& other) noexcept {
  if (this != &other) {
    const Predictor old(std::move(core_));
    core_ = std::move(other.core_);
    tuning_ = std::exchange(other.tuning_, std::nullopt);
  }
  return *this;
}

Predictor::~Predictor() {
  if (core_ == nullptr) return;
  core_->shutdown(Shutdown::kCancel);
  core_->discard_finished();
  core_->close_event_fd();  // handles may keep the core for long
}

Result<Predictor> Predictor::create(const Model& model, PredictorOptions options) {
  return internal::call_user([&]() -> Result<Predictor> {
    INFLIGHT_TRY(check_options(options));
    Runtime runtime = std::exchange(options.runtime, Runtime());
    if (!runtime) {
      const std::vector<Device> devices =
          options.devices.empty() ? std::vector<Device>{options.device} : options.devices;
      INFLIGHT_TRY_ASSIGN(runtime, Runtime::open(devices, {.threads = options.threads}));
    }
    // For the threads that the backend starts in what follows.
    const internal::BatchScheduling batch(internal::BatchWork::kLong);
    INFLIGHT_TRY_ASSIGN(std::vector<DevicePart> parts, compile_all(*runtime.owner_, model, options));
    const bool limit_auto = options.in_flight_limit == kInFlightLimitAuto;
    if (limit_auto) {
      options.in_flight_limit = 0;
      for (const DevicePart& part : parts) options.in_flight_limit += 2 * part.slots;
    }
    for (DevicePart& part : parts) part.slots = std::min(part.slots, options.in_flight_limit);
    const bool elastic = std::any_of(parts.begin(), parts.end(), [](const DevicePart& part) {
      return part.width == WidthPolicy::kElastic;
    });
    if (!elastic && options.width == WidthPolicy::kElastic) options.width = WidthPolicy::kNarrow;
    std::optional<Tuning> tuning;
    for (const DevicePart& part : parts) {
      if (!tuning) tuning = part.program->tuning();
    }
    options.tune_progress = nullptr;  // what it refers to need not outlive this call
    Predictor predictor(
        std::make_shared<PredictorCore>(std::move(options), runtime.owner_, std::move(parts), limit_auto));
    predictor.tuning_ = tuning;
    INFLIGHT_TRY(predictor.core_->start());
    return predictor;
  });
}

Result<Stream> Predictor::open_stream(StreamOptions options) {
  if (core_ == nullptr) return moved_from();
  return internal::call_user([&]() -> Result<Stream> {
    INFLIGHT_TRY(check_options(options, core_->options().in_flight_limit));
    INFLIGHT_TRY(check_delivery(options.delivery, core_->options().keep_finished));
    return core_->open_stream(std::move(options));
  });
}

Result<Prediction> Predictor::submit(Frame&& frame) {
  if (core_ == nullptr) return moved_from();
  return core_->submit(std::move(frame));
}

std::vector<Prediction> Predictor::take_finished() {
  std::vector<Prediction> finished;
  take_finished(finished);
  return finished;
}

void Predictor::take_finished(std::vector<Prediction>& finished) {
  if (core_ == nullptr) {
    finished.clear();
  } else {
    core_->take_finished(finished);
  }
}

bool Predictor::wait_any() { return core_ != nullptr && core_->wait_any(nullptr); }
bool Predictor::wait_any_until(TimePoint when) { return core_ != nullptr && core_->wait_any(&when); }

Result<int> Predictor::event_fd() {
  if (core_ == nullptr) return moved_from();
  return core_->event_fd();
}

void Predictor::drain() {
  if (core_ != nullptr) core_->drain();
}

void Predictor::shutdown(Shutdown how) {
  if (core_ != nullptr) core_->shutdown(how);
}

Statistics Predictor::statistics() const { return core_ == nullptr ? Statistics() : core_->statistics(); }

std::vector<DeviceStatistics> Predictor::device_statistics() const {
  return core_ == nullptr ? std::vector<DeviceStatistics>() : core_->device_statistics();
}

StageLatencies Predictor::latencies() const {
  return core_ == nullptr ? StageLatencies() : core_->latencies();
}
Duration Predictor::retry_after() const { return core_ == nullptr ? Duration(0) : core_->retry_after(); }

Duration Predictor::retry_after(Duration within) const {
  return core_ == nullptr ? Duration(0) : core_->retry_after(within);
}
int Predictor::places() const noexcept { return core_ == nullptr ? 0 : core_->places(); }

std::span<const TensorSpec> Predictor::inputs() const noexcept {
  return core_ == nullptr ? std::span<const TensorSpec>() : core_->inputs();
}

std::span<const TensorSpec> Predictor::outputs() const noexcept {
  return core_ == nullptr ? std::span<const TensorSpec>() : core_->outputs();
}

std::string Predictor::device_description() const {
  return core_ == nullptr ? std::string() : core_->device_description();
}

WidthPolicy Predictor::width() const noexcept {
  return core_ == nullptr ? WidthPolicy::kNarrow : core_->width();
}

int Predictor::slots() const noexcept { return core_ == nullptr ? 0 : core_->slots(); }

}  // namespace inflight
