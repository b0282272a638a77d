// SPDX-License-Identifier: Apache-2.0
#include "predictor/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

namespace inflight::internal {
namespace {

using std::chrono::milliseconds;

TimePoint at(int ms) { return TimePoint(milliseconds(ms)); }

class SchedulerTest : public testing::Test {
 protected:
  Job& admit(Scheduler& scheduler) {
    jobs_.push_back(std::make_unique<Job>());
    EXPECT_EQ(scheduler.ask(), Admission::kAdmit);
    scheduler.admit(*jobs_.back(), at(0));
    scheduler.inputs_came(*jobs_.back(), at(0));
    return *jobs_.back();
  }
  // Runs the oldest job to its end.
  void complete(Scheduler& scheduler, TimePoint now = at(1)) {
    Job* const job = scheduler.launch(now);
    ASSERT_NE(job, nullptr);
    scheduler.finished(*job, Outcome::kCompleted, now, granted_);
  }

  std::vector<std::unique_ptr<Job>> jobs_;
  PlaceWaiters granted_;
};

TEST_F(SchedulerTest, AdmitsUpToTheLimitAndNotOnePast) {
  Scheduler scheduler({.in_flight_limit = 8});
  for (int i = 0; i < 8; ++i) admit(scheduler);
  EXPECT_EQ(scheduler.ask(), Admission::kRefuseFull);
  complete(scheduler);
  EXPECT_EQ(scheduler.ask(), Admission::kAdmit);
}

TEST_F(SchedulerTest, RefusesWhileTooManyAreUntakenUnderEitherPolicy) {
  for (const OverloadPolicy policy : {OverloadPolicy::kReject, OverloadPolicy::kBlock}) {
    Scheduler scheduler({.finished_limit = 2, .policy = policy});
    for (int i = 0; i < 2; ++i) {
      admit(scheduler);
      complete(scheduler);
    }
    EXPECT_EQ(scheduler.ask(), Admission::kRefuseUntaken);
    EXPECT_NE(scheduler.take(), nullptr);
    EXPECT_EQ(scheduler.ask(), Admission::kAdmit);
  }
}

TEST_F(SchedulerTest, ShuttingDownComesFirst) {
  Scheduler scheduler({.in_flight_limit = 1, .policy = OverloadPolicy::kBlock});
  admit(scheduler);
  PlaceWaiter waiter;
  EXPECT_EQ(scheduler.ask(), Admission::kWait);
  scheduler.wait_for_place(waiter);
  scheduler.shut_down(granted_);
  EXPECT_EQ(granted_.pop_front(), &waiter);
  EXPECT_EQ(waiter.decision, Admission::kRefuseShuttingDown);
  EXPECT_EQ(scheduler.ask(), Admission::kRefuseShuttingDown);
}

// A place goes to the submitter that has waited longest, and no newcomer gets it first.
TEST_F(SchedulerTest, APlaceIsHandedOverInTheOrderOfWaiting) {
  Scheduler scheduler({.in_flight_limit = 2, .policy = OverloadPolicy::kBlock, .slots = 2});
  admit(scheduler);
  admit(scheduler);
  PlaceWaiter first;
  PlaceWaiter second;
  scheduler.wait_for_place(first);
  scheduler.wait_for_place(second);
  complete(scheduler);
  EXPECT_EQ(first.decision, Admission::kAdmit);
  EXPECT_EQ(second.decision, Admission::kWait);
  EXPECT_EQ(scheduler.statistics().in_flight, 2U) << "the place is taken from the moment of the grant";
  EXPECT_EQ(scheduler.ask(), Admission::kWait);
}

// When finished_limit is reached, the submitters that wait are refused, and none of them stays asleep.
TEST_F(SchedulerTest, SubmittersThatWaitAreRefusedOnceTooManyAreUntaken) {
  Scheduler scheduler({.in_flight_limit = 1, .finished_limit = 1, .policy = OverloadPolicy::kBlock});
  admit(scheduler);
  PlaceWaiter waiters[3];
  for (PlaceWaiter& waiter : waiters) scheduler.wait_for_place(waiter);
  complete(scheduler);
  for (const PlaceWaiter& waiter : waiters) EXPECT_EQ(waiter.decision, Admission::kRefuseUntaken);
}

TEST_F(SchedulerTest, LaunchesTheOldestOnAFreeSlot) {
  Scheduler scheduler({.width = WidthPolicy::kWide, .slots = 2});
  for (int i = 0; i < 3; ++i) admit(scheduler);
  Job* const first = scheduler.launch(at(1));
  Job* const second = scheduler.launch(at(1));
  EXPECT_EQ(first, jobs_[0].get());
  EXPECT_EQ(second, jobs_[1].get());
  EXPECT_NE(first->slot, second->slot);
  EXPECT_EQ(first->width, Width::kWide);
  EXPECT_FALSE(scheduler.can_launch()) << "no slot is free";
  EXPECT_EQ(scheduler.launch(at(1)), nullptr);
  scheduler.finished(*first, Outcome::kCompleted, at(2), granted_);
  EXPECT_EQ(scheduler.launch(at(2)), jobs_[2].get());
}

// Each thread keeps its slot, in whatever order the launches end; one that has none yet does not take another's.
TEST_F(SchedulerTest, AThreadGetsTheSlotThatItUsedLast) {
  Scheduler scheduler({.in_flight_limit = 8, .slots = 3});
  for (int i = 0; i < 8; ++i) admit(scheduler);
  const auto launch = [&](int thread) { return scheduler.launch(0, at(1), Width::kNarrow, thread); };
  const auto end = [&](Job* job) { scheduler.finished(*job, Outcome::kCompleted, at(2), granted_); };
  Job* const of_first = launch(1);
  const int first = of_first->slot;
  end(of_first);
  Job* const of_second = launch(2);
  const int second = of_second->slot;
  EXPECT_NE(second, first) << "there is one that no thread has used";
  end(of_second);
  Job* const again_first = launch(1);
  Job* const again_second = launch(2);
  EXPECT_EQ(again_first->slot, first);
  EXPECT_EQ(again_second->slot, second);
  end(again_first);
  end(again_second);
  Job* const of_third = launch(3);
  EXPECT_NE(of_third->slot, first);
  EXPECT_NE(of_third->slot, second);
  // More threads than slots: the one that became free last.
  EXPECT_EQ(launch(4)->slot, second);
  EXPECT_EQ(launch(2)->slot, first);
  EXPECT_EQ(launch(1), nullptr);
}

TEST_F(SchedulerTest, WakesAtTheEarliestDeadlineAndExpiresWhatHasPassed) {
  Scheduler scheduler({.in_flight_limit = 4});
  EXPECT_EQ(scheduler.wake_at(), std::nullopt);
  for (const int deadline : {30, 10, 20}) {
    jobs_.push_back(std::make_unique<Job>());
    jobs_.back()->deadline = at(deadline);
    scheduler.admit(*jobs_.back(), at(0));
    scheduler.inputs_came(*jobs_.back(), at(0));
  }
  EXPECT_EQ(scheduler.wake_at(), at(10));
  EXPECT_EQ(scheduler.expire(at(9)), nullptr);
  Job* const expired = scheduler.expire(at(10));
  EXPECT_EQ(expired, jobs_[1].get());
  scheduler.finished(*expired, Outcome::kExpired, at(10), granted_);
  EXPECT_EQ(scheduler.wake_at(), at(20));
  // A job that has started does not expire.
  EXPECT_EQ(scheduler.launch(at(11)), jobs_[0].get());
  EXPECT_EQ(scheduler.expire(at(25)), jobs_[2].get());
  EXPECT_EQ(scheduler.expire(at(99)), nullptr);
  EXPECT_EQ(scheduler.statistics().expired, 1U);
}

TEST_F(SchedulerTest, LatenciesSayWhereTheTimeWent) {
  Scheduler scheduler({});
  Job job;
  scheduler.admit(job, at(10));
  job.times.due = at(8);
  scheduler.await_inputs(job);
  scheduler.inputs_came(job, at(13));
  scheduler.launch(at(20));
  scheduler.finished(job, Outcome::kCompleted, at(50), granted_);
  const StageLatencies& latencies = scheduler.latencies();
  EXPECT_EQ(latencies.input_wait.max(), Duration(milliseconds(3)).count());
  EXPECT_EQ(latencies.slot_wait.max(), Duration(milliseconds(7)).count());
  EXPECT_EQ(latencies.running.max(), Duration(milliseconds(30)).count());
  EXPECT_EQ(latencies.total.max(), Duration(milliseconds(42)).count());
}

TEST_F(SchedulerTest, RetryAfterIsWhenTheFirstOfThoseThatRunIsExpectedToEnd) {
  Scheduler scheduler({.in_flight_limit = 2, .slots = 2});
  EXPECT_EQ(scheduler.retry_after(at(0)), Duration(0));
  for (int i = 0; i < 200; ++i) {
    Job& job = admit(scheduler);
    scheduler.launch(at(0));
    scheduler.finished(job, Outcome::kCompleted, at(8), granted_);
  }
  EXPECT_EQ(scheduler.retry_after(at(0)), Duration(0)) << "a place is free";
  admit(scheduler);
  admit(scheduler);
  EXPECT_NEAR(static_cast<double>(scheduler.retry_after(at(0)).count()), 8e6, 1e5) << "nothing runs";
  scheduler.launch(at(0));
  scheduler.launch(at(1));
  EXPECT_EQ(scheduler.retry_after(at(3)), milliseconds(5));
  EXPECT_GT(scheduler.retry_after(at(9)), Duration(0)) << "overdue, and still no place";
  EXPECT_LE(scheduler.retry_after(at(9)), milliseconds(1));
}

struct Item : DeadlineLink {};

TEST(DeadlineHeapTest, HandsOutTheEarliestInAnyOrderOfAddingAndRemoving) {
  const std::uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::minstd_rand random(seed);
  std::vector<Item> items(300);
  DeadlineHeap<Item> heap(items.size());
  std::vector<Item*> inside;
  for (int step = 0; step < 20'000; ++step) {
    Item& item = items[random() % items.size()];
    if (item.place == kInNoHeap) {
      item.deadline = at(static_cast<int>(random() % 1000));
      heap.add(item);
      inside.push_back(&item);
    } else {
      heap.remove(item);
      std::erase(inside, &item);
    }
    if (inside.empty()) {
      ASSERT_EQ(heap.first(), nullptr);
      continue;
    }
    const auto earliest = std::min_element(
        inside.begin(), inside.end(), [](const Item* a, const Item* b) { return a->deadline < b->deadline; });
    ASSERT_EQ(heap.first()->deadline, (*earliest)->deadline);
  }
}

// ---- Several devices

using Device = SchedulerOptions::OfDevice;

TEST_F(SchedulerTest, TheDeviceWithTheSmallestPartOfItsSlotsBusyIsNext) {
  Scheduler scheduler({.in_flight_limit = 16, .devices = {Device{2}, Device{4}, Device{2}}});
  std::vector<std::size_t> order;
  for (int i = 0; i < 8; ++i) {
    admit(scheduler);
    order.push_back(scheduler.next_device());
    ASSERT_NE(scheduler.launch(at(1)), nullptr);
  }
  EXPECT_EQ(order, (std::vector<std::size_t>{0, 1, 2, 1, 0, 1, 2, 1}));
  EXPECT_EQ(scheduler.next_device(), Scheduler::kNoDevice);
  admit(scheduler);
  EXPECT_FALSE(scheduler.can_launch());
  scheduler.finished(*jobs_[1], Outcome::kCompleted, at(2), granted_);
  EXPECT_EQ(scheduler.next_device(), 1U) << "whichever becomes free takes the next";
  EXPECT_FALSE(scheduler.can_launch(0));
  EXPECT_TRUE(scheduler.can_launch(1));
}

TEST_F(SchedulerTest, ADeviceWithoutRoomIsPassedOver) {
  Scheduler scheduler({.devices = {Device{2}, Device{2}}});
  EXPECT_EQ(scheduler.next_device(0b11), 0U);
  EXPECT_EQ(scheduler.next_device(0b10), 1U);
  EXPECT_EQ(scheduler.next_device(0b100), Scheduler::kNoDevice);
}

TEST_F(SchedulerTest, AnElasticWideLaunchHasAllOfItsDevice) {
  const Device elastic{4, WidthPolicy::kElastic};
  Scheduler scheduler({.devices = {elastic, elastic}});
  admit(scheduler);
  Job* const first = scheduler.launch(at(1));
  ASSERT_EQ(first->width, Width::kWide);
  admit(scheduler);
  admit(scheduler);
  EXPECT_EQ(scheduler.next_device(), 1U);
  ASSERT_EQ(scheduler.launch(1, at(1), Width::kNarrow), jobs_[1].get());
  EXPECT_EQ(scheduler.next_device(), 1U) << "one of four is busy there, and all of the first";
}

TEST_F(SchedulerTest, SlotsOfALostDeviceDoNotComeBack) {
  Scheduler scheduler(
      {.in_flight_limit = 2, .policy = OverloadPolicy::kBlock, .devices = {Device{1}, Device{1}}});
  admit(scheduler);
  admit(scheduler);
  Job* const on_first = scheduler.launch(at(1));
  Job* const on_second = scheduler.launch(at(1));
  PlaceWaiter waiter;
  scheduler.wait_for_place(waiter);
  scheduler.lose(0, granted_);
  EXPECT_TRUE(granted_.empty());
  scheduler.finished(*on_first, Outcome::kFailed, at(2), granted_);
  EXPECT_EQ(granted_.pop_front(), &waiter) << "its place does";
  EXPECT_EQ(scheduler.next_device(), Scheduler::kNoDevice);
  PlaceWaiter second;
  scheduler.wait_for_place(second);
  scheduler.lose(1, granted_);
  ASSERT_EQ(granted_.pop_front(), &second);
  EXPECT_EQ(second.decision, Admission::kRefuseLost);
  EXPECT_EQ(scheduler.ask(), Admission::kRefuseLost);
  scheduler.finished(*on_second, Outcome::kCompleted, at(3), granted_);
  EXPECT_EQ(scheduler.devices()[1].completed, 1U);
  EXPECT_EQ(scheduler.devices()[0].failed, 1U);
  scheduler.shut_down(granted_);
  EXPECT_EQ(scheduler.ask(), Admission::kRefuseShuttingDown);
}

TEST_F(SchedulerTest, TheForecastCountsTheServersOfAllDevicesThatAreLeft) {
  Scheduler scheduler({.in_flight_limit = 16, .devices = {Device{1}, Device{1}}});
  for (int i = 0; i < 12; ++i) {  // 10 ms on the first device, 30 ms on the second
    admit(scheduler);
    admit(scheduler);
    Job* const fast = scheduler.launch(at(0));
    Job* const slow = scheduler.launch(at(0));
    scheduler.finished(*fast, Outcome::kCompleted, at(10), granted_);
    scheduler.finished(*slow, Outcome::kCompleted, at(30), granted_);
  }
  for (int i = 0; i < 4; ++i) admit(scheduler);
  // Two servers that together do as much as these: one launch in 15 ms each.
  EXPECT_EQ(scheduler.forecast(at(100)), at(145));
  scheduler.lose(1, granted_);
  EXPECT_EQ(scheduler.forecast(at(100)), at(150));
}

}  // namespace
}  // namespace inflight::internal
