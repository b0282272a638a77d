// SPDX-License-Identifier: Apache-2.0
// Chooses, for each convolution and matmul, the plan that is fastest alone and the one that is fastest while eight
// run together. They differ more often than not: what fills the device alone stands in the way of the others.
#pragma once

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/runtime/disk_cache.h"
#include "backends/cuda/runtime/plan_timer.h"
#include "backends/cuda/runtime/step_plan.h"
#include "inflight/backend.h"
#include "inflight/clock.h"
#include "inflight/internal/mutex.h"

namespace inflight::cuda {

struct TuneChoice {
  std::size_t wide = 0;
  std::size_t narrow = 0;
  float wide_us = 0;        // measured: alone; 0 where it was not
  float narrow_us = 0;      // each of eight
  float first_wide_us = 0;  // of the library's own choice
  float first_narrow_us = 0;
  std::size_t tried = 0;
};

struct TuneReport {
  std::size_t plans = 0;
  std::size_t measured = 0;
  std::size_t cached = 0;
  std::size_t untuned = 0;  // the time was up, or tuning is off
  double prepare_seconds = 0;
  double measure_seconds = 0;
  double gain = 0;  // as Tuning::gain
};

// kOff: the libraries' own choice. kFast: their first few, within kFastSeconds in all. kFull: all, within kFullSeconds.
struct TuneOptions {
  TuneLevel level = TuneLevel::kFast;
  std::function<void(const TuneProgress&)> progress = {};  // as CompileOptions::progress
  bool narrow = true;                                      // which times the gain is of; false: the wide ones
  const Clock* clock = &steady_clock();
  std::size_t threads = 0;  // that prepare candidates; 0: one for each processor that it may use
};

// What is found is kept in the cache, plan by plan, under the card, the driver, the libraries' versions, the level and
// the plan's signature: models share what they have in common. A full result also serves kFast, never the other way
// round. Where the time is up, the next load goes on with what is missing.
class Tuner {
 public:
  static constexpr int kTogether = PlanTimer::kTogetherMax;
  static constexpr std::size_t kFastCandidates = 10;
  static constexpr double kFastSeconds = 5;
  static constexpr double kFullSeconds = 60;

  Tuner(std::unique_ptr<PlanTimer> timer, const DiskCache& cache, TuneOptions options);

  // One choice for each plan; the chosen candidates are prepared.
  //   uses     how many steps of the network have each plan
  //   bound    kFastSeconds or kFullSeconds, and what is under way then: a candidate is not interrupted
  //   errors   kUnsupported: no candidate of a plan can be prepared, with the last reason; kOutOfMemory;
  //            kDeviceError
  Result<std::vector<TuneChoice>> choose(std::span<const std::shared_ptr<StepPlan>> plans,
                                         std::span<const std::size_t> uses);
  const TuneReport& report() const noexcept { return report_; }

 private:
  struct Candidates {
    std::vector<std::size_t> ready;
    Status refused;  // the last reason
    bool cached = false;
    bool cut = false;  // the time was up before all were tried
    TuneChoice choice;
  };

  std::string key_of(const StepPlan& plan, TuneLevel level) const;
  bool choose_cached(StepPlan& plan, Candidates& candidates, std::initializer_list<TuneLevel> levels);
  bool choose_cached(StepPlan& plan, Candidates& candidates, TuneLevel level);
  void remember(const StepPlan& plan, const Candidates& candidates);
  void prepare(StepPlan& plan, Candidates& candidates);
  Status prepare_all(std::span<const std::shared_ptr<StepPlan>> plans, std::span<const std::size_t> uses,
                     std::vector<Candidates>& all);
  // Where none of those that are ready runs: one of the next kind. False: there is none.
  bool prepare_next_kind(StepPlan& plan, Candidates& candidates);
  Status measure(StepPlan& plan, Candidates& candidates);
  Status choose_one(StepPlan& plan, Candidates& candidates);
  void add_gain(const TuneChoice& choice, std::size_t uses);
  void tell(bool timing, std::size_t more_done);
  bool time_is_up() const { return options_.clock->now() >= deadline_; }

  const std::unique_ptr<PlanTimer> timer_;
  const DiskCache cache_;
  const TuneOptions options_;
  TimePoint deadline_;
  TuneReport report_;
  double first_us_ = 0;  // of all steps whose times are known
  double chosen_us_ = 0;
  std::size_t steps_ = 0;
  internal::Mutex mutex_;  // one call of `progress` at a time
  TuneProgress told_ INFLIGHT_GUARDED_BY(mutex_);
};

}  // namespace inflight::cuda
