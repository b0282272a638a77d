// SPDX-License-Identifier: Apache-2.0
// The rules of width that ADR 11 compares, on the same simulated arrivals: this prints its table.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <deque>
#include <memory>

#include "predictor/width_points.h"

namespace inflight::internal::testing {
namespace {

// Wide if nothing else is in flight.
Width naive(const RuleView& view) {
  return view.running == 0 && view.waiting == 1 ? Width::kWide : Width::kNarrow;
}

// The width at which all that waits is done sooner.
Width earlier_finish(const RuleView& view) {
  const double wide = std::max(0.0, view.running_until - view.now) + view.model.wide * view.waiting;
  const int together = std::min(view.running + view.waiting, view.model.cores);
  const double share = view.model.cores > 1 ? static_cast<double>(together - 1) / (view.model.cores - 1) : 0;
  const double service = view.model.narrow_alone + (view.model.narrow_full - view.model.narrow_alone) * share;
  const double narrow =
      service * std::ceil(static_cast<double>(view.running + view.waiting) / view.model.cores);
  return wide <= narrow ? Width::kWide : Width::kNarrow;
}

// By the share of what wide can carry: narrow above 0.8, wide again below 0.55.
Rule regime() {
  return [is_wide = true](const RuleView& view) mutable {
    const double share = view.gap > 0 ? view.model.wide / view.gap : 0;
    is_wide = is_wide ? share <= 0.8 : share < 0.55;
    return is_wide ? Width::kWide : Width::kNarrow;
  };
}

struct Candidate {
  const char* name;
  Rule (*make)();
  int outside[2] = {0, 0};  // without and with variation of the service times
  double worst = 0;         // p99 / the better p99, outside the crossover
  double worst_crossover = 0;
};

// The chosen one comes last.
std::vector<Candidate> all_candidates() {
  return {{"naive", [] { return Rule(naive); }},
          {"earlier finish", [] { return Rule(earlier_finish); }},
          {"regime", regime},
          {"shadow queues", [] { return Rule(); }}};
}

TEST(WidthRules, TheShadowQueuesAreOutsideTheEnvelopeLeastOften) {
  std::vector<Candidate> candidates = all_candidates();
  int points = 0;
  for (const SimulatedModel& model : kModels) {
    std::vector<Point> all = poisson_points(model);
    for (auto* const more : {camera_points, phase_points, burst_points}) {
      for (Point& point : more(model)) all.push_back(std::move(point));
    }
    points += static_cast<int>(all.size());
    for (const Point& point : all) {
      for (const int varies : {0, 1}) {
        const double variation = 0.2 * varies;
        const Envelope envelope(model, point.arrivals, {.variation = variation, .seed = seed()});
        for (Candidate& rule : candidates) {
          const Latencies ended =
              latencies(model, {.variation = variation, .seed = seed(), .rule = rule.make()}, point.arrivals);
          const double ratio = ended.p99 / envelope.better().p99;
          double& worst = envelope.crossover() ? rule.worst_crossover : rule.worst;
          worst = std::max(worst, ratio);
          if (envelope.holds(ended)) continue;
          ++rule.outside[varies];
          if (rule.name != std::string("shadow queues")) continue;
          std::printf("outside: %s, %s, variation %.1f: %s, elastic %s\n", model.name, point.name.c_str(),
                      variation, envelope.text().c_str(), Envelope::text_of(ended).c_str());
        }
      }
    }
  }
  for (const Candidate& rule : candidates) {
    std::printf("%-15s %3d / %3d of %d outside, worst p99 %.1f, at a crossover %.1f\n", rule.name,
                rule.outside[0], rule.outside[1], points, rule.worst, rule.worst_crossover);
  }
  const Candidate& chosen = candidates[3];
  for (const Candidate& other : {candidates[0], candidates[1], candidates[2]}) {
    EXPECT_LT(4 * chosen.outside[0], other.outside[0]) << other.name;
    EXPECT_LT(3 * chosen.outside[1], other.outside[1]) << other.name;
  }
}

// A device that sees a flood, then one load after the other: each finds the rule as the one before has left it.
class Sweep {
 public:
  static constexpr int kArrivalsOfEach = 1000;
  Sweep(const SimulatedModel& model, const SimulatedLoad& load) : model_(model), simulator_(model, load) {
    bool flooded = true;
    simulator_.after_end = [&] {
      if (flooded) simulator_.submit();
    };
    for (int i = 0; i < 2 * model.cores; ++i) simulator_.submit();
    simulator_.run_until(60 * model.narrow_full);
    flooded = false;
    simulator_.run_until_idle();
    simulator_.after_end = nullptr;
  }

