// SPDX-License-Identifier: Apache-2.0
// WidthRule: whether the next prediction runs wide or narrow. Pure arithmetic: numbers and times go in, a width
// comes out. The predictor and the simulator of the tests run the same code.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "inflight/backend.h"
#include "inflight/clock.h"

namespace inflight::internal {

// What a launch finds on its device. kWarm: a launch of the same width has just run. kAfterWide, of a narrow launch: a
// wide one has, so other threads are awake and other data is in the caches. kAfterIdle: nothing has, so threads and
// processors are asleep. The last two make it slower.
enum class Warmth : std::uint8_t { kWarm, kAfterWide, kAfterIdle };

// How long a launch of each width took alone, when the model was compiled; 0: it was not measured.
struct AloneTimes {
  Duration wide{0};
  Duration narrow{0};
};

// How long a launch runs, measured on line: recent means, in ns. A narrow launch takes longer the more run
// beside it, so there is a mean for each power of two of them.
class ServiceTimes {
 public:
  //   alone   counts for each width until one of its launches has ended
  explicit ServiceTimes(const AloneTimes& alone = {}) noexcept
      : wide_{static_cast<double>(alone.wide.count())} {
    narrow_[0].ns = static_cast<double>(alone.narrow.count());
  }
  //   together   narrow launches that ran at once, this one included; without meaning for a wide launch
  void add(Width width, int together, Warmth warmth, double ns) noexcept;
  // The next few measurements of wide launches count as the first ones do.
  void measure_wide_again() noexcept;
  // Of a warm one. 0: never measured.
  double wide() const noexcept { return wide_.ns; }
  // The same: the mean of the nearest number of launches that was measured, but no more than one after the other would take:
  // twice as many need twice the time at most. 0: none was measured.
  double narrow(int together) const noexcept;
  // How much longer a narrow launch takes that follows a wide one,
  double after_wide() const noexcept { return after_wide_; }
  // and a launch of this width onto a device that has been idle; of the other width, if this one has not been measured.
  double after_idle(Width width) const noexcept;
  // How many narrow launches were measured, up to a few.
  int narrow_runs() const noexcept { return narrow_runs_; }

 private:
  static constexpr std::size_t kClasses = 12;  // the last one holds Predictor::kSlotsMax
  static std::size_t class_of(int together) noexcept;
  double nearest_narrow(std::size_t wanted) const noexcept;
  struct Mean {
    double ns = 0;
    int few = 0;  // warm measurements, up to kFew
    void add(double measured) noexcept;
  };
  Mean wide_;
  std::array<Mean, kClasses> narrow_;
  double after_wide_ = 0;
  std::array<double, 2> after_idle_{};
  int narrow_runs_ = 0;
};

// What the rule sees when there may be room for a launch.
struct WidthView {
  TimePoint now;
  int waiting = 1;    // predictions in the queue, at least 1
  int running = 0;    // launches of this predictor, all narrow: beside a wide one there is no room
  bool full = false;  // every place is taken: more comes than it can do
  bool alone = true;  // no other predictor of the runtime runs or waits
  Duration idle{0};   // for how long nothing of this predictor has run
};

// Chooses the width by two *shadow queues*, which see every arrival: in one, all predictions run wide, one after
// another; in the other, all run narrow. Each tells how long the prediction would take there, from the measured
// service times. The rule compares the shadows' 8-norms: the means of the eighth powers of the recent latencies, in
// which the worst moments count most, as in a 99th percentile. It turns narrow if the wide one's is more than 1.1 times
// the narrow one's, and wide again below a lower bound. It needs no model of the arrivals: steady, random and bursty ones show in the shadows as what
// they are. While it is wide, a queue that one narrow round clears sooner runs narrow at once.
// docs/adr/0011-width-follows-the-better-shadow.md says what else was tried.
//   thread   one at a time: its owner has a lock
//   bound    O(1) an arrival, amortised; allocates only in its constructor
class WidthRule {
 public:
  //   at_once   how many narrow launches of the predictor may run together, at least 1
  explicit WidthRule(int at_once, const AloneTimes& alone = {});

  // A prediction can run, or could if it had not been refused for want of a place.
  //   idle   nothing of the predictor waited or ran when it came
  void arrived(TimePoint now, bool idle) noexcept;
  // The width of the next launch; the same view gives the same width. If it is kWide while narrow launches run,
  // the launch waits for their end.
  Width choose(const WidthView& view) const noexcept;
  //   idle     as of WidthView, before it
  //   returns  for ended()
  Warmth started(Width width, TimePoint now, Duration idle) noexcept;
  // A launch has completed.
  //   together   as of ServiceTimes::add
  void ended(Width width, int together, Warmth warmth, Duration service) noexcept;

  const ServiceTimes& times() const noexcept { return times_; }
  // The shadow that the rule follows.
  Width follows() const noexcept { return follows_; }

 private:
  static double ns_of(Duration time) noexcept { return static_cast<double>(time.count()); }
  double narrow_time(int together) const noexcept;
  static bool is_cold(Duration idle) noexcept;
  bool narrow_is_to_measure(int waiting) const noexcept;
  bool narrow_is_doubtful() const noexcept;
  bool narrow_is_due() const noexcept;  // to be measured again
  bool wide_is_doubtful() const noexcept;
  bool wide_is_due() const noexcept;
  double shadow_narrow(double now) noexcept;

  const int at_once_;
  const double lower_;  // the mean below which the rule turns wide
  ServiceTimes times_;
  Width follows_ = Width::kWide;
  int since_wide_ = 0;    // launches since the last wide one
  int since_narrow_ = 0;  // launches since the last narrow one
  // Launches to come that measure a width which the rule does not follow.
  int wide_to_measure_ = 0;
  int narrow_to_measure_ = 0;
  bool doubted_ = false;  // those wide ones are measured in doubt
  // One more than the doubts in a row that were wrong.
  int wide_doubts_ = 1;
  int narrow_doubts_ = 1;
  double narrow_until_ = 0;     // when the narrow launches that run are expected to have ended
  bool wide_was_last_ = false;  // no narrow launch has ended since the last wide one
  // The shadows. Times are in ns of the predictor's clock.
  double last_arrival_ = 0;
  int idle_in_a_row_ = 0;
  double gap_of_late_ = 0;  // means, see the constants
  double gap_of_long_ = 0;
  double wide_until_ = 0;            // when the wide shadow has done all that came
  std::vector<double> narrow_ends_;  // of the last at_once_ arrivals in the narrow shadow, a ring
  std::size_t narrow_oldest_ = 0;
  int narrow_busy_ = 0;     // of narrow_ends_, those still to come, counted from the newest
  double narrow_last_ = 0;  // the latest of them
  // The sums of the eighth powers of the shadows' latencies, in rounds of narrow launches; both fade.
  double wide_eighths_ = 0;
  double narrow_eighths_ = 0;
};

}  // namespace inflight::internal
