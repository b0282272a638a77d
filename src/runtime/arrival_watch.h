// SPDX-License-Identifier: Apache-2.0
// Predicts when the next frame comes from the times of past frames: arithmetic over times that are handed in,
// so that every pattern can be tested without a thread or a clock.
#pragma once

#include <optional>

#include "inflight/clock.h"

namespace inflight::internal {

// How an idle thread waits for the next frame: it sleeps until `from`, is awake until `until`, and then asks
// again.
struct Watch {
  TimePoint from;
  TimePoint until;
  bool nap() const noexcept { return from == until; }
};

// Follows the times at which frames come. If the rate is steady, it says when to be awake for the next frame,
// within an allowance: each frame earns `share` of the time since the one before it, up to kSavedMax is
// saved, and nothing is earned while no frames come.
//
// A frame whose thread sleeps until its time is never early, but late by chance: by milliseconds if the host
// takes the processor away. So the line goes through the early frames: a late one moves it little, and a very
// late one not at all, until several in succession make a line of their own.
//   thread   one at a time
//   source   the growing-memory g-h filter, i.e. a line through the last arrivals by least squares
//            (E. Brookner, Tracking and Kalman Filtering Made Easy, 1998), with late errors cut off
class ArrivalWatch {
 public:
  // How long before the expected time a watch begins. Timers are late, by about 120 us on an idle virtual
  // processor and by 300 us one time in ten, and frames jitter by the error of their own timer. Rates that
  // leave less than the minimum get no watch.
  static constexpr Duration kAwakeBeforeMax = std::chrono::microseconds(300);
  static constexpr Duration kAwakeBeforeMin = std::chrono::microseconds(80);
  static constexpr Duration kSavedMax = std::chrono::milliseconds(25);
  // A late frame is awaited in naps of this length. A frame that arrives during a nap does not wake the
  // watcher: waking would be no faster.
  static constexpr Duration kNap = std::chrono::microseconds(300);
  static constexpr Duration kNapCost = std::chrono::microseconds(35);  // of processor time, measured

  //   share    0 to 1, of one processor's time; 0: never a watch
  explicit ArrivalWatch(double share) noexcept : share_(share) {}

  void set_share(double share) noexcept { share_ = share; }
  void arrived(TimePoint when) noexcept;
  // The watch for the next frame, as seen from `now`; nothing: the frame is too uncertain, or the allowance
  // is used up.
  std::optional<Watch> next(TimePoint now) const noexcept;
  // A thread was awake on watch for this long, or napped (kNapCost).
  void spent(Duration awake) noexcept { saved_ -= awake; }

 private:
  void earn(Duration gap) noexcept;
  bool judge(TimePoint when) noexcept;
  void begin(TimePoint when, int belief) noexcept;
  void follow(Duration error) noexcept;

  double share_;
  TimePoint last_;
  Duration gap_{0};       // between the last two
  int same_gaps_ = 0;     // equal gaps in succession that the line did not predict
  TimePoint expected_;    // the next arrival, once two have been seen
  Duration interval_{0};  // between two arrivals
  Duration saved_{0};     // of the allowance
  // How far the line is believed: the arrivals on it, the two that began it among them, less those off it.
  int belief_ = 0;
  int belief_wanted_ = 2;  // for a watch; more once a line has turned out to be none
};

}  // namespace inflight::internal
