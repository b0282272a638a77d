// SPDX-License-Identifier: Apache-2.0
#include "inflight/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

namespace inflight {
namespace {

constexpr std::int64_t kValueMax = (std::int64_t{1} << 40) - 1;

// A new seed each run, printed; INFLIGHT_TEST_SEED=N replays one.
std::uint64_t test_seed() {
  const char* const given = std::getenv("INFLIGHT_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
  std::printf("INFLIGHT_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// The smallest value that at least `fraction` of the values do not exceed.
std::int64_t exact_quantile(const std::vector<std::int64_t>& sorted, double fraction) {
  const auto rank = static_cast<std::size_t>(std::ceil(fraction * static_cast<double>(sorted.size())));
  return sorted[rank == 0 ? 0 : rank - 1];
}

TEST(HistogramTest, EmptyIsZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.max(), 0);
  EXPECT_EQ(histogram.quantile(0), 0);
  EXPECT_EQ(histogram.quantile(0.5), 0);
  EXPECT_EQ(histogram.quantile(1), 0);
}

TEST(HistogramTest, SmallValuesAreExact) {
  Histogram histogram;
  for (int value = 0; value < 128; ++value) histogram.add(value);
  EXPECT_EQ(histogram.count(), 128U);
  for (int rank = 1; rank <= 128; ++rank) EXPECT_EQ(histogram.quantile(rank / 128.0), rank - 1);
  EXPECT_EQ(histogram.quantile(0), 0);
}

TEST(HistogramTest, OneValueIsEveryQuantile) {
  for (const std::int64_t value :
       {std::int64_t{0}, std::int64_t{63}, std::int64_t{64}, std::int64_t{127}, std::int64_t{128},
        std::int64_t{129}, std::int64_t{1'000'003}, kValueMax}) {
    Histogram histogram;
    histogram.add(value);
    for (const double fraction : {0.0, 0.5, 0.999, 1.0}) EXPECT_EQ(histogram.quantile(fraction), value);
    EXPECT_EQ(histogram.max(), value);
  }
}

TEST(HistogramTest, NegativeCountsAsZero) {
  Histogram histogram;
  histogram.add(-5);
  EXPECT_EQ(histogram.count(), 1U);
  EXPECT_EQ(histogram.quantile(1), 0);
  EXPECT_EQ(histogram.max(), 0);
}

TEST(HistogramTest, CountsUpToItsLimitAndPastItAsTheLimit) {
  Histogram histogram;
  histogram.add(kValueMax);
  EXPECT_EQ(histogram.quantile(1), kValueMax);
  histogram.add(kValueMax + 1);
  histogram.add(INT64_MAX);
  EXPECT_EQ(histogram.count(), 3U);
  EXPECT_EQ(histogram.quantile(1), kValueMax);
  EXPECT_EQ(histogram.max(), INT64_MAX);  // exact all the same
}

TEST(HistogramTest, QuantilesAreAtMostOneSixtyFourthAboveTheExactOnes) {
  std::mt19937_64 random(test_seed());
  for (int round = 0; round < 20; ++round) {
    // Spread over all sizes: uniform in the exponent, up to what this round reaches.
    const double bits_max = std::uniform_real_distribution<double>(1, 40)(random);
    std::uniform_real_distribution<double> bits(0, bits_max);
    const std::size_t count = std::uniform_int_distribution<std::size_t>(1, 3000)(random);
    Histogram histogram;
    std::vector<std::int64_t> values(count);
    for (std::int64_t& value : values) {
      value = std::min(kValueMax, static_cast<std::int64_t>(std::exp2(bits(random))));
      histogram.add(value);
    }
    std::sort(values.begin(), values.end());
    EXPECT_EQ(histogram.count(), count);
    EXPECT_EQ(histogram.max(), values.back());
    std::int64_t last = 0;
    for (const double fraction : {0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0}) {
      const std::int64_t exact = exact_quantile(values, fraction);
      const std::int64_t got = histogram.quantile(fraction);
      EXPECT_GE(got, exact) << "fraction " << fraction << " of " << count;
      EXPECT_LE(got - exact, exact / 64) << "fraction " << fraction << " of " << count;
      EXPECT_GE(got, last) << "quantiles grow with the fraction";
      last = got;
    }
    EXPECT_EQ(histogram.quantile(1), histogram.max());
  }
}

TEST(HistogramTest, MergingIsAddingBoth) {
  std::mt19937_64 random(test_seed());
  std::uniform_int_distribution<std::int64_t> values(0, 10'000'000);
  Histogram both;
  Histogram a;
  Histogram b;
  for (int i = 0; i < 2000; ++i) {
    const std::int64_t value = values(random);
    both.add(value);
    (i % 3 == 0 ? a : b).add(value);
  }
  a.merge(b);
  EXPECT_EQ(a.count(), both.count());
  EXPECT_EQ(a.max(), both.max());
  for (int percent = 0; percent <= 100; ++percent)
    EXPECT_EQ(a.quantile(percent / 100.0), both.quantile(percent / 100.0));

  a.merge(Histogram());
  EXPECT_EQ(a.count(), both.count());
  EXPECT_EQ(a.max(), both.max());
}

TEST(HistogramDeathTest, AFractionIsFromZeroToOne) {
  Histogram histogram;
  histogram.add(1);
  EXPECT_DEATH((void)histogram.quantile(std::nextafter(0.0, -1.0)), "check failed");
  EXPECT_DEATH((void)histogram.quantile(std::nextafter(1.0, 2.0)), "check failed");
  EXPECT_DEATH((void)histogram.quantile(std::nan("")), "check failed");
}

}  // namespace
}  // namespace inflight
