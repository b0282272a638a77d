// SPDX-License-Identifier: Apache-2.0
#include "load/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace inflight::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Plan make(const std::string& word, double rate, Duration length, std::uint64_t seed = 1) {
  const Result<PlanKind> kind = parse_plan(word);
  EXPECT_TRUE(kind.ok()) << word;
  Result<Plan> plan = make_plan(*kind, rate, length, seed);
  EXPECT_TRUE(plan.ok()) << word;
  return std::move(*plan);
}

void expect_in_order(const Plan& plan) {
  EXPECT_TRUE(std::is_sorted(plan.arrivals.begin(), plan.arrivals.end(),
                             [](const Arrival& a, const Arrival& b) { return a.due < b.due; }));
  for (const Arrival& arrival : plan.arrivals) {
    ASSERT_GE(arrival.due, Duration(0));
    ASSERT_LE(arrival.due, plan.length);
    ASSERT_LT(arrival.stream, plan.streams);
  }
}

TEST(Plan, ASeedIsAPlanAndAnotherSeedAnotherOne) {
  for (const char* const word : {"poisson", "periodic:0.5", "cameras:3@30"}) {
    EXPECT_EQ(make(word, 100, seconds(2), 7).arrivals, make(word, 100, seconds(2), 7).arrivals) << word;
    EXPECT_NE(make(word, 100, seconds(2), 7).arrivals, make(word, 100, seconds(2), 8).arrivals) << word;
  }
}

// Of the standard's generator and our arithmetic, so the same everywhere.
TEST(Plan, IsTheSameOnEveryMachine) {
  const Plan plan = make("poisson", 1000, seconds(1), 5489);
  ASSERT_GE(plan.arrivals.size(), 2U);
  // The first value of mt19937_64 with its default seed, 14514284786278117030.
  const double uniform = static_cast<double>(14514284786278117030ULL >> 11) * 0x1p-53;
  EXPECT_EQ(plan.arrivals[0].due.count(), std::llround(-std::log1p(-uniform) / 1000 * 1e9));
}

TEST(Plan, GapsOfPoissonAreExponential) {
  const Plan plan = make("poisson", 2000, seconds(50));
  expect_in_order(plan);
  EXPECT_NEAR(plan.rate(), 2000, 30);
  double sum = 0;
  double squares = 0;
  double above = 0;  // of those longer than the mean: 1/e
  for (std::size_t i = 1; i < plan.arrivals.size(); ++i) {
    const double gap = static_cast<double>((plan.arrivals[i].due - plan.arrivals[i - 1].due).count()) / 5e5;
    sum += gap;
    squares += gap * gap;
    above += gap > 1 ? 1 : 0;
  }
  const auto count = static_cast<double>(plan.arrivals.size() - 1);
  EXPECT_NEAR(squares / count - (sum / count) * (sum / count), 1, 0.05);
  EXPECT_NEAR(above / count, std::exp(-1), 0.01);
}

TEST(Plan, PeriodicIsExactAndItsJitterBounded) {
  const Plan exact = make("periodic", 100, seconds(1));
  ASSERT_EQ(exact.arrivals.size(), 100U);
  for (int k = 0; k < 100; ++k)
    EXPECT_EQ(exact.arrivals[static_cast<std::size_t>(k)].due, milliseconds(10) * k);

  const Plan jittered = make("periodic:0.4", 100, seconds(10));
  expect_in_order(jittered);
  ASSERT_EQ(jittered.arrivals.size(), 1000U);
  Duration most{0};
  for (int k = 0; k < 1000; ++k) {
    const Duration shift = jittered.arrivals[static_cast<std::size_t>(k)].due - milliseconds(10) * k;
    most = std::max(most, shift < Duration(0) ? -shift : shift);
  }
  EXPECT_LE(most, milliseconds(2));
  EXPECT_GT(most, milliseconds(2) * 9 / 10);
}

TEST(Plan, CamerasEachHaveTheirRateAndPhase) {
  const Plan plan = make("cameras:8@30:0", 0, seconds(10));
  expect_in_order(plan);
  EXPECT_EQ(plan.streams, 8);
  std::vector<std::vector<Duration>> streams(8);
  for (const Arrival& arrival : plan.arrivals)
    streams[static_cast<std::size_t>(arrival.stream)].push_back(arrival.due);
  std::vector<Duration> phases;
  for (const std::vector<Duration>& due : streams) {
    EXPECT_NEAR(static_cast<double>(due.size()), 300, 1);
    phases.push_back(due.front());
    EXPECT_NEAR(static_cast<double>((due[10] - due[0]).count()), 1e9 / 3, 10);
  }
  std::sort(phases.begin(), phases.end());
  EXPECT_EQ(std::adjacent_find(phases.begin(), phases.end()), phases.end());
}

