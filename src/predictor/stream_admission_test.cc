// SPDX-License-Identifier: Apache-2.0
// What streams mean for predictive admission and for the automatic limit.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "predictor/scheduler.h"

namespace inflight::internal {
namespace {

using std::chrono::milliseconds;

constexpr Duration kService = milliseconds(10);

// A device with one slot, on which every inference takes kService, and whose service time has been measured.
class OneSlot {
 public:
  OneSlot() : scheduler_({.in_flight_limit = 512, .keep_finished = false}) {
    for (int i = 0; i < 8; ++i) {
      submit(scheduler_.unnamed());
      end(*scheduler_.launch(now_));
    }
  }
  SchedulerStream& open(const StreamOptions& options) {
    streams_.push_back(std::make_unique<SchedulerStream>(options, 512, true));
    scheduler_.open(*streams_.back());
    return *streams_.back();
  }
  Job& submit(SchedulerStream& stream) {
    jobs_.emplace_back();
    jobs_.back().stream = &stream;
    scheduler_.seen(stream, now_);
    scheduler_.admit(jobs_.back(), now_);
    scheduler_.inputs_came(jobs_.back(), now_);
    return jobs_.back();
  }
  void end(Job& job) {
    PlaceWaiters granted;
    now_ += kService;
    scheduler_.finished(job, Outcome::kCompleted, now_, granted);
  }
  Scheduler& scheduler() { return scheduler_; }
  TimePoint now() const { return now_; }

