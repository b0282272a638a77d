// SPDX-License-Identifier: Apache-2.0
#include "media/packet_timeline.h"

#include <gtest/gtest.h>

#include <vector>

namespace inflight {
namespace {

using std::chrono::milliseconds;
using Packet = PacketTimeline::Packet;

PacketTimeline::Rules ticks_of_a_millisecond(bool jumps = false) {
  return {.unit_num = 1, .unit_den = 1000, .fps = 10, .jumps = jumps};
}

// Gives a packet and takes its frame at once.
PacketTimeline::Place pass(PacketTimeline& line, std::optional<std::int64_t> pts,
                           std::optional<std::int64_t> dts, bool key = false) {
  return line.take(line.add({.pts = pts, .dts = dts, .key = key}), false);
}

TEST(PacketTimeline, StampsCountFromTheFirstFrame) {
  PacketTimeline line(ticks_of_a_millisecond());
  for (const std::int64_t shown : {0, 100, 200, 300, 400, 1500, 2500}) {
    EXPECT_EQ(pass(line, shown - 70, shown - 70, shown == 0).pts, milliseconds(shown));
  }
  EXPECT_EQ(line.next_index(), 7);
  EXPECT_EQ(line.skipped(), 0);
}

TEST(PacketTimeline, ALostBFrameKeepsItsNumber) {
  PacketTimeline line(ticks_of_a_millisecond());
  const std::int64_t i0 = line.add({.pts = 0, .dts = -100, .key = true});
  const std::int64_t p3 = line.add({.pts = 300, .dts = 0});
  EXPECT_EQ(line.take(i0, true).index, 0);
  line.add({.pts = 100, .dts = 100});
  line.add_error();
  const std::int64_t b2 = line.add({.pts = 200, .dts = 200});
  const auto second = line.take(b2, true);
  EXPECT_EQ(second.index, 2);
  EXPECT_EQ(second.pts, milliseconds(200));
  EXPECT_EQ(line.take(p3, true).index, 3);
  EXPECT_EQ(line.skipped(), 1);
}

TEST(PacketTimeline, AReferenceThatIsLostIsMissedWhereItWasToBeShown) {
  PacketTimeline line(ticks_of_a_millisecond());
  EXPECT_EQ(pass(line, 0, -100, true).index, 0);
  line.add({.pts = 300, .dts = 0});
  line.add_error();
  EXPECT_EQ(pass(line, 100, 100).index, 1);
  EXPECT_EQ(pass(line, 200, 200).index, 2);
  EXPECT_EQ(pass(line, 400, 300).index, 4);
  line.finish();
  EXPECT_EQ(line.skipped(), 1);
}

TEST(PacketTimeline, PacketsThatNeverHaveAFrameTakeNoNumber) {
  PacketTimeline line(ticks_of_a_millisecond());
  for (std::int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(pass(line, i * 100, i * 100, i == 0).index, i < 10 ? i : i + 1) << i;
    line.add({.pts = i * 100 + 50, .dts = i * 100 + 50});  // a second field
    if (i != 9) continue;
    line.add({.pts = 960, .dts = 960});
    line.add_error();
  }
  EXPECT_EQ(line.skipped(), 1);
}

TEST(PacketTimeline, AKeyPacketWithoutItsFrameIsDamage) {
  PacketTimeline line(ticks_of_a_millisecond());
  for (std::int64_t i = 0; i < 12; ++i) line.add({.pts = i * 100, .dts = i * 100, .key = i == 0});
  EXPECT_EQ(pass(line, 1200, 1200, true).index, 12);
  EXPECT_EQ(line.skipped(), 12);
}

TEST(PacketTimeline, AHoleInSteadyStampsCountsAfterAComplaint) {
  for (const bool complaint : {false, true}) {
    PacketTimeline line(ticks_of_a_millisecond());
    for (std::int64_t i = 0; i < 5; ++i) pass(line, i * 100, i * 100, i == 0);
    if (complaint) line.add_hint();
    EXPECT_EQ(pass(line, 900, 900, true).index, complaint ? 9 : 5);
    EXPECT_EQ(pass(line, 1300, 1300).index, complaint ? 10 : 6);  // a pause
    EXPECT_EQ(line.skipped(), complaint ? 4 : 0);
  }
}

// FFmpeg reads ahead when it opens a file, and complains then.
TEST(PacketTimeline, AHoleCountsWhereOpeningComplained) {
  PacketTimeline::Rules rules = ticks_of_a_millisecond();
  rules.doubtful = true;
  PacketTimeline line(rules);
  EXPECT_EQ(pass(line, 0, 0, true).index, 0);
  EXPECT_EQ(pass(line, 400, 400).index, 4);  // the first distance of all
  EXPECT_EQ(pass(line, 500, 500).index, 5);
  EXPECT_EQ(pass(line, 900, 900, true).index, 9);
  EXPECT_EQ(pass(line, 1150, 1150).index, 10);  // no whole number: a pause
  EXPECT_EQ(line.skipped(), 6);
}

TEST(PacketTimeline, AVariableRateHasNoHoles) {
  PacketTimeline line(ticks_of_a_millisecond());
  std::int64_t index = 0;
  for (const std::int64_t shown : {0, 100, 400, 500, 1500, 1600}) {
    EXPECT_EQ(pass(line, shown, shown, shown == 0).index, index++);
  }
  EXPECT_EQ(line.skipped(), 0);
}

TEST(PacketTimeline, WhatComesBeforeTheFirstKeyFrameTakesNoNumber) {
  PacketTimeline line(ticks_of_a_millisecond());
  for (const std::int64_t shown : {0, 100, 200}) {
    line.add({.pts = shown, .dts = shown});
    line.add_error();
  }
  const auto first = pass(line, 300, 300, true);
  EXPECT_EQ(first.index, 0);
  EXPECT_EQ(first.pts, milliseconds(0));
  EXPECT_EQ(pass(line, 400, 400).index, 1);
  line.finish();
  EXPECT_EQ(line.skipped(), 0);
}

TEST(PacketTimeline, WithoutStampsErrorsAreCounted) {
  PacketTimeline line(ticks_of_a_millisecond());
  EXPECT_EQ(pass(line, {}, {}, true).index, 0);
  line.add({});
  line.add_error();
  const auto next = pass(line, {}, {});
  EXPECT_EQ(next.index, 2);
  EXPECT_EQ(next.pts, milliseconds(200));
}

TEST(PacketTimeline, DecodingStampsAloneAreTheTimesInTheirOrder) {
  PacketTimeline line(ticks_of_a_millisecond());
  const std::int64_t i0 = line.add({.pts = {}, .dts = 0, .key = true});
  const std::int64_t p2 = line.add({.pts = {}, .dts = 40});
  EXPECT_EQ(line.take(i0, true).pts, milliseconds(0));
  const std::int64_t b1 = line.add({.pts = 120, .dts = 120});  // as AVI has it
  EXPECT_EQ(line.take(b1, true).pts, milliseconds(40));
  const std::int64_t p4 = line.add({.pts = {}, .dts = 160});
  EXPECT_EQ(line.take(p2, true).pts, milliseconds(120));
  EXPECT_EQ(line.take(p4, true).pts, milliseconds(160));
  EXPECT_EQ(line.next_index(), 4);
}

TEST(PacketTimeline, JumpsGoOnAtTheUsualDistance) {
  PacketTimeline line(ticks_of_a_millisecond(true));
  std::vector<std::int64_t> stamps = {5000, 5040, 5080, 1000, 1040, 900'000, 900'040, 904'040};
  std::vector<std::int64_t> shown = {0, 40, 80, 120, 160, 200, 240, 4240};
  for (std::size_t i = 0; i < stamps.size(); ++i) {
    EXPECT_EQ(pass(line, stamps[i], stamps[i], i == 0).pts, milliseconds(shown[i])) << i;
  }
  EXPECT_EQ(line.jumps(), 2);
}

// What the decoder still holds of the first recording comes before everything of the second.
TEST(PacketTimeline, AJoinBehindBFramesShiftsNoNumber) {
  PacketTimeline line(ticks_of_a_millisecond(true));
  const std::int64_t i0 = line.add({.pts = 200, .dts = 0, .key = true});
  const std::int64_t p2 = line.add({.pts = 400, .dts = 100});
  const std::int64_t b1 = line.add({.pts = 300, .dts = 200});
  EXPECT_EQ(line.take(i0, true).index, 0);
  const std::int64_t next = line.add({.pts = 200, .dts = 0, .key = true});
  EXPECT_EQ(line.take(b1, true).index, 1);
  EXPECT_EQ(line.take(p2, true).index, 2);
  const auto first = line.take(next, true);
  EXPECT_EQ(first.index, 3);
  EXPECT_EQ(first.pts, milliseconds(300));
  EXPECT_EQ(line.skipped(), 0);
}

TEST(PacketTimeline, EqualAndFoolishStampsFollowAtTheDeclaredRate) {
  PacketTimeline line(ticks_of_a_millisecond());
  EXPECT_EQ(pass(line, 7, 7, true).pts, milliseconds(0));
  EXPECT_EQ(pass(line, 7, 7).pts, milliseconds(100));
  EXPECT_EQ(pass(line, 7, 7).pts, milliseconds(200));
  EXPECT_EQ(pass(line, std::int64_t{1} << 62, 7).pts, milliseconds(300));
  EXPECT_EQ(pass(line, 407, 407).pts, milliseconds(400));
}

TEST(PacketTimeline, TimesGrowOverStampsAtTheEndsOfTheirRange) {
  for (const bool jumps : {false, true}) {
    PacketTimeline line(ticks_of_a_millisecond(jumps));
    constexpr std::int64_t kFar = 2'305'843'009'213;  // of milliseconds: 73 years, the most that is believed
    std::optional<Duration> before;
    for (int i = 0; i < 12; ++i) {
      const std::int64_t stamp = i % 2 == 0 ? kFar : -kFar;
      const PacketTimeline::Place place = pass(line, stamp, stamp, true);
      EXPECT_EQ(place.index, i);
      EXPECT_TRUE(!before || place.pts > *before) << i;
      before = place.pts;
    }
  }
}

TEST(PacketTimeline, AHoleOfMoreThanADayIsADamagedStamp) {
  PacketTimeline line(ticks_of_a_millisecond());
  pass(line, 0, 0, true);
  pass(line, 100, 100);
  line.add_hint();
  EXPECT_EQ(pass(line, 100'000'000'000, 100'000'000'000).index, 2);
  EXPECT_EQ(line.skipped(), 0);
}

TEST(PacketTimeline, ARestartGoesOnWithNumbersAndTime) {
  PacketTimeline line(ticks_of_a_millisecond(true));
  EXPECT_EQ(pass(line, 500, 500, true).index, 0);
  line.restart({.unit_num = 1, .unit_den = 90'000, .fps = 10, .jumps = true}, std::chrono::seconds(3));
  EXPECT_EQ(pass(line, 12, 12, true).pts, std::chrono::seconds(3));
  EXPECT_EQ(pass(line, 9012, 9012).pts, milliseconds(3100));
  EXPECT_EQ(line.next_index(), 3);
}

}  // namespace
}  // namespace inflight
