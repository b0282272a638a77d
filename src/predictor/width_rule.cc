// SPDX-License-Identifier: Apache-2.0
#include "predictor/width_rule.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace inflight::internal {
namespace {

// The numbers of the rule, found with the simulator (width_simulation_test.cc); ADR 11 has what others gave.
// How many arrivals the mean looks back, and how many narrow service times.
constexpr double kMemoryArrivals = 256;
constexpr double kMemoryRounds = 300;
// The ratio above which the rule turns to a narrower width.
constexpr double kUpper = 1.1;
// A queue runs narrower than the rule is if launches of its width would take this many times as long to clear it.
constexpr double kBacklog = 1.05;
// And this many times more if that would begin medium launches, which pays only if some run together.
constexpr double kMediumBacklog = 1.15;
// The medium shadow counts this many times: a mean of its latencies, whose bulk is low, says less of its worst moments.
constexpr double kMediumMustGain = 1.3;
// Where wide has the lower p99 of wide and narrow, its median counts as well: medium launches must serve half of the arrivals
// in at most this many times what wide ones take.
constexpr double kClose = 1.05;
// A device on which nothing has run for so long, in ns, is idle: its threads sleep, and so do its processors, the more deeply
// the longer. SqueezeNet on two processors: no difference after 1 ms, 1.1 times as long after 10 ms, 1.3 to 2.2 times after
// 100 ms.
constexpr double kAwake = 1e6;
// After so many arrivals a slot, in a row, that found nothing waiting or running, what the shadows saw before was another
// load. With many slots the wide shadow loses much more by phases of a high load than by being late, so they stay known.
constexpr int kIdleInARowPerSlot = 4;
// After so many lonely ones in a row, one that finds nothing waiting or running runs wide, whatever the rule follows: whoever comes
// during it waits for the end of one wide launch only.
constexpr int kLonelyInARowToRunWide = 8;
// Callers that wait for their results send no more than the width at which they run can do, so its shadow has no queue, however
// long the real one is. Where at least kFew run at once, throughput counts if a whole round of narrow launches waits, or if each
// arrival for so many rounds has found all but one of a full round. With two cores narrow has little more throughput than wide.
constexpr double kCrowdedRounds = 8;
// The shadow of a width that cannot keep up falls behind without end. It is cut here, the narrow one in narrow service times
// and the others in latencies of the narrow one, so that it comes back soon after the load has gone.
constexpr double kWideCut = 1.5;
constexpr double kNarrowCut = 5;
// Means of the gaps between arrivals, over so many of them: if the recent one is kQuieter times the longer one, the
// load has fallen, and the mean begins anew. Both are means that fade, so after a fall to a third the ratio reaches 1.9; that of
// Poisson's arrivals at a constant load varies by an eighth.
constexpr double kGapsOfLate = 32;
constexpr double kGapsOfLong = 256;
constexpr double kQuieter = 1.7;
// The longer mean is at most so many times the recent one. Else a pause, which is one gap of seconds, keeps it high for hundreds of
// arrivals, and the rule does not see that the load falls.
constexpr double kLouder = 4;
// New measurements move a mean by this part; one that is longer than kOutlier means counts as that much.
constexpr double kGain = 1.0 / 8;
constexpr double kOutlier = 2;
// Of the first few measurements, the least counts, and also of those that doubt asks for. Not of medium launches: a time
// that is too short makes the rule follow a width that cannot keep up.
constexpr int kFew = 4;
// A measurement of less than this part of the mean says that what made the others slow is over: it is the mean.
constexpr double kMuchFaster = 0.5;
// Launches after which an idle device runs one wide, although the rule follows the narrow shadow: its wide
// service time may be from another time.
constexpr int kLaunchesBetweenProbes = 4096;
// The same if that time says that wide is no faster than narrow, which it was when the model was compiled. Then a few
// are measured, since the first one after a pause may be slow. Likewise a queue runs narrow or medium, although the rule
// follows a wider shadow, if their times say that they give no more throughput than a wider width: after so many launches a
// slot, and only a queue of at least kFew, which waits anyway, or where throughput counts. Each doubt that turns out to be wrong makes the next one wait
// longer. A queue runs medium after kLaunchesBetweenProbes as well: its time may say that it is too slow to follow.
constexpr int kLaunchesBetweenDoubts = 64;
constexpr int kLaunchesBetweenDoubtsPerSlot = 16;
constexpr int kDoubtsMax = kLaunchesBetweenProbes / kLaunchesBetweenDoubts;
// Where narrow launches have less than kAlike times the throughput of wide ones, a wide time that is a little too long turns
// the rule narrow, so an idle device runs one wide after so many launches.
constexpr double kAlike = 1.1;
constexpr int kLaunchesBetweenProbesOfAlike = 256;
// A narrow or medium time that says that it has more than kNearly times the throughput of wide may well be true. It is doubted
// after so many launches only, since what measures it is slow.
constexpr double kNearly = 0.87;
constexpr int kLaunchesBetweenSlightDoubts = 1024;

constexpr double eighth_power(double x) {
  const double fourth = x * x * x * x;
  return fourth * fourth;
}

// The mean below which the rule turns to a wider width. With two cores the shadows are close to each other at every load, so
// it turns back to wide, which has the lower median, as soon as the two are equal. With many cores they are far apart but
// for a few loads, and turning to and fro costs more than staying narrow.
//   at_once   of the narrower width
double lower_bound_of(int at_once) { return eighth_power(0.8 + 0.4 / std::max(at_once, 2)); }

constexpr bool is_narrower(Width width, Width than) { return index_of(width) > index_of(than); }

double ns_of_time(TimePoint when) { return static_cast<double>(when.time_since_epoch().count()); }

}  // namespace

