// SPDX-License-Identifier: Apache-2.0
// The models and arrivals on which rules of width are compared. The service times are those measured with OpenVINO
// on 16 cores and on two, busy ones beside other programs; those of a medium launch that is alone are guessed from the
// others.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "predictor/load_simulator.h"

namespace inflight::internal::testing {

// One of each kind comes first.
inline constexpr SimulatedModel kMeasuredModels[] = {
    {"SqueezeNet f32, 2 cores", 3.6, 5.6, 6.5, 2},
    {"SqueezeNet f32, 16 cores", 1.26, 7.5, 8.9, 16},
    {"SqueezeNet f32, 16 cores with medium", 1.26, 7.5, 8.9, 16, 2.27, 2.93, 4},
    {"ResNet-50 bf16, 16 cores", 3.8, 14.5, 16.1, 16},
    {"ResNet-50 f32, 16 cores", 8.9, 66, 80, 16},
    {"SqueezeNet bf16, 16 cores", 0.98, 3.15, 4.2, 16},
    {"ResNet-50 f32, 2 cores", 35, 60, 66, 2},
    {"ResNet-50 f32, 2 busy cores", 42, 80, 84, 2},
    {"SqueezeNet f32, 2 busy cores", 4.3, 7.9, 8.2, 2},
    {"ResNet-50 bf16, 16 cores with medium", 3.8, 14.5, 16.1, 16, 8.7, 10.5, 4},
    {"ResNet-50 f32, 16 cores with medium", 8.9, 66, 80, 16, 19.4, 25.6, 4},
    {"SqueezeNet bf16, 16 cores with medium", 0.98, 3.15, 4.2, 16, 1.4, 1.93, 4},
};
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
// The numbers are the same, and the code takes ten times as long.
inline constexpr std::span<const SimulatedModel> kModels = std::span(kMeasuredModels).first(3);
#else
inline constexpr std::span<const SimulatedModel> kModels = kMeasuredModels;
#endif
inline constexpr int kArrivals = 20000;

inline unsigned seed() {
  static const unsigned value = [] {
    const char* const given = std::getenv("INFLIGHT_SEED");
    const unsigned chosen = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 7;
    std::printf("seed %u (INFLIGHT_SEED)\n", chosen);
    return chosen;
  }();
  return value;
}

struct Latencies {
  double p50, p99;
};

inline Latencies latencies(const SimulatedModel& model, const SimulatedLoad& load,
                           const std::vector<double>& arrivals) {
  LoadSimulator simulator(model, load);
  simulator.run(arrivals);
  return {simulator.quantile(0.5), simulator.quantile(0.99)};
}

// The lower envelope of both fixed widths on the same arrivals, as ADR 11 defines it: p99 at most 1.1 times
// that of the better width, 1.3 times where the two are within a factor of 2 (the crossover); p50 at most the same
// multiple of the p50 of the width that has the lower p99.
class Envelope {
 public:
  //   load   of the elastic width
  Envelope(const SimulatedModel& model, const std::vector<double>& arrivals, const SimulatedLoad& load)
      : wide_(latencies(model, fixed(load, WidthPolicy::kWide), arrivals)),
        narrow_(latencies(model, fixed(load, WidthPolicy::kNarrow), arrivals)) {}

  bool crossover() const { return std::max(wide_.p99, narrow_.p99) < 2 * std::min(wide_.p99, narrow_.p99); }
  const Latencies& better() const { return wide_.p99 < narrow_.p99 ? wide_ : narrow_; }
  double factor() const { return crossover() ? 1.3 : 1.1; }
  double p50_bound() const { return better().p50 * factor(); }
  double p99_bound() const { return better().p99 * factor(); }
  bool holds(const Latencies& rule) const { return rule.p50 <= p50_bound() && rule.p99 <= p99_bound(); }
  std::string text() const { return "wide " + text_of(wide_) + ", narrow " + text_of(narrow_); }
  static std::string text_of(const Latencies& latencies) {
    char text[64];
    std::snprintf(text, sizeof text, "%.2f/%.2f", latencies.p50, latencies.p99);
    return text;
  }

 private:
  // What a change of width costs, a fixed one does not pay.
  static SimulatedLoad fixed(SimulatedLoad load, WidthPolicy width) {
    load.width = width;
    load.after_wide = 0;
    return load;
  }

  Latencies wide_, narrow_;
};

inline std::string percent(double load) { return std::to_string(std::lround(100 * load)) + " %"; }

struct Point {
  std::string name;
  std::vector<double> arrivals;
};

inline std::vector<Point> poisson_points(const SimulatedModel& model) {
  std::vector<Point> points;
  for (const double load : {0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 0.9})
    points.push_back({"Poisson at " + percent(load), poisson(model.capacity() * load, kArrivals, seed())});
  return points;
}
inline std::vector<Point> camera_points(const SimulatedModel& model) {
  std::vector<Point> points;
  for (const int cameras : {1, 4, 30}) {
    for (const double load : {0.1, 0.3, 0.45, 0.6, 0.9}) {
      points.push_back({std::to_string(cameras) + " cameras at " + percent(load),
                        periodic(cameras, model.capacity() * load, kArrivals, seed())});
    }
  }
  return points;
}
inline std::vector<Point> phase_points(const SimulatedModel& model) {
  std::vector<Point> points;
  for (const double load : {0.1, 0.2, 0.3, 0.4, 0.6}) {
    points.push_back({"on and off at " + percent(load),
                      on_and_off(model.capacity() * load, kArrivals, seed(), 100 * model.narrow_full)});
  }
  return points;
}
inline std::vector<Point> burst_points(const SimulatedModel& model) {
  std::vector<Point> points;
  for (const int size : {4, 8, 16, 32}) {
    points.push_back({"bursts of " + std::to_string(size),
                      bursts(size, std::max(25.0, size / 8.0) * model.narrow_full, kArrivals / 4)});
  }
  return points;
}

}  // namespace inflight::internal::testing
