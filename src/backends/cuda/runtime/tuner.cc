// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/tuner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <utility>

#include "base/in_parallel.h"

namespace inflight::cuda {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

}  // namespace

Tuner::Tuner(std::unique_ptr<PlanTimer> timer, const DiskCache& cache, TuneOptions options)
    : timer_(std::move(timer)), cache_(cache), options_(std::move(options)) {}

std::string Tuner::key_of(const StepPlan& plan, TuneLevel level) const {
  return fmt::format("{}\n{}\n{} ways\n{}", timer_->versions(), level == TuneLevel::kFull ? "full" : "fast",
                     plan.candidates(), plan.signature());
}

bool Tuner::choose_cached(StepPlan& plan, Candidates& candidates, std::initializer_list<TuneLevel> levels) {
  return std::any_of(levels.begin(), levels.end(),
                     [&](TuneLevel level) { return choose_cached(plan, candidates, level); });
}

bool Tuner::choose_cached(StepPlan& plan, Candidates& candidates, TuneLevel level) {
  const std::optional<std::string> found = cache_.get("tuning", key_of(plan, level));
  if (!found) return false;
  const std::vector<std::string> lines = lines_of(*found);
  if (lines.size() != 3) return false;
  TuneChoice choice;
  bool wide = false;
  bool narrow = false;
  for (std::size_t i = 0; i < plan.candidates() && !(wide && narrow); ++i) {
    const std::string name = plan.candidate_name(i);
    if (!wide && name == lines[0]) {
      choice.wide = i;
      wide = true;
    }
    if (!narrow && name == lines[1]) {
      choice.narrow = i;
      narrow = true;
    }
  }
  if (!wide || !narrow || !plan.prepare(choice.wide).ok() || !plan.prepare(choice.narrow).ok()) return false;
  std::sscanf(lines[2].c_str(), "%f %f %f %f", &choice.wide_us, &choice.narrow_us,  // NOLINT(cert-err34-c)
              &choice.first_wide_us, &choice.first_narrow_us);
  candidates.choice = choice;
  candidates.cached = true;
  return true;
}

// What the time was too short for is no full result. It serves kFast, if there was anything to compare.
void Tuner::remember(const StepPlan& plan, const Candidates& candidates) {
  const TuneChoice& choice = candidates.choice;
  if (candidates.cut && choice.tried < 2) return;
  const std::string key = key_of(plan, candidates.cut ? TuneLevel::kFast : options_.level);
  if (candidates.cut && cache_.get("tuning", key)) return;
  const std::string value = fmt::format("{}\n{}\n{} {} {} {}\n", plan.candidate_name(choice.wide),
                                        plan.candidate_name(choice.narrow), choice.wide_us, choice.narrow_us,
                                        choice.first_wide_us, choice.first_narrow_us);
  cache_.put("tuning", key, value).ok();  // a cache that cannot be written costs time only
}

// Candidates of the best kind that has any: a fused plan that works makes split ones needless.
void Tuner::prepare(StepPlan& plan, Candidates& candidates) {
  const TuneLevel level = options_.level;
  if (level == TuneLevel::kFull && choose_cached(plan, candidates, TuneLevel::kFull)) return;
  if (level == TuneLevel::kFast && choose_cached(plan, candidates, {TuneLevel::kFull, TuneLevel::kFast}))
    return;
  const std::size_t most = level == TuneLevel::kOff    ? 1
                           : level == TuneLevel::kFast ? kFastCandidates
                                                       : SIZE_MAX;
  int rank = 0;
  for (std::size_t i = 0; i < plan.candidates(); ++i) {
    if (!candidates.ready.empty()) {
      if (plan.candidate_rank(i) > rank || candidates.ready.size() >= most) return;
      candidates.cut = time_is_up();
      if (candidates.cut) return;
    }
    const Status prepared = plan.prepare(i);
    if (!prepared.ok()) {
      candidates.refused = prepared;
      continue;
    }
    rank = plan.candidate_rank(i);
    candidates.ready.push_back(i);
  }
}

Status Tuner::prepare_all(std::span<const std::shared_ptr<StepPlan>> plans, std::span<const std::size_t> uses,
                          std::vector<Candidates>& all) {
  const auto prepare_one = [&](std::size_t i) {
    INFLIGHT_TRY(timer_->enter());
    prepare(*plans[i], all[i]);
    tell(false, uses[i]);
    return Status();
  };
  return internal::in_parallel(plans.size(), prepare_one, options_.threads);
}

