// SPDX-License-Identifier: Apache-2.0
// InFlightKnee: finds the smallest limit in flight that keeps the throughput. Pure arithmetic: ends and times go
// in, a limit comes out.
#pragma once

#include <cstddef>
#include <vector>

#include "inflight/clock.h"
#include "inflight/predictor.h"

namespace inflight::internal {

// Measures the rate of completions at one limit after another (1, 2, 3, 4, 6, 8, 12, ... up to the most), beginning
// with one for each slot, and keeps the smallest one that has 97 % of the best rate. It measures only while the
// limit is what holds frames back: at a lower load nothing is measured and nothing changes. Every eighth period it
// measures a neighbour again; if the rate at its own limit has changed by a tenth, it begins anew.
//   thread   one at a time: its owner has a lock
//   bound    O(1) an event, but for the end of a period: one step for each limit; allocates only in its constructor
class InFlightKnee {
 public:
  static constexpr double kKept = 0.97;  // of the best throughput

  //   first   the limit to begin with
  //   most    the largest limit
  InFlightKnee(int first, int most);

  int limit() const noexcept { return levels_[at_].limit; }
  LimitReason reason() const noexcept { return found_ ? LimitReason::kKnee : LimitReason::kMeasuring; }

  // The limit was reached, or refused a submission.
  void reached() noexcept { reached_ = true; }
  // A prediction has completed. limit() may change.
  void completed(TimePoint now) noexcept;

 private:
  struct Level {
    int limit = 1;
    double rate = 0;  // a second; 0: not measured since it was last forgotten
  };
  void begin_period(TimePoint now) noexcept;
  void end_period(double rate) noexcept;
  std::size_t smallest_that_keeps() const noexcept;
  // A neighbour of the choice that was not measured yet; the choice itself: both were.
  std::size_t unmeasured() const noexcept;

  std::vector<Level> levels_;
  std::size_t chosen_ = 0;
  std::size_t at_ = 0;  // the level that is measured now: the chosen one or a neighbour
  bool found_ = false;
  bool reached_ = false;
  bool probe_up_ = false;  // the neighbour that comes next
  int periods_ = 0;        // since a neighbour was measured last
  // The period that is being measured.
  int settling_ = 0;  // completions that are not counted yet
  int count_ = 0;
  int round_ = 0;  // completions since the limit was last seen to be reached
  TimePoint began_;
};

}  // namespace inflight::internal
