// SPDX-License-Identifier: Apache-2.0
#include "media/pacing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace inflight {
namespace {

using std::chrono::nanoseconds;

TEST(Pacer, DueIsExactAndDoesNotDrift) {
  ManualClock clock;
  clock.advance(nanoseconds(12345));
  const Pacer pacer({30000, 1001}, clock);
  EXPECT_EQ(pacer.due(0) - pacer.start(), nanoseconds(0));
  EXPECT_EQ(pacer.due(1) - pacer.start(), nanoseconds(33'366'666));  // 33,366,666.67
  EXPECT_EQ(pacer.due(2) - pacer.start(), nanoseconds(66'733'333));
  EXPECT_EQ(pacer.due(3) - pacer.start(), nanoseconds(100'100'000));
  // Ten years of frames: 30,000 frames take exactly 1,001 seconds.
  const std::int64_t thousands = 315'360;
  EXPECT_EQ(pacer.due(thousands * 30'000) - pacer.start(), std::chrono::seconds(thousands * 1001));
}

TEST(Pacer, IsDueAtTheNanosecond) {
  ManualClock clock;
  const Pacer pacer({60, 1}, clock);
  EXPECT_TRUE(pacer.is_due(0));
  clock.advance(nanoseconds(16'666'665));
  EXPECT_FALSE(pacer.is_due(1));
  clock.advance(nanoseconds(1));
  EXPECT_TRUE(pacer.is_due(1));
  EXPECT_FALSE(pacer.is_due(2));
}

TEST(Pacer, RateZeroIsDueWheneverAsked) {
  ManualClock clock;
  const Pacer pacer({0, 1}, clock);
  EXPECT_TRUE(pacer.unpaced());
  EXPECT_TRUE(pacer.is_due(1'000'000'000));
  clock.advance(nanoseconds(77));
  EXPECT_EQ(pacer.due(5), clock.now());
}

TEST(Pacer, RestartMovesTheStart) {
  ManualClock clock;
  Pacer pacer({10, 1}, clock);
  clock.advance(std::chrono::seconds(3));
  EXPECT_TRUE(pacer.is_due(30));
  pacer.restart();
  EXPECT_TRUE(pacer.is_due(0));
  EXPECT_FALSE(pacer.is_due(1));
  EXPECT_EQ(pacer.due(1), clock.now() + std::chrono::milliseconds(100));
}

TEST(Pacer, DueBeyondTheEndOfTimeIsTheEndOfTime) {
  ManualClock clock;
  const Pacer pacer({1, 1'000'000}, clock);
  EXPECT_EQ(pacer.due(std::numeric_limits<std::int64_t>::max()), TimePoint::max());
}

TEST(Pacer, DueByTheStampWhateverTheRate) {
  ManualClock clock;
  clock.advance(std::chrono::seconds(7));
  const Pacer pacer({10, 1}, clock);
  EXPECT_EQ(pacer.due_at(Duration(0)), pacer.start());
  EXPECT_EQ(pacer.due_at(std::chrono::milliseconds(1500)), pacer.start() + std::chrono::milliseconds(1500));
  EXPECT_EQ(pacer.due_at(Duration::max()), TimePoint::max());
}

TEST(FrameRate, FractionsThatDecimalsStandFor) {
  const auto rate = [](double fps) { return FrameRate::from_double(fps).value(); };
  EXPECT_EQ(rate(0), (FrameRate{0, 1}));
  EXPECT_EQ(rate(10), (FrameRate{10, 1}));
  EXPECT_EQ(rate(60), (FrameRate{60, 1}));
  EXPECT_EQ(rate(12.5), (FrameRate{25, 2}));
  EXPECT_EQ(rate(29.97), (FrameRate{30000, 1001}));
  EXPECT_EQ(rate(30000.0 / 1001), (FrameRate{30000, 1001}));
  EXPECT_EQ(rate(23.976), (FrameRate{24000, 1001}));
  EXPECT_EQ(rate(23.98), (FrameRate{24000, 1001}));
  EXPECT_EQ(rate(59.94), (FrameRate{60000, 1001}));
  EXPECT_EQ(rate(119.88), (FrameRate{120000, 1001}));
  EXPECT_EQ(rate(29.9), (FrameRate{299, 10}));
  EXPECT_EQ(rate(9.99), (FrameRate{999, 100}));
  EXPECT_EQ(rate(0.1), (FrameRate{1, 10}));
  EXPECT_EQ(rate(0.000001), (FrameRate{1, 1'000'000}));
  EXPECT_EQ(rate(1e6), (FrameRate{1'000'000, 1}));
}

TEST(FrameRate, RefusesWhatIsNoRate) {
  for (const double fps : {-1.0, 1e-7, 1.1e6, std::nan(""), HUGE_VAL}) {
    const auto rate = FrameRate::from_double(fps);
    ASSERT_FALSE(rate.ok()) << fps;
    EXPECT_EQ(rate.status().code(), StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace inflight