bool Tuner::prepare_next_kind(StepPlan& plan, Candidates& candidates) {
  const int rank = plan.candidate_rank(candidates.ready.back());
  candidates.ready.clear();
  for (std::size_t i = 0; i < plan.candidates() && candidates.ready.empty(); ++i) {
    if (plan.candidate_rank(i) > rank && plan.prepare(i).ok()) candidates.ready.push_back(i);
  }
  return !candidates.ready.empty();
}

Status Tuner::measure(StepPlan& plan, Candidates& candidates) {
  INFLIGHT_TRY(timer_->begin(plan, candidates.ready));
  TuneChoice choice{candidates.ready[0], candidates.ready[0], 1e9F, 1e9F, 0, 0, 0};
  for (const std::size_t i : candidates.ready) {
    if (choice.tried > 0 && time_is_up()) {
      candidates.cut = true;
      break;
    }
    const Result<float> alone = timer_->time(plan, i, 1);
    INFLIGHT_TRY(timer_->status());
    const Result<float> together = alone.ok() ? timer_->time(plan, i, kTogether) : alone;
    INFLIGHT_TRY(timer_->status());
    if (!together.ok()) {
      candidates.refused = together.status();
      continue;
    }
    if (choice.tried++ == 0) {
      choice.first_wide_us = *alone;
      choice.first_narrow_us = *together;
    }
    if (*alone < choice.wide_us) {
      choice.wide_us = *alone;
      choice.wide = i;
    }
    if (*together < choice.narrow_us) {
      choice.narrow_us = *together;
      choice.narrow = i;
    }
  }
  if (choice.tried == 0) return candidates.refused;
  candidates.choice = choice;
  remember(plan, candidates);
  return Status();
}

Status Tuner::choose_one(StepPlan& plan, Candidates& candidates) {
  if (candidates.cached) {
    ++report_.cached;
    return Status();
  }
  if (candidates.ready.empty()) return candidates.refused;
  const bool off = options_.level == TuneLevel::kOff;
  if (off || time_is_up()) {
    // A fast result is better than none.
    if (off || !choose_cached(plan, candidates, TuneLevel::kFast))
      candidates.choice.wide = candidates.choice.narrow = candidates.ready[0];
    ++report_.untuned;
    return Status();
  }
  Status measured = measure(plan, candidates);
  while (!measured.ok() && timer_->status().ok() && prepare_next_kind(plan, candidates))
    measured = measure(plan, candidates);
  if (measured.ok()) ++report_.measured;
  return measured;
}

void Tuner::add_gain(const TuneChoice& choice, std::size_t uses) {
  const double first = options_.narrow ? choice.first_narrow_us : choice.first_wide_us;
  const double chosen = options_.narrow ? choice.narrow_us : choice.wide_us;
  if (!(first > 0 && chosen > 0)) return;
  first_us_ += first * static_cast<double>(uses);
  chosen_us_ += chosen * static_cast<double>(uses);
  report_.gain = first_us_ / chosen_us_ - 1;
}

void Tuner::tell(bool timing, std::size_t more_done) {
  if (!options_.progress || options_.level == TuneLevel::kOff) return;
  const internal::MutexLock lock(mutex_);
  if (told_.timing != timing) told_ = {timing, 0, 0, 0};
  told_.done += more_done;
  told_.steps = steps_;
  told_.gain = report_.gain;
  options_.progress(told_);
}

Result<std::vector<TuneChoice>> Tuner::choose(std::span<const std::shared_ptr<StepPlan>> plans,
                                              std::span<const std::size_t> uses) {
  const TimePoint start = options_.clock->now();
  const auto seconds_since = [&](TimePoint since) {
    return std::chrono::duration<double>(options_.clock->now() - since).count();
  };
  const double bound = options_.level == TuneLevel::kFull ? kFullSeconds : kFastSeconds;
  const TimePoint end = start + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(bound));
  steps_ = std::accumulate(uses.begin(), uses.end(), std::size_t{0});
  std::vector<Candidates> all(plans.size());
  // Preparing gets half of the time, so that measuring has some.
  deadline_ = start + (end - start) / 2;
  INFLIGHT_TRY(prepare_all(plans, uses, all));
  deadline_ = end;
  report_.plans += plans.size();
  report_.prepare_seconds += seconds_since(start);
  const TimePoint measuring = options_.clock->now();
  INFLIGHT_TRY(timer_->enter());
  std::vector<TuneChoice> choices;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const Status chosen = choose_one(*plans[i], all[i]);
    if (!chosen.ok()) return chosen.with_context(plans[i]->signature());
    choices.push_back(all[i].choice);
    add_gain(all[i].choice, uses[i]);
    tell(true, uses[i]);
  }
  report_.measure_seconds += seconds_since(measuring);
  return choices;
}

}  // namespace inflight::cuda
