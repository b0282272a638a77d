// SPDX-License-Identifier: Apache-2.0
#include "predictor/width_rule.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace inflight::internal {
namespace {

// The numbers of the rule, found with the simulator (width_simulation_test.cc); ADR 11 has what others gave.
// How many arrivals the mean looks back, and how many narrow service times.
constexpr double kMemoryArrivals = 256;
constexpr double kMemoryRounds = 300;
// The ratio above which the rule turns narrow.
constexpr double kUpper = 1.1;
// While the rule is wide, a queue runs narrow if wide launches would take this many times as long to clear it.
constexpr double kBacklog = 1.05;
// A device on which nothing has run for so long, in ns, is idle: its threads sleep, and so do its processors, the more deeply
// the longer. SqueezeNet on two processors: no difference after 1 ms, 1.1 times as long after 10 ms, 1.3 to 2.2 times after
// 100 ms.
constexpr double kAwake = 1e6;
// After so many arrivals a slot, in a row, that found nothing waiting or running, what the shadows saw before was another
// load. With many slots the wide shadow loses much more by phases of a high load than by being late, so they stay known.
constexpr int kIdleInARowPerSlot = 4;
// The shadow of a width that cannot keep up falls behind without end. It is cut here, in latencies of the narrow
// shadow and in narrow service times, so that it comes back soon after the load has gone.
constexpr double kWideCut = 1.5;
constexpr double kNarrowCut = 4;
// Means of the gaps between arrivals, over so many of them: if the recent one is kQuieter times the longer one, the
// load has fallen, and the mean begins anew.
constexpr double kGapsOfLate = 32;
constexpr double kGapsOfLong = 256;
constexpr double kQuieter = 4;
// New measurements move a mean by this part; one that is longer than kOutlier means counts as that much.
constexpr double kGain = 1.0 / 8;
constexpr double kOutlier = 2;
// Of the first few measurements, the least counts, and also of those that doubt asks for.
constexpr int kFew = 4;
// A measurement of less than this part of the mean says that what made the others slow is over: it is the mean.
constexpr double kMuchFaster = 0.5;
// Launches after which an idle device runs one wide, although the rule follows the narrow shadow: its wide
// service time may be from another time.
constexpr int kLaunchesBetweenProbes = 4096;
// The same if that time says that wide is no faster than narrow, which it was when the model was compiled. Then a few
// are measured, since the first one after a pause may be slow. Likewise a queue runs narrow, although the rule follows
// the wide shadow, if the narrow times say that they give no more throughput: after so many launches a slot, and only
// a queue of at least kFew, which waits anyway. Each doubt that turns out to be wrong makes the next one wait longer.
constexpr int kLaunchesBetweenDoubts = 64;
constexpr int kLaunchesBetweenDoubtsPerSlot = 16;
constexpr int kDoubtsMax = kLaunchesBetweenProbes / kLaunchesBetweenDoubts;

constexpr double eighth_power(double x) {
  const double fourth = x * x * x * x;
  return fourth * fourth;
}

double ns_of_time(TimePoint when) { return static_cast<double>(when.time_since_epoch().count()); }

}  // namespace

// ---- ServiceTimes

std::size_t ServiceTimes::class_of(int together) noexcept {
  const auto count = static_cast<unsigned>(std::max(together, 1));
  return std::min(static_cast<std::size_t>(std::bit_width(count)) - 1, kClasses - 1);
}

void ServiceTimes::add(Width width, int together, Warmth warmth, double ns) noexcept {
  ns = std::max(ns, 1.0);
  if (width == Width::kNarrow) narrow_runs_ = std::min(narrow_runs_ + 1, kFew);
  Mean& mean = width == Width::kWide ? wide_ : narrow_[class_of(together)];
  const double warm = width == Width::kWide ? wide() : narrow(together);
  double& longer = warmth == Warmth::kAfterWide ? after_wide_ : after_idle_[static_cast<std::size_t>(width)];
  if (warmth == Warmth::kWarm || ns < warm) {
    mean.add(ns);  // one that is not warm is no faster for it
  } else if (warm == 0) {
    mean.ns = ns;  // until a warm one was measured
  } else {
    longer += (std::min(ns, kOutlier * (warm + longer)) - warm - longer) * kGain;
  }
}

void ServiceTimes::Mean::add(double measured) noexcept {
  if (few < kFew) {
    // The first ones may be slow: caches are cold and threads asleep.
    ns = few == 0 ? measured : std::min(ns, measured);
    ++few;
  } else {
    const double gain = measured < kMuchFaster * ns ? 1 : kGain;
    ns += (std::min(measured, kOutlier * ns) - ns) * gain;
  }
}

double ServiceTimes::after_idle(Width width) const noexcept {
  const double own = after_idle_[static_cast<std::size_t>(width)];
  const double other = after_idle_[1 - static_cast<std::size_t>(width)];
  return own > 0 ? own : other;
}

