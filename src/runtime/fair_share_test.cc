// SPDX-License-Identifier: Apache-2.0
#include "runtime/fair_share.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

namespace inflight::internal {
namespace {

using Share = FairShare::Share;

// Looks at all of them, as if all had something to run.
Share& next(FairShare& fair, std::vector<Share>& shares) {
  fair.begin_look();
  for (Share& share : shares) fair.look(share, true, false);
  return *fair.choose();
}

struct Outcome {
  std::vector<double> used;  // of the device, by each
  int changes = 0;           // from one to another
};

// Shares that always have something to run, on a device of several units, whose launches cost `cost[i]`, for
// `total`.
Outcome run(std::vector<Share>& shares, const std::vector<double>& cost, int units, double total) {
  struct Running {
    Share* share;
    double charged;
    double ends;
  };
  FairShare fair(units);
  Outcome outcome{std::vector<double>(shares.size()), 0};
  std::vector<Running> running;
  const Share* last = nullptr;
  double now = 0;
  while (now < total) {
    while (running.size() < static_cast<std::size_t>(units)) {
      Share& share = next(fair, shares);
      if (last != &share) ++outcome.changes;
      last = &share;
      running.push_back(
          {&share, fair.begin(share), now + cost[static_cast<std::size_t>(&share - shares.data())]});
    }
    std::size_t first = 0;
    for (std::size_t i = 1; i < running.size(); ++i) {
      if (running[i].ends < running[first].ends) first = i;
    }
    const auto [share, charged, ends] = running[first];
    running.erase(running.begin() + static_cast<std::ptrdiff_t>(first));
    now = ends;
    const auto index = static_cast<std::size_t>(share - shares.data());
    fair.end(*share, charged, cost[index]);
    outcome.used[index] += cost[index];
  }
  return outcome;
}

TEST(FairShareTest, EachGetsItsWeightWhateverItsLaunchesCost) {
  for (const int units : {1, 2, 7}) {
    std::vector<Share> shares(3);
    shares[0].weight = 1;
    shares[1].weight = 2;
    shares[2].weight = 0.5;
    const Outcome outcome = run(shares, {1e6, 3.7e6, 0.2e6}, units, 1e10);
    EXPECT_NEAR(outcome.used[1] / outcome.used[0], 2, 0.04) << units;
    EXPECT_NEAR(outcome.used[2] / outcome.used[0], 0.5, 0.01) << units;
  }
}

// A change has a cost, so it comes once in a quantum and not with every launch.
TEST(FairShareTest, TheOneThatRunsGoesOnForAQuantum) {
  std::vector<Share> shares(2);
  const Outcome outcome = run(shares, {0.1e6, 0.1e6}, 2, 1e9);
  EXPECT_NEAR(outcome.used[0] / outcome.used[1], 1, 0.03);
  EXPECT_LT(outcome.changes, 1e9 / FairShare::kQuantum * 1.5);
}

TEST(FairShareTest, AShareThatComesBackHasItsTurnAtOnceAndNotAllThatItMissed) {
  std::vector<Share> shares(2);
  Share& steady = shares[0];
  Share& guest = shares[1];
  steady.cost_mean = guest.cost_mean = 1e5;
  FairShare fair(1);
  const auto choose = [&](bool guest_waits) -> Share& {
    fair.begin_look();
    fair.look(steady, true, false);
    fair.look(guest, guest_waits, false);
    return *fair.choose();
  };
  for (int i = 0; i < 10'000; ++i) {
    Share& chosen = choose(false);
    ASSERT_EQ(&chosen, &steady);
    fair.end(chosen, fair.begin(chosen), 1e5);
  }
  int in_a_row = 0;
  while (&choose(true) == &guest) {
    fair.end(guest, fair.begin(guest), 1e5);
    ++in_a_row;
  }
  EXPECT_GE(in_a_row, 1);
  EXPECT_LE(in_a_row, static_cast<int>((FairShare::kCredit + FairShare::kQuantum) / 1e5) + 2);
}

// Many small shares that come and go, beside one that always runs: each is served at once.
TEST(FairShareTest, AShareThatWaitsAlwaysComesToItsTurn) {
  std::vector<Share> shares(3);
  shares[0].weight = 1000;
  shares[1].weight = 0.001;
  FairShare fair(2);
  int turns = 0;
  for (int i = 0; i < 3'000'000 && turns < 2; ++i) {
    Share& chosen = next(fair, shares);
    turns += &chosen == &shares[1] ? 1 : 0;
    fair.end(chosen, fair.begin(chosen), 1e6);
  }
  EXPECT_EQ(turns, 2);
}

TEST(FairShareTest, WhatDidNotRunCostsNothing) {
  FairShare fair(1);
  Share share;
  share.cost_mean = 5e6;
  const double before = share.time;
  fair.end(share, fair.begin(share), 0);
  EXPECT_EQ(share.time, before);
  EXPECT_EQ(share.cost_mean, 5e6);
}

TEST(FairShareTest, AShareThatHasGoneIsNotChosen) {
  FairShare fair(1);
  std::vector<Share> shares(1);
  {
    Share gone;
    fair.begin_look();
    fair.look(gone, true, false);
    EXPECT_EQ(fair.choose(), &gone);
    fair.remove(gone);
  }
  EXPECT_EQ(&next(fair, shares), shares.data());
}

}  // namespace
}  // namespace inflight::internal
