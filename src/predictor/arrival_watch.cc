// SPDX-License-Identifier: Apache-2.0
#include "predictor/arrival_watch.h"

#include <algorithm>
#include <chrono>

namespace inflight::internal {
namespace {

// Two arrivals make a line, two more on it make it believed. By chance, that happens to irregular arrivals
// about once in a hundred.
constexpr int kAgreeingSure = 4;
// The filter's memory: clocks of cameras and of this machine part slowly, so old arrivals fade.
constexpr int kAgreeingMax = 16;
// Further off than this an arrival says nothing about the next: its thread was held up, a frame was lost, or
// the rate is another now.
constexpr Duration kToleranceMax = std::chrono::milliseconds(1);
constexpr int kTolerancePart = 16;  // of the interval

Duration scaled(Duration by, double factor) noexcept {
  return Duration(static_cast<Duration::rep>(static_cast<double>(by.count()) * factor));
}

}  // namespace

void ArrivalWatch::arrived(TimePoint when) noexcept {
  // Submitting threads may be told in another order than they read their clocks.
  const Duration gap = agreeing_ == 0 ? Duration(0) : std::max(when - last_, Duration(0));
  last_ = when;
  earn(gap);
  if (agreeing_ < 2) {
    if (++agreeing_ == 2) interval_ = gap;
    expected_ = when + interval_;
    return;
  }
  const Duration tolerance = std::min(kToleranceMax, interval_ / kTolerancePart);
  if (const Duration error = when - expected_; std::chrono::abs(error) <= tolerance) {
    follow(when, error);
  } else if (const Duration shifted = gap - interval_; std::chrono::abs(shifted) <= tolerance) {
    follow(when, shifted);  // the same rate, as after a pause, at other times than before
  } else if (agreeing_ /= 2; agreeing_ < 2) {
    agreeing_ = 2;
    interval_ = gap;
    expected_ = when + gap;
  } else if (const Duration behind = when + interval_ / 4 - expected_;
             behind >= Duration(0) && interval_ > Duration(0)) {
    // One arrival in many. The line stays, and goes on with the first point that cannot be this arrival.
    expected_ += interval_ * (behind / interval_ + 1);
  }
}

void ArrivalWatch::earn(Duration gap) noexcept {
  const Duration enough = kSavedMax - saved_;
  saved_ += share_ * static_cast<double>(gap.count()) >= static_cast<double>(enough.count())
                ? enough
                : scaled(gap, share_);
}

// An arrival on the line, so far behind it. The gains are those of a least-squares line through n arrivals.
void ArrivalWatch::follow(TimePoint when, Duration error) noexcept {
  agreeing_ = std::min(agreeing_ + 1, kAgreeingMax);
  const double n = agreeing_;
  const TimePoint smoothed = when - error + scaled(error, 2 * (2 * n - 1) / (n * (n + 1)));
  interval_ += scaled(error, 6 / (n * (n + 1)));
  expected_ = smoothed + interval_;
}

std::optional<Watch> ArrivalWatch::next(TimePoint now) const noexcept {
  if (agreeing_ < kAgreeingSure) return std::nullopt;
  const Duration before = std::min(kAwakeBeforeMax, scaled(interval_, share_));
  if (before < kAwakeBeforeMin || saved_ < before) return std::nullopt;
  const TimePoint from = expected_ - before;
  const TimePoint until = std::min(from + saved_, expected_ + interval_ / 2);
  if (until <= now) return std::nullopt;
  return Watch{from, until};
}

}  // namespace inflight::internal
