// SPDX-License-Identifier: Apache-2.0
// Who runs next on a device that several share: arithmetic over costs that are handed in.
#pragma once

namespace inflight::internal {

// Start-time fair queueing over costs that are known only at the end. Each share has a virtual time, which
// advances by cost / weight; the one furthest behind comes next. A launch is charged what its share's launches cost
// of late, and the difference when it ends, so that several in parallel do not all go to one share. A share that had
// nothing to run comes back with no more credit than kCreditMax.
//   thread   one at a time
//   source   P. Goyal, H. Vin, H. Cheng, Start-Time Fair Queueing (1997)
class FairShare {
 public:
  struct Share {
    double weight = 1;     // above 0
    double time = 0;       // virtual
    double cost_mean = 0;  // of a launch, in ns of one unit of the device
  };
  static constexpr double kCreditMax = 5e6;  // ns of one unit

  // The less, the sooner it is its turn.
  double key(const Share& share) const noexcept;
  // A launch of this share begins, the one with the least key.
  //   returns  what it was charged, for end()
  double begin(Share& share) noexcept;
  // It has ended, and cost so much: 0 where nothing ran after all.
  void end(Share& share, double charged, double cost) noexcept;

 private:
  double now_ = 0;  // the virtual time of the device
};

}  // namespace inflight::internal
