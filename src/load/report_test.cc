// SPDX-License-Identifier: Apache-2.0
#include "load/report.h"

#include <gtest/gtest.h>

#include <string>

namespace inflight::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Subject kSubject = {"m", "f32", "s", 2};

// `count` frames, one each 10 ms: the k-th completes after k + 1 ms, and the last `missed` are refused.
LoadRun run_of(int count, int missed) {
  LoadRun run;
  run.length = milliseconds(10) * count;
  run.wall = run.length;
  for (int k = 0; k < count; ++k) {
    Sample sample;
    sample.due = milliseconds(10) * k;
    sample.started = sample.due;
    sample.finished = sample.due + milliseconds(k + 1);
    sample.outcome = k < count - missed ? Outcome::kCompleted : Outcome::kRejected;
    sample.width = static_cast<std::int8_t>(k % 4 == 0 ? Width::kWide : Width::kNarrow);
    sample.slot = k % 2;
    run.samples.push_back(sample);
  }
  return run;
}

TEST(Summary, QuantilesAreNearestRanks) {
  const Row row = summarise(kSubject, "poisson", 0.5, run_of(100, 0));
  EXPECT_EQ(row.p50_ms, 50);
  EXPECT_EQ(row.p90_ms, 90);
  EXPECT_EQ(row.p99_ms, 99);
  EXPECT_EQ(row.max_ms, 100);
  EXPECT_DOUBLE_EQ(row.rate, 100);
  EXPECT_DOUBLE_EQ(row.wide, 0.25);
}

// Who leaves the worst frames out must not look better for it.
TEST(Summary, AMissedFrameIsALatencyWithoutEnd) {
  const Row one = summarise(kSubject, "poisson", 0.5, run_of(100, 1));
  EXPECT_EQ(one.p99_ms, 99);
  EXPECT_FALSE(one.max_ms);
  EXPECT_EQ(one.missed, 1U);
  const Row two = summarise(kSubject, "poisson", 0.5, run_of(100, 2));
  EXPECT_FALSE(two.p99_ms);
  EXPECT_EQ(two.p90_ms, 90);
  const Row most = summarise(kSubject, "poisson", 0.5, run_of(100, 60));
  EXPECT_FALSE(most.p50_ms);
  EXPECT_EQ(most.completed + most.missed, most.planned);
  EXPECT_TRUE(row_json(most)["p50_ms"].is_null());
}

TEST(Summary, OfNothingIsNothing) {
  const Row row = summarise(kSubject, "poisson", std::nullopt, LoadRun{});
  EXPECT_EQ(row.planned, 0U);
  EXPECT_FALSE(row.p50_ms);
  EXPECT_NO_FATAL_FAILURE(row_json(row));
}

TEST(Summary, AClosedLoopHasTheRateThatItReached) {
  LoadRun run = run_of(100, 0);
  run.in_flight = 4;
  const Row row = summarise(kSubject, "closed", std::nullopt, run);
  // Those that ended after the time was up do not count: frame k ends at 11k + 1 ms.
  EXPECT_DOUBLE_EQ(row.rate, 91);
}

TEST(Summary, CountsWhatIsInTime) {
  LoadRun run = run_of(100, 10);
  EXPECT_FALSE(summarise(kSubject, "poisson", 0.5, run).in_time);
  run.deadline = seconds(1);
  const Row row = summarise(kSubject, "poisson", 0.5, run);
  EXPECT_EQ(row.in_time, 90U);
  EXPECT_EQ(row_json(row)["in_time"], 90);
  for (std::size_t i = 0; i < 40; ++i) run.samples[i].finished = run.samples[i].due + milliseconds(1001);
  EXPECT_LT(*summarise(kSubject, "poisson", 0.5, run).in_time, 61U);
  EXPECT_EQ(summarise(kSubject, "poisson", 0.5, run).completed, row.completed);
}

TEST(Summary, WhatIsLeftAtTheEndTakesItsTime) {
  LoadRun run = run_of(100, 0);
  run.wall = seconds(2);
  EXPECT_DOUBLE_EQ(summarise(kSubject, "poisson", 0.9, run).completed_per_s, 50);
}

TEST(Details, HoldSomeFramesAndAllOutcomes) {
  const LoadRun run = run_of(1000, 300);
  const Json detail = detail_json(run);
  EXPECT_EQ(detail["frames"].size(), kDetailFrames);
  EXPECT_EQ(detail["frames"][0][0], 2500.0);
  std::uint64_t sum = 0;
  for (const auto& [kind, bins] : detail["outcomes"].items()) {
    EXPECT_EQ(bins.size(), static_cast<std::size_t>(kDetailBins));
    for (const auto& bin : bins) sum += bin.get<std::uint64_t>();
  }
  EXPECT_EQ(sum, 1000U);
  EXPECT_EQ(detail["bin_ms"], 200.0);
}

TEST(Page, HoldsItsDataAndLoadsNothing) {
  const Row row = summarise({"</script><b>", "f32", "s", 2}, "poisson", 0.5, run_of(10, 1));
  const Json report = {{"title", "t"}, {"rows", {row_json(row)}}, {"details", {nullptr}}};
  const std::string page = page_text(report);
  EXPECT_EQ(page.find(kPageMark), std::string::npos);
  EXPECT_NE(page.find("\"p50_ms\":5.0"), std::string::npos);
  // The page's own end of its script, and no other.
  const std::size_t end = page.find("</script>");
  ASSERT_NE(end, std::string::npos);
  EXPECT_EQ(page.find("</script>", end + 1), std::string::npos);
  for (const char* const loads : {"src=", "href=", "@import", "url(", "fetch(", "https:"})
    EXPECT_EQ(page.find(loads), std::string::npos) << loads;
}

TEST(TableText, HasAColumnForEachWord) {
  const Table table({"inflight narrow"}, {"cameras:4@30"});
  const std::string head = table.head();
  const std::string line =
      table.line(summarise({"m", "f32", "inflight narrow", 2}, "cameras:4@30", 0.25, run_of(100, 2)));
  EXPECT_EQ(head.size(), line.size());
  EXPECT_EQ(line,
            "inflight narrow  cameras:4@30           25%       100      98.0      50.0         -         -   "
            "     2\n");
}

}  // namespace
}  // namespace inflight::load