// ---- ServiceTimes

ServiceTimes::ServiceTimes(int narrow_at_once, const WidthOffer& offer) noexcept {
  const auto measured = [&](Width width, int together, Duration time) {
    if (time <= Duration(0)) return;
    means_[index_of(width)][class_of(width, together)] = {static_cast<double>(time.count()), kFew};
    if (together > 1) runs_[index_of(width)] = kFew;
  };
  measured(Width::kWide, 1, offer.wide_alone);
  measured(Width::kMedium, 1, offer.medium_alone);
  measured(Width::kMedium, offer.medium_at_once, offer.medium_together);
  measured(Width::kNarrow, 1, offer.narrow_alone);
  measured(Width::kNarrow, narrow_at_once, offer.narrow_together);
}

std::size_t ServiceTimes::class_of(Width width, int together) noexcept {
  if (width == Width::kWide) return 0;
  const auto count = static_cast<unsigned>(std::max(together, 1));
  return std::min(static_cast<std::size_t>(std::bit_width(count)) - 1, kClasses - 1);
}

void ServiceTimes::add(Width width, int together, Warmth warmth, double ns) noexcept {
  ns = std::max(ns, 1.0);
  int& runs = runs_[index_of(width)];
  runs = std::min(runs + 1, kFew);
  Mean& mean = means_[index_of(width)][class_of(width, together)];
  const double warm = of(width, together);
  double& longer = (warmth == Warmth::kAfterOther ? after_other_ : after_idle_)[index_of(width)];
  if (warmth == Warmth::kWarm || ns < warm) {
    mean.add(ns, width == Width::kMedium ? 1 : kFew);  // one that is not warm is no faster for it
  } else if (warm == 0) {
    mean.ns = ns;  // until a warm one was measured
  } else {
    longer += (std::min(ns, kOutlier * warm) - warm - longer) * kGain;
  }
}

