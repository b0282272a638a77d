// SPDX-License-Identifier: Apache-2.0
// Streams: how they are opened and closed, and what is read from them.
#include "inflight/stream.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "base/words.h"
#include "predictor/predictor_core.h"
#include "predictor/stream_state.h"

namespace inflight {

using internal::MutexLock;
using internal::PredictorCore;
using internal::StreamState;

namespace {

using internal::Word;

constexpr std::array<Word<OverloadPolicy>, 4> kPolicies = {{{OverloadPolicy::kReject, "reject"},
                                                            {OverloadPolicy::kBlock, "block"},
                                                            {OverloadPolicy::kDropOldest, "drop-oldest"},
                                                            {OverloadPolicy::kKeepLatest, "keep-latest"}}};
constexpr std::array<Word<Delivery>, 3> kDeliveries = {{{Delivery::kAsCompleted, "as-completed"},
                                                        {Delivery::kInOrder, "in-order"},
                                                        {Delivery::kNewestOnly, "newest-only"}}};

}  // namespace

std::string_view policy_name(OverloadPolicy policy) {
  return internal::word_of<OverloadPolicy>(policy, kPolicies);
}
std::string_view delivery_name(Delivery delivery) {
  return internal::word_of<Delivery>(delivery, kDeliveries);
}

std::string_view Stream::name() const noexcept {
  return state_ == nullptr ? std::string_view() : std::string_view(state_->options.name);
}

StreamOptions Stream::options() const { return state_ == nullptr ? StreamOptions() : state_->options; }

bool Stream::has_place() const { return state_ != nullptr && state_->core->has_place(*state_); }

Statistics Stream::statistics() const {
  return state_ == nullptr ? Statistics() : state_->core->statistics(*state_);
}

Histogram Stream::latency() const {
  if (state_ == nullptr) return {};
  const MutexLock lock(state_->core->mutex());
  return state_->latency;
}

Histogram Stream::age() const {
  if (state_ == nullptr) return {};
  const MutexLock lock(state_->core->mutex());
  return state_->age;
}

namespace internal {

StreamState::StreamState(std::shared_ptr<PredictorCore> its_core, StreamOptions its_options,
                         int predictor_limit, bool watched)
    : SchedulerStream(its_options, predictor_limit, true),
      core(std::move(its_core)),
      options(std::move(its_options)) {
  if (watched) line.emplace(0);
}

StreamState::~StreamState() {
  if (opened) core->close(*this);
}

Result<Stream> PredictorCore::open_stream(StreamOptions&& options) {
  try {
    auto state = std::make_shared<StreamState>(shared_from_this(), std::move(options),
                                               options_.in_flight_limit, watch_share_ > 0);
    Stream stream(state);
    const MutexLock lock(mutex_);
    if (scheduler_.is_shutting_down()) return shut_down_;
    if (open_streams_ >= Predictor::kStreamsMax) return streams_full_;
    scheduler_.open(*state);
    state->opened = true;
    ++open_streams_;
    watch(*state);
    return stream;
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("stream", sizeof(StreamState));
  }
}

void PredictorCore::close(StreamState& stream) noexcept {
  const MutexLock lock(mutex_);
  scheduler_.close(stream);
  --open_streams_;
  const auto last = watched_.begin() + watched_count_;
  const auto place = std::find(watched_.begin(), last, &stream);
  if (place == last) return;
  first_.runtime().remove_line(*stream.line);
  *place = *(last - 1);
  --watched_count_;
  share_watch();
}

// Gives the stream its line in the arrival watch, if there are not too many: each idle thread looks at all of
// them. With several devices there is none: which of them gets the next frame is not known.
void PredictorCore::watch(StreamState& stream) noexcept {
  if (!stream.line || several_ || watched_count_ == static_cast<int>(watched_.size())) return;
  watched_[static_cast<std::size_t>(watched_count_++)] = &stream;
  first_.runtime().add_line(*stream.line);
  share_watch();
}

// All lines together may spend watch_share of a processor.
void PredictorCore::share_watch() noexcept {
  const double share = watch_share_ / (watched_count_ + 1);
  first_.set_watch_share(share);
  for (int i = 0; i < watched_count_; ++i)
    watched_[static_cast<std::size_t>(i)]->line->watch.set_share(share);
}

}  // namespace internal
}  // namespace inflight