 private:
  Scheduler scheduler_;
  TimePoint now_{std::chrono::seconds(1)};
  std::vector<std::unique_ptr<SchedulerStream>> streams_;
  std::deque<Job> jobs_;
};

TEST(StreamForecast, CountsThoseWhoseTurnComesBefore) {
  OneSlot device;
  SchedulerStream& low = device.open({});
  SchedulerStream& high = device.open({.priority = 1});
  SchedulerStream& other = device.open({});
  Scheduler& scheduler = device.scheduler();
  device.submit(low);
  Job* const running = scheduler.launch(device.now());
  for (int i = 0; i < 10; ++i) device.submit(low);
  const TimePoint free = device.now() + kService;
  EXPECT_EQ(scheduler.forecast(high, device.now()), free + kService) << "before all of the lower priority";
  EXPECT_EQ(scheduler.forecast(other, device.now()), free + kService) << "it has had nothing yet";
  EXPECT_EQ(scheduler.forecast(low, device.now()), free + 11 * kService) << "behind its own";
  const TimePoint deadline = free + 5 * kService;
  EXPECT_FALSE(scheduler.would_be_late(device.now(), scheduler.forecast(high, device.now()), deadline));
  EXPECT_TRUE(scheduler.would_be_late(device.now(), scheduler.forecast(low, device.now()), deadline));
  device.end(*running);
}

TEST(StreamForecast, AFrameThatIsReplacedIsNotAhead) {
  OneSlot device;
  SchedulerStream& latest = device.open({.policy = OverloadPolicy::kKeepLatest});
  Scheduler& scheduler = device.scheduler();
  device.submit(latest);
  Job* const running = scheduler.launch(device.now());
  device.submit(latest);
  ASSERT_EQ(scheduler.ask(latest), Admission::kReplace);
  const Job* const victim = &scheduler.victim(latest);
  EXPECT_EQ(scheduler.forecast(latest, device.now(), victim), device.now() + 2 * kService);
  EXPECT_EQ(scheduler.forecast(latest, device.now()), device.now() + 3 * kService);
  device.end(*running);
}

// The forecast against the order in which the queue then launches, with streams of all kinds.
TEST(StreamForecast, IsWhatThenHappens) {
  std::mt19937 random(11);
  const auto below = [&](unsigned end) { return static_cast<int>(random() % end); };
  for (int round = 0; round < 200; ++round) {
    OneSlot device;
    Scheduler& scheduler = device.scheduler();
    std::vector<SchedulerStream*> streams;
    const int count = 1 + below(6);
    for (int i = 0; i < count; ++i)
      streams.push_back(&device.open({.weight = 0.5 * (1 + below(6)), .priority = below(3)}));
    for (int i = below(60); i > 0; --i) {
      device.submit(*streams[static_cast<std::size_t>(below(static_cast<unsigned>(count)))]);
      if (below(3) == 0) device.end(*scheduler.launch(device.now()));
    }
    SchedulerStream& stream = *streams.front();
    const TimePoint expected = scheduler.forecast(stream, device.now());
    const TimePoint last = scheduler.forecast(scheduler.unnamed(), device.now());
    const Job& job = device.submit(stream);
    while (job.stage != Stage::kDone) device.end(*scheduler.launch(device.now()));
    // Of two streams whose turns are equal, either comes first.
    EXPECT_LE(std::chrono::abs(job.times.finished - expected), (count - 1) * kService) << "round " << round;
    EXPECT_GE(last, TimePoint()) << "without a stream too";
    while (scheduler.can_launch()) device.end(*scheduler.launch(device.now()));
  }
}

// Three streams of equal weight fill three of four places: they never reach the limit, but it holds them back.
TEST(StreamLimit, AShareOfAnAutomaticLimitIsMeasured) {
  Scheduler scheduler({.in_flight_limit = 16, .keep_finished = false, .slots = 4, .limit_auto = true});
  std::deque<SchedulerStream> streams;
  for (int i = 0; i < 3; ++i) scheduler.open(streams.emplace_back(StreamOptions{}, 16, true));
  ASSERT_EQ(scheduler.statistics().in_flight_limit, 4);
  std::deque<Job> jobs(16);
  std::vector<Job*> idle;
  for (Job& job : jobs) idle.push_back(&job);
  std::deque<Job*> running;
  TimePoint now{std::chrono::seconds(1)};
  for (SchedulerStream& stream : streams) scheduler.seen(stream, now);
  const auto fill = [&] {
    for (SchedulerStream& stream : streams) {
      scheduler.seen(stream, now);
      Admission decision = scheduler.ask(stream);
      while (decision == Admission::kAdmit) {
        Job& job = *idle.back();
        idle.pop_back();
        job.stream = &stream;
        scheduler.admit(job, now);
        scheduler.inputs_came(job, now);
        decision = scheduler.ask(stream);
      }
      scheduler.refuse_full(stream, now);
    }
    while (Job* const job = scheduler.launch(now)) running.push_back(job);
  };
  fill();
  EXPECT_EQ(scheduler.statistics().in_flight, 3U);
  for (int i = 0; i < 5000; ++i) {
    Job& job = *running.front();
    running.pop_front();
    now += kService / static_cast<int>(running.size() + 1);
    PlaceWaiters granted;
    scheduler.finished(job, Outcome::kCompleted, now, granted);
    idle.push_back(&job);
    fill();
    ASSERT_LE(scheduler.statistics().in_flight,
              static_cast<std::uint64_t>(scheduler.statistics().in_flight_limit) + 1);
  }
  EXPECT_EQ(scheduler.statistics().limit_reason, LimitReason::kKnee);
  // Six places are two for each stream: the smallest limit at which all four slots have work.
  EXPECT_GE(scheduler.statistics().in_flight_limit, 4);
  const Statistics books = scheduler.statistics(streams.front());
  EXPECT_EQ(books.in_flight_limit, scheduler.statistics().in_flight_limit);
  EXPECT_EQ(books.limit_reason, LimitReason::kKnee);
  while (!running.empty()) {
    PlaceWaiters granted;
    scheduler.finished(*running.front(), Outcome::kCompleted, now, granted);
    running.pop_front();
    while (Job* const job = scheduler.launch(now)) running.push_back(job);
  }
}

}  // namespace
}  // namespace inflight::internal