void ServiceTimes::measure_wide_again() noexcept { wide_.few = 0; }

double ServiceTimes::narrow(int together) const noexcept {
  const double nearest = nearest_narrow(class_of(together));
  double least = nearest;
  for (std::size_t fewer = 0; fewer < class_of(together); ++fewer) {
    const double times = static_cast<double>(together) / static_cast<double>(1U << fewer);
    if (narrow_[fewer].ns > 0) least = std::min(least, narrow_[fewer].ns * times);
  }
  return least;
}

double ServiceTimes::nearest_narrow(std::size_t wanted) const noexcept {
  for (std::size_t away = 0; away < kClasses; ++away) {
    if (wanted + away < kClasses && narrow_[wanted + away].ns > 0) return narrow_[wanted + away].ns;
    if (wanted >= away && narrow_[wanted - away].ns > 0) return narrow_[wanted - away].ns;
  }
  return 0;
}

// ---- WidthRule

// With two cores the shadows are close to each other at every load, so the rule turns back to wide, which has
// the lower median, as soon as the two are equal. With many cores they are far apart but for a few loads,
// and turning to and fro costs more than staying narrow.
WidthRule::WidthRule(int at_once, const AloneTimes& alone)
    : at_once_(at_once),
      lower_(eighth_power(0.7 + 0.6 / std::max(at_once, 2))),
      times_(alone),
      narrow_ends_(static_cast<std::size_t>(at_once), 0.0) {}

// Before the first narrow launch, a guess: half of the cores' work is lost when they work together.
double WidthRule::narrow_time(int together) const noexcept {
  const double measured = times_.narrow(together);
  return measured > 0 ? measured : times_.wide() * (at_once_ + 1) / 2;
}

bool WidthRule::is_cold(Duration idle) noexcept { return ns_of(idle) > kAwake; }

// Whether this queue measures the narrow width. At first, a few launches do.
bool WidthRule::narrow_is_to_measure(int waiting) const noexcept {
  return (waiting > 1 && (times_.narrow_runs() < kFew || narrow_to_measure_ > 0)) ||
         (waiting >= std::max(at_once_, kFew) && narrow_is_due());
}

bool WidthRule::wide_is_doubtful() const noexcept { return times_.wide() > times_.narrow(1); }

bool WidthRule::narrow_is_doubtful() const noexcept {
  return times_.narrow(at_once_) > times_.wide() * at_once_;
}

bool WidthRule::wide_is_due() const noexcept {
  return since_wide_ >= (wide_is_doubtful() ? wide_doubts_ * kLaunchesBetweenDoubts : kLaunchesBetweenProbes);
}

bool WidthRule::narrow_is_due() const noexcept {
  return narrow_is_doubtful() &&
         since_narrow_ >=
             std::min(narrow_doubts_ * kLaunchesBetweenDoubtsPerSlot * at_once_, kLaunchesBetweenProbes);
}

// Adds an arrival to the narrow shadow.
//   returns   its latency
double WidthRule::shadow_narrow(double now) noexcept {
  const auto size = static_cast<int>(narrow_ends_.size());
  const auto oldest_busy = [&] {
    return narrow_ends_[(narrow_oldest_ + static_cast<std::size_t>(size - narrow_busy_)) %
                        narrow_ends_.size()];
  };
  while (narrow_busy_ > 0 && oldest_busy() <= now) --narrow_busy_;
  double service = narrow_time(std::min(narrow_busy_ + 1, at_once_));
  if (now > narrow_last_ + kAwake) service += times_.after_idle(Width::kNarrow);
  double& end = narrow_ends_[narrow_oldest_];
  end = std::clamp(end, now, now + kNarrowCut * narrow_time(at_once_)) + service;
  narrow_oldest_ = (narrow_oldest_ + 1) % narrow_ends_.size();
  narrow_busy_ = std::min(narrow_busy_ + 1, size);
  narrow_last_ = std::max(narrow_last_, end);
  return end - now;
}

