// SPDX-License-Identifier: Apache-2.0
// Freshness: which frames of a live source are too old to be worth a prediction.
#pragma once

#include <optional>

#include "inflight/clock.h"

namespace inflight {

// A frame's age is how much later it comes, by its time stamp, than the frame that came soonest. After a
// stall the frames of meanwhile come all at once; those that are older than one and a half frame distances
// are stale. When a connection has just been made, frames wait in its buffers: all are stale until one had to
// be waited for. Frames that stay as late for kPatience have become what this source is like, and are fresh
// again. The stamps' clock may run faster or slower than ours by kDrift. Arithmetic only. Not thread-safe:
// one owner.
class Freshness {
 public:
  static constexpr Duration kPatience = std::chrono::seconds(2);
  static constexpr double kDrift = 0.001;

  // Whether the frame that is shown at `pts`, decoded `now`, with `distance` to the one before, is stale;
  // `waited`: for its packet.
  bool is_stale(Duration pts, Duration distance, Duration waited, TimePoint now);
  // A connection has been made.
  void connect();
  // The stamps begin anew.
  void restart();

 private:
  bool buffered_ = false;               // what has been read since connect() was there already
  std::optional<TimePoint> connected_;  // when the first frame after connect() came
  std::optional<Duration> soonest_;     // the least of arrival less stamp
  TimePoint last_;
  std::optional<TimePoint> stale_since_;
  Duration least_{0};  // delay since then
};

}  // namespace inflight
