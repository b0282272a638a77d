// SPDX-License-Identifier: Apache-2.0
#include "media/freshness.h"

#include <gtest/gtest.h>

namespace inflight {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kFrame(40);
constexpr TimePoint kStart(seconds(100));

TEST(Freshness, AfterAStallOnlyTheNewestAreFresh) {
  Freshness freshness;
  for (int i = 0; i < 25; ++i) EXPECT_FALSE(freshness.is_stale(i * kFrame, kFrame, kStart + i * kFrame));
  // Three seconds of nothing; then 75 frames in 150 ms, and the usual again.
  int stale = 0;
  for (int i = 25; i < 100; ++i) {
    const TimePoint now = kStart + 100 * kFrame + milliseconds(2 * (i - 25));
    stale += freshness.is_stale(i * kFrame, kFrame, now) ? 1 : 0;
    EXPECT_EQ(freshness.is_stale(i * kFrame, kFrame, now), now - (kStart + i * kFrame) > kFrame * 3 / 2) << i;
  }
  EXPECT_GT(stale, 70);
  for (int i = 104; i < 200; ++i)
    EXPECT_FALSE(freshness.is_stale(i * kFrame, kFrame, kStart + i * kFrame)) << i;
}

TEST(Freshness, WhatStaysLateIsFreshAgain) {
  Freshness freshness;
  EXPECT_FALSE(freshness.is_stale(Duration(0), kFrame, kStart));
  int stale = 0;
  for (int i = 1; i < 200; ++i) {
    stale += freshness.is_stale(i * kFrame, kFrame, kStart + i * kFrame + milliseconds(500)) ? 1 : 0;
  }
  EXPECT_EQ(stale, 50);  // two seconds
}

TEST(Freshness, AClockThatRunsSlowerMakesNothingStale) {
  Freshness freshness;
  for (int i = 0; i < 100'000; ++i) {
    EXPECT_FALSE(
        freshness.is_stale(i * kFrame, kFrame, kStart + i * (kFrame + std::chrono::microseconds(20))));
  }
}

TEST(Freshness, RestartForgets) {
  Freshness freshness;
  EXPECT_FALSE(freshness.is_stale(Duration(0), kFrame, kStart));
  freshness.restart();
  EXPECT_FALSE(freshness.is_stale(kFrame, kFrame, kStart + seconds(9)));
}

}  // namespace
}  // namespace inflight
