// SPDX-License-Identifier: Apache-2.0
// When the next frame will come, judged by those that came: arithmetic over times that are handed in, so that
// every pattern can be tested without a thread or a clock.
#pragma once

#include <optional>

#include "inflight/clock.h"

namespace inflight::internal {

// How an idle worker waits for the next frame: asleep until `from`, then awake, but not past `until`, and
// then it asks again.
struct Watch {
  TimePoint from;
  TimePoint until;
  bool nap() const noexcept { return from == until; }
};

// Follows the times at which frames come. Where they come at a steady rate, it says when to be awake for the
// next one, within an allowance: each frame earns `share` of the time since the one before, what is not spent
// is saved up to kSavedMax, and nothing is earned while nothing comes.
//
// A frame whose thread sleeps until its time is late by chance, where the host takes the processor away by
// milliseconds, and never early. So the line goes through the early ones: what is late moves it little, and
// what is very late not at all, until several in succession make a line of their own.
//   thread   one at a time
//   source   the growing-memory g-h filter, i.e. a line through the last arrivals by least squares
//            (E. Brookner, Tracking and Kalman Filtering Made Easy, 1998), with late errors cut off
class ArrivalWatch {
 public:
  // How long before a frame is expected a watch begins. Timers are late, on an idle virtual processor by
  // about 120 us and one time in ten by 300 us; and a frame is early by as much as its own timer was less
  // late than usual. Where the rate leaves less than the minimum for this, there is no watch.
  static constexpr Duration kAwakeBeforeMax = std::chrono::microseconds(300);
  static constexpr Duration kAwakeBeforeMin = std::chrono::microseconds(80);
  static constexpr Duration kSavedMax = std::chrono::milliseconds(25);
  // A frame that has not come in time is awaited in naps so long. Who brings it meanwhile leaves the watcher
  // to its timer: to wake it would hardly be sooner.
  static constexpr Duration kNap = std::chrono::microseconds(300);
  static constexpr Duration kNapCost = std::chrono::microseconds(35);  // of processor time, measured

  //   share    0 to 1, of one processor's time; 0: never a watch
  explicit ArrivalWatch(double share) noexcept : share_(share) {}

  void arrived(TimePoint when) noexcept;
  // The watch for the next frame, as seen from `now`; nothing: the frame is too uncertain or the allowance is
  // used up, so that only a wake-up will do.
  std::optional<Watch> next(TimePoint now) const noexcept;
  // So long was somebody awake on watch, or kNapCost.
  void spent(Duration awake) noexcept { saved_ -= awake; }

 private:
  void earn(Duration gap) noexcept;
  bool judge(TimePoint when) noexcept;
  void begin(TimePoint when, int belief) noexcept;
  void follow(Duration error) noexcept;

  const double share_;
  TimePoint last_;
  Duration gap_{0};       // between the last two
  int same_gaps_ = 0;     // how often in succession the same, and not what the line foretold
  TimePoint expected_;    // the next arrival, once two have been seen
  Duration interval_{0};  // between two arrivals
  Duration saved_{0};     // of the allowance
  // How far the line is believed: the arrivals on it, the two that began it among them, less those off it.
  int belief_ = 0;
  int belief_wanted_ = 2;  // for a watch; more once a line has turned out to be none
};

}  // namespace inflight::internal
