// SPDX-License-Identifier: Apache-2.0
// The scheduler against a plain oracle: a million random events on a clock that the test moves. The oracle
// keeps every list that scheduler.h describes and searches all of them at each step.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "predictor/scheduler.h"

namespace inflight::internal {
namespace {

// A job and what the oracle knows of it.
struct Simulated {
  Job job;
  Stage stage = Stage::kAdmitted;
  TimePoint deadline = TimePoint::max();
  int slot = -1;
};

struct Submitter {
  PlaceWaiter waiter;
};

class Oracle {
 public:
  explicit Oracle(const SchedulerOptions& options) : options_(options) {
    for (int slot = 0; slot < options.slots; ++slot) free_slots.push_back(slot);
  }

  Admission ask() const {
    if (shutting_down) return Admission::kRefuseShuttingDown;
    if (done.size() >= options_.finished_limit) return Admission::kRefuseUntaken;
    if (books.in_flight < static_cast<std::uint64_t>(options_.in_flight_limit) && waiters.empty())
      return Admission::kAdmit;
    return options_.policy == OverloadPolicy::kBlock ? Admission::kWait : Admission::kRefuseFull;
  }
  void take_place() {
    ++books.submitted;
    ++books.in_flight;
    books.in_flight_max = std::max(books.in_flight_max, books.in_flight);
  }
  // The submitters that are decided now, and the decision for each.
  std::vector<std::pair<Submitter*, Admission>> decide_waiting() {
    std::vector<std::pair<Submitter*, Admission>> decided;
    while (!waiters.empty()) {
      Admission decision = Admission::kAdmit;
      if (shutting_down)
        decision = Admission::kRefuseShuttingDown;
      else if (done.size() >= options_.finished_limit)
        decision = Admission::kRefuseUntaken;
      else if (books.in_flight == static_cast<std::uint64_t>(options_.in_flight_limit))
        break;
      if (decision == Admission::kAdmit) take_place();
      decided.emplace_back(waiters.front(), decision);
      waiters.pop_front();
    }
    return decided;
  }
  bool waiting(const Simulated& job) const {
    return job.stage == Stage::kAwaitingInputs || job.stage == Stage::kQueued;
  }
  // Removes a job from the list in which it waits.
  bool withdraw(Simulated& job) {
    if (!waiting(job)) return false;
    std::erase(job.stage == Stage::kQueued ? queued : awaiting, &job);
    job.stage = Stage::kEnding;
    return true;
  }
  std::optional<TimePoint> wake_at() const {
    std::optional<TimePoint> earliest;
    for (const auto* list : {&awaiting, &queued}) {
      for (const Simulated* job : *list) {
        if (job->deadline != TimePoint::max() && (!earliest || job->deadline < *earliest))
          earliest = job->deadline;
      }
    }
    return earliest;
  }
  void finished(Simulated& job, Outcome outcome) {
    if (job.slot >= 0) free_slots.push_back(job.slot);
    const bool ran = job.slot >= 0 && (outcome == Outcome::kCompleted || outcome == Outcome::kFailed);
    if (ran) ++(options_.width == WidthPolicy::kWide ? books.wide : books.narrow);
    job.slot = -1;
    job.stage = Stage::kDone;
    --books.in_flight;
    switch (outcome) {
      case Outcome::kCompleted:
        ++books.completed;
        break;
      case Outcome::kFailed:
        ++books.failed;
        break;
      case Outcome::kExpired:
        ++books.expired;
        break;
      case Outcome::kCancelled:
        ++books.cancelled;
        break;
      default:
        ++books.dropped;
    }
    if (options_.keep_finished) done.push_back(&job);
  }

  Statistics books;
  std::deque<Simulated*> awaiting, queued, done;
  std::deque<Submitter*> waiters;
  std::vector<int> free_slots;
  bool shutting_down = false;

 private:
  const SchedulerOptions options_;
};

bool same(const Statistics& a, const Statistics& b) {
  return a.submitted == b.submitted && a.completed == b.completed && a.failed == b.failed &&
         a.rejected == b.rejected && a.dropped == b.dropped && a.expired == b.expired &&
         a.cancelled == b.cancelled && a.in_flight == b.in_flight && a.in_flight_max == b.in_flight_max &&
         a.wide == b.wide && a.narrow == b.narrow;
}

// One scheduler from its beginning to its end, on random options.
class Simulation {
 public:
  explicit Simulation(std::mt19937& random)
      : random_(random), options_(random_options()), scheduler_(options_), oracle_(options_) {}

  void run(int events) {
    for (int i = 0; i < events; ++i) {
      step();
      check();
      if (testing::Test::HasFatalFailure()) return;
    }
    end();
  }

 private:
  std::uint32_t below(std::uint32_t bound) { return random_() % bound; }

