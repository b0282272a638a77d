// SPDX-License-Identifier: Apache-2.0
#include "predictor/finish_forecast.h"

#include <algorithm>
#include <cmath>

namespace inflight::internal {
namespace {

constexpr int kLatePercent = 3;
// A step of the margin, as a part of a service time.
constexpr int kStep = 16;

}  // namespace

TimePoint FinishForecast::finish(const ForecastView& view) noexcept {
  const auto servers = static_cast<std::size_t>(std::max(view.servers, 1));
  // A launch that is overdue may end at any moment.
  for (TimePoint& end : ends_) end = std::max(end, view.now);
  auto ahead = static_cast<std::size_t>(std::max(view.waiting, 0));
  while (ends_.size() < servers && ahead > 0) {
    ends_.push_back(view.now + view.service);  // it starts now
    --ahead;
  }
  if (ends_.size() < servers) return view.now + view.service;
  std::sort(ends_.begin(), ends_.end());
  const auto rounds = static_cast<Duration::rep>(ahead / servers);
  return ends_[ahead % servers] + (rounds + 1) * view.service;
}

bool FinishForecast::would_be_late(TimePoint now, TimePoint expected, TimePoint deadline,
                                   bool idle) noexcept {
  if (!idle || deadline <= now) return expected + margin_ > deadline;
  const Duration unmeasured = kUnmeasured * std::max(expected - now, Duration(1));
  const double faded = static_cast<double>((now - faded_).count()) / static_cast<double>(unmeasured.count());
  margin_ -= Duration(std::llround(static_cast<double>(margin_.count()) * std::clamp(faded, 0.0, 1.0)));
  faded_ = now;
  if (expected + margin_ <= deadline) return false;
  if (now - measured_ >= unmeasured) to_measure_ = kMeasured;
  if (to_measure_ == 0) return true;
  --to_measure_;
  return false;
}

void FinishForecast::ended(TimePoint expected, TimePoint actual, Duration service) noexcept {
  measured_ = faded_ = actual;
  const Duration error = actual - expected;
  const Duration step = service / kStep;
  margin_ += error > margin_ ? step * (100 - kLatePercent) / 100 : -step * kLatePercent / 100;
  margin_ = std::max(margin_, Duration(0));
}

}  // namespace inflight::internal