void ServiceTimes::Mean::add(double measured, int least_of) noexcept {
  if (few < least_of) {
    // The first ones may be slow: caches are cold and threads asleep.
    ns = few == 0 ? measured : std::min(ns, measured);
    ++few;
  } else {
    const double gain = measured < kMuchFaster * ns ? 1 : kGain;
    ns += (std::min(measured, kOutlier * ns) - ns) * gain;
  }
}

double ServiceTimes::after_idle(Width width) const noexcept {
  const double own = after_idle_[index_of(width)];
  return own > 0 ? own : *std::max_element(after_idle_.begin(), after_idle_.end());
}

void ServiceTimes::measure_again(Width width, int together) noexcept {
  means_[index_of(width)][class_of(width, together)].few = 0;
}

double ServiceTimes::of(Width width, int together) const noexcept {
  const Means& means = means_[index_of(width)];
  const std::size_t wanted = class_of(width, together);
  double least = nearest(means, wanted);
  for (std::size_t fewer = 0; fewer < wanted; ++fewer) {
    const double times = static_cast<double>(together) / static_cast<double>(1U << fewer);
    if (means[fewer].ns > 0) least = std::min(least, means[fewer].ns * times);
  }
  return least;
}

double ServiceTimes::nearest(const Means& means, std::size_t wanted) noexcept {
  for (std::size_t away = 0; away < kClasses; ++away) {
    if (wanted + away < kClasses && means[wanted + away].ns > 0) return means[wanted + away].ns;
    if (wanted >= away && means[wanted - away].ns > 0) return means[wanted - away].ns;
  }
  return 0;
}

// ---- ShadowQueue

ShadowQueue::Begin ShadowQueue::begin(double now) noexcept {
  const std::size_t size = ends_.size();
  while (busy_ > 0 && ends_[(oldest_ + size - static_cast<std::size_t>(busy_)) % size] <= now) --busy_;
  return {std::max(oldest(), now), std::min(busy_ + 1, static_cast<int>(size)), now > last_ + kAwake};
}

void ShadowQueue::add(double end) noexcept {
  oldest() = end;
  oldest_ = (oldest_ + 1) % ends_.size();
  busy_ = std::min(busy_ + 1, static_cast<int>(ends_.size()));
  last_ = std::max(last_, end);
}

void ShadowQueue::clear(double now) noexcept {
  for (double& end : ends_) end = std::min(end, now);
  last_ = std::min(last_, now);
}

// ---- WidthRule

WidthRule::WidthRule(int at_once, const WidthOffer& offer)
    : at_once_{1, offer.medium_at_once, at_once},
      wake_cost_(offer.narrow_alone - offer.wide_alone < offer.wake_cost ? ns_of(offer.wake_cost) : 0),
      times_(at_once, offer),
      shadows_{ShadowQueue(1), ShadowQueue(std::max(offer.medium_at_once, 1)), ShadowQueue(at_once)} {
  doubts_.fill(1);
  if (wake_cost_ > 0) follows_ = Width::kNarrow;
  // What compile() measured is one moment's: if it is doubtful, the first long queue measures it again.
  since_[index_of(Width::kNarrow)] = kLaunchesBetweenProbes;
}

bool WidthRule::is_cold(Duration idle) noexcept { return ns_of(idle) > kAwake; }

// Before the first launch, a guess: half of the cores' work is lost when they work together.
double WidthRule::time_of(Width width, int together) const noexcept {
  const double measured = times_.of(width, together);
  return measured > 0 ? measured : times_.wide() * (at_once(width) + 1) / 2;
}

// The throughput of the width, in that of wide launches.
double WidthRule::throughput_of(Width width) const noexcept {
  return times_.wide() * at_once(width) / round_of(width);
}

// The highest of the wider widths.
double WidthRule::throughput_of_wider(Width width) const noexcept {
  const bool beside_medium = width == Width::kNarrow && has(Width::kMedium);
  return beside_medium ? std::max(throughput_of(Width::kMedium), 1.0) : 1;
}

