// SPDX-License-Identifier: Apache-2.0
// What streams get of a predictor that has too much to do: cameras on a clock that the test moves, and a device
// whose inferences take a fixed time.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "predictor/scheduler.h"
#include "predictor/scheduler_oracle.h"

namespace inflight::internal {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Camera {
  Camera(const StreamOptions& options, int limit, Duration its_period)
      : stream(options, limit, true), period(its_period) {}
  SchedulerStream stream;
  Duration period;
  TimePoint next;
  std::uint64_t last_id = 0;  // launched
};

// Cameras, a device with slots, and the scheduler between them.
class Site {
 public:
  Site(const SchedulerOptions& options, Duration service)
      : options_(options), service_(service), scheduler_(options) {
    running_.resize(static_cast<std::size_t>(options.slots));
  }
  ~Site() {
    for (Job* const job : running_) EXPECT_EQ(job, nullptr);
  }

  Camera& add(double fps, const StreamOptions& options = {}) {
    const auto period = Duration(static_cast<std::int64_t>(1e9 / fps));
    cameras_.push_back(std::make_unique<Camera>(options, options_.in_flight_limit, period));
    scheduler_.open(cameras_.back()->stream);
    return *cameras_.back();
  }
  // Runs for a time, then until nothing is in flight.
  void run(Duration time, double jitter = 0) {
    std::minstd_rand random(7);
    std::uniform_real_distribution<double> phase(0, 1);
    std::uniform_real_distribution<double> early_or_late(-jitter, jitter);
    for (const auto& camera : cameras_) camera->next = now_ + scaled(camera->period, phase(random));
    const TimePoint end = now_ + time;
    while (true) {
      Camera* const camera = *std::min_element(order_.begin(), order_.end(), sooner);
      const std::size_t slot = next_to_finish();
      const TimePoint finishes = slot < running_.size() ? finishes_[slot] : TimePoint::max();
      if (std::min(camera->next, finishes) > end) break;
      if (finishes <= camera->next) {
        finish(slot, finishes);
      } else {
        now_ = camera->next;
        camera->next += camera->period + scaled(camera->period, early_or_late(random));
        submit(*camera);
      }
      launch();
    }
    while (next_to_finish() < running_.size()) {
      finish(next_to_finish(), finishes_[next_to_finish()]);
      launch();
    }
  }
  void begin() {
    order_.clear();
    for (const auto& camera : cameras_) order_.push_back(camera.get());
    finishes_.assign(running_.size(), TimePoint::max());
  }
  Scheduler& scheduler() { return scheduler_; }
  const std::vector<std::unique_ptr<Camera>>& cameras() const { return cameras_; }
  // Launches of a job while one of a higher priority was queued.
  int inversions() const { return inversions_; }

 private:
  static Duration scaled(Duration by, double factor) {
    return Duration(static_cast<std::int64_t>(static_cast<double>(by.count()) * factor));
  }
  static bool sooner(const Camera* a, const Camera* b) { return a->next < b->next; }
  std::size_t next_to_finish() const {
    std::size_t first = running_.size();
    for (std::size_t i = 0; i < running_.size(); ++i) {
      if (running_[i] != nullptr && (first == running_.size() || finishes_[i] < finishes_[first])) first = i;
    }
    return first;
  }
  void submit(Camera& camera) {
    scheduler_.seen(camera.stream, now_);
    const Admission decision = scheduler_.ask(camera.stream);
    if (decision != Admission::kAdmit && decision != Admission::kReplace)
      return scheduler_.refuse(camera.stream);
    jobs_.push_back(std::make_unique<Job>());
    Job& job = *jobs_.back();
    job.stream = &camera.stream;
    if (decision == Admission::kReplace) {
      scheduler_.replace(scheduler_.victim(camera.stream), job, now_);
    } else {
      scheduler_.admit(job, now_);
    }
    scheduler_.inputs_came(job, now_);
  }
  void launch() {
    while (Job* const job = scheduler_.launch(now_)) {
      for (const auto& camera : cameras_) {
        if (camera->stream.priority > job->stream->priority && !camera->stream.queued.empty()) ++inversions_;
      }
      const auto slot = static_cast<std::size_t>(job->slot);
      running_[slot] = job;
      finishes_[slot] = now_ + service_;
    }
  }
  void finish(std::size_t slot, TimePoint when) {
    now_ = when;
    PlaceWaiters granted;
    Job* const job = running_[slot];
    running_[slot] = nullptr;
    scheduler_.finished(*job, Outcome::kCompleted, now_, granted);
    while (scheduler_.take() != nullptr) {
    }
  }