TEST(Plan, BurstsComeAtOnce) {
  const Plan plan = make("bursts:16@2", 0, seconds(5));
  ASSERT_EQ(plan.arrivals.size(), 48U);
  for (std::size_t i = 0; i < 48; ++i) EXPECT_EQ(plan.arrivals[i].due, seconds(2) * (i / 16));
}

class Recording : public ::testing::Test {
 protected:
  void write(const std::string& text) { std::ofstream(path_) << text; }
  std::string refusal() {
    const Result<Plan> plan = make_plan(*parse_plan("recorded:" + path_), 0, seconds(100), 1);
    return plan.ok() ? "" : std::string(plan.status().message());
  }
  void TearDown() override { std::remove(path_.c_str()); }
  std::string path_ = ::testing::TempDir() + "inflight_recording.txt";
};

TEST_F(Recording, IsWhatAPlanWrites) {
  const Plan plan = make("cameras:3@20", 0, seconds(3));
  write("# three cameras\n\n" + plan_text(plan));
  const Plan again = make("recorded:" + path_, 0, seconds(100));
  EXPECT_EQ(again.arrivals, plan.arrivals);
  EXPECT_EQ(again.streams, 3);
  EXPECT_EQ(again.length, plan.arrivals.back().due);
}

TEST_F(Recording, IsCutOffAndPutInOrder) {
  write("0.5 1\n0.25\n9 # too late\r\n");
  const Plan plan = make("recorded:" + path_, 0, seconds(1));
  EXPECT_EQ(plan.arrivals, (std::vector<Arrival>{{milliseconds(250), 0}, {milliseconds(500), 1}}));
}

TEST_F(Recording, SaysWhichLineIsWrong) {
  for (const char* const bad : {"x", "-1", "1 -1", "1 x", "nan", "1e7", "1 1000000", "1 2 3", "0x10"}) {
    write(std::string("0.5\n") + bad + "\n");
    EXPECT_NE(refusal().find(path_ + ": line 2: got " + bad), std::string::npos) << refusal();
  }
  write("# nothing\n");
  EXPECT_EQ(refusal(), path_ + ": no arrivals, want at least one");
  std::remove(path_.c_str());
  EXPECT_EQ(refusal(), path_ + ": cannot be read");
}

TEST(ParsePlan, TakesWhatItSaysAndNothingElse) {
  for (const char* const good : {"poisson", "periodic", "periodic:0", "periodic:1", "cameras:1@0.5",
                                 "cameras:4@30:0.2", "bursts:16@2", "recorded:a:b"}) {
    EXPECT_TRUE(parse_plan(good).ok()) << good;
  }
  for (const char* const bad : {"",
                                "poisson:",
                                "poisson:1",
                                "gauss",
                                "periodic:",
                                "periodic:1.1",
                                "periodic:-0.1",
                                "cameras",
                                "cameras:",
                                "cameras:4",
                                "cameras:0@30",
                                "cameras:4@0",
                                "cameras:4@inf",
                                "cameras:4@30:",
                                "cameras:4@30:2",
                                "cameras:10001@30",
                                "bursts:0@1",
                                "bursts:1@0",
                                "bursts:x@1",
                                "recorded",
                                "recorded:"}) {
    const Result<PlanKind> kind = parse_plan(bad);
    ASSERT_FALSE(kind.ok()) << bad;
    EXPECT_EQ(kind.status().message().find(std::string("got ") + (*bad == 0 ? "nothing" : bad) + ", want "),
              0U)
        << kind.status().message();
  }
}

TEST(Plan, OfTooManyArrivalsIsRefused) {
  EXPECT_FALSE(make_plan(*parse_plan("poisson"), 1e6, seconds(100), 1).ok());
  EXPECT_FALSE(make_plan(*parse_plan("cameras:10000@1000000"), 0, seconds(1), 1).ok());
  EXPECT_FALSE(make_plan(*parse_plan("bursts:100000@0.000001"), 0, seconds(1), 1).ok());
}

}  // namespace
}  // namespace inflight::load