// Whether the times of the width say what they did not when the model was compiled.
bool WidthRule::is_doubtful(Width width) const noexcept {
  if (width == Width::kWide) return times_.wide() > times_.of(Width::kNarrow, 1);
  return has(width) && throughput_of(width) < throughput_of_wider(width);
}

bool WidthRule::is_nearly_true(Width width) const noexcept {
  return throughput_of(width) > kNearly * throughput_of_wider(width);
}

int WidthRule::launches_until_due(Width width) const noexcept {
  const int doubts = doubts_[index_of(width)];
  if (width == Width::kWide) {
    if (is_doubtful(width)) return doubts * kLaunchesBetweenDoubts;
    return throughput_of(Width::kNarrow) < kAlike ? kLaunchesBetweenProbesOfAlike : kLaunchesBetweenProbes;
  }
  if (!is_doubtful(width))
    return width == Width::kMedium ? kLaunchesBetweenProbes : std::numeric_limits<int>::max();
  if (is_nearly_true(width)) return kLaunchesBetweenSlightDoubts;
  return std::min(doubts * kLaunchesBetweenDoubtsPerSlot * at_once(width), kLaunchesBetweenProbes);
}

bool WidthRule::is_due(Width width) const noexcept {
  return since_[index_of(width)] >= launches_until_due(width);
}

// Whether a queue of a rule that is wider measures the width. At first, a few launches do, unless compile() has.
bool WidthRule::is_to_measure(Width width, const WidthView& view) const noexcept {
  if (view.waiting > 1 && (times_.runs(width) < kFew || to_measure_[index_of(width)] > 0)) return true;
  return is_due(width) && (view.waiting >= std::max(at_once(width), kFew) || is_crowded(view));
}

// With every place taken, arrivals come no faster than predictions end.
bool WidthRule::is_crowded(const WidthView& view) const noexcept {
  const int narrow_at_once = at_once(Width::kNarrow);
  if (view.full && view.waiting + view.running >= narrow_at_once) return true;
  if (narrow_at_once < kFew) return false;
  if (view.waiting >= narrow_at_once) return true;
  return view.waiting + view.running >= narrow_at_once - 1 &&
         ns_of_time(view.now) - few_at_ > kCrowdedRounds * round_of(Width::kNarrow);
}

// Adds an arrival to the shadow of the width.
//   at_most   the latency at which it is cut
//   returns   its latency
double WidthRule::latency_in_shadow(Width width, double now, double at_most) noexcept {
  ShadowQueue& shadow = shadows_[index_of(width)];
  const ShadowQueue::Begin begin = shadow.begin(now);
  const double service = time_of(width, begin.together) + (begin.idle ? times_.after_idle(width) : 0);
  const double end = std::min(begin.at + service, now + at_most);
  shadow.add(end);
  return end - now;
}

// What the rule may follow but for its own bounds: where wide has the lower p99 of wide and narrow, a median that is near
// to wide's is wanted of medium.
bool WidthRule::may_follow(Width width) const noexcept {
  if (!has(width) || (width == Width::kWide && wake_cost_ > 0)) return false;
  if (width != Width::kMedium) return true;
  return medium_is_close_ >= 0.5 || eighths_[index_of(Width::kNarrow)] <= eighths_[index_of(Width::kWide)];
}

void WidthRule::follow_the_better_shadow() noexcept {
  if (!may_follow(follows_)) {
    const bool wide = eighths_[index_of(Width::kWide)] <= eighths_[index_of(Width::kNarrow)];
    follows_ = wide && may_follow(Width::kWide) ? Width::kWide : Width::kNarrow;
  }
  Width best = follows_;
  double most = 1;
  for (const Width width : kWidths) {
    if (width == follows_ || !may_follow(width)) continue;
    const double bound =
        is_narrower(width, follows_) ? eighth_power(kUpper) : 1 / lower_bound_of(at_once(follows_));
    const double gain = eighths_[index_of(follows_)] / (eighths_[index_of(width)] * bound);
    if (gain <= most) continue;
    most = gain;
    best = width;
  }
  follows_ = best;
}

