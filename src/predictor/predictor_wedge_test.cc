// SPDX-License-Identifier: Apache-2.0
// Faults that once made a predictor hang or ended the process: grants to a submitter that does not use them,
// recursion as deep as the data, user code that throws, objects that are half built. If such a fault returns,
// its test hangs or crashes; the watchdog ends it.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::milliseconds;

// Runs `body` on a thread with a stack of this size.
void run_on_stack(std::size_t bytes, std::function<void()> body) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, bytes), 0);
  pthread_t thread{};
  const auto run = [](void* function) -> void* {
    (*static_cast<std::function<void()>*>(function))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, &body), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
constexpr std::size_t kSmallStack = kSanitized ? 2U << 20 : 256U << 10;  // a sanitizer's frames are larger

// Each submitter submits a frame again and again while another thread takes: every submission returns.
TEST(Wedge, NoSubmitterSleepsBesideAFreePlaceWhileFinishedOnesWait) {
  constexpr int kSubmitters = 4;
  constexpr int kEach = 300;
  Predictor predictor =
      null_predictor({}, {.in_flight_limit = 1, .overload = OverloadPolicy::kBlock, .finished_limit = 1});
  std::atomic<int> admitted{0};
  std::atomic<int> running{kSubmitters};
  std::vector<std::thread> submitters;
  for (int i = 0; i < kSubmitters; ++i) {
    submitters.emplace_back([&] {
      for (int left = kEach; left > 0;) {
        const auto prediction = predictor.submit(byte_frame(1));
        if (prediction.ok()) {
          ++admitted;
          --left;
        } else {
          ASSERT_EQ(prediction.status().code(), StatusCode::kOverloaded);
          std::this_thread::yield();
        }
      }
      --running;
    });
  }
  std::uint64_t taken = 0;
  while (running > 0) {
    taken += predictor.take_finished().size();
    std::this_thread::yield();
  }
  for (std::thread& thread : submitters) thread.join();
  predictor.drain();
  taken += predictor.take_finished().size();
  EXPECT_EQ(admitted, kSubmitters * kEach);
  EXPECT_EQ(taken, std::uint64_t{kSubmitters} * kEach);
  EXPECT_TRUE(law_holds(predictor.statistics()));
}

class Chain : public testing::TestWithParam<bool> {
 protected:
  static constexpr int kLinks = Predictor::kInFlightLimitMax;

  // Each prediction is the input of the next. The first one waits at the gate.
  Chain() {
    NullScript script = gated(gate_);
    script.asynchronous = GetParam();
    head_ = null_predictor(std::move(script), {.in_flight_limit = 2, .slots = 1});
    rest_ = null_predictor({}, {.in_flight_limit = kLinks, .keep_finished = false});
    holder_ = *head_->submit(byte_frame(1));
    gate_.await_arrivals(1);
    first_ = *head_->submit(byte_frame(2));
    Prediction before = first_;
    for (int i = 0; i < kLinks; ++i) before = *rest_->submit(Frame::of(before.output(0)));
    last_ = before;
  }
  ~Chain() override { gate_.open(); }

  Gate gate_;
  std::optional<Predictor> head_;
  std::optional<Predictor> rest_;
  Prediction holder_;
  Prediction first_;
  Prediction last_;
};

TEST_P(Chain, OfTheLongestKindFailsAtItsHeadOnASmallStack) {
  run_on_stack(kSmallStack, [this] { EXPECT_TRUE(first_.cancel()); });
  EXPECT_EQ(last_.wait().code(), StatusCode::kCancelled);
  EXPECT_EQ(last_.outcome(), Outcome::kFailed);
  rest_->drain();
  const Statistics books = rest_->statistics();
  EXPECT_EQ(books.failed, std::uint64_t{kLinks});
  EXPECT_EQ(books.in_flight, 0U);
  EXPECT_TRUE(law_holds(books));
}

TEST_P(Chain, OfTheLongestKindEndsWithItsPredictorOnASmallStack) {
  run_on_stack(kSmallStack, [this] { rest_->shutdown(Shutdown::kCancel); });
  EXPECT_TRUE(last_.can_read());
  const Statistics books = rest_->statistics();
  EXPECT_EQ(books.cancelled + books.failed, std::uint64_t{kLinks});
  EXPECT_TRUE(law_holds(books));
}

INSTANTIATE_TEST_SUITE_P(Devices, Chain, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "asynchronous" : "blocking"; });

// ---- User code that throws

TEST(Throwing, ADeviceThatThrowsFailsTheFrameAndKeepsTheSlot) {
  for (const bool asynchronous : {false, true}) {
    NullScript script;
    script.asynchronous = asynchronous;
    script.service_time = [](std::uint64_t launch, Width) -> Duration {
      if (launch == 0) throw std::runtime_error("the vendor's library is upset");
      if (launch == 1) throw 7;
      if (launch == 2) throw std::bad_alloc();
      return Duration(0);
    };
    Predictor predictor = null_predictor(script, {.in_flight_limit = 1});
    const Status first = predictor.submit(byte_frame(1))->wait();
    EXPECT_EQ(first.code(), StatusCode::kException);
    EXPECT_EQ(first.message(), "the vendor's library is upset");
    EXPECT_EQ(predictor.submit(byte_frame(1))->wait().code(), StatusCode::kException);
    EXPECT_EQ(predictor.submit(byte_frame(1))->wait().code(), StatusCode::kOutOfMemory);
    EXPECT_TRUE(predictor.submit(byte_frame(1))->wait().ok()) << "the slot works on";
    EXPECT_EQ(predictor.statistics().failed, 3U);
    EXPECT_TRUE(law_holds(predictor.statistics()));
  }
}

