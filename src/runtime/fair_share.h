// SPDX-License-Identifier: Apache-2.0
// Which predictor runs next on a device that several share: arithmetic on costs that are passed in.
#pragma once

namespace inflight::internal {

// Start-time fair queueing over costs that are known only at the end. Each share has a virtual time, which
// advances by cost / weight; the one furthest behind comes next. When a launch begins, its share is charged
// the recent mean cost, and the difference when it ends, so that several launches in parallel do not all go
// to one share.
//
// A change from one model to another costs caches, and the time of the vendor's threads, which wait a while
// before they sleep. So the share that runs goes on until it is a quantum ahead. A share that had nothing to
// run gets its turn at once when it has work again, with a credit of little more than that turn.
//   thread   one at a time
//   source   P. Goyal, H. Vin, H. Cheng, Start-Time Fair Queueing (1997)
class FairShare {
 public:
  struct Share {
    double weight = 1;     // above 0
    double time = 0;       // virtual
    double cost_mean = 0;  // of a launch, in ns of one unit of the device
    bool away = true;      // it had nothing to run when it was last looked at
  };
  // Of the whole device's time, in ns.
  static constexpr double kQuantum = 20e6;
  static constexpr double kCredit = 1e6;

  //   units   how many the device runs at once
  explicit FairShare(int units) noexcept : quantum_(kQuantum * units), credit_(kCredit * units) {}

  // To choose, look at every share once, between begin_look() and choose().
  void begin_look() noexcept { least_ = nullptr; }
  //   waits   it has something to launch
  //   runs    one of its launches is running
  void look(Share& share, bool waits, bool runs) noexcept;
  // The share whose turn it is; null: no share waits.
  Share* choose() noexcept;
  // The share will not be looked at again.
  void remove(const Share& share) noexcept {
    if (current_ == &share) current_ = nullptr;
  }

  // A launch of the chosen share begins.
  //   returns  what it was charged, for end()
  double begin(Share& share) noexcept;
  // The launch has ended.
  //   charged   what begin() returned
  //   cost      in ns of one unit; 0: nothing ran
  void end(Share& share, double charged, double cost) noexcept;

 private:
  const double quantum_;
  const double credit_;
  double now_ = 0;            // the virtual time of the device
  Share* least_ = nullptr;    // of those looked at, the one furthest behind
  Share* current_ = nullptr;  // the one that runs, while it may go on
  bool current_waits_ = false;
};

}  // namespace inflight::internal
