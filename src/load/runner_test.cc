// SPDX-License-Identifier: Apache-2.0
#include "load/runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "load/predictor_target.h"

namespace inflight::load {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// One frame at a time, in order, each for `service`. It lives on a manual clock, which it moves when it blocks.
class ScriptedTarget final : public Target {
 public:
  ScriptedTarget(ManualClock& clock, Duration service, std::size_t limit)
      : clock_(clock), service_(service), limit_(limit) {}

  Result<bool> start(std::uint64_t index, int stream, TimePoint due) override {
    EXPECT_LE(due, clock_.now());
    streams.push_back(stream);
    if (const auto found = std::find(blocks_at.begin(), blocks_at.end(), index); found != blocks_at.end())
      clock_.advance(block_for);
    if (fails_at == index) return Status(StatusCode::kDeviceError, "gone");
    forget();
    if (ends_.size() >= limit_) return false;
    const TimePoint started = std::max(clock_.now(), free_at_);
    free_at_ = started + service_;
    ends_.push_back(
        {.index = index, .started = started, .finished = free_at_, .slot = 0, .width = Width::kWide});
    return true;
  }
  void take(std::vector<End>& ends) override {
    forget();
    ends.insert(ends.end(), done_.begin(), done_.end());
    done_.clear();
  }
  void wait_until(TimePoint when) override {
    clock_.sleep_until(ends_.empty() ? when : std::min(when, ends_.front().finished));
  }

  std::vector<std::uint64_t> blocks_at;
  Duration block_for{0};
  std::optional<std::uint64_t> fails_at;
  std::vector<int> streams;
  int streams_begun = 0;
  std::optional<Duration> deadline;
  Status begin(int count, std::optional<Duration> wanted) override {
    streams_begun = count;
    deadline = wanted;
    return {};
  }

 private:
  void forget() {
    while (!ends_.empty() && ends_.front().finished <= clock_.now()) {
      done_.push_back(ends_.front());
      ends_.pop_front();
    }
  }

  ManualClock& clock_;
  const Duration service_;
  const std::size_t limit_;
  TimePoint free_at_;
  std::deque<End> ends_;
  std::vector<End> done_;
};

Plan every(Duration gap, int count) {
  Plan plan;
  for (int k = 0; k < count; ++k) plan.arrivals.push_back({gap * k, k % 3});
  plan.length = gap * count;
  plan.streams = 3;
  return plan;
}

TEST(OpenLoop, LatencyCountsFromThePlannedArrival) {
  ManualClock clock;
  ScriptedTarget target(clock, milliseconds(4), 100);
  const Result<LoadRun> run = run_open(target, every(milliseconds(10), 20), {}, clock);
  ASSERT_TRUE(run.ok());
  ASSERT_EQ(run->samples.size(), 20U);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(run->samples[i].due, milliseconds(10) * i);
    EXPECT_EQ(run->samples[i].started, run->samples[i].due);
    EXPECT_EQ(run->samples[i].finished - run->samples[i].due, milliseconds(4));
    EXPECT_EQ(run->samples[i].outcome, Outcome::kCompleted);
    EXPECT_EQ(run->samples[i].stream, static_cast<int>(i % 3));
    EXPECT_EQ(target.streams[i], static_cast<int>(i % 3));
  }
  EXPECT_EQ(run->late_max, Duration(0));
  EXPECT_EQ(target.streams_begun, 3);
}

// The classic mistake: a call that blocks delays the next ones, and each is timed from when it was made at last.
TEST(OpenLoop, OmitsNothingWhileACallBlocks) {
  ManualClock clock;
  ScriptedTarget target(clock, milliseconds(1), 100);
  target.blocks_at = {5};
  target.block_for = milliseconds(100);
  const Result<LoadRun> run = run_open(target, every(milliseconds(10), 30), {}, clock);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->samples[5].submit, milliseconds(100));
  EXPECT_EQ(run->samples[5].finished - run->samples[5].due, milliseconds(101));
  // Ten frames were due meanwhile; the k-th is handed over 100 - 10k ms late, and waits for those before it.
  for (std::size_t k = 1; k < 10; ++k) {
    const Duration latency = run->samples[5 + k].finished - run->samples[5 + k].due;
    EXPECT_EQ(latency, milliseconds(100) - milliseconds(10) * k + milliseconds(1) * (k + 1)) << k;
  }
  EXPECT_EQ(run->late_max, milliseconds(90));
}

