// SPDX-License-Identifier: Apache-2.0
#include "cli/sized_predictors.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace inflight::cli {
namespace {

void add(Statistics& to, const Statistics& more) {
  to.submitted += more.submitted;
  to.completed += more.completed;
  to.failed += more.failed;
  to.rejected += more.rejected;
  to.dropped += more.dropped;
  to.expired += more.expired;
  to.cancelled += more.cancelled;
  to.in_flight += more.in_flight;
  to.in_flight_max = std::max(to.in_flight_max, more.in_flight_max);
  to.wide += more.wide;
  to.medium += more.medium;
  to.narrow += more.narrow;
  to.superseded += more.superseded;
  to.late += more.late;
  to.in_flight_limit = more.in_flight_limit;
  to.limit_reason = more.limit_reason;
}

void add(StageLatencies& to, const StageLatencies& more) {
  to.input_wait.merge(more.input_wait);
  to.slot_wait.merge(more.slot_wait);
  to.running.merge(more.running);
  to.total.merge(more.total);
  to.age.merge(more.age);
}

// A predictor that was made after a device was lost does not have it.
void add(std::vector<DeviceStatistics>& to, const std::vector<DeviceStatistics>& more) {
  for (const DeviceStatistics& device : more) {
    const auto same = std::find_if(
        to.begin(), to.end(), [&](const DeviceStatistics& each) { return each.device == device.device; });
    if (same == to.end()) {
      to.push_back(device);
      continue;
    }
    same->completed += device.completed;
    same->failed += device.failed;
    same->slots = device.slots;
    if (same->lost.ok()) same->lost = device.lost;
  }
}

void add(SizedPredictors::StreamBooks& to, const Stream& more) {
  add(to.statistics, more.statistics());
  to.latency.merge(more.latency());
  to.age.merge(more.age());
}

}  // namespace

SizedPredictors::SizedPredictors(Predictor first, int height, int width, int in_flight_limit,
                                 int finished_limit, Make make, std::vector<StreamOptions> streams)
    : limit_auto_(in_flight_limit == Predictor::kInFlightLimitAuto),
      in_flight_limit_(limit_auto_ ? first.places() : in_flight_limit),
      finished_limit_(finished_limit),
      make_(std::move(make)),
      first_outputs_(first.outputs().begin(), first.outputs().end()),
      device_(first.device_description()),
      slots_(first.slots()),
      tuning_(first.tuning()),
      stream_options_(std::move(streams)),
      own_streams_(stream_options_.size()) {
  sized_.push_back(std::make_unique<Sized>(Sized{height, width, std::move(first), false, 0}));
}

SizedPredictors::Sized* SizedPredictors::find(int height, int width) {
  for (const std::unique_ptr<Sized>& sized : sized_) {
    if (sized->any_size || (sized->height == height && sized->width == width)) return sized.get();
  }
  return nullptr;
}

Status SizedPredictors::prepare(int height, int width) {
  if (find(height, width) != nullptr) return {};
  INFLIGHT_TRY_ASSIGN(Made made, make_(height, width));
  if (sized_.size() >= kSizesMax) {
    const auto oldest = std::min_element(sized_.begin(), sized_.end(),
                                         [](const auto& a, const auto& b) { return a->used < b->used; });
    retire(static_cast<std::size_t>(oldest - sized_.begin()));
  }
  auto sized =
      std::make_unique<Sized>(Sized{height, width, std::move(made.predictor), made.any_size, ++uses_});
  INFLIGHT_TRY(open_streams(*sized));
  sized_.push_back(std::move(sized));
  return {};
}

Status SizedPredictors::open_streams(Sized& sized) const {
  while (sized.streams.size() < stream_options_.size()) {
    INFLIGHT_TRY_ASSIGN(Stream stream, sized.predictor.open_stream(stream_options_[sized.streams.size()]));
    sized.streams.push_back(std::move(stream));
  }
  return {};
}

Result<Prediction> SizedPredictors::submit(Frame&& frame, int height, int width, std::size_t stream) {
  const bool several = sized_.size() > 1;  // one alone keeps its own limits
  const std::uint64_t in_flight = several ? statistics().in_flight : 0;
  if (several && (is_full(in_flight) || too_many_untaken(in_flight))) {
    for (Statistics* const books :
         {&own_, own_streams_.empty() ? nullptr : &own_streams_[stream].statistics}) {
      if (books == nullptr) continue;
      ++books->submitted;
      ++books->rejected;
    }
    return Status(StatusCode::kOverloaded,
                  is_full(in_flight) ? fmt::format("{0} of {0} predictions are in flight", in_flight_limit_)
                                     : fmt::format("{} finished predictions wait to be taken, as many as may",
                                                   finished_limit_));
  }
  Sized* const sized = find(height, width);
  INFLIGHT_CHECK(sized != nullptr);
  sized->used = ++uses_;
  INFLIGHT_TRY(open_streams(*sized));  // of the first predictor, at its first frame
  if (!sized->streams.empty()) frame.stream = sized->streams[stream];
  Result<Prediction> prediction = sized->predictor.submit(std::move(frame));
  if (prediction.ok()) {
    ++admitted_;
    // Others may have finished since, so that it is that many at most, and never above the limit.
    if (several) own_.in_flight_max = std::max(own_.in_flight_max, in_flight + 1);
  }
  return prediction;
}

