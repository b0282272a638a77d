// SPDX-License-Identifier: Apache-2.0
// The tuner, with plans that compute nothing and a timer that says what the test wants, on a clock of its own.
#include "backends/cuda/runtime/tuner.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <utility>

namespace inflight::cuda {
namespace {

namespace fs = std::filesystem;

// Candidate i is "engine i". Preparing one takes `prepare_time`.
class FakePlan final : public StepPlan {
 public:
  FakePlan(const std::string& signature, std::size_t candidates, ManualClock& clock, Duration prepare_time)
      : StepPlan(signature, {}), candidates_(candidates), clock_(clock), prepare_time_(prepare_time) {}
  std::size_t candidates() const override { return candidates_; }
  std::string candidate_name(std::size_t candidate) const override {
    return "engine " + std::to_string(candidate);
  }
  int candidate_rank(std::size_t) const override { return 0; }
  Ahead ahead(std::size_t) const override { return Ahead::kExpectsEnd; }
  Status prepare(std::size_t candidate) override {
    if (prepared[candidate]++ == 0) clock_.advance(prepare_time_);
    return Status();
  }
  std::size_t workspace_bytes(std::size_t) const override { return 0; }
  Status enqueue(std::size_t, CUstream, const Operands&, CUdeviceptr) override { return Status(); }

  std::map<std::size_t, int> prepared;

 private:
  const std::size_t candidates_;
  ManualClock& clock_;
  const Duration prepare_time_;
};

// The card and its times: candidate i takes 100 us alone less one for each i, and 10 us less one for each of
// eight; so the last is the fastest.
struct Card {
  std::string versions = "a card, driver 1, a library 2";
  Duration time_of_one = std::chrono::milliseconds(1);
  int timed = 0;
  Status status;
};

class FakeTimer final : public PlanTimer {
 public:
  FakeTimer(Card& card, ManualClock& clock) : card_(card), clock_(clock) {}
  const std::string& versions() const noexcept override { return card_.versions; }
  Status enter() override { return Status(); }
  Status status() override { return card_.status; }
  Status begin(StepPlan&, std::span<const std::size_t>) override { return Status(); }
  Result<float> time(StepPlan&, std::size_t candidate, int together) override {
    ++card_.timed;
    clock_.advance(card_.time_of_one);
    const auto i = static_cast<float>(candidate);
    return together == 1 ? 100 - i : 10 - i / 10;
  }

