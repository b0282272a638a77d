// SPDX-License-Identifier: Apache-2.0
// WidthRule: at which width the next prediction runs. Pure arithmetic: numbers and times go in, a width
// comes out. The predictor and the simulator of the tests run the same code.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "inflight/backend.h"
#include "inflight/clock.h"

namespace inflight::internal {

// What a launch finds on its device. kWarm: a launch of the same width has just run. kAfterOther, of a launch that is not
// wide: one of another width has, so other threads are awake and other data is in the caches. kAfterIdle: nothing has, so
// threads and processors are asleep. The last two make it slower.
enum class Warmth : std::uint8_t { kWarm, kAfterOther, kAfterIdle };

// What a device offers an elastic predictor. Times are those of a launch when the model was compiled; 0: it was not measured.
struct WidthOffer {
  Duration wide_alone{0};
  Duration narrow_alone{0};
  Duration narrow_together{0};  // of as many as may run at once
  int medium_at_once = 0;       // launches; 0: it does not have that width
  Duration medium_alone{0};
  Duration medium_together{0};  // of medium_at_once
  Duration wake_cost{0};        // of Program
};

// How long a launch runs, measured on line: recent means, in ns. A launch that is not wide takes longer the more of its
// width run beside it, so there is a mean for each power of two of them.
class ServiceTimes {
 public:
  //   narrow_at_once   how many narrow launches may run together
  //   offer            its times count as the first measurements
  explicit ServiceTimes(int narrow_at_once = 1, const WidthOffer& offer = {}) noexcept;
  //   together   launches of the width that ran at once, this one included; without meaning for a wide launch
  void add(Width width, int together, Warmth warmth, double ns) noexcept;
  // The next few measurements of the width with so many together count as the first ones do.
  void measure_again(Width width, int together) noexcept;
  // Of a warm one: the mean of the nearest number of launches that was measured, but no more than one after the other
  // would take: twice as many need twice the time at most. 0: none was measured.
  double of(Width width, int together) const noexcept;
  double wide() const noexcept { return means_[index_of(Width::kWide)][0].ns; }
  // How much longer, at most twice as long in all, a launch of this width takes that follows one of another,
  double after_other(Width width) const noexcept { return after_other_[index_of(width)]; }
  // and one onto a device that has been idle; of another width, if this one has not been measured.
  double after_idle(Width width) const noexcept;
  // How many launches of the width were measured, up to a few.
  int runs(Width width) const noexcept { return runs_[index_of(width)]; }

 private:
  static constexpr std::size_t kClasses = 12;  // the last one holds Predictor::kSlotsMax
  struct Mean {
    double ns = 0;
    int few = 0;  // warm measurements, up to kFew
    // The least of the first so many counts.
    void add(double measured, int least_of) noexcept;
  };
  using Means = std::array<Mean, kClasses>;
  static std::size_t class_of(Width width, int together) noexcept;
  static double nearest(const Means& means, std::size_t wanted) noexcept;
  std::array<Means, kWidthCount> means_;
  std::array<double, kWidthCount> after_other_{};
  std::array<double, kWidthCount> after_idle_{};
  std::array<int, kWidthCount> runs_{};
};

// A queue that sees every arrival, as if all predictions ran at one width.
class ShadowQueue {
 public:
  // When a prediction that comes now would begin, and how many others would run then.
  struct Begin {
    double at = 0;
    int together = 1;  // this one included
    bool idle = true;  // nothing would have run for a while
  };
  //   at_once   how many may run together, at least 1
  explicit ShadowQueue(int at_once) : ends_(static_cast<std::size_t>(at_once), 0.0) {}
  Begin begin(double now) noexcept;
  // Where begin() of the same arrival was the last call.
  void add(double end) noexcept;
  // All that came has ended, at the latest now.
  void clear(double now) noexcept;

 private:
  double& oldest() noexcept { return ends_[oldest_]; }
  std::vector<double> ends_;  // of the last arrivals, a ring
  std::size_t oldest_ = 0;
  int busy_ = 0;     // of ends_, those still to come, counted from the newest
  double last_ = 0;  // the latest of them
};

// What the rule sees when there may be room for a launch.
struct WidthView {
  TimePoint now;
  int waiting = 1;  // predictions in the queue, at least 1
  int running = 0;  // launches of this predictor, none of them wide: beside a wide one there is no room
  Width running_width = Width::kNarrow;
  bool full = false;  // every place is taken: more comes than it can do
  bool alone = true;  // no other predictor of the runtime runs or waits
  Duration idle{0};   // for how long nothing of this predictor has run
};

// Chooses the width by *shadow queues*, which see every arrival: in one, all predictions run wide, one after another; in
// another, all run narrow; in a third, if the device has that width, all run medium. Each tells how long the prediction
// would take there, from the measured service times. The rule compares the shadows' 8-norms: the means of the eighth
// powers of the recent latencies, in which the worst moments count most, as in a 99th percentile. It turns to a narrower
// width if its own one's is more than 1.1 times as high, and to a wider one below a lower bound. It needs no model of the
// arrivals: steady, random and bursty ones show in the shadows as what they are. A queue that a narrower width clears sooner
// runs at that one at once, a long one that stays runs narrow, and a prediction that is alone, after several that were, runs
// wide. Where wide saves less than waking its threads costs, it runs only those of a caller that submits, several times in a row, as
// soon as it has the result before: the threads are awake then. Launches of different widths do not run beside each other.
// docs/adr/0011-width-follows-the-best-shadow.md says what else was tried.
//   thread   one at a time: its owner has a lock
//   bound    O(1) an arrival, amortised; allocates only in its constructor
class WidthRule {
 public:
  //   at_once   how many narrow launches of the predictor may run together, at least 1
  explicit WidthRule(int at_once, const WidthOffer& offer = {});