  // Of all of these arrivals.
  Latencies run(const std::vector<double>& arrivals) {
    const std::size_t first = simulator_.ends().size();
    simulator_.run(arrivals, simulator_.now() + model_.narrow_full);
    return {simulator_.quantile(0.5, first), simulator_.quantile(0.99, first)};
  }

 private:
  const SimulatedModel& model_;
  LoadSimulator simulator_;
};

TEST(WidthRules, TheShadowQueuesFollowALoadThatChanges) {
  std::vector<Candidate> candidates = all_candidates();
  int points = 0;
  for (const SimulatedModel& model : kModels) {
    for (unsigned round = 0; round < 3; ++round) {
      SimulatedLoad load{
          .variation = 0.15, .after_wide = 0.2 * model.narrow_alone, .after_idle = 0.2 * model.wide};
      load.seed = seed() + round;
      std::deque<Sweep> sweeps;
      for (const Candidate& rule : candidates) {
        load.rule = rule.make();
        sweeps.emplace_back(model, load);
      }
      load.rule = {};
      for (const double share : {0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 0.9, 0.3, 0.1}) {
        const std::vector<double> arrivals = poisson(model.capacity() * share, Sweep::kArrivalsOfEach,
                                                     load.seed + static_cast<unsigned>(100 * share));
        const Envelope envelope(model, arrivals, load);
        ++points;
        for (std::size_t i = 0; i < sweeps.size(); ++i) {
          const Latencies ended = sweeps[i].run(arrivals);
          const double ratio = ended.p99 / envelope.better().p99;
          double& worst = envelope.crossover() ? candidates[i].worst_crossover : candidates[i].worst;
          worst = std::max(worst, ratio);
          if (!envelope.holds(ended)) ++candidates[i].outside[1];
        }
      }
    }
  }
  for (const Candidate& rule : candidates) {
    std::printf("a load that changes: %-15s %3d of %d outside, worst p99 %.1f, at a crossover %.1f\n",
                rule.name, rule.outside[1], points, rule.worst, rule.worst_crossover);
  }
  const Candidate& chosen = candidates[3];
  for (const Candidate& other : {candidates[0], candidates[1], candidates[2]})
    EXPECT_LT(chosen.outside[1], other.outside[1]) << other.name;
}

// The p99 that no choice of widths goes below, if predictions start in the order of their arrivals: that of a device that
// runs one after another at the highest rate of any width, but none in less than a wide launch takes.
double least_p99(const SimulatedModel& model, const std::vector<double>& arrivals) {
  const double apart = std::min(model.wide, model.narrow_full / model.cores);
  std::vector<double> latencies;
  double free_at = 0;
  for (const double arrival : arrivals) {
    free_at = std::max(free_at, arrival) + apart;
    latencies.push_back(std::max(free_at - arrival, model.wide));
  }
  latencies.erase(latencies.begin(),
                  latencies.begin() + static_cast<std::ptrdiff_t>(latencies.size() / 10));  // as quantile()
  const auto p99 = latencies.begin() + static_cast<std::ptrdiff_t>(latencies.size() * 99 / 100);
  std::nth_element(latencies.begin(), p99, latencies.end());
  return *p99;
}

// On two cores the widths are too much alike for a mixture of both to be far below each.
TEST(WidthRules, NoChoiceIsFarBelowBothWidthsOnTwoCores) {
  for (const SimulatedModel& model : kModels) {
    for (const Point& point : poisson_points(model)) {
      const Envelope envelope(model, point.arrivals, {});
      const double least = least_p99(model, point.arrivals) / envelope.better().p99;
      const double elastic = latencies(model, {}, point.arrivals).p99 / envelope.better().p99;
      std::printf("%s, %s: p99 over the better width's: at least %.2f, elastic %.2f\n", model.name,
                  point.name.c_str(), least, elastic);
      EXPECT_LE(least, elastic + 1e-6);  // the simulator's times are whole nanoseconds
      if (model.cores > 2) continue;
      EXPECT_GT(least, 0.8) << model.name << ", " << point.name;
    }
  }
}

}  // namespace
}  // namespace inflight::internal::testing
