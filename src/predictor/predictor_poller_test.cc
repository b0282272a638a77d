// SPDX-License-Identifier: Apache-2.0
// A device whose launches do not block has two threads that launch: the launcher and, while it is awake, the poller.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <string>
#include <thread>

#include <pthread.h>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::microseconds;

// Which threads launch. Launches are made one at a time, by the launcher or the poller.
struct Launches {
  std::atomic<int> by_launcher{0};
  std::atomic<int> by_poller{0};
  std::atomic<int> by_others{0};
  std::atomic<int> now{0};
  std::atomic<int> at_once_max{0};

  int count() const { return by_launcher + by_poller + by_others; }
  void begin() {
    at_once_max = std::max(at_once_max.load(), ++now);
    std::array<char, 16> name{};
    pthread_getname_np(pthread_self(), name.data(), name.size());
    const std::string thread = name.data();
    ++(thread == "inflight-poll" ? by_poller : thread == "inflight-launch" ? by_launcher : by_others);
  }
  NullScript script(Duration service, int slots = 4) {
    NullScript script;
    script.asynchronous = true;
    script.concurrency_narrow = slots;
    script.launch_error = [this](std::uint64_t) {
      begin();
      return Status();
    };
    // Called last in a launch.
    script.outcome = [this](std::uint64_t) {
      --now;
      return Status();
    };
    script.service_time = [service](std::uint64_t, Width) { return service; };
    return script;
  }
  void expect_one_at_a_time() const {
    EXPECT_EQ(at_once_max, 1);
    EXPECT_EQ(by_others, 0);
  }
};

void busy_for(Duration time) {
  const TimePoint until = steady_clock().now() + time;
  while (steady_clock().now() < until) std::this_thread::yield();
}

// A frame comes as soon as the one before it has ended. Which thread launches it depends on how busy the machine is.
TEST(PollerLaunches, FramesOfAClosedLoop) {
  Launches launches;
  Predictor predictor =
      null_predictor(launches.script(microseconds(50)), {.in_flight_limit = 8, .keep_finished = false});
  constexpr int kFrames = 1'000;
  for (int frame = 0; frame < kFrames; ++frame) {
    const auto prediction = predictor.submit(byte_frame(static_cast<std::uint8_t>(frame)));
    while (!prediction->can_read()) std::this_thread::yield();
    ASSERT_TRUE(prediction->status().ok());
    ASSERT_EQ(mark_of(*prediction), static_cast<std::uint8_t>(frame));
  }
  EXPECT_EQ(predictor.statistics().completed, static_cast<std::uint64_t>(kFrames));
  EXPECT_EQ(launches.count(), kFrames);
  launches.expect_one_at_a_time();
}

// What waits for a slot is launched by the thread that has seen the slot become free, unless that thread sleeps again.
// Without a poller that launches, this does not end.
TEST(PollerLaunches, WhatWaitedForASlot) {
  Launches launches;
  Predictor predictor =
      null_predictor(launches.script(microseconds(50), 1),
                     {.in_flight_limit = 4, .overload = OverloadPolicy::kBlock, .keep_finished = false});
  while (launches.by_poller < 100) ASSERT_TRUE(predictor.submit(byte_frame(1)).ok());
  predictor.drain();
  EXPECT_TRUE(law_holds(predictor.statistics()));
  launches.expect_one_at_a_time();
}

