// SPDX-License-Identifier: Apache-2.0
#include "inflight/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

#include "base/check.h"

namespace inflight {
namespace {

constexpr int kSub = 6;  // as Histogram::kSubBits
constexpr std::int64_t kValueMax = (std::int64_t{1} << 40) - 1;

// Values below 64 have a bucket each; above, the top bit picks the row and the next six the bucket.
std::size_t bucket_of(std::int64_t value) {
  const auto v = static_cast<std::uint64_t>(value);
  const int power = std::bit_width(v >> kSub);
  if (power == 0) return static_cast<std::size_t>(v);
  return (static_cast<std::size_t>(power) << kSub) +
         static_cast<std::size_t>((v >> (power - 1)) - (1U << kSub));
}

std::int64_t upper_bound_of(std::size_t bucket) {
  const auto power = static_cast<int>(bucket >> kSub);
  const auto low = static_cast<std::int64_t>(bucket & ((1U << kSub) - 1));
  if (power == 0) return low;
  return ((low + (1 << kSub) + 1) << (power - 1)) - 1;
}

}  // namespace

void Histogram::add(std::int64_t value, std::uint64_t times) {
  if (times == 0) return;
  value = std::max<std::int64_t>(value, 0);
  max_ = std::max(max_, value);
  buckets_[bucket_of(std::min(value, kValueMax))] += times;
  count_ += times;
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

std::int64_t Histogram::quantile(double fraction) const {
  INFLIGHT_CHECK(fraction >= 0 && fraction <= 1);
  if (count_ == 0) return 0;
  const auto wanted = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(fraction * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen >= wanted) return std::min(upper_bound_of(bucket), max_);
  }
  return max_;
}

}  // namespace inflight
