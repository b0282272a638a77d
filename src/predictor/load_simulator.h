// SPDX-License-Identifier: Apache-2.0
// A device, arrivals and the scheduler on a clock that only the simulator moves, for the tests of width,
// admission and limits. Times are in ms, rates in predictions a ms.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <random>
#include <utility>
#include <vector>

#include "predictor/scheduler.h"

namespace inflight::internal::testing {

// Service times as measured: wide alone on all cores; narrow alone, and with all cores busy; medium alone, and with as
// many as run at once.
struct SimulatedModel {
  const char* name;
  double wide;
  double narrow_alone;
  double narrow_full;
  int cores;
  double medium_alone = 0;
  double medium_full = 0;
  int medium_at_once = 0;  // 0: it has no such width
  double capacity() const { return cores / narrow_full; }
};

// What a rule of width sees when there may be room for a launch.
struct RuleView {
  double now;
  int waiting;           // in the queue, at least 1
  int running;           // launches
  double running_until;  // when all of them have ended
  double gap;            // between arrivals, the mean of the last 40 or so; 0: only one came
  const SimulatedModel& model;
};
using Rule = std::function<Width(const RuleView&)>;

// For how long after a launch the threads that compute are awake, in ms.
inline constexpr double kAwake = 1;

struct SimulatedLoad {
  WidthPolicy width = WidthPolicy::kElastic;
  int limit = 1 << 16;
  bool limit_auto = false;
  bool refuse_late = false;
  double deadline = 0;   // after the arrival; 0: none
  double variation = 0;  // of service times: standard deviation / mean, lognormal
  // How much longer narrow launches take that start before another ends after a wide one.
  double after_wide = 0;
  double after_idle = 0;    // how much longer a launch takes that finds nothing running for the last kAwake
  bool measured = true;     // each width alone and at its capacity, when the model was compiled
  double narrow_error = 1;  // the narrow time at its capacity that was measured then, in true ones
  unsigned seed = 1;
  Rule rule = {};  // in place of the scheduler's
};

struct SimulatedEnd {
  double arrived, finished;
  Width width;
  Outcome outcome;
  double deadline;
};

// The clock of a machine has run for hours before.
inline TimePoint at_ms(double ms) {
  return TimePoint(std::chrono::hours(10) + Duration(std::llround(ms * 1e6)));
}
inline double ms_of(Duration time) { return static_cast<double>(time.count()) * 1e-6; }

class LoadSimulator {
 public:
  LoadSimulator(const SimulatedModel& model, const SimulatedLoad& load)
      : model_(model), load_(load), random_(load.seed), scheduler_(options()), units_free_(model.cores) {}

  Scheduler& scheduler() { return scheduler_; }
  double now() const { return now_; }
  // Called after each end: the test may submit again, as a caller in a closed loop does.
  std::function<void()> after_end;
  const std::vector<SimulatedEnd>& ends() const { return ends_; }
  void set_model(const SimulatedModel& model) { model_ = model; }

  // Submits at this instant. False: refused.
  bool submit() {
    const TimePoint now = at_ms(now_);
    const double gap = now_ - std::exchange(last_arrival_, now_);
    if (++arrivals_ > 1) gap_ += (gap - gap_) / std::min(arrivals_ - 1, 40);
    switch (scheduler_.ask()) {
      case Admission::kAdmit:
        break;
      default:
        scheduler_.refuse_full(now);
        return false;
    }
    const TimePoint deadline = load_.deadline > 0 ? at_ms(now_ + load_.deadline) : TimePoint::max();
    TimePoint expected = TimePoint::max();
    if (load_.refuse_late) {
      expected = scheduler_.forecast(now);
      if (scheduler_.would_be_late(now, expected, deadline)) {
        scheduler_.refuse_late(now);
        return false;
      }
      if (expected == TimePoint::min()) expected = TimePoint::max();
    }
    Job& job = take_job();
    scheduler_.admit(job, now);
    job.expected = expected;
    job.deadline = deadline;
    scheduler_.inputs_came(job, now);
    launch();
    return true;
  }

