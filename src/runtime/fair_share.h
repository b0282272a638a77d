// SPDX-License-Identifier: Apache-2.0
// Who runs next on a device that several share: arithmetic over costs that are handed in.
#pragma once

namespace inflight::internal {

// Start-time fair queueing over costs that are known only at the end. Each share has a virtual time, which advances by
// cost / weight; the one furthest behind comes next. A launch is charged what its share's launches cost of late, and
// the difference when it ends, so that several in parallel do not all go to one share.
//
// Changing from one model to another costs: caches, and threads of the vendor's that wait a while before they sleep.
// So the share that runs goes on until it is a quantum ahead. A share that had nothing to run has its turn at once when
// it comes back, with a credit of little more than that turn.
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

  //   units   that the device runs at once
  explicit FairShare(int units) noexcept : quantum_(kQuantum * units), credit_(kCredit * units) {}

  // To choose, look at every share once, between begin_look() and choose().
  void begin_look() noexcept { least_ = nullptr; }
  //   waits   it has something to launch
  //   runs    something of it is running
  void look(Share& share, bool waits, bool runs) noexcept;
  // Whose turn it is; null: nobody's.
  Share* choose() noexcept;
  // A share that is looked at no more.
  void remove(const Share& share) noexcept {
    if (current_ == &share) current_ = nullptr;
  }

  // A launch of the chosen share begins.
  //   returns  what it was charged, for end()
  double begin(Share& share) noexcept;
  // It has ended, and cost so much: 0 where nothing ran after all.
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
