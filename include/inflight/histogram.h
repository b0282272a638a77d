// SPDX-License-Identifier: Apache-2.0
// Histogram: quantiles of many durations in a fixed amount of memory.
#pragma once

#include <array>
#include <cstdint>

namespace inflight {

// Counts values in buckets whose width grows with the value, as HdrHistogram does: 64 linear buckets in each
// power of two, so a quantile is at most 1/64 (1.6%) above the value it stands for. The maximum is exact.
// Not thread-safe: one owner, or a lock.
//   bound    values below 2^40 (about 18 minutes in ns); larger ones count as 2^40 - 1
//   source   Gil Tene, HdrHistogram
class Histogram {
 public:
  void add(std::int64_t value);
  void merge(const Histogram& other);
  std::uint64_t count() const noexcept { return count_; }
  // The smallest recorded bound that at least `fraction` of the values do not exceed; 0 where none was added.
  //   fraction   0 to 1; 0.5 is the median
  std::int64_t quantile(double fraction) const;
  std::int64_t max() const noexcept { return max_; }

 private:
  static constexpr int kSubBits = 6;
  static constexpr int kPowers = 35;
  std::array<std::uint64_t, (kPowers + 1) << kSubBits> buckets_{};
  std::uint64_t count_ = 0;
  std::int64_t max_ = 0;
};

}  // namespace inflight
