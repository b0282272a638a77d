// SPDX-License-Identifier: Apache-2.0
#include "runtime/fair_share.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

namespace inflight::internal {
namespace {

using Share = FairShare::Share;

// Shares that always have something to run, on a device of several units, whose launches cost `cost[i]`. Returns what
// each got of `total` in all.
std::vector<double> run(std::vector<Share>& shares, const std::vector<double>& cost, int units,
                        double total) {
  struct Running {
    std::size_t share;
    double charged;
    double ends;
  };
  FairShare fair;
  std::vector<double> used(shares.size());
  std::vector<Running> running;
  double now = 0;
  while (now < total) {
    while (running.size() < static_cast<std::size_t>(units)) {
      std::size_t first = 0;
      for (std::size_t i = 1; i < shares.size(); ++i) {
        if (fair.key(shares[i]) < fair.key(shares[first])) first = i;
      }
      running.push_back({first, fair.begin(shares[first]), now + cost[first]});
    }
    std::size_t next = 0;
    for (std::size_t i = 1; i < running.size(); ++i) {
      if (running[i].ends < running[next].ends) next = i;
    }
    now = running[next].ends;
    const std::size_t share = running[next].share;
    fair.end(shares[share], running[next].charged, cost[share]);
    used[share] += cost[share];
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(next));
  }
  return used;
}

TEST(FairShareTest, EachGetsItsWeightWhateverItsLaunchesCost) {
  for (const int units : {1, 2, 7}) {
    std::vector<Share> shares(3);
    shares[0].weight = 1;
    shares[1].weight = 2;
    shares[2].weight = 0.5;
    const std::vector<double> used = run(shares, {1e6, 3.7e6, 0.2e6}, units, 1e10);
    EXPECT_NEAR(used[1] / used[0], 2, 0.04) << units;
    EXPECT_NEAR(used[2] / used[0], 0.5, 0.01) << units;
  }
}

TEST(FairShareTest, AShareThatWasAwayGetsItsTurnAndNotAllThatItMissed) {
  FairShare fair;
  Share steady;
  Share guest;
  steady.cost_mean = guest.cost_mean = 1e6;
  for (int i = 0; i < 10'000; ++i) fair.end(steady, fair.begin(steady), 1e6);
  int in_a_row = 0;
  while (fair.key(guest) < fair.key(steady)) {
    fair.end(guest, fair.begin(guest), 1e6);
    ++in_a_row;
  }
  EXPECT_GE(in_a_row, 1);
  EXPECT_LE(in_a_row, static_cast<int>(FairShare::kCreditMax / 1e6) + 2);
}

TEST(FairShareTest, WhatDidNotRunCostsNothing) {
  FairShare fair;
  Share share;
  share.cost_mean = 5e6;
  const double before = fair.key(share);
  fair.end(share, fair.begin(share), 0);
  EXPECT_EQ(share.time, before);
  EXPECT_EQ(share.cost_mean, 5e6);
}

TEST(FairShareTest, LaunchesInParallelDoNotAllGoToOne) {
  FairShare fair;
  std::vector<Share> shares(2);
  for (Share& share : shares) share.cost_mean = 1e6;
  std::vector<int> begun(2);
  for (int i = 0; i < 8; ++i) {
    const std::size_t first = fair.key(shares[0]) <= fair.key(shares[1]) ? 0 : 1;
    fair.begin(shares[first]);
    ++begun[first];
  }
  EXPECT_EQ(begun, (std::vector<int>{4, 4}));
}

}  // namespace
}  // namespace inflight::internal