TEST(OpenLoop, CountsWhatIsRefused) {
  ManualClock clock;
  ScriptedTarget target(clock, milliseconds(30), 2);
  const Result<LoadRun> run = run_open(target, every(milliseconds(10), 60), {}, clock);
  ASSERT_TRUE(run.ok());
  int completed = 0;
  int refused = 0;
  for (const Sample& sample : run->samples) {
    completed += sample.outcome == Outcome::kCompleted ? 1 : 0;
    refused += sample.outcome == Outcome::kRejected ? 1 : 0;
  }
  EXPECT_EQ(completed + refused, 60);
  EXPECT_NEAR(completed, 21, 1);
}

TEST(OpenLoop, EndsWithTheTargetsError) {
  ManualClock clock;
  ScriptedTarget target(clock, milliseconds(1), 2);
  target.fails_at = 3;
  const Result<LoadRun> run = run_open(target, every(milliseconds(10), 10), {}, clock);
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.status().code(), StatusCode::kDeviceError);
}

TEST(ClosedLoop, KeepsThatManyInFlight) {
  for (const int in_flight : {1, 4}) {
    ManualClock clock;
    ScriptedTarget target(clock, milliseconds(5), 8);
    const Result<LoadRun> run = run_closed(target, in_flight, seconds(1), clock);
    ASSERT_TRUE(run.ok());
    EXPECT_EQ(run->in_flight, in_flight);
    EXPECT_NEAR(static_cast<double>(run->samples.size()), 200, 5);
    const Sample& late = run->samples[100];
    EXPECT_EQ(late.finished - late.due, milliseconds(5) * in_flight);
  }
}

TEST(ClosedLoop, RefusesMoreThanTheTargetTakes) {
  ManualClock clock;
  ScriptedTarget target(clock, milliseconds(5), 3);
  const Result<LoadRun> run = run_closed(target, 4, seconds(1), clock);
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.status().message(), "4 in flight: the system takes 3 at most");
}

TEST(RunClosed, GivesNoDeadline) {
  ManualClock clock;
  ScriptedTarget target(clock, milliseconds(4), 100);
  ASSERT_TRUE(run_open(target, every(milliseconds(10), 3), milliseconds(7), clock).ok());
  EXPECT_EQ(target.deadline, milliseconds(7));
  const Result<LoadRun> run = run_closed(target, 2, milliseconds(20), clock);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(target.deadline, std::nullopt);
  EXPECT_EQ(run->deadline, std::nullopt);
}

// The predictor itself, on a device that computes nothing.
TEST(PredictorUnderLoad, EveryFrameHasOneEndAndItsSlot) {
  const Result<Runtime> runtime = Runtime::open(Device::null());
  ASSERT_TRUE(runtime.ok());
  const std::string path = INFLIGHT_MODELS "/shapes.onnx";
  PredictorOptions options;
  options.runtime = *runtime;
  options.in_flight_limit = 16;
  Result<PredictorTarget> target = PredictorTarget::make(*Model::load(path), options);
  ASSERT_TRUE(target.ok());
  const Result<LoadRun> run = run_open(*target, every(std::chrono::microseconds(200), 500));
  ASSERT_TRUE(run.ok());
  for (const Sample& sample : run->samples) {
    ASSERT_NE(sample.outcome, Outcome::kPending);
    if (sample.outcome != Outcome::kCompleted) continue;
    EXPECT_GE(sample.started, Duration(0));
    EXPECT_GE(sample.finished, sample.started);
    EXPECT_GE(sample.slot, 0);
    EXPECT_LT(sample.slot, target->predictor().slots());
  }
  const Statistics statistics = target->predictor().statistics();
  EXPECT_EQ(statistics.submitted, 500U);
  EXPECT_EQ(statistics.in_flight, 0U);
  ASSERT_EQ(target->streams().size(), 3U);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(target->streams()[i].statistics().submitted, i < 2 ? 167U : 166U);
  ASSERT_TRUE(run_closed(*target, 2, milliseconds(10)).ok());
  EXPECT_TRUE(target->streams().empty());
}

}  // namespace
}  // namespace inflight::load