  // A prediction can run, or could if it had not been refused for want of a place.
  //   others   predictions of the predictor that waited or ran when it came
  //   idle     as of WidthView, then
  void arrived(TimePoint now, int others, Duration idle) noexcept;
  // The width of the next launch; the same view gives the same width. If launches of another width run, it waits for
  // their end.
  Width choose(const WidthView& view) const noexcept;
  //   idle     as of WidthView, before it
  //   returns  for ended()
  Warmth started(Width width, TimePoint now, Duration idle) noexcept;
  // A launch has completed.
  //   together   as of ServiceTimes::add
  void ended(Width width, int together, Warmth warmth, Duration service) noexcept;

  // How many launches of the width may run together; 0: the device does not have it.
  int at_once(Width width) const noexcept { return at_once_[index_of(width)]; }
  const ServiceTimes& times() const noexcept { return times_; }
  // The shadow that the rule follows.
  Width follows() const noexcept { return follows_; }

 private:
  static double ns_of(Duration time) noexcept { return static_cast<double>(time.count()); }
  static bool is_cold(Duration idle) noexcept;
  bool has(Width width) const noexcept { return at_once(width) > 0; }
  double time_of(Width width, int together) const noexcept;
  double round_of(Width width) const noexcept { return time_of(width, at_once(width)); }
  double throughput_of(Width width) const noexcept;
  double throughput_of_wider(Width width) const noexcept;
  bool is_doubtful(Width width) const noexcept;
  bool is_nearly_true(Width width) const noexcept;  // of a doubtful width that is not wide
  int launches_until_due(Width width) const noexcept;
  bool is_due(Width width) const noexcept;  // to be measured again
  bool is_to_measure(Width width, const WidthView& view) const noexcept;
  bool is_crowded(const WidthView& view) const noexcept;  // throughput counts
  bool runs_one_wide() const noexcept;                    // of a rule that does not follow wide
  double clears_queue_in(Width width, const WidthView& view) const noexcept;
  double latency_in_shadow(Width width, double now, double at_most) noexcept;
  bool may_follow(Width width) const noexcept;
  void follow_the_better_shadow() noexcept;
  double add_gap(double now) noexcept;
  void forget() noexcept;

  const std::array<int, kWidthCount> at_once_;
  // In ns; 0: none, or wide saves more. Else an arrival is lonely only if it comes sooner than this after the launch before.
  const double wake_cost_;
  ServiceTimes times_;
  Width follows_ = Width::kWide;
  std::array<int, kWidthCount> since_{};  // launches since the last one of each width
  // Launches to come that measure a width which the rule does not follow.
  std::array<int, kWidthCount> to_measure_{};
  std::array<int, kWidthCount> doubts_;  // one more than the doubts in a row that were wrong
  bool doubted_ = false;                 // the wide launches to measure are measured in doubt
  double running_until_ = 0;   // when the launches that run, none of them wide, are expected to have ended
  std::optional<Width> warm_;  // of the last launch that ended, or of a wide one since it started
  // Times are in ns of the predictor's clock.
  std::optional<double> last_arrival_;
  double few_at_ = 0;  // the last arrival that found less than nearly a round of others
  // Arrivals that found nothing else, and those of them that were lonely: 64 bits, since a lone caller may go on for weeks.
  std::int64_t idle_in_a_row_ = 0;
  std::int64_t lonely_in_a_row_ = 0;
  double gaps_ = 0;         // that were counted, up to the longer mean's
  double gap_of_late_ = 0;  // means, see the constants
  double gap_of_long_ = 0;
  std::array<ShadowQueue, kWidthCount> shadows_;
  // The sums of the eighth powers of the shadows' latencies, in rounds of narrow launches; they fade.
  std::array<double, kWidthCount> eighths_{};
  double medium_is_close_ = 0;  // the recent share of arrivals that medium serves about as soon as wide
};

}  // namespace inflight::internal
