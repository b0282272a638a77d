// SPDX-License-Identifier: Apache-2.0
#include "predictor/arrival_watch.h"

#include <algorithm>
#include <chrono>

namespace inflight::internal {
namespace {

// Irregular arrivals come to lie on a line, too, so many about once in a hundred times.
constexpr int kBeliefWantedMax = 4;
// The filter's memory: clocks of cameras and of this machine part slowly, so old arrivals fade.
constexpr int kBeliefMax = 16;
// Further off than this an arrival says nothing about the line: its thread was held up, a frame was lost, or
// the rate is another now.
constexpr Duration kToleranceMax = std::chrono::milliseconds(1);
constexpr int kTolerancePart = 16;  // of the interval
// So many times the tolerance, divided by the number of arrivals on the line, is what one of them can be late
// at most in the line's eyes.
constexpr int kLateWeight = 2;
// So many late arrivals in succession, and it is the line that is early.
constexpr int kLateRun = 4;

Duration scaled(Duration by, double factor) noexcept {
  return Duration(static_cast<Duration::rep>(static_cast<double>(by.count()) * factor));
}

}  // namespace

void ArrivalWatch::arrived(TimePoint when) noexcept {
  // Submitting threads may be told in another order than they read their clocks.
  const Duration gap = belief_ == 0 ? Duration(0) : std::max(when - last_, Duration(0));
  last_ = when;
  earn(gap);
  if (belief_ == 0) {
    belief_ = 1;
    return;
  }
  if (belief_ == 1) {
    begin(when, gap);
    return;
  }
  // More than three quarters of an interval late: frames were lost, or there was a pause, and this is the
  // first or a late one after it.
  const Duration behind = when - expected_ + interval_ / 4;
  const bool after_gap = interval_ > Duration(0) && behind >= interval_;
  if (after_gap) expected_ += interval_ * (behind / interval_);
  const Duration error = when - expected_;
  const Duration tolerance = std::min(kToleranceMax, interval_ / kTolerancePart);
  if (std::chrono::abs(error) <= tolerance) {
    follow(error, tolerance);
  } else if (error > Duration(0) && !after_gap) {
    pass_over(error);
  } else {
    move_to(when);
    belief_ /= 2;
  }
  if (belief_ < 2) {
    belief_wanted_ = std::min(belief_wanted_ + 1, kBeliefWantedMax);
    begin(when, gap);
  }
}

void ArrivalWatch::earn(Duration gap) noexcept {
  const Duration enough = kSavedMax - saved_;
  saved_ += share_ * static_cast<double>(gap.count()) >= static_cast<double>(enough.count())
                ? enough
                : scaled(gap, share_);
}

// A line through the last two arrivals.
void ArrivalWatch::begin(TimePoint when, Duration gap) noexcept {
  belief_ = 2;
  interval_ = gap;
  move_to(when);
}

// The same rate, at the times that this arrival says.
void ArrivalWatch::move_to(TimePoint when) noexcept {
  expected_ = when + interval_;
  late_ = 0;
}

// An arrival on the line, so far behind it. The gains are those of a least-squares line through n arrivals.
void ArrivalWatch::follow(Duration error, Duration tolerance) noexcept {
  late_ = 0;
  belief_ = std::min(belief_ + 1, kBeliefMax);
  error = std::min(error, tolerance * kLateWeight / belief_);
  const double n = belief_;
  interval_ += scaled(error, 6 / (n * (n + 1)));
  expected_ += scaled(error, 2 * (2 * n - 1) / (n * (n + 1))) + interval_;
}

// An arrival too late for the line. The line stays, unless this is the last of a run: then it moves to the
// earliest of them.
void ArrivalWatch::pass_over(Duration error) noexcept {
  late_least_ = late_ == 0 ? error : std::min(late_least_, error);
  --belief_;
  expected_ += interval_;
  if (++late_ < kLateRun) return;
  expected_ += late_least_;
  late_ = 0;
}

std::optional<Watch> ArrivalWatch::next(TimePoint now) const noexcept {
  if (belief_ < belief_wanted_) return std::nullopt;
  const Duration before = std::min(kAwakeBeforeMax, scaled(interval_, share_));
  if (before < kAwakeBeforeMin || saved_ < before) return std::nullopt;
  const TimePoint from = expected_ - before;
  // Not into the time of the frame after it.
  const TimePoint until = std::min(from + saved_, expected_ + (interval_ - interval_ / 4));
  if (until <= now) return std::nullopt;
  return Watch{from, until};
}

}  // namespace inflight::internal