 private:
  Card& card_;
  ManualClock& clock_;
};

class TunerTest : public testing::Test {
 protected:
  TunerTest() {
    std::string name = (fs::temp_directory_path() / "inflight_tuner_XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    add_plans(2, 20);
  }
  ~TunerTest() override { fs::remove_all(folder_); }

  void add_plans(std::size_t count, std::size_t candidates,
                 Duration prepare_time = std::chrono::milliseconds(1)) {
    plans_.clear();
    for (std::size_t i = 0; i < count; ++i)
      plans_.push_back(
          std::make_shared<FakePlan>("conv " + std::to_string(i), candidates, clock_, prepare_time));
  }

  // One load: the choices, and what the tuner reports.
  std::vector<TuneChoice> load(TuneLevel level, std::function<void(const TuneProgress&)> progress = {}) {
    // As in a new process.
    std::vector<std::shared_ptr<StepPlan>> plans(plans_.begin(), plans_.end());
    for (const auto& plan : plans_) plan->prepared.clear();
    card_.timed = 0;
    Tuner tuner(std::make_unique<FakeTimer>(card_, clock_), DiskCache(folder_),
                {.level = level, .progress = std::move(progress), .clock = &clock_, .threads = 1});
    const std::vector<std::size_t> uses(plans.size(), 3);
    const TimePoint start = clock_.now();
    auto choices = tuner.choose(plans, uses);
    took_ = std::chrono::duration<double>(clock_.now() - start).count();
    report_ = tuner.report();
    EXPECT_TRUE(choices.ok()) << choices.status().to_string();
    return choices.ok() ? *choices : std::vector<TuneChoice>(plans.size());
  }

  std::string folder_;
  ManualClock clock_;
  Card card_;
  std::vector<std::shared_ptr<FakePlan>> plans_;
  TuneReport report_;
  double took_ = 0;
};

TEST_F(TunerTest, OffTakesTheFirstChoiceAndTimesNothing) {
  load(TuneLevel::kFull);
  const auto choices = load(TuneLevel::kOff);
  for (const TuneChoice& choice : choices) {
    EXPECT_EQ(choice.wide, 0U) << "not even what is known from an earlier load";
    EXPECT_EQ(choice.narrow, 0U);
  }
  EXPECT_EQ(card_.timed, 0);
  EXPECT_EQ(report_.untuned, 2U);
  EXPECT_EQ(report_.gain, 0);
}

TEST_F(TunerTest, FastTriesTheFirstFewAndFullAll) {
  EXPECT_EQ(load(TuneLevel::kFast)[0].narrow, Tuner::kFastCandidates - 1);
  EXPECT_EQ(report_.measured, 2U);
  EXPECT_EQ(load(TuneLevel::kFull)[0].narrow, 19U) << "a fast result does not serve full";
  EXPECT_EQ(report_.measured, 2U);
}

TEST_F(TunerTest, AFullResultServesBothLevels) {
  load(TuneLevel::kFull);
  for (const TuneLevel level : {TuneLevel::kFast, TuneLevel::kFull}) {
    const auto choices = load(level);
    EXPECT_EQ(choices[0].wide, 19U);
    EXPECT_EQ(choices[1].narrow, 19U);
    EXPECT_EQ(report_.cached, 2U);
    EXPECT_EQ(card_.timed, 0);
    EXPECT_NEAR(report_.gain, 10 / 8.1 - 1, 1e-5) << "known from the load that measured it";
    EXPECT_EQ(plans_[0]->prepared.size(), 1U) << "only what was chosen";
  }
}

TEST_F(TunerTest, AnotherDriverOrLibraryIsTunedAnew) {
  load(TuneLevel::kFull);
  for (const char* const versions : {"a card, driver 2, a library 2", "a card, driver 1, a library 3",
                                     "another card, driver 1, a library 2"}) {
    card_.versions = versions;
    load(TuneLevel::kFast);
    EXPECT_EQ(report_.cached, 0U) << versions;
    EXPECT_EQ(report_.measured, 2U) << versions;
  }
}

TEST_F(TunerTest, ModelsShareThePlansThatTheyHaveInCommon) {
  load(TuneLevel::kFast);
  add_plans(3, 20);
  load(TuneLevel::kFast);
  EXPECT_EQ(report_.cached, 2U);
  EXPECT_EQ(report_.measured, 1U);
}

TEST_F(TunerTest, EndsInTimeAndTheNextLoadGoesOn) {
  for (const auto& [level, bound] :
       {std::pair{TuneLevel::kFast, Tuner::kFastSeconds}, {TuneLevel::kFull, Tuner::kFullSeconds}}) {
    fs::remove_all(folder_);
    add_plans(40, 40, std::chrono::milliseconds(20));
    card_.time_of_one = Duration(static_cast<Duration::rep>(bound * 1e9 / 500));
    std::size_t cached = 0;
    int loads = 0;
    do {
      load(level);
      EXPECT_LE(took_, bound + 0.5) << "one candidate of each plan, and one more step";
      EXPECT_EQ(report_.measured + report_.cached + report_.untuned, 40U);
      EXPECT_GE(report_.cached, cached) << "nothing is forgotten";
      EXPECT_TRUE(loads == 0 || report_.cached > cached) << "load " << loads;
      cached = report_.cached;
    } while (cached < 40 && ++loads < 40);
    EXPECT_EQ(cached, 40U) << "after " << loads << " loads";
    EXPECT_GT(loads, 1);
    EXPECT_EQ(card_.timed, 0);
  }
}

TEST_F(TunerTest, WhatTheTimeWasTooShortForIsNoFullResult) {
  add_plans(1, 40);
  card_.time_of_one = std::chrono::seconds(1);  // so that half of the candidates are timed
  const auto cut = load(TuneLevel::kFull);
  EXPECT_LT(cut[0].narrow, 39U);
  EXPECT_EQ(load(TuneLevel::kFast)[0].narrow, cut[0].narrow) << "it serves fast";
  EXPECT_EQ(report_.cached, 1U);
  card_.time_of_one = std::chrono::milliseconds(1);
  EXPECT_EQ(load(TuneLevel::kFull)[0].narrow, 39U);
}

TEST_F(TunerTest, TellsHowFarItIsAndWhatItGained) {
  std::vector<TuneProgress> told;
  load(TuneLevel::kFull, [&](const TuneProgress& progress) { told.push_back(progress); });
  ASSERT_EQ(told.size(), 4U);
  EXPECT_FALSE(told[0].timing);
  EXPECT_EQ(told[0].done, 3U) << "each plan is used by three steps";
  EXPECT_EQ(told[1].done, 6U);
  EXPECT_TRUE(told[2].timing);
  EXPECT_EQ(told[2].done, 3U);
  EXPECT_EQ(told[3].done, 6U);
  EXPECT_EQ(told[3].steps, 6U);
  EXPECT_NEAR(told[3].gain, 10 / 8.1 - 1, 1e-5);
  EXPECT_EQ(told[3].gain, report_.gain);
  told.clear();
  load(TuneLevel::kOff, [&](const TuneProgress& progress) { told.push_back(progress); });
  EXPECT_TRUE(told.empty());
}

TEST_F(TunerTest, TellsOneAtATimeHoweverManyThreadsPrepare) {
  add_plans(200, 3);
  Tuner tuner(std::make_unique<FakeTimer>(card_, clock_), DiskCache(""),
              {.progress =
                   [inside = false, done = std::size_t{0}](const TuneProgress& progress) mutable {
                     EXPECT_FALSE(std::exchange(inside, true));
                     EXPECT_EQ(progress.done, done % 200 + 1);
                     ++done;
                     inside = false;
                   },
               .clock = &clock_,
               .threads = 8});
  const std::vector<std::shared_ptr<StepPlan>> plans(plans_.begin(), plans_.end());
  EXPECT_TRUE(tuner.choose(plans, std::vector<std::size_t>(200, 1)).ok());
}

TEST_F(TunerTest, AProgressThatThrowsFailsTheLoad) {
  Tuner tuner(std::make_unique<FakeTimer>(card_, clock_), DiskCache(""),
              {.progress = [](const TuneProgress&) { throw std::runtime_error("enough"); },
               .clock = &clock_,
               .threads = 2});
  const std::vector<std::shared_ptr<StepPlan>> plans(plans_.begin(), plans_.end());
  EXPECT_EQ(tuner.choose(plans, std::vector<std::size_t>{1, 1}).status(), Status::exception("enough"));
}

TEST_F(TunerTest, ALostDeviceEndsIt) {
  card_.status = Status(StatusCode::kDeviceError, "gone");
  Tuner tuner(std::make_unique<FakeTimer>(card_, clock_), DiskCache(folder_),
              {.clock = &clock_, .threads = 1});
  const std::vector<std::shared_ptr<StepPlan>> plans(plans_.begin(), plans_.end());
  EXPECT_EQ(tuner.choose(plans, std::vector<std::size_t>{1, 1}).status().code(), StatusCode::kDeviceError);
}

}  // namespace
}  // namespace inflight::cuda
