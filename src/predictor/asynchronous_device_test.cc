// SPDX-License-Identifier: Apache-2.0
// A device that completes later, as a GPU does.
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <optional>
#include <thread>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(AsynchronousDevice, CompletesLaterOnEitherWidth) {
  for (const Width width : {Width::kWide, Width::kNarrow}) {
    ManualClock clock;
    NullScript script;
    script.asynchronous = true;
    script.clock = &clock;
    std::atomic<int> wide{0};
    script.service_time = [&](std::uint64_t, Width asked) {
      wide += asked == Width::kWide ? 1 : 0;
      return asked == Width::kWide ? milliseconds(1) : milliseconds(4);
    };
    Predictor predictor = null_predictor(
        script,
        {.in_flight_limit = 16, .width = width == Width::kWide ? WidthPolicy::kWide : WidthPolicy::kNarrow});
    EXPECT_EQ(predictor.slots(), width == Width::kWide ? 1 : 4);
    std::vector<Prediction> predictions;
    for (std::uint8_t i = 0; i < 16; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
    for (std::uint8_t i = 0; i < 16; ++i) {
      ASSERT_TRUE(predictions[i].wait().ok());
      EXPECT_EQ(mark_of(predictions[i]), i);
      EXPECT_EQ(predictions[i].width(), width);
    }
    EXPECT_EQ(wide, width == Width::kWide ? 16 : 0);
    const Statistics statistics = predictor.statistics();
    EXPECT_EQ(width == Width::kWide ? statistics.wide : statistics.narrow, 16U);
  }
}