  // Lets time pass, with its ends and expiries, up to that moment.
  void run_until(double when) {
    while (true) {
      const double end = running_.empty() ? kNever : running_.top().when;
      const auto wake = scheduler_.wake_at();
      const double expiry = wake ? ms_of(*wake - at_ms(0)) : kNever;
      if (std::min(end, expiry) > when || std::min(end, expiry) == kNever) break;
      now_ = std::max(now_, std::min(end, expiry));
      if (expiry <= end) {
        while (Job* const job = scheduler_.expire(*wake)) finish(*job, Outcome::kExpired);
      } else {
        const Running ended = running_.top();
        running_.pop();
        units_free_ += ended.units;
        finish(*ended.job, Outcome::kCompleted);
        launch();
        if (after_end) after_end();
      }
    }
    if (when != kNever) now_ = when;
  }
  void run_until_idle() { run_until(kNever); }

  // Submits at each of the times, and runs until all have ended.
  //   begin   the moment from which they count
  //   bound   the queue is cut at 20,000, where a width cannot keep up
  void run(const std::vector<double>& arrivals, double begin = 0) {
    for (const double arrival : arrivals) {
      run_until(begin + arrival);
      if (scheduler_.statistics().in_flight < 20000) submit();
    }
    run_until_idle();
  }

  // Of the latencies of those that completed, without the first tenth.
  double quantile(double share) const { return quantile(share, ends_.size() / 10); }
  // Of those from that end on.
  double quantile(double share, std::size_t first) const {
    std::vector<double> latencies;
    for (std::size_t i = first; i < ends_.size(); ++i) {
      if (ends_[i].outcome == Outcome::kCompleted) latencies.push_back(ends_[i].finished - ends_[i].arrived);
    }
    if (latencies.empty()) return kNever;
    const auto place =
        latencies.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(latencies.size()));
    std::nth_element(latencies.begin(), place, latencies.end());
    return *place;
  }

 private:
  static constexpr double kNever = 1e300;
  struct Running {
    double when;
    Job* job;
    int units;
    bool operator<(const Running& other) const { return when > other.when; }
  };

  SchedulerOptions options() const {
    SchedulerOptions options;
    options.slots = load_.width == WidthPolicy::kWide ? 1 : std::min(model_.cores, load_.limit);
    options.in_flight_limit = load_.limit_auto ? 2 * options.slots : load_.limit;
    options.keep_finished = false;
    options.width = load_.width;
    if (load_.width == WidthPolicy::kElastic) options.offer.medium_at_once = model_.medium_at_once;
    if (load_.measured) {
      options.offer.wide_alone = at_ms(model_.wide) - at_ms(0);
      options.offer.narrow_alone = at_ms(model_.narrow_alone) - at_ms(0);
      if (options.slots == model_.cores)
        options.offer.narrow_together = at_ms(load_.narrow_error * model_.narrow_full) - at_ms(0);
      options.offer.medium_alone = at_ms(model_.medium_alone) - at_ms(0);
      options.offer.medium_together = at_ms(model_.medium_full) - at_ms(0);
    }
    options.limit_auto = load_.limit_auto;
    return options;
  }

  Job& take_job() {
    if (idle_.empty()) {
      jobs_.emplace_back();
      idle_.push_back(&jobs_.back());
    }
    Job* const job = idle_.back();
    idle_.pop_back();
    return *job;
  }

  void launch() {
    while (scheduler_.can_launch()) {
      const Width width = load_.rule ? load_.rule(view()) : scheduler_.next_width(0, at_ms(now_), true);
      const int units = model_.cores / at_once(width);
      if (units > units_free_ || (!running_.empty() && running_.top().job->width != width)) return;
      Job* const job = scheduler_.launch(0, at_ms(now_), width);
      units_free_ -= units;
      const double end = now_ + service(width);
      running_.push({end, job, units});
      running_until_ = std::max(running_until_, end);
    }
  }

  int at_once(Width width) const {
    if (width == Width::kWide) return 1;
    return width == Width::kMedium ? model_.medium_at_once : model_.cores;
  }

  RuleView view() const {
    const int running = static_cast<int>(running_.size());
    const int waiting = static_cast<int>(scheduler_.statistics().in_flight) - running;
    return {now_, waiting, running, running_until_, gap_, model_};
  }

