// SPDX-License-Identifier: Apache-2.0
// Histogram: quantiles of many durations in a fixed amount of memory (18 KiB).
#pragma once

#include <array>
#include <cstdint>

namespace inflight {

// Counts values in buckets whose width grows with the value, as HdrHistogram does: 64 linear buckets in each
// power of two, so a quantile is at most 1/64 (1.6%) above the value that it stands for. The maximum is
// exact. Values are integers of any unit; the library adds nanoseconds. Allocates nothing.
//   thread   one at a time: its owner has a lock, or it has one owner
//   bound    values below 2^40 (about 18 minutes in ns) are told apart; larger ones share the last bucket
//   source   Gil Tene, HdrHistogram
class Histogram {
 public:
  // Counts one value, `times` times. A negative one counts as 0.
  void add(std::int64_t value, std::uint64_t times = 1);
  // Counts every value of `other`, too. The result is the same as if each had been added here.
  void merge(const Histogram& other);
  // How many values were added.
  std::uint64_t count() const noexcept { return count_; }
  // An upper bound of the smallest value that at least `fraction` of the values do not exceed; never above
  // max(). 0 if none was added.
  //   fraction   0 to 1, else the process stops; 0.5 is the median
  std::int64_t quantile(double fraction) const;
  // The largest value, exactly; 0 if none was added.
  std::int64_t max() const noexcept { return max_; }

 private:
  static constexpr int kSubBits = 6;
  static constexpr int kPowers = 35;
  std::array<std::uint64_t, (kPowers + 1) << kSubBits> buckets_{};
  std::uint64_t count_ = 0;
  std::int64_t max_ = 0;
};

}  // namespace inflight
