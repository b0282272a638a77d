// SPDX-License-Identifier: Apache-2.0
// The scheduler against a plain oracle: a million random events on a clock that the test moves, of streams with
// random policies, weights, priorities and deliveries that come and go, on devices some of which are lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "predictor/scheduler_oracle.h"

namespace inflight::internal {
namespace {

// One scheduler from its beginning to its end, on random options.
class Simulation {
 public:
  explicit Simulation(std::mt19937& random)
      : random_(random), options_(random_options()), scheduler_(options_), oracle_(options_) {
    oracle_.streams.push_back(std::make_unique<OracleStream>(scheduler_.unnamed()));
  }

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
    options.policy = static_cast<OverloadPolicy>(below(4));
    if (options.keep_finished) options.delivery = static_cast<Delivery>(below(3));
    streams_max_ = below(3) == 0 ? 0 : 1 + below(8);
    options.width = below(2) == 0 ? WidthPolicy::kWide : WidthPolicy::kNarrow;
    const auto slots = [&] {
      return 1 + static_cast<int>(below(static_cast<std::uint32_t>(options.in_flight_limit)));
    };
    options.slots = slots();
    for (std::uint32_t devices = below(2) == 0 ? 0 : 1 + below(5); devices > 0; --devices) {
      options.devices.push_back({slots(), below(2) == 0 ? WidthPolicy::kWide : WidthPolicy::kNarrow});
    }
    return options;
  }

  void step() {
    now_ += Duration(below(10));
    if (below(100) == 0) now_ += std::chrono::milliseconds(700);
    switch (below(15)) {
      case 0:
      case 1:
      case 2:
        return submit(*oracle_.streams[below(static_cast<std::uint32_t>(oracle_.streams.size()))]);
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
      case 12:
        return below(5) == 0 ? open_or_close() : void();
      case 13:
        return below(60) == 0 ? lose_device() : void();
      default:
        return take();
    }
  }

  void open_or_close() {
    if (oracle_.streams.size() - 1 < streams_max_ && below(2) == 0) {
      StreamOptions options;
      options.policy = static_cast<OverloadPolicy>(below(4));
      if (options_.keep_finished) options.delivery = static_cast<Delivery>(below(3));
      options.weight = below(2) == 0 ? 1 : 0.5 + below(4);
      options.priority = static_cast<int>(below(4) == 0 ? below(3) : 0) - 1;
      options.in_flight_limit =
          below(3) == 0 ? 1 + static_cast<int>(below(static_cast<std::uint32_t>(options_.in_flight_limit)))
                        : 0;
      named_.push_back(std::make_unique<SchedulerStream>(options, options_.in_flight_limit, true));
      scheduler_.open(*named_.back());
      oracle_.streams.push_back(std::make_unique<OracleStream>(*named_.back()));
    } else if (oracle_.streams.size() > 1) {
      const std::size_t which = 1 + below(static_cast<std::uint32_t>(oracle_.streams.size() - 1));
      OracleStream& stream = *oracle_.streams[which];
      if (is_used(stream)) return;
      scheduler_.close(stream.stream);
      oracle_.closed.push_back(stream.books);
      std::erase_if(named_, [&](const auto& each) { return each.get() == &stream.stream; });
      oracle_.streams.erase(oracle_.streams.begin() + static_cast<std::ptrdiff_t>(which));
    }
  }
  bool is_used(const OracleStream& stream) const {
    const auto of_stream = [&](const auto* each) { return each->stream == &stream; };
    return stream.books.in_flight > 0 || oracle_.has_submitters(stream) || !stream.undelivered.empty() ||
           std::any_of(oracle_.done.begin(), oracle_.done.end(), of_stream) ||
           std::any_of(granted_.begin(), granted_.end(), [&](const auto* each) { return each == &stream; });
  }