TEST(AsynchronousDevice, LostDeviceFailsWhatIsOutAndWhatFollows) {
  NullScript script;
  script.asynchronous = true;
  script.service_time = [](std::uint64_t, Width) { return hours(10); };
  script.concurrency_narrow = 2;
  const auto backend = std::make_shared<NullBackend>(script);
  Predictor predictor =
      *Predictor::create(byte_model(), {.runtime = *Runtime::over(backend), .in_flight_limit = 4});
  std::vector<Prediction> predictions;
  for (std::uint8_t i = 0; i < 4; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
  const Status lost(StatusCode::kDeviceError, "the device fell off the bus");
  backend->lose_device(lost);
  for (const Prediction& prediction : predictions) EXPECT_EQ(prediction.wait(), lost);
  EXPECT_EQ(predictor.submit(byte_frame(9)).status(), lost) << "refused, with the cause";
  predictor.drain();
  EXPECT_TRUE(law_holds(predictor.statistics()));
  EXPECT_EQ(predictor.statistics().failed, 4U);
  EXPECT_EQ(predictor.statistics().rejected, 1U);
  EXPECT_EQ(predictor.device_statistics()[0].lost, lost);
  EXPECT_EQ(predictor.retry_after(), Duration::max());
}

// ---- One launch after another on the device

class Chaining : public testing::Test {
 protected:
  // Every launch takes `service`.
  static NullScript script(Duration service) {
    NullScript script;
    script.asynchronous = true;
    script.concurrency_narrow = 8;
    script.service_time = [service](std::uint64_t, Width) { return service; };
    return script;
  }
  void open(NullScript script) {
    backend_ = std::make_shared<NullBackend>(std::move(script));
    runtime_ = *Runtime::over(backend_);
    first_ = *Predictor::create(byte_model(), {.runtime = runtime_, .in_flight_limit = 8});
    second_ = *Predictor::create(byte_model(), {.runtime = runtime_, .in_flight_limit = 8});
  }

  std::shared_ptr<NullBackend> backend_;
  Runtime runtime_;
  std::optional<Predictor> first_;
  std::optional<Predictor> second_;
};

// A callback blocks the thread that sees completions, and yet the device goes on with the next launch.
TEST_F(Chaining, NoHostThreadIsInTheWay) {
  NullScript held = script(milliseconds(2));
  Gate called;  // the first launch waits for the callback
  held.launch_error = [&](std::uint64_t launch) {
    if (launch == 0) called.pass();
    return Status();
  };
  open(std::move(held));
  Gate gate;
  InlineExecutor on_the_poller;
  const auto holder = first_->submit(byte_frame(1));
  holder->on_ready(on_the_poller, [&](const Prediction&) { gate.pass(); });
  called.open();
  gate.await_arrivals(1);
  const auto a = first_->submit(byte_frame(7));
  const auto b = second_->submit(Frame::of(a->output(0)));
  const auto c = first_->submit(Frame::of(b->output(0)));
  while (backend_->finished() < 4) std::this_thread::yield();
  EXPECT_FALSE(a->can_read()) << "the host has seen nothing";
  EXPECT_FALSE(c->can_read());
  gate.open();
  EXPECT_TRUE(c->wait().ok());
  EXPECT_TRUE(a->can_read() && b->can_read()) << "ends come in the order of the device";
  EXPECT_EQ(mark_of(*c), 7);
}

TEST_F(Chaining, AFailureOnTheDeviceFlowsToWhatWasLaunchedAfterIt) {
  NullScript failing = script(milliseconds(1));
  const Status fault(StatusCode::kDeviceError, "scripted fault");
  std::atomic<int> asked{0};
  failing.outcome = [&](std::uint64_t) { return asked++ == 0 ? fault : Status(); };
  open(std::move(failing));
  const auto a = first_->submit(byte_frame(7));
  const auto b = second_->submit(Frame::of(a->output(0)));
  const auto c = second_->submit(Frame::of(b->output(0)));
  EXPECT_EQ(c->wait(), fault);
  EXPECT_EQ(b->status(), fault);
  EXPECT_EQ(c->outcome(), Outcome::kFailed);
}

TEST_F(Chaining, WhatWaitsForALaunchCanBeCancelledAndFailsWithIt) {
  NullScript refusing = script(milliseconds(1));
  Gate gate;
  refusing.launch_error = [&](std::uint64_t launch) {
    if (launch != 0) return Status();
    gate.pass();
    return Status(StatusCode::kDeviceError, "not launched");
  };
  open(std::move(refusing));
  const auto a = first_->submit(byte_frame(7));
  gate.await_arrivals(1);
  const auto b = second_->submit(Frame::of(a->output(0)));
  const auto c = second_->submit(Frame::of(a->output(0)));
  EXPECT_TRUE(b->cancel());
  EXPECT_EQ(b->outcome(), Outcome::kCancelled);
  gate.open();
  EXPECT_EQ(c->wait().message(), "not launched");
}

// Two long chains through two predictors, while predictors that ran a part of them come and go. The end of
// each chain is checked against the frame at its beginning.
TEST_F(Chaining, LongChainsCarryTheirFrames) {
  open(script(std::chrono::microseconds(20)));
  for (int round = 0; round < 50; ++round) {
    Predictor passing = *Predictor::create(byte_model(), {.runtime = runtime_, .in_flight_limit = 8});
    std::vector<Prediction> ends;
    for (std::uint8_t mark = 0; mark < 2; ++mark) {
      Prediction end = *passing.submit(byte_frame(mark));
      for (int link = 0; link < 6; ++link) {
        Predictor& next = link % 2 == 0 ? *first_ : *second_;
        auto submitted = next.submit(Frame::of(end.output(0)));
        ASSERT_TRUE(submitted.ok()) << submitted.status().to_string();
        end = *submitted;
      }
      ends.push_back(end);
    }
    passing.shutdown(Shutdown::kDrain);
    for (std::uint8_t mark = 0; mark < 2; ++mark) {
      ASSERT_TRUE(ends[mark].wait().ok());
      ASSERT_EQ(mark_of(ends[mark]), mark);
    }
    first_->drain();
    second_->drain();
    first_->take_finished();
    second_->take_finished();
  }
}

// ---- Memory of the device

TEST_F(Chaining, OutputsInDeviceMemoryFeedTheDeviceAndRefuseTheHost) {
  NullScript on_device = script(Duration(0));
  on_device.device_memory = true;
  open(std::move(on_device));
  const auto a = first_->submit(byte_frame(7));
  EXPECT_EQ(a->output(0).device(), Device::null());
  const auto b = second_->submit(Frame::of(a->output(0)));
  ASSERT_TRUE(b->wait().ok());
  const Status refused = b->output(0).read().status();
  EXPECT_EQ(refused.code(), StatusCode::kUnsupported);
  EXPECT_NE(refused.message().find("null"), std::string_view::npos) << refused.message();
  const TensorView view = *b->output(0).view();
  EXPECT_EQ(view.device, Device::null());
  EXPECT_EQ(*static_cast<const std::uint8_t*>(view.data), 7) << "which is the host's after all";
}

// A lost device may still write to the memory of a launch, so that memory stays until the slot has gone.
TEST(AsynchronousDevice, MemoryOfALostLaunchStaysUntilItsSlotHasGone) {
  NullScript script;
  script.asynchronous = true;
  std::atomic<bool> launched{false};
  script.service_time = [&](std::uint64_t, Width) {
    launched = true;
    return hours(10);
  };
  const auto backend = std::make_shared<NullBackend>(script);
  std::atomic<bool> released{false};
  std::uint8_t bytes[4] = {};
  {
    Predictor predictor = *Predictor::create(byte_model(), {.runtime = *Runtime::over(backend)});
    NDArray input = *NDArray::from_buffer(*Buffer::wrap(bytes, 4, [&] { released = true; }), DType::kU8, {4});
    auto prediction = predictor.submit(Frame::of(std::move(input)));
    ASSERT_TRUE(prediction.ok());
    while (!launched) std::this_thread::yield();
    backend->lose_device(Status(StatusCode::kDeviceError, "lost"));
    EXPECT_EQ(prediction->wait().code(), StatusCode::kDeviceError);
    *prediction = Prediction();
    predictor.take_finished();
    EXPECT_FALSE(released) << "the device may still read it";
  }
  EXPECT_TRUE(released);
}

}  // namespace
}  // namespace inflight