  SchedulerOptions random_options() {
    SchedulerOptions options;
    options.in_flight_limit = 1 + static_cast<int>(below(12));
    options.finished_limit = 1 + below(20);
    options.keep_finished = below(4) != 0;
    options.policy = below(2) == 0 ? OverloadPolicy::kReject : OverloadPolicy::kBlock;
    options.width = below(2) == 0 ? WidthPolicy::kWide : WidthPolicy::kNarrow;
    options.slots = 1 + static_cast<int>(below(static_cast<std::uint32_t>(options.in_flight_limit)));
    return options;
  }

  void step() {
    now_ += Duration(below(10));
    switch (below(13)) {
      case 0:
      case 1:
      case 2:
        return submit();
      case 3:
        return give_up_waiting();
      case 4:
        return admit_one_granted();
      case 5:
        return input_comes();
      case 6:
      case 7:
        return launch();
      case 8:
      case 9:
        return finish_one_running();
      case 10:
        return cancel();
      case 11:
        return expire();
      default:
        return take();
    }
  }

  void submit() {
    const Admission decision = scheduler_.ask();
    ASSERT_EQ(decision, oracle_.ask());
    if (decision == Admission::kAdmit) {
      Simulated& job = new_job();
      oracle_.take_place();
      scheduler_.admit(job.job, now_);
      enter(job);
    } else if (decision == Admission::kWait) {
      submitters_.push_back(std::make_unique<Submitter>());
      scheduler_.wait_for_place(submitters_.back()->waiter);
      oracle_.waiters.push_back(submitters_.back().get());
    } else {
      refuse();
    }
  }
  void refuse() {
    scheduler_.refuse();
    ++oracle_.books.submitted;
    ++oracle_.books.rejected;
  }
  Simulated& new_job() {
    jobs_.push_back(std::make_unique<Simulated>());
    Simulated& job = *jobs_.back();
    if (below(3) == 0) job.deadline = now_ + Duration(below(60));
    job.job.deadline = job.deadline;
    return job;
  }
  // Enters an admitted job whose inputs are ready, are pending, or have failed.
  void enter(Simulated& job) {
    ASSERT_EQ(job.job.id, next_id_++);
    switch (below(4)) {
      case 0:
        job.stage = Stage::kAwaitingInputs;
        oracle_.awaiting.push_back(&job);
        return scheduler_.await_inputs(job.job);
      case 1:
        if (below(4) == 0) return finish(job, Outcome::kFailed);
        [[fallthrough]];
      default:
        job.stage = Stage::kQueued;
        oracle_.queued.push_back(&job);
        return scheduler_.inputs_came(job.job, now_);
    }
  }
  void give_up_waiting() {
    if (oracle_.waiters.empty()) return;
    const std::size_t which = below(static_cast<std::uint32_t>(oracle_.waiters.size()));
    Submitter* const submitter = oracle_.waiters[which];
    ASSERT_TRUE(scheduler_.stop_waiting(submitter->waiter));
    oracle_.waiters.erase(oracle_.waiters.begin() + static_cast<std::ptrdiff_t>(which));
    refuse();
  }
  // The thread of a granted submitter runs some time later.
  void admit_one_granted() {
    if (granted_ == 0) return;
    --granted_;
    Simulated& job = new_job();
    scheduler_.admit_granted(job.job, now_);
    enter(job);
  }
  void input_comes() {
    if (oracle_.awaiting.empty()) return;
    Simulated& job = *oracle_.awaiting[below(static_cast<std::uint32_t>(oracle_.awaiting.size()))];
    if (below(5) == 0) {  // with a failure
      ASSERT_TRUE(scheduler_.withdraw(job.job));
      oracle_.withdraw(job);
      return finish(job, Outcome::kFailed);
    }
    std::erase(oracle_.awaiting, &job);
    job.stage = Stage::kQueued;
    oracle_.queued.push_back(&job);
    scheduler_.inputs_came(job.job, now_);
  }
  void launch() {
    Job* const launched = scheduler_.launch(now_);
    if (oracle_.queued.empty() || oracle_.free_slots.empty()) {
      ASSERT_EQ(launched, nullptr);
      return;
    }
    Simulated& job = *oracle_.queued.front();
    oracle_.queued.pop_front();
    ASSERT_EQ(launched, &job.job) << "not the oldest";
    job.stage = Stage::kRunning;
    job.slot = launched->slot;
    ASSERT_EQ(std::erase(oracle_.free_slots, job.slot), 1U) << "slot " << job.slot << " is taken";
    ASSERT_EQ(launched->width == Width::kWide, options_.width == WidthPolicy::kWide);
    running_.push_back(&job);
  }
  void finish_one_running() {
    if (running_.empty()) return;
    const std::size_t which = below(static_cast<std::uint32_t>(running_.size()));
    Simulated& job = *running_[which];
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(which));
    finish(job, below(5) == 0 ? Outcome::kFailed : below(9) == 0 ? Outcome::kExpired : Outcome::kCompleted);
  }
  void cancel() {
    if (jobs_.empty()) return;
    Simulated& job =
        *jobs_[jobs_.size() - 1 - below(static_cast<std::uint32_t>(std::min<std::size_t>(jobs_.size(), 16)))];
    const bool withdrawn = scheduler_.withdraw(job.job);
    ASSERT_EQ(withdrawn, oracle_.withdraw(job));
    if (withdrawn) finish(job, Outcome::kCancelled);
  }
  void expire() {
    now_ += Duration(below(40));
    while (Job* const expired = scheduler_.expire(now_)) {
      const std::optional<TimePoint> earliest = oracle_.wake_at();
      ASSERT_TRUE(earliest && *earliest <= now_);
      ASSERT_EQ(expired->deadline, *earliest) << "not the earliest";
      Simulated& job = simulated(*expired);
      ASSERT_TRUE(oracle_.withdraw(job));
      finish(job, Outcome::kExpired);
    }
    ASSERT_FALSE(oracle_.wake_at().value_or(TimePoint::max()) <= now_) << "one was left";
  }
  void take() {
    while (true) {
      Job* const taken = scheduler_.take();
      if (oracle_.done.empty()) {
        ASSERT_EQ(taken, nullptr);
        return;
      }
      ASSERT_EQ(taken, &oracle_.done.front()->job);
      oracle_.done.pop_front();
      if (below(3) == 0) return;
    }
  }
  void finish(Simulated& job, Outcome outcome) {
    PlaceWaiters granted;
    scheduler_.finished(job.job, outcome, now_, granted);
    oracle_.finished(job, outcome);
    ASSERT_EQ(job.job.outcome, outcome);
    compare(granted);
  }
  void compare(PlaceWaiters& granted) {
    for (const auto& [submitter, decision] : oracle_.decide_waiting()) {
      PlaceWaiter* const first = granted.pop_front();
      ASSERT_EQ(first, &submitter->waiter) << "not the one that has waited longest";
      ASSERT_EQ(first->decision, decision);
      ASSERT_FALSE(scheduler_.stop_waiting(*first)) << "it was decided";
      if (decision == Admission::kAdmit) {
        ++granted_;
      } else {
        refuse();
      }
    }
    ASSERT_TRUE(granted.empty());
  }
  Simulated& simulated(Job& job) {
    for (auto it = jobs_.rbegin(); it != jobs_.rend(); ++it) {
      if (&(*it)->job == &job) return **it;
    }
    ADD_FAILURE() << "a job of nobody's";
    return *jobs_.back();
  }