// What the shadows have seen counts no more.
void WidthRule::forget() noexcept {
  eighths_.fill(0);
  medium_is_close_ = 0;
}

// Counts the gap before an arrival, and returns it. There is none before the first one.
double WidthRule::add_gap(double now) noexcept {
  const double gap = std::max(0.0, now - last_arrival_.value_or(now));
  if (last_arrival_.has_value()) {
    gaps_ = std::min(gaps_ + 1, kGapsOfLong);
    gap_of_late_ += (gap - gap_of_late_) / std::min(gaps_, kGapsOfLate);
    gap_of_long_ += (gap - gap_of_long_) / gaps_;
    gap_of_long_ = std::min(gap_of_long_, kLouder * gap_of_late_);
  }
  last_arrival_ = now;
  return gap;
}

void WidthRule::arrived(TimePoint when, int others, Duration idle_for) noexcept {
  const double now = ns_of_time(when);
  const bool idle = others == 0;
  if (others < at_once(Width::kNarrow) - 1) few_at_ = now;
  const double gap = add_gap(now);
  if (times_.wide() == 0) return;
  const double round = round_of(Width::kNarrow);
  // The device itself shows whether launches of the width that the rule follows leave a queue: a mean that is too long for a
  // while must not make one up.
  if (idle && follows_ != Width::kNarrow && since_[index_of(follows_)] == 0)
    shadows_[index_of(follows_)].clear(now);
  const double narrow = latency_in_shadow(Width::kNarrow, now, kNarrowCut * round);
  const double cut = kWideCut * std::max(narrow, round);
  const double wide = latency_in_shadow(Width::kWide, now, cut);
  const double medium = has(Width::kMedium) ? latency_in_shadow(Width::kMedium, now, cut) : 0;
  if (gap_of_late_ > kQuieter * gap_of_long_) {
    gap_of_long_ = gap_of_late_;
    forget();
  }
  idle_in_a_row_ = idle ? idle_in_a_row_ + 1 : 0;
  const bool lonely = idle && (wake_cost_ == 0 || ns_of(idle_for) < wake_cost_);
  lonely_in_a_row_ = lonely ? lonely_in_a_row_ + 1 : 0;
  if (idle && idle_in_a_row_ % (std::int64_t{kIdleInARowPerSlot} * at_once(Width::kNarrow)) == 0 &&
      follows_ != Width::kWide)
    forget();
  const double fade = (1 - 1 / kMemoryArrivals) / (1 + gap / (kMemoryRounds * round));
  const std::array<double, kWidthCount> latencies = {wide, kMediumMustGain * medium, narrow};
  for (std::size_t i = 0; i < kWidthCount; ++i)
    eighths_[i] = eighths_[i] * fade + eighth_power(latencies[i] / round);
  medium_is_close_ += ((medium <= kClose * wide ? 1 : 0) - medium_is_close_) / kMemoryArrivals;
  follow_the_better_shadow();
}

// Whether one that finds nothing else runs wide. Where waking costs what wide saves, the threads that one launch wakes also
// take processors from those after it, and a caller that waits is known only by several arrivals: of random ones some
// come as soon by chance.
bool WidthRule::runs_one_wide() const noexcept {
  const bool lonely = lonely_in_a_row_ >= kLonelyInARowToRunWide;
  if (wake_cost_ > 0 && !lonely) return false;
  return to_measure_[index_of(Width::kWide)] > 0 || is_due(Width::kWide) ||
         (lonely && !is_doubtful(Width::kWide));
}