class ThrowingBackend final : public Backend {
 public:
  std::string_view name() const noexcept override { return "throwing"; }
  Device device() const noexcept override { return Device::null(); }
  std::string device_description() const override { return "throwing"; }
  int capacity() const noexcept override { return 1; }
  bool launch_blocks() const noexcept override { return true; }
  Result<std::shared_ptr<Program>> compile(const Model&, const CompileOptions&) override {
    throw std::runtime_error("cannot compile today");
  }
  Status device_status() override { return {}; }
};

TEST(Throwing, ABackendThatThrowsWhenItCompilesIsAStatus) {
  const auto created =
      Predictor::create(byte_model(), {.runtime = *Runtime::over(std::make_shared<ThrowingBackend>())});
  ASSERT_FALSE(created.ok());
  EXPECT_EQ(created.status().code(), StatusCode::kException);
  EXPECT_EQ(created.status().message(), "cannot compile today");
}

TEST(Throwing, ACallbackThatThrowsHoldsNothingUp) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate));
  InlineExecutor executor;
  const auto prediction = predictor.submit(byte_frame(1));
  prediction->on_ready(executor, [](const Prediction&) { throw std::runtime_error("callback"); });
  std::atomic<bool> second{false};
  prediction->on_ready(executor, [&](const Prediction&) { second = true; });
  gate.open();
  EXPECT_TRUE(prediction->wait().ok());
  predictor.shutdown(Shutdown::kDrain);
  EXPECT_TRUE(second);
}

// ---- Objects that are moved from or half built

TEST(Wedge, AMovedFromPredictorAnswers) {
  Predictor predictor = null_predictor({});
  Predictor other = std::move(predictor);
  // NOLINTBEGIN(bugprone-use-after-move): what a moved-from one answers is what is tested
  EXPECT_EQ(predictor.submit(byte_frame(1)).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(predictor.event_fd().status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(predictor.take_finished().empty());
  EXPECT_FALSE(predictor.wait_any());
  EXPECT_FALSE(predictor.wait_any_until(TimePoint::max()));
  EXPECT_EQ(predictor.statistics().submitted, 0U);
  EXPECT_EQ(predictor.latencies().total.count(), 0U);
  EXPECT_EQ(predictor.retry_after(), Duration(0));
  EXPECT_TRUE(predictor.inputs().empty());
  EXPECT_EQ(predictor.slots(), 0);
  EXPECT_EQ(predictor.device_description(), "");
  predictor.drain();
  predictor.shutdown(Shutdown::kCancel);
  // NOLINTEND(bugprone-use-after-move)
  EXPECT_TRUE(other.submit(byte_frame(1))->wait().ok());
}

// Ends the process, with 0 if too many threads are refused and fewer can be started afterwards.
[[noreturn]] void run_out_of_threads() {
  NullScript script;
  script.concurrency_narrow = 64;
  const rlimit limit{.rlim_cur = 256U << 20, .rlim_max = 256U << 20};
  setrlimit(RLIMIT_AS, &limit);  // a thread's stack takes address space
  const auto refused = Runtime::over(std::make_shared<NullBackend>(script));
  script.concurrency_narrow = 8;
  const auto smaller = Runtime::over(std::make_shared<NullBackend>(script));
  const bool right = !refused.ok() && refused.status().code() == StatusCode::kOutOfMemory && smaller.ok();
  std::_Exit(right ? 0 : 1);
}

TEST(WedgeDeathTest, OutOfThreadsIsAStatusAndLeavesNothingBehind) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the address space itself";
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(run_out_of_threads(), testing::ExitedWithCode(0), "");
}

// ---- Real-time threads

// A real-time thread with ordinary workers on the same processor: neither submit() nor a wait spins for one
// of them. If it did, it would spin until the system's real-time limit, after 0.95 s.
TEST(Wedge, ARealTimeThreadIsNotHeldUpByThePreempted) {
  NullScript script;
  script.service_time = [](std::uint64_t, Width) { return milliseconds(1); };
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  bool allowed = true;
  Duration longest{0};
  std::thread([&] {
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);  // and the workers' with it
    Predictor predictor = null_predictor(script, {.in_flight_limit = 8, .overload = OverloadPolicy::kBlock});
    const sched_param priority{.sched_priority = 10};
    if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) != 0) {
      allowed = false;
      return;
    }
    std::vector<Prediction> predictions;
    for (int i = 0; i < 200; ++i) {
      const TimePoint began = steady_clock().now();
      predictions.push_back(*predictor.submit(byte_frame(1)));
      if (i % 4 == 3) {
        wait_any(std::span(predictions).last(4));
        predictor.take_finished();
      }
      longest = std::max(longest, steady_clock().now() - began);
    }
    for (const Prediction& prediction : predictions) ASSERT_TRUE(prediction.wait().ok());
  }).join();
  if (!allowed) GTEST_SKIP() << "this process may not use SCHED_FIFO";
  EXPECT_LT(longest, milliseconds(500));
}

}  // namespace
}  // namespace inflight