// The end of the first prediction frees the slot for the second one and calls the poller, and then its callback blocks
// the poller.
TEST(PollerLaunches, NotWhileItRunsCodeOfTheUser) {
  for (int round = 0; round < 100; ++round) {
    Launches launches;
    NullScript script = launches.script(microseconds(10), 1);
    Gate ready;  // the first launch waits for the second submission
    script.launch_error = [&](std::uint64_t launch) {
      launches.begin();
      if (launch == 0) ready.pass();
      return Status();
    };
    Predictor predictor = null_predictor(std::move(script), {.in_flight_limit = 2, .keep_finished = false});
    InlineExecutor on_the_poller;
    Gate gate;
    const auto first = predictor.submit(byte_frame(1));
    first->on_ready(on_the_poller, [&](const Prediction&) { gate.pass(); });
    const auto second = predictor.submit(byte_frame(2));
    ready.open();
    gate.await_arrivals(1);
    while (launches.count() < 2) std::this_thread::yield();
    EXPECT_EQ(launches.by_launcher, 2);
    gate.open();
    ASSERT_TRUE(second->wait().ok());
    launches.expect_one_at_a_time();
  }
}

class PollerStress : public testing::Test {
 protected:
  PollerStress() : seed_(std::random_device()()), random_(seed_), trace_(__FILE__, __LINE__, seed_) {}
  // Around the time for which the poller looks on once nothing is out.
  Duration gap() { return microseconds(static_cast<int>(random_() % 140)); }

  const std::uint32_t seed_;
  std::minstd_rand random_;
  const testing::ScopedTrace trace_;
  Launches launches_;
};

TEST_F(PollerStress, LosesNoFrameWhenThePollerStopsToLook) {
  Predictor predictor =
      null_predictor(launches_.script(microseconds(5)), {.in_flight_limit = 8, .keep_finished = false});
  for (int round = 0; round < 2'000; ++round) {
    ASSERT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
    busy_for(gap());
  }
  EXPECT_EQ(predictor.statistics().completed, 2'000U);
  launches_.expect_one_at_a_time();
}

// The launches of a chain come from both threads, and their ends still come in the order of the device.
TEST_F(PollerStress, ChainsKeepTheirOrder) {
  const Runtime runtime = null_runtime(launches_.script(microseconds(20), 8));
  Predictor first = *Predictor::create(byte_model(), {.runtime = runtime, .keep_finished = false});
  Predictor second = *Predictor::create(byte_model(), {.runtime = runtime, .keep_finished = false});
  for (int round = 0; round < 1'000; ++round) {
    const auto a = first.submit(byte_frame(7));
    if (round % 2 == 0) busy_for(gap() / 4);
    const auto b = second.submit(Frame::of(a->output(0)));
    if (round % 3 == 0) busy_for(gap() / 4);
    const auto c = first.submit(Frame::of(b->output(0)));
    const Status end = c->wait();
    ASSERT_TRUE(end.ok()) << end.message();
    ASSERT_TRUE(a->can_read() && b->can_read());
    ASSERT_EQ(mark_of(*c), 7);
    if (round % 2 == 1) busy_for(gap());
  }
  launches_.expect_one_at_a_time();
}

TEST_F(PollerStress, LosesNoFrameOfManyThreadsAndDevices) {
  std::array<Launches, 2> of;
  std::vector<std::shared_ptr<Backend>> backends;
  for (int i = 0; i < 2; ++i) {
    NullScript script = of[static_cast<std::size_t>(i)].script(microseconds(30), 2);
    script.index = i;
    backends.push_back(std::make_shared<NullBackend>(std::move(script)));
  }
  Predictor predictor = *Predictor::create(byte_model(), {.runtime = *Runtime::over(backends),
                                                          .in_flight_limit = 6,
                                                          .overload = OverloadPolicy::kBlock,
                                                          .keep_finished = false});
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&, seed = static_cast<std::uint32_t>(random_())] {
      std::minstd_rand random(seed);
      for (int i = 0; i < 1'000; ++i) {
        const auto prediction = predictor.submit(byte_frame(1));
        ASSERT_TRUE(prediction.ok());
        if (i % 5 != 0) {
          ASSERT_TRUE(prediction->wait().ok());
        }
        busy_for(microseconds(random() % 140));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  predictor.drain();
  EXPECT_EQ(predictor.statistics().completed, 3'000U);
  for (const Launches& launches : of) launches.expect_one_at_a_time();
}

}  // namespace
}  // namespace inflight