// How long the launches of what waits would take at this width, from now.
double WidthRule::clears_queue_in(Width width, const WidthView& view) const noexcept {
  const double room_in = view.running == 0 ? 0 : std::max(0.0, running_until_ - ns_of_time(view.now));
  const double idle = is_cold(view.idle) ? times_.after_idle(width) : 0;
  if (width == Width::kWide) return std::max(room_in, idle) + times_.wide() * view.waiting;
  const bool joins = view.running > 0 && view.running_width == width;
  const double late = joins ? 0 : room_in + std::max(idle, times_.after_other(width));
  const int beside = joins ? view.running : 0;
  const double rounds = std::ceil(static_cast<double>(view.waiting) / at_once(width));
  return late + time_of(width, std::min(beside + view.waiting, at_once(width))) * rounds;
}

Width WidthRule::choose(const WidthView& view) const noexcept {
  if (!view.alone) return Width::kNarrow;
  const int narrow_at_once = at_once(Width::kNarrow);
  if (follows_ == Width::kWide && (times_.wide() == 0 || narrow_at_once == 1)) return Width::kWide;
  if (follows_ != Width::kWide && view.running == 0 && view.waiting == 1 && runs_one_wide())
    return Width::kWide;
  // Of the widths that the rule does not follow, those that are narrower may run a queue.
  const auto may_run = [&](Width width) { return has(width) && is_narrower(width, follows_); };
  for (const Width width : {Width::kMedium, Width::kNarrow}) {
    if (may_run(width) && is_to_measure(width, view)) return width;
  }
  if (is_crowded(view) && !is_doubtful(Width::kNarrow)) return Width::kNarrow;
  Width soonest = follows_;
  double least = clears_queue_in(follows_, view) / kBacklog;
  for (const Width width : {Width::kMedium, Width::kNarrow}) {
    if (width == follows_ || !may_run(width)) continue;
    const bool begins = view.running == 0 || view.running_width != width;
    const double clears_in =
        clears_queue_in(width, view) * (width == Width::kMedium && begins ? kMediumBacklog : 1);
    if (clears_in >= least) continue;
    least = clears_in;
    soonest = width;
  }
  return soonest;
}

void WidthRule::ended(Width width, int together, Warmth warmth, Duration service) noexcept {
  times_.add(width, together, warmth, ns_of(service));
  warm_ = width;
  for (const Width each : kWidths) {
    if (!is_doubtful(each)) doubts_[index_of(each)] = 1;
  }
  if (width != Width::kWide || !doubted_ || to_measure_[index_of(Width::kWide)] > 0) return;
  doubted_ = false;
  if (!is_doubtful(Width::kWide)) forget();  // the shadows have seen a service time that was not true
}

Warmth WidthRule::started(Width width, TimePoint now, Duration idle) noexcept {
  const bool changes = width != Width::kWide && warm_.has_value() && *warm_ != width;
  const Warmth unchanged = is_cold(idle) ? Warmth::kAfterIdle : Warmth::kWarm;
  int& to_measure = to_measure_[index_of(width)];
  int& doubts = doubts_[index_of(width)];
  if (width == Width::kWide) {
    if (is_due(width) && is_doubtful(width)) {
      doubted_ = true;
      doubts = std::min(doubts + 1, kDoubtsMax);
      to_measure = kFew;
      times_.measure_again(width, 1);
    }
    warm_ = width;
  } else {
    // A measurement is of as many as run together under load: a round that follows another width, and one that does not.
    if (is_due(width)) {
      doubts = std::min(doubts + 1, kDoubtsMax);
      to_measure = 2 * at_once(width);
      if (width == Width::kNarrow && !is_nearly_true(width)) times_.measure_again(width, at_once(width));
    }
    running_until_ = std::max(running_until_, ns_of_time(now) + round_of(width));
  }
  if (to_measure > 0) --to_measure;
  for (int& since : since_) since = std::min(since + 1, kLaunchesBetweenProbes);
  since_[index_of(width)] = 0;
  return changes ? Warmth::kAfterOther : unchanged;
}

}  // namespace inflight::internal