  void check() {
    const Statistics& books = scheduler_.statistics();
    ASSERT_TRUE(same(books, oracle_.books));
    ASSERT_EQ(books.submitted, books.completed + books.failed + books.rejected + books.dropped +
                                   books.expired + books.cancelled + books.in_flight);
    ASSERT_LE(books.in_flight, static_cast<std::uint64_t>(options_.in_flight_limit));
    ASSERT_EQ(scheduler_.untaken(), oracle_.done.size());
    ASSERT_EQ(scheduler_.can_launch(), !oracle_.queued.empty() && !oracle_.free_slots.empty());
    ASSERT_EQ(scheduler_.wake_at(), oracle_.wake_at());
    // No submitter sleeps beside a free place.
    ASSERT_TRUE(oracle_.waiters.empty() ||
                books.in_flight == static_cast<std::uint64_t>(options_.in_flight_limit));
  }

  // Shuts down, cancels what waits and finishes what runs: nothing is left.
  void end() {
    PlaceWaiters granted;
    scheduler_.shut_down(granted);
    oracle_.shutting_down = true;
    compare(granted);
    ASSERT_EQ(scheduler_.ask(), Admission::kRefuseShuttingDown);
    while (granted_ > 0) admit_one_granted();
    while (Job* const job = scheduler_.withdraw_any()) {
      Simulated& cancelled = simulated(*job);
      ASSERT_TRUE(oracle_.withdraw(cancelled));
      finish(cancelled, Outcome::kCancelled);
    }
    while (!running_.empty()) finish_one_running();
    check();
    ASSERT_EQ(scheduler_.statistics().in_flight, 0U);
    while (scheduler_.take() != nullptr) oracle_.done.pop_front();
    check();
  }

  std::mt19937& random_;
  const SchedulerOptions options_;
  std::vector<std::unique_ptr<Simulated>> jobs_;
  std::vector<std::unique_ptr<Submitter>> submitters_;
  std::vector<Simulated*> running_;
  int granted_ = 0;  // submitters with a place that they have not used yet
  std::uint64_t next_id_ = 0;
  TimePoint now_{std::chrono::seconds(1)};
  Scheduler scheduler_;
  Oracle oracle_;
};

TEST(SchedulerSimulation, AgreesWithItsOracleOverAMillionEvents) {
  const std::uint32_t seed = std::random_device()();
  std::printf("seed %u\n", seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  constexpr int kEvents = 1'000'000;
  constexpr int kEach = 2'000;
  for (int events = 0; events < kEvents && !HasFatalFailure(); events += kEach) Simulation(random).run(kEach);
}

}  // namespace
}  // namespace inflight::internal