  const SchedulerOptions options_;
  const Duration service_;
  Scheduler scheduler_;
  std::vector<std::unique_ptr<Camera>> cameras_;
  std::vector<Camera*> order_;
  std::vector<std::unique_ptr<Job>> jobs_;
  std::vector<Job*> running_;
  std::vector<TimePoint> finishes_;
  TimePoint now_{seconds(1)};
  int inversions_ = 0;
};

constexpr OverloadPolicy kNonBlocking[] = {OverloadPolicy::kReject, OverloadPolicy::kDropOldest,
                                           OverloadPolicy::kKeepLatest};

// A device for 200 frames a second: of 1,000 and 30 a second, the slow camera asks for less than its half.
TEST(StreamFairness, AFastCameraDoesNotStarveASlowOne) {
  for (const OverloadPolicy fast : kNonBlocking) {
    for (const OverloadPolicy slow : kNonBlocking) {
      SCOPED_TRACE(std::string(policy_name(fast)) + " beside " + std::string(policy_name(slow)));
      Site site({.in_flight_limit = 8, .slots = 2}, milliseconds(10));
      Camera& a = site.add(1000, {.policy = fast});
      Camera& b = site.add(30, {.policy = slow});
      site.begin();
      site.run(seconds(20), 0.2);
      const Statistics& books = b.stream.books;
      EXPECT_GE(static_cast<double>(books.completed), 0.97 * static_cast<double>(books.submitted));
      EXPECT_GE(a.stream.books.completed + books.completed, 195U * 20) << "the device was not kept busy";
      EXPECT_TRUE(lawful(a.stream.books) && lawful(books));
    }
  }
}

TEST(StreamFairness, FloodsShareByWeight) {
  for (const OverloadPolicy policy : kNonBlocking) {
    SCOPED_TRACE(policy_name(policy));
    Site site({.in_flight_limit = 16, .slots = 1}, microseconds(2500));
    for (const double weight : {1.0, 2.0, 5.0}) site.add(1000, {.policy = policy, .weight = weight});
    site.begin();
    site.run(seconds(20), 0.3);
    const auto done = [&](int i) {
      return static_cast<double>(site.cameras()[static_cast<std::size_t>(i)]->stream.books.completed);
    };
    EXPECT_NEAR(done(1) / done(0), 2, 0.1);
    EXPECT_NEAR(done(2) / done(0), 5, 0.25);
    EXPECT_GE(done(0) + done(1) + done(2), 395.0 * 20);
  }
}

// Sixty cameras at 60 frames a second; the device could do 0.8, 1.25 and 2 times that.
TEST(StreamFairness, SixtyCamerasGetTheSameAndStayFresh) {
  for (const double load : {0.8, 1.25, 2.0}) {
    SCOPED_TRACE(load);
    constexpr int kCameras = 60;
    const auto service = Duration(static_cast<std::int64_t>(1e9 / (kCameras * 60.0) * load * 16));
    Site site({.in_flight_limit = 2 * kCameras, .slots = 16}, service);
    for (int i = 0; i < kCameras; ++i) site.add(60, {.policy = OverloadPolicy::kKeepLatest});
    site.begin();
    site.run(seconds(20), 0.1);
    Histogram ages;
    double sum = 0;
    for (const auto& camera : site.cameras()) {
      sum += static_cast<double>(camera->stream.books.completed);
      ages.merge(camera->stream.age);
    }
    for (const auto& camera : site.cameras()) {
      EXPECT_NEAR(static_cast<double>(camera->stream.books.completed), sum / kCameras, 0.1 * sum / kCameras);
    }
    EXPECT_NEAR(sum, 20 * 3600 * std::min(1.0, 1 / load), 0.02 * 20 * 3600);
    // A result is replaced once in max(1, load) frame times, and is a service time old when it comes.
    const double frame_ns = 1e9 / 60;
    const double late_ns = load > 1 ? static_cast<double>(service.count()) : 0;
    EXPECT_LE(static_cast<double>(ages.quantile(0.99)), 2 * frame_ns * std::max(1.0, load) + late_ns);
  }
}

// Fewer places than streams: each still gets its turn.
TEST(StreamFairness, StreamsShareFewPlaces) {
  for (const OverloadPolicy policy : {OverloadPolicy::kDropOldest, OverloadPolicy::kKeepLatest}) {
    SCOPED_TRACE(policy_name(policy));
    Site site({.in_flight_limit = 8, .slots = 2}, milliseconds(2));  // for a third of the frames
    for (int i = 0; i < 60; ++i) site.add(50, {.policy = policy});
    site.begin();
    site.run(seconds(30), 0.2);
    for (const auto& camera : site.cameras())
      EXPECT_NEAR(static_cast<double>(camera->stream.books.completed), 500, 75);
  }
}

TEST(StreamFairness, AHigherPriorityNeverWaitsBehindALowerOne) {
  Site site({.in_flight_limit = 12, .slots = 1}, milliseconds(4));
  Camera& urgent = site.add(100, {.policy = OverloadPolicy::kReject, .priority = 3});
  for (const OverloadPolicy policy : kNonBlocking)
    site.add(500, {.policy = policy, .weight = 100, .priority = -2});
  site.begin();
  site.run(seconds(10), 0.3);
  EXPECT_EQ(site.inversions(), 0);
  EXPECT_EQ(urgent.stream.books.completed, urgent.stream.books.submitted);
  // At most what runs when it comes, and its own.
  EXPECT_LE(urgent.stream.latency.max(), Duration(milliseconds(8)).count());
}

TEST(StreamFairness, AStreamThatWasSilentGetsNoCredit) {
  Site site({.in_flight_limit = 8, .slots = 1}, milliseconds(10));
  Camera& steady = site.add(200, {.policy = OverloadPolicy::kDropOldest});
  site.begin();
  site.run(seconds(30));
  Camera& late = site.add(200, {.policy = OverloadPolicy::kDropOldest});
  const std::uint64_t before = steady.stream.books.completed;
  site.begin();
  site.run(seconds(10));
  EXPECT_NEAR(static_cast<double>(late.stream.books.completed), 500, 25);
  EXPECT_NEAR(static_cast<double>(steady.stream.books.completed - before), 500, 25);
}

TEST(StreamFairness, AStreamAloneHasAllPlacesOnceTheOthersAreSilent) {
  Scheduler scheduler({.in_flight_limit = 8, .slots = 8});
  SchedulerStream a({}, 8, true);
  SchedulerStream b({}, 8, true);
  scheduler.open(a);
  scheduler.open(b);
  const auto places = [&](TimePoint now) {
    std::vector<std::unique_ptr<Job>> jobs;
    PlaceWaiters granted;
    while (true) {
      scheduler.seen(a, now);
      if (scheduler.ask(a) != Admission::kAdmit) break;
      jobs.push_back(std::make_unique<Job>());
      jobs.back()->stream = &a;
      scheduler.admit(*jobs.back(), now);
    }
    for (const auto& job : jobs) scheduler.finished(*job, Outcome::kFailed, now, granted);
    while (scheduler.take() != nullptr) {
    }
    return jobs.size();
  };
  EXPECT_EQ(places(TimePoint(seconds(1))), 8U);
  scheduler.seen(b, TimePoint(seconds(2)));
  EXPECT_EQ(places(TimePoint(seconds(2))), 4U);
  EXPECT_EQ(places(TimePoint(seconds(4))), 4U);
  EXPECT_EQ(places(TimePoint(seconds(4) + milliseconds(1))), 8U);
  scheduler.close(b);
  scheduler.close(a);
}

TEST(ResultAgeTest, WeighsEachAgeByTheTimeForWhichItLasted) {
  ResultAge age;
  Histogram ages;
  const TimePoint start{seconds(1)};
  EXPECT_TRUE(age.came(start, start + milliseconds(10)));
  age.enter(ages);
  EXPECT_EQ(ages.count(), 0U) << "there was no result before the first";
  // For 40 ms the newest result is 10 to 50 ms old.
  EXPECT_TRUE(age.came(start + milliseconds(45), start + milliseconds(50)));
  age.enter(ages);
  EXPECT_EQ(ages.count(), 40'000U);
  EXPECT_NEAR(static_cast<double>(ages.quantile(0.5)), 30e6, 1.2e6);
  EXPECT_NEAR(static_cast<double>(ages.max()), 50e6, 1.3e6);
  EXPECT_FALSE(age.came(start + milliseconds(20), start + milliseconds(60))) << "older than the newest";
  // Then for 995 ms 5 to 1,000 ms.
  EXPECT_TRUE(age.came(start + milliseconds(1040), start + milliseconds(1045)));
  age.enter(ages);
  EXPECT_EQ(ages.count(), 1'035'000U);
  EXPECT_NEAR(static_cast<double>(ages.max()), 1000e6, 32e6);
}

}  // namespace
}  // namespace inflight::internal
