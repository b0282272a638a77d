// SPDX-License-Identifier: Apache-2.0
#include "runtime/arrival_watch.h"

#include <algorithm>
#include <chrono>

namespace inflight::internal {
namespace {

// Irregular arrivals lie on a line by chance, too: four in succession about once in a hundred times.
constexpr int kBeliefWantedMax = 4;
// The filter's memory: the clocks of cameras and of this machine drift apart slowly, so old arrivals fade.
constexpr int kBeliefMax = 16;
// An arrival further off the line than this does not move it: its thread was held up, a frame was lost, or
// the rate has changed.
constexpr Duration kToleranceMax = std::chrono::milliseconds(1);
constexpr int kTolerancePart = 16;  // of the interval
// On a line with full belief, one late frame may use 1 / kSavedPart of the savings before its watcher naps.
constexpr int kSavedPart = 8;
// After the expected time of a frame, the watcher naps for this long at most.
constexpr Duration kHeldUpMax = std::chrono::milliseconds(20);
// Lateness is clipped at kLateWeight x tolerance / arrivals before it moves the line.
constexpr int kLateWeight = 2;
// After this many equal gaps that the line did not predict, start a new line.
constexpr int kSameGapsSure = 4;

Duration tolerance(Duration interval) noexcept { return std::min(kToleranceMax, interval / kTolerancePart); }

bool about(Duration gap, Duration other) noexcept {
  return std::chrono::abs(gap - other) <= tolerance(other);
}

Duration scaled(Duration by, double factor) noexcept {
  return Duration(static_cast<Duration::rep>(static_cast<double>(by.count()) * factor));
}

}  // namespace

void ArrivalWatch::arrived(TimePoint when) noexcept {
  // Threads may call this in another order than they read the clock.
  const Duration gap = belief_ == 0 ? Duration(0) : std::max(when - last_, Duration(0));
  const bool same = about(gap, gap_);
  last_ = when;
  gap_ = gap;
  earn(gap);
  if (belief_ < 2) {
    if (++belief_ == 2) begin(when, 2);
    return;
  }
  same_gaps_ = !judge(when) && same ? same_gaps_ + 1 : 0;
  if (same_gaps_ >= kSameGapsSure) {
    begin(when, kBeliefWantedMax);
  } else if (belief_ < 2) {
    belief_wanted_ = std::min(belief_wanted_ + 1, kBeliefWantedMax);
    begin(when, 2);
  }
}

// False: the arrival is not what the line predicted.
bool ArrivalWatch::judge(TimePoint when) noexcept {
  // Find the point of the line that it belongs to. An arrival more than three quarters of an interval late is
  // early for a later point: frames were lost, there was a pause, or this one was held up for long.
  const Duration behind = when - expected_ + interval_ / 4;
  if (interval_ > Duration(0) && behind >= interval_) expected_ += behind / interval_ * interval_;
  const Duration error = when - expected_;
  if (std::chrono::abs(error) <= tolerance(interval_)) {
    follow(error);
    return about(gap_, interval_);
  }
  --belief_;
  if (error >= -interval_ / 4)
    expected_ += interval_;  // else it came between two, and the next is still to come
  return false;
}

// A line through the last two arrivals.
void ArrivalWatch::begin(TimePoint when, int belief) noexcept {
  belief_ = belief;
  interval_ = gap_;
  expected_ = when + gap_;
  same_gaps_ = 0;
}

void ArrivalWatch::earn(Duration gap) noexcept {
  const Duration enough = kSavedMax - saved_;
  saved_ += share_ * static_cast<double>(gap.count()) >= static_cast<double>(enough.count())
                ? enough
                : scaled(gap, share_);
}

// Moves the line for an arrival that is `error` behind it. The gains are those of a least-squares line
// through n arrivals.
void ArrivalWatch::follow(Duration error) noexcept {
  belief_ = std::min(belief_ + 1, kBeliefMax);
  error = std::min(error, tolerance(interval_) * kLateWeight / belief_);
  const double n = belief_;
  interval_ += scaled(error, 6 / (n * (n + 1)));
  expected_ += scaled(error, 2 * (2 * n - 1) / (n * (n + 1))) + interval_;
}

std::optional<Watch> ArrivalWatch::next(TimePoint now) const noexcept {
  if (belief_ < belief_wanted_) return std::nullopt;
  const Duration before = std::min(kAwakeBeforeMax, scaled(interval_, share_));
  if (before < kAwakeBeforeMin || saved_ < before) return std::nullopt;
  TimePoint point = expected_;
  const Duration held_up_max = std::min(kHeldUpMax, interval_ - interval_ / 4);
  if (const Duration held_up = now - point - held_up_max; held_up >= Duration(0)) {
    point += interval_ * (held_up / interval_ + 1);
  }
  const TimePoint from = point - before;
  const TimePoint enough =
      std::max(point + tolerance(interval_), from + saved_ / kSavedPart * belief_ / kBeliefMax);
  const TimePoint until = std::min({enough, from + saved_, point + held_up_max});
  if (now < until) return Watch{from, until};
  return Watch{now + kNap, now + kNap};
}

}  // namespace inflight::internal