bool SizedPredictors::has_place(int height, int width, std::size_t stream) {
  const std::uint64_t in_flight = statistics().in_flight;
  if (is_full(in_flight) || too_many_untaken(in_flight)) return false;
  // Where no frame of the stream has come yet, none of it is in flight.
  const Sized* const sized = find(height, width);
  return sized == nullptr || sized->streams.empty() || sized->streams[stream].has_place();
}

// Whether no more may be in flight, all predictors together.
bool SizedPredictors::is_full(std::uint64_t in_flight) const noexcept {
  const int limit = limit_auto_ ? sized_.back()->predictor.statistics().in_flight_limit : in_flight_limit_;
  return in_flight >= static_cast<std::uint64_t>(limit);
}

// Whether as many finished predictions wait to be taken as may.
bool SizedPredictors::too_many_untaken(std::uint64_t in_flight) const noexcept {
  return admitted_ - handed_out_ - in_flight >= static_cast<std::uint64_t>(finished_limit_);
}

void SizedPredictors::retire(std::size_t index) {
  Predictor& predictor = sized_[index]->predictor;
  predictor.drain();
  for (Prediction& prediction : predictor.take_finished()) retired_.push_back(std::move(prediction));
  add(own_, predictor.statistics());
  add(retired_latencies_, predictor.latencies());
  add(retired_devices_, predictor.device_statistics());
  for (std::size_t i = 0; i < sized_[index]->streams.size(); ++i)
    add(own_streams_[i], sized_[index]->streams[i]);
  sized_.erase(sized_.begin() + static_cast<std::ptrdiff_t>(index));
}

void SizedPredictors::take_finished(std::vector<Prediction>& finished) {
  if (sized_.size() == 1 && retired_.empty()) {
    sized_[0]->predictor.take_finished(finished);
  } else {
    finished.clear();
    std::swap(finished, retired_);
    for (const std::unique_ptr<Sized>& sized : sized_) {
      sized->predictor.take_finished(taken_);
      std::move(taken_.begin(), taken_.end(), std::back_inserter(finished));
      taken_.clear();
    }
    std::stable_sort(finished.begin(), finished.end(), [](const Prediction& a, const Prediction& b) {
      return a.times().finished < b.times().finished;
    });
  }
  handed_out_ += finished.size();
}

bool SizedPredictors::wait_any_until(TimePoint when) {
  if (!retired_.empty()) return true;
  if (sized_.size() == 1) return sized_[0]->predictor.wait_any_until(when);
  return poll_until(when, -1);
}

bool SizedPredictors::wait_any_until(TimePoint when, int descriptor) {
  return !retired_.empty() || poll_until(when, descriptor);
}

// Of several: their descriptors. Where there are none left, it looks each millisecond.
bool SizedPredictors::poll_until(TimePoint when, int descriptor) {
  std::vector<pollfd> descriptors;
  if (descriptor >= 0) descriptors.push_back({descriptor, POLLIN, 0});
  bool all = true;
  for (const std::unique_ptr<Sized>& sized : sized_) {
    const Result<int> finished = sized->predictor.event_fd();
    if (finished.ok())
      descriptors.push_back({*finished, POLLIN, 0});
    else
      all = false;
  }
  while (true) {
    const Duration left = std::max(when - steady_clock().now(), Duration(0));
    const Duration slice = all ? left : std::min<Duration>(left, std::chrono::milliseconds(1));
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(slice);
    const timespec timeout{static_cast<time_t>(seconds.count()),
                           static_cast<long>((slice - seconds).count())};
    const int ready = ppoll(descriptors.data(), descriptors.size(), &timeout, nullptr);
    if (ready > 0) return true;
    if (!all || left == Duration(0) || ready < 0) return false;
  }
}

void SizedPredictors::shutdown(Shutdown how) {
  for (const std::unique_ptr<Sized>& sized : sized_) sized->predictor.shutdown(how);
}

Statistics SizedPredictors::statistics() const {
  Statistics sum = own_;
  for (const std::unique_ptr<Sized>& sized : sized_) add(sum, sized->predictor.statistics());
  return sum;
}

StageLatencies SizedPredictors::latencies() const {
  StageLatencies sum = retired_latencies_;
  for (const std::unique_ptr<Sized>& sized : sized_) add(sum, sized->predictor.latencies());
  return sum;
}

std::vector<DeviceStatistics> SizedPredictors::device_statistics() const {
  std::vector<DeviceStatistics> sum = retired_devices_;
  for (const std::unique_ptr<Sized>& sized : sized_) add(sum, sized->predictor.device_statistics());
  return sum;
}

SizedPredictors::StreamBooks SizedPredictors::stream_books(std::size_t stream) const {
  StreamBooks sum = own_streams_[stream];
  for (const std::unique_ptr<Sized>& sized : sized_) {
    if (stream < sized->streams.size()) add(sum, sized->streams[stream]);
  }
  return sum;
}

}  // namespace inflight::cli
