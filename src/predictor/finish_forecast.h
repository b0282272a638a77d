// SPDX-License-Identifier: Apache-2.0
// FinishForecast: when a prediction that is submitted now is expected to finish. Pure arithmetic.
#pragma once

#include <vector>

#include "inflight/clock.h"

namespace inflight::internal {

// What runs and waits at one instant, as a queue in front of equal servers.
struct ForecastView {
  TimePoint now;
  int servers = 1;   // launches that may run at once
  int waiting = 0;   // predictions ahead of the new one
  Duration service;  // of one launch
};

class FinishForecast {
 public:
  //   servers_max   the most servers of any view
  explicit FinishForecast(int servers_max) { ends_.reserve(static_cast<std::size_t>(servers_max)); }

  // Tells when the launches that run are expected to end, one call for each, before finish().
  void clear() noexcept { ends_.clear(); }
  void runs_until(TimePoint end) noexcept {
    if (ends_.size() < ends_.capacity()) ends_.push_back(end);
  }
  // When the new one is expected to finish, first come, first served. Uses up what runs_until() told.
  //   bound   servers * log(servers)
  TimePoint finish(const ForecastView& view) noexcept;

  // A prediction for which finish() said `expected` has ended.
  void ended(TimePoint expected, TimePoint actual, Duration service) noexcept;
  // What to add so that 97 of 100 end by then, learned from those that have ended.
  Duration margin() const noexcept { return margin_; }
  // Whether a prediction would miss its deadline, with that margin. One that would miss it alone on an idle device is
  // refused on what may be from another time, and a refusal measures nothing: the margin fades while no prediction
  // ends, and after kUnmeasured times what the prediction takes kMeasured of them are let through, one at a time, to measure it
  // again: the first one after a pause is slow.
  //   idle   nothing is in flight
  static constexpr int kUnmeasured = 16;
  static constexpr int kMeasured = 4;
  bool would_be_late(TimePoint now, TimePoint expected, TimePoint deadline, bool idle) noexcept;

 private:
  std::vector<TimePoint> ends_;
  Duration margin_{0};
  TimePoint measured_{};  // when a prediction has ended last
  int to_measure_ = 0;    // how many more are let through
  TimePoint faded_{};     // up to when the margin has faded
};

}  // namespace inflight::internal