  void submit(OracleStream& stream) {
    if (scheduler_.has_streams()) scheduler_.seen(stream.stream, now_);
    oracle_.seen(stream, now_);
    const Admission decision = scheduler_.ask(stream.stream);
    ASSERT_EQ(decision, oracle_.ask(stream));
    if (decision == Admission::kAdmit) {
      Simulated& job = new_job(stream);
      oracle_.take_place(stream);
      scheduler_.admit(job.job, now_);
      enter(job);
    } else if (decision == Admission::kReplace) {
      replace(stream);
    } else if (decision == Admission::kWait) {
      submitters_.push_back(std::make_unique<Submitter>());
      submitters_.back()->stream = &stream;
      submitters_.back()->waiter.stream = &stream.stream;
      scheduler_.wait_for_place(submitters_.back()->waiter);
      oracle_.waiters.push_back(submitters_.back().get());
    } else {
      refuse(stream);
    }
  }
  void replace(OracleStream& stream) {
    const OracleStream& gives = *oracle_.victim_stream(stream);
    Simulated& victim = simulated(scheduler_.victim(stream.stream));
    ASSERT_EQ(victim.stream->stream.priority, gives.stream.priority);
    ASSERT_EQ(victim.stream->last_turn(), gives.last_turn()) << "another stream should have given way";
    ASSERT_EQ(&victim, victim.stream->waiting.front()) << "not the oldest of its stream";
    ASSERT_EQ(victim.stream == &stream, &gives == &stream);
    Simulated& job = new_job(stream);
    scheduler_.replace(victim.job, job.job, now_);
    ASSERT_TRUE(oracle_.withdraw(victim));
    oracle_.finished(victim, Outcome::kDropped);
    ASSERT_EQ(victim.job.outcome, Outcome::kDropped);
    oracle_.take_place(stream);
    compare_superseded();
    enter(job);
  }
  void refuse(OracleStream& stream) {
    scheduler_.refuse(stream.stream);
    oracle_.refuse(stream);
  }
  Simulated& new_job(OracleStream& stream) {
    jobs_.push_back(std::make_unique<Simulated>());
    Simulated& job = *jobs_.back();
    if (below(3) == 0) job.deadline = now_ + Duration(below(60));
    job.job.deadline = job.deadline;
    job.stream = &stream;
    job.job.stream = &stream.stream;
    return job;
  }
  // Enters an admitted job whose inputs are ready, are pending, or have failed.
  void enter(Simulated& job) {
    ASSERT_EQ(job.job.id, next_id_++);
    oracle_.admitted(job);
    switch (below(4)) {
      case 0:
        job.stage = Stage::kAwaitingInputs;
        oracle_.awaiting.push_back(&job);
        oracle_.enter(job);
        return scheduler_.await_inputs(job.job);
      case 1:
        if (below(4) == 0) return finish(job, Outcome::kFailed);
        [[fallthrough]];
      default:
        oracle_.enter(job);
        oracle_.queue(job);
        return scheduler_.inputs_came(job.job, now_);
    }
  }
  void give_up_waiting() {
    if (oracle_.waiters.empty()) return;
    const std::size_t which = below(static_cast<std::uint32_t>(oracle_.waiters.size()));
    Submitter* const submitter = oracle_.waiters[which];
    ASSERT_TRUE(scheduler_.stop_waiting(submitter->waiter));
    oracle_.waiters.erase(oracle_.waiters.begin() + static_cast<std::ptrdiff_t>(which));
    refuse(*submitter->stream);
  }
  // The thread of a granted submitter runs some time later.
  void admit_one_granted() {
    if (granted_.empty()) return;
    OracleStream& stream = *granted_.back();
    granted_.pop_back();
    Simulated& job = new_job(stream);
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
    oracle_.queue(job);
    scheduler_.inputs_came(job.job, now_);
  }
  void launch() {
    const auto count = static_cast<std::uint32_t>(oracle_.devices.size());
    // Most often the device whose turn it is; else one that became free just now.
    const bool in_turn = below(3) != 0;
    const std::size_t device = in_turn ? scheduler_.next_device() : below(count);
    if (device == Scheduler::kNoDevice) {
      ASSERT_FALSE(oracle_.any_free());
      ASSERT_EQ(scheduler_.launch(now_), nullptr);
      return;
    }
    const bool can = oracle_.any_queued() && !oracle_.devices[device].free.empty();
    ASSERT_EQ(scheduler_.can_launch(device), can);
    Job* const launched = in_turn ? scheduler_.launch(now_)
                          : can   ? scheduler_.launch(device, now_, scheduler_.next_width(device, now_, true))
                                  : nullptr;
    ASSERT_EQ(launched != nullptr, can);
    if (!can) return;
    Simulated& job = simulated(*launched);
    ASSERT_TRUE(oracle_.is_turn_of(*job.stream));
    ASSERT_EQ(&job, job.stream->queued.front()) << "not the oldest of its stream";
    oracle_.launch(job);
    job.slot = launched->slot;
    ASSERT_EQ(std::erase(oracle_.devices[device].free, job.slot), 1U) << "slot " << job.slot << " is taken";
    ASSERT_EQ(launched->width == Width::kWide, oracle_.devices[device].width == WidthPolicy::kWide);
    running_.push_back(&job);
  }
  void finish_one_running() {
    if (running_.empty()) return;
    const std::size_t which = below(static_cast<std::uint32_t>(running_.size()));
    Simulated& job = *running_[which];
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(which));
    finish(job, below(5) == 0 ? Outcome::kFailed : below(9) == 0 ? Outcome::kExpired : Outcome::kCompleted);
  }
  // Those that run there may end in any way and at any time.
  void lose_device() {
    const std::size_t device = below(static_cast<std::uint32_t>(oracle_.devices.size()));
    PlaceWaiters granted;
    scheduler_.lose(device, granted);
    oracle_.lose(device);
    if (!oracle_.all_lost()) {
      // A share that has grown since is granted with the next end of a job.
      ASSERT_TRUE(granted.empty());
      return;
    }
    compare(granted);
    // The owner ends what has not started.
    while (Job* const job = scheduler_.withdraw_any()) {
      Simulated& waiting = simulated(*job);
      ASSERT_TRUE(oracle_.withdraw(waiting));
      finish(waiting, Outcome::kFailed);
    }
    ASSERT_EQ(scheduler_.ask(scheduler_.unnamed()), Admission::kRefuseLost);
    ASSERT_EQ(scheduler_.retry_after(now_), Duration::max());
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
      Simulated* const wanted = oracle_.take();
      ASSERT_EQ(taken, wanted == nullptr ? nullptr : &wanted->job);
      if (taken == nullptr || below(3) == 0) return;
    }
  }
  void finish(Simulated& job, Outcome outcome) {
    PlaceWaiters granted;
    scheduler_.finished(job.job, outcome, now_, granted);
    oracle_.finished(job, outcome);
    ASSERT_EQ(job.job.outcome, outcome);
    compare_superseded();
    compare(granted);
  }
  void compare_superseded() {
    while (Job* const job = scheduler_.take_superseded()) {
      ASSERT_FALSE(oracle_.superseded.empty());
      ASSERT_EQ(job, &oracle_.superseded.front()->job);
      oracle_.superseded.pop_front();
    }
    ASSERT_TRUE(oracle_.superseded.empty());
  }
  void compare(PlaceWaiters& granted) {
    for (const auto& [submitter, decision] : oracle_.decide_waiting()) {
      PlaceWaiter* const first = granted.pop_front();
      ASSERT_EQ(first, &submitter->waiter) << "not the one whose turn it is";
      ASSERT_EQ(first->decision, decision);
      ASSERT_FALSE(scheduler_.stop_waiting(*first)) << "it was decided";
      if (decision == Admission::kAdmit) {
        granted_.push_back(submitter->stream);
      } else {
        refuse(*submitter->stream);
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
    ASSERT_TRUE(lawful(books));
    ASSERT_LE(books.in_flight, static_cast<std::uint64_t>(options_.in_flight_limit));
    ASSERT_EQ(scheduler_.takeable(), oracle_.done.size());
    ASSERT_EQ(scheduler_.untaken(), oracle_.untaken());
    ASSERT_EQ(scheduler_.can_launch(), oracle_.any_queued() && oracle_.any_free());
    check_devices();
    ASSERT_EQ(scheduler_.wake_at(), oracle_.wake_at());
    check_streams();
    // No submitter of frames without streams sleeps beside a free place.
    ASSERT_TRUE(oracle_.waiters.empty() || scheduler_.has_streams() || streams_max_ > 0 ||
                books.in_flight == static_cast<std::uint64_t>(options_.in_flight_limit));
  }
  void check_devices() {
    ASSERT_EQ(scheduler_.all_lost(), oracle_.all_lost());
    std::uint64_t completed = 0;
    for (std::size_t i = 0; i < oracle_.devices.size(); ++i) {
      const DeviceSlots& device = scheduler_.devices()[i];
      const OracleDevice& wanted = oracle_.devices[i];
      ASSERT_EQ(device.lost, wanted.lost);
      ASSERT_EQ(device.free.size(), wanted.free.size());
      ASSERT_EQ(device.completed, wanted.completed);
      ASSERT_EQ(device.failed, wanted.failed);
      completed += device.completed;
    }
    ASSERT_EQ(completed, oracle_.books.completed);
    const std::uint32_t room = below(3) == 0 ? below(32) : ~0U;
    const std::size_t next = scheduler_.next_device(room);
    for (std::size_t i = 0; i < oracle_.devices.size(); ++i)
      ASSERT_EQ(oracle_.is_turn_of(i, room), next == i) << i << " of " << oracle_.devices.size();
  }
  // The law holds for each stream, and their sum is the predictor's.
  void check_streams() {
    Statistics sum;
    const auto add = [&sum](const Statistics& books) {
      for (const auto each :
           {&Statistics::submitted, &Statistics::completed, &Statistics::failed, &Statistics::rejected,
            &Statistics::dropped, &Statistics::expired, &Statistics::cancelled, &Statistics::in_flight,
            &Statistics::wide, &Statistics::narrow, &Statistics::superseded})
        sum.*each += books.*each;
    };
    for (const auto& each : oracle_.streams) {
      const Statistics& books = each->stream.named ? each->stream.books : each->books;
      ASSERT_TRUE(same(books, each->books));
      ASSERT_TRUE(lawful(books));
      ASSERT_EQ(each->stream.in_flight, books.in_flight);
      ASSERT_LE(books.in_flight, each->stream.limit);
      // A submitter of a stream waits beside a free place only if the stream has others in flight.
      ASSERT_TRUE(!oracle_.has_submitters(*each) || books.in_flight > 0 || !oracle_.has_room());
      add(books);
    }
    for (const Statistics& books : oracle_.closed) add(books);
    sum.in_flight_max = oracle_.books.in_flight_max;
    ASSERT_TRUE(same(sum, scheduler_.statistics()));
  }

  // Shuts down, cancels what waits and finishes what runs: nothing is left.
  void end() {
    PlaceWaiters granted;
    scheduler_.shut_down(granted);
    oracle_.shutting_down = true;
    compare(granted);
    ASSERT_EQ(scheduler_.ask(scheduler_.unnamed()), Admission::kRefuseShuttingDown);
    while (!granted_.empty()) admit_one_granted();
    while (Job* const job = scheduler_.withdraw_any()) {
      Simulated& cancelled = simulated(*job);
      ASSERT_TRUE(oracle_.withdraw(cancelled));
      finish(cancelled, Outcome::kCancelled);
    }
    while (!running_.empty()) finish_one_running();
    check();
    ASSERT_EQ(scheduler_.statistics().in_flight, 0U);
    while (scheduler_.take() != nullptr) oracle_.take();
    check();
    ASSERT_EQ(scheduler_.untaken(), 0U) << "one is held back for ever";
  }

  std::mt19937& random_;
  std::size_t streams_max_ = 0;  // set by random_options()
  const SchedulerOptions options_;
  std::vector<std::unique_ptr<Simulated>> jobs_;
  std::vector<std::unique_ptr<Submitter>> submitters_;
  std::vector<Simulated*> running_;
  std::vector<OracleStream*> granted_;  // of submitters with a place that they have not used yet
  std::uint64_t next_id_ = 0;
  TimePoint now_{std::chrono::seconds(1)};
  std::vector<std::unique_ptr<SchedulerStream>> named_;
  Scheduler scheduler_;
  SchedulerOracle oracle_;
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