  double service(Width width) {
    const int most = at_once(width);
    const int others = (model_.cores - units_free_) * most / model_.cores - 1;
    const double share = most > 1 ? static_cast<double>(others) / (most - 1) : 0;
    double time = model_.wide;
    if (width == Width::kNarrow)
      time = model_.narrow_alone + (model_.narrow_full - model_.narrow_alone) * share;
    if (width == Width::kMedium)
      time = model_.medium_alone + (model_.medium_full - model_.medium_alone) * share;
    if (width != Width::kWide && last_width_ == Width::kWide) time += load_.after_wide;
    if (running_.empty() && now_ >= last_end_ + kAwake) time += load_.after_idle;
    if (load_.variation == 0) return time;
    const double log_variance = std::log(1 + load_.variation * load_.variation);
    return time * std::lognormal_distribution<double>(-log_variance / 2, std::sqrt(log_variance))(random_);
  }

  void finish(Job& job, Outcome outcome) {
    const double deadline = job.deadline == TimePoint::max() ? kNever : ms_of(job.deadline - at_ms(0));
    if (outcome == Outcome::kCompleted) {
      last_width_ = job.width;
      last_end_ = now_;
    }
    ends_.push_back({ms_of(job.times.submitted - at_ms(0)), now_, job.width, outcome, deadline});
    PlaceWaiters granted;
    scheduler_.finished(job, outcome, at_ms(now_), granted);
    idle_.push_back(&job);
  }

  SimulatedModel model_;
  const SimulatedLoad load_;
  std::mt19937 random_;
  Scheduler scheduler_;
  int units_free_;
  double now_ = 0;
  double running_until_ = 0;
  double last_arrival_ = 0;
  double last_end_ = -kAwake;
  double gap_ = 0;
  int arrivals_ = 0;
  Width last_width_ = Width::kNarrow;  // of the last launch that ended
  std::deque<Job> jobs_;
  std::vector<Job*> idle_;
  std::priority_queue<Running> running_;
  std::vector<SimulatedEnd> ends_;
};

// ---- Arrivals, in ms

inline std::vector<double> poisson(double rate, int count, unsigned seed) {
  std::mt19937 random(seed);
  std::exponential_distribution<double> gap(rate);
  std::vector<double> arrivals;
  double time = 0;
  for (int i = 0; i < count; ++i) arrivals.push_back(time += gap(random));
  return arrivals;
}

// Four fifths of the arrivals in a fifth of the time, in phases whose lengths are random around `phase`.
inline std::vector<double> on_and_off(double rate, int count, unsigned seed, double phase) {
  std::mt19937 random(seed);
  std::exponential_distribution<double> one(1);
  std::vector<double> arrivals;
  double time = 0;
  double phase_ends = 0;
  bool on = false;
  while (static_cast<int>(arrivals.size()) < count) {
    if (time >= phase_ends) {
      on = !on;
      phase_ends = time + one(random) * phase * (on ? 0.2 : 0.8);
    }
    const double gap = one(random) / (rate * (on ? 4 : 0.25));
    time = std::min(time + gap, phase_ends);
    if (time < phase_ends) arrivals.push_back(time);
  }
  return arrivals;
}

// `cameras` of the same period with their own phases and a little jitter.
inline std::vector<double> periodic(int cameras, double rate, int count, unsigned seed) {
  std::mt19937 random(seed);
  const double period = cameras / rate;
  std::uniform_real_distribution<double> any(0, period);
  std::vector<double> phases;
  for (int i = 0; i < cameras; ++i) phases.push_back(any(random));
  std::vector<double> arrivals;
  for (int i = 0; i < count / cameras; ++i) {
    for (const double phase : phases) arrivals.push_back(i * period + phase + any(random) * 0.02);
  }
  std::sort(arrivals.begin(), arrivals.end());
  return arrivals;
}

inline std::vector<double> bursts(int size, double period, int count) {
  std::vector<double> arrivals;
  for (int i = 0; i < count / size; ++i) {
    for (int j = 0; j < size; ++j) arrivals.push_back(i * period + j * 0.002);
  }
  return arrivals;
}

}  // namespace inflight::internal::testing