void WidthRule::arrived(TimePoint when, bool idle) noexcept {
  const double now = ns_of_time(when);
  const double gap = std::max(0.0, now - last_arrival_);
  last_arrival_ = now;
  gap_of_late_ += (gap - gap_of_late_) / kGapsOfLate;
  gap_of_long_ += (gap - gap_of_long_) / kGapsOfLong;
  if (times_.wide() == 0) return;
  const double round = narrow_time(at_once_);
  const double narrow = shadow_narrow(now);
  // While launches are wide, the device itself shows whether a queue is left: a mean that is too long for a while must
  // not make one up.
  if (idle && follows_ == Width::kWide && since_wide_ == 0) wide_until_ = std::min(wide_until_, now);
  const double cut = now + kWideCut * std::max(narrow, round);
  const double cold = now > wide_until_ + kAwake ? times_.after_idle(Width::kWide) : 0;
  wide_until_ = std::min(std::max(wide_until_, now) + cold + times_.wide(), cut);
  const double wide = wide_until_ - now;
  if (gap_of_late_ > kQuieter * gap_of_long_) {
    gap_of_long_ = gap_of_late_;
    wide_eighths_ = narrow_eighths_ = 0;
  }
  idle_in_a_row_ = idle ? idle_in_a_row_ + 1 : 0;
  if (idle_in_a_row_ == kIdleInARowPerSlot * at_once_) {
    idle_in_a_row_ = 0;
    if (follows_ == Width::kNarrow) wide_eighths_ = narrow_eighths_ = 0;
  }
  const double fade = (1 - 1 / kMemoryArrivals) / (1 + gap / (kMemoryRounds * round));
  wide_eighths_ = wide_eighths_ * fade + eighth_power(wide / round);
  narrow_eighths_ = narrow_eighths_ * fade + eighth_power(narrow / round);
  if (wide_eighths_ > narrow_eighths_ * eighth_power(kUpper))
    follows_ = Width::kNarrow;
  else if (wide_eighths_ < narrow_eighths_ * lower_)
    follows_ = Width::kWide;
}

Width WidthRule::choose(const WidthView& view) const noexcept {
  if (!view.alone) return Width::kNarrow;
  if (follows_ == Width::kNarrow) {
    const bool idle = view.running == 0 && view.waiting == 1;
    return idle && (wide_to_measure_ > 0 || wide_is_due()) ? Width::kWide : Width::kNarrow;
  }
  if (times_.wide() == 0 || at_once_ == 1) return Width::kWide;
  if (narrow_is_to_measure(view.waiting)) return Width::kNarrow;
  // With every place taken, throughput counts, and arrivals come no faster than predictions end.
  const double round = narrow_time(at_once_);
  if (view.full && view.waiting + view.running >= at_once_ && round < times_.wide() * at_once_)
    return Width::kNarrow;
  const double room_in = view.running == 0 ? 0 : std::max(0.0, narrow_until_ - ns_of_time(view.now));
  const double rounds = std::ceil(static_cast<double>(view.waiting) / at_once_);
  const bool cold = is_cold(view.idle);
  const double change = view.running == 0 ? times_.after_wide() : 0;
  const double narrow = std::max(change, cold ? times_.after_idle(Width::kNarrow) : 0) +
                        narrow_time(std::min(view.running + view.waiting, at_once_)) * rounds;
  const double wide = (cold ? times_.after_idle(Width::kWide) : room_in) + times_.wide() * view.waiting;
  return wide <= kBacklog * narrow ? Width::kWide : Width::kNarrow;
}

void WidthRule::ended(Width width, int together, Warmth warmth, Duration service) noexcept {
  times_.add(width, together, warmth, ns_of(service));
  if (width == Width::kNarrow) wide_was_last_ = false;
  if (!narrow_is_doubtful()) narrow_doubts_ = 1;
  if (!wide_is_doubtful()) wide_doubts_ = 1;
  if (width != Width::kWide || !doubted_ || wide_to_measure_ > 0) return;
  doubted_ = false;
  // The shadows have seen a service time that was not true.
  if (!wide_is_doubtful()) wide_eighths_ = narrow_eighths_ = 0;
}

Warmth WidthRule::started(Width width, TimePoint now, Duration idle) noexcept {
  const bool changes = width == Width::kNarrow && wide_was_last_;
  const Warmth unchanged = is_cold(idle) ? Warmth::kAfterIdle : Warmth::kWarm;
  const Warmth warmth = changes ? Warmth::kAfterWide : unchanged;
  if (width == Width::kWide) {
    if (wide_is_due() && wide_is_doubtful()) {
      doubted_ = true;
      wide_doubts_ = std::min(wide_doubts_ + 1, kDoubtsMax);
      wide_to_measure_ = kFew;
      times_.measure_wide_again();
    }
    if (wide_to_measure_ > 0) --wide_to_measure_;
    since_wide_ = 0;
    wide_was_last_ = true;
    since_narrow_ = std::min(since_narrow_ + 1, kLaunchesBetweenProbes);
    return warmth;
  }
  // A measurement is of as many as run together under load: a round that follows a wide launch, and one that does not.
  if (narrow_is_due()) {
    narrow_doubts_ = std::min(narrow_doubts_ + 1, kDoubtsMax);
    narrow_to_measure_ = 2 * at_once_;
  }
  if (narrow_to_measure_ > 0) --narrow_to_measure_;
  since_narrow_ = 0;
  since_wide_ = std::min(since_wide_ + 1, kLaunchesBetweenProbes);
  narrow_until_ = std::max(narrow_until_, ns_of_time(now) + narrow_time(at_once_));
  return warmth;
}

}  // namespace inflight::internal
