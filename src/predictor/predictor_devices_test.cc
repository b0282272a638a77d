// SPDX-License-Identifier: Apache-2.0
// One predictor on several devices: who gets a frame, and what becomes of it when a device is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::HasSubstr;

const Status kLost(StatusCode::kDeviceError, "null: the device fell off the bus");

// Null devices with one script each, which get the indices 0, 1 and so on.
struct Devices {
  explicit Devices(std::vector<NullScript> scripts) {
    std::vector<std::shared_ptr<Backend>> all;
    for (NullScript& script : scripts) {
      script.index = static_cast<int>(backends.size());
      backends.push_back(std::make_shared<NullBackend>(std::move(script)));
      all.push_back(backends.back());
    }
    runtime = *Runtime::over(std::move(all));
  }
  Predictor predictor(PredictorOptions options = {}) const {
    options.runtime = runtime;
    return *Predictor::create(byte_model(), std::move(options));
  }

  std::vector<std::shared_ptr<NullBackend>> backends;
  Runtime runtime;
};

NullScript device(bool asynchronous, Duration service, int slots = 2) {
  NullScript script;
  script.asynchronous = asynchronous;
  script.concurrency_narrow = slots;
  if (service > Duration(0)) script.service_time = [service](std::uint64_t, Width) { return service; };
  return script;
}

// Of each device: the predictions that completed on its slots.
std::vector<std::uint64_t> by_slot(const Predictor& predictor, const std::vector<Prediction>& finished) {
  const std::vector<DeviceStatistics> devices = predictor.device_statistics();
  std::vector<std::uint64_t> counts(devices.size());
  for (const Prediction& prediction : finished) {
    if (prediction.outcome() != Outcome::kCompleted) continue;
    int first = 0;
    for (std::size_t i = 0; i < devices.size(); first += devices[i++].slots) {
      if (prediction.slot() >= first && prediction.slot() < first + devices[i].slots) ++counts[i];
    }
  }
  return counts;
}

// Both kinds: launches that block, and those that end later.
class SeveralDevices : public testing::TestWithParam<bool> {
 protected:
  static NullScript script(Duration service, int slots = 2) { return device(GetParam(), service, slots); }
};

TEST_P(SeveralDevices, HaveOneQueueAndSlotsOnEach) {
  const Devices devices({script(milliseconds(300)), script(milliseconds(300)), script(milliseconds(300))});
  Predictor predictor = devices.predictor({.in_flight_limit = 8});
  EXPECT_EQ(predictor.slots(), 6);
  EXPECT_EQ(predictor.device_description(), "null, null:1, null:2");
  EXPECT_EQ(devices.runtime.capacity(), 6);
  std::vector<Prediction> predictions;
  for (std::uint8_t i = 0; i < 8; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
  EXPECT_EQ(predictor.submit(byte_frame(9)).status().code(), StatusCode::kOverloaded) << "one limit";
  std::vector<int> slots;
  for (std::uint8_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(predictions[i].wait().ok());
    EXPECT_EQ(mark_of(predictions[i]), i);
    slots.push_back(predictions[i].slot());
  }
  slots.resize(6);
  std::sort(slots.begin(), slots.end());
  EXPECT_EQ(slots, (std::vector{0, 1, 2, 3, 4, 5})) << "all of them run at once";
  predictor.drain();
  std::uint64_t sum = 0;
  const std::vector<std::uint64_t> counted = by_slot(predictor, predictions);
  for (std::size_t i = 0; i < 3; ++i) {
    const DeviceStatistics books = predictor.device_statistics()[i];
    EXPECT_EQ(books.device.to_string(), i == 0 ? "null" : "null:" + std::to_string(i));
    EXPECT_EQ(books.slots, 2);
    EXPECT_EQ(books.completed, counted[i]);
    EXPECT_TRUE(books.lost.ok());
    sum += books.completed;
  }
  EXPECT_EQ(sum, 8U);
}

TEST_P(SeveralDevices, AFrameThatIsAloneRunsOnTheFirst) {
  const Devices devices({script(Duration(0)), script(Duration(0))});
  Predictor predictor = devices.predictor({.watch_share = 0});
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
    predictor.drain();
  }
  // The other one may be awake, and take a frame, while its thread starts.
  EXPECT_GE(predictor.device_statistics()[0].completed, 40U);
}

TEST_P(SeveralDevices, UnderLoadAFasterDeviceServesMore) {
  const Devices devices({script(milliseconds(40)), script(milliseconds(5))});
  Predictor predictor = devices.predictor({.in_flight_limit = 8});
  for (int i = 0; i < 200; ++i) {
    while (!predictor.submit(byte_frame(1)).ok()) predictor.wait_any(), predictor.take_finished();
  }
  predictor.drain();
  const auto books = predictor.device_statistics();
  EXPECT_EQ(books[0].completed + books[1].completed, 200U);
  EXPECT_GT(books[1].completed, 2 * books[0].completed);
  EXPECT_GT(books[0].completed, 5U);
}

TEST_P(SeveralDevices, ALostOneFailsWhatItHoldsAndTheOthersGoOn) {
  const Devices devices({script(milliseconds(1)), script(milliseconds(1))});
  Predictor predictor = devices.predictor({.in_flight_limit = 16, .finished_limit = 4096});
  std::vector<Prediction> finished;
  const auto run = [&](int frames) {
    for (int i = 0; i < frames; ++i) {
      while (!predictor.submit(byte_frame(static_cast<std::uint8_t>(i))).ok())
        predictor.wait_any_until(steady_clock().now() + microseconds(100));
    }
  };
  run(200);
  devices.backends[0]->lose_device(kLost);
  run(200);
  predictor.drain();
  predictor.take_finished(finished);
  const Statistics books = predictor.statistics();
  EXPECT_TRUE(law_holds(books));
  EXPECT_EQ(books.completed + books.failed, 400U);
  EXPECT_GE(books.failed, 1U);
  EXPECT_LE(books.failed, 4U) << "no more than its slots held, and were given meanwhile";
  for (const Prediction& prediction : finished) {
    if (prediction.outcome() == Outcome::kFailed) {
      EXPECT_EQ(prediction.status(), kLost);
      EXPECT_LT(prediction.slot(), 2);
    } else {
      EXPECT_EQ(mark_of(prediction), static_cast<std::uint8_t>(prediction.tag()));
    }
  }
  const auto each = predictor.device_statistics();
  EXPECT_EQ(each[0].lost, kLost);
  EXPECT_TRUE(each[1].lost.ok());
  EXPECT_EQ(each[0].failed, books.failed);
  EXPECT_EQ(each[1].failed, 0U);
  EXPECT_EQ(each[0].completed + each[1].completed, books.completed);
  EXPECT_EQ(by_slot(predictor, finished), (std::vector{each[0].completed, each[1].completed}));
}

TEST_P(SeveralDevices, AfterTheLastSubmissionsAreRefusedWithTheCause) {
  const Devices devices({script(Duration(0)), script(Duration(0))});
  Predictor predictor = devices.predictor();
  devices.backends[1]->lose_device(Status(StatusCode::kDeviceError, "the other"));
  devices.backends[0]->lose_device(kLost);
  int failed = 0;
  Result<Prediction> submitted = predictor.submit(byte_frame(1));
  for (; submitted.ok(); submitted = predictor.submit(byte_frame(1))) {
    EXPECT_EQ(submitted->wait().code(), StatusCode::kDeviceError);
    ASSERT_LT(++failed, 8);
  }
  EXPECT_EQ(submitted.status().code(), StatusCode::kDeviceError);
  EXPECT_THAT(std::string(submitted.status().message()),
              testing::AnyOf(HasSubstr("bus"), HasSubstr("other")));
  EXPECT_GE(failed, 2) << "each loss was found by a launch";
  EXPECT_EQ(predictor.retry_after(), Duration::max());
  const Statistics books = predictor.statistics();
  EXPECT_EQ(books.rejected, 1U);
  EXPECT_TRUE(law_holds(books));
  EXPECT_EQ(predictor.device_statistics()[0].lost, kLost);
  EXPECT_EQ(predictor.device_statistics()[1].lost.message(), "the other");
  EXPECT_EQ(Predictor::create(byte_model(), {.runtime = devices.runtime}).status().code(),
            StatusCode::kDeviceError)
      << "no device of the runtime is left";
}

TEST_P(SeveralDevices, AnotherPredictorUsesThoseThatAreLeft) {
  const Devices devices({script(Duration(0)), script(Duration(0))});
  {
    Predictor predictor = devices.predictor({.slots = 1});
    devices.backends[0]->lose_device(kLost);
    // The other device may be awake and take the frame first.
    Status end;
    for (int i = 0; i < 10000 && end.ok(); ++i) end = predictor.submit(byte_frame(1))->wait();
    EXPECT_EQ(end, kLost);
  }
  Predictor predictor = devices.predictor();
  EXPECT_EQ(predictor.device_description(), "null:1");
  EXPECT_TRUE(predictor.submit(byte_frame(1))->wait().ok());
}

TEST_P(SeveralDevices, WhatWaitsForAPlaceOrAnInputEndsWithTheLastDevice) {
  Gate gate;
  NullScript held = script(Duration(0), 1);
  held.launch_error = [&](std::uint64_t) {
    gate.pass();
    return kLost;
  };
  NullScript source_script;
  Gate source_gate;
  source_script.service_time = [&](std::uint64_t, Width) { return source_gate.pass(), Duration(0); };
  Predictor source = null_predictor(std::move(source_script));
  const auto pending = source.submit(byte_frame(3));
  const Devices devices({held, held});
  Predictor predictor = devices.predictor({.in_flight_limit = 4, .overload = OverloadPolicy::kBlock});
  std::vector<Prediction> predictions;
  for (std::uint8_t i = 0; i < 3; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
  predictions.push_back(*predictor.submit(Frame::of(pending->output(0))));
  gate.await_arrivals(2);
  std::thread blocked([&] {
    // The first launch that fails frees a place.
    const auto submitted = predictor.submit(byte_frame(9));
    EXPECT_EQ(submitted.ok() ? submitted->wait() : submitted.status(), kLost);
  });
  for (const auto& backend : devices.backends) backend->lose_device(kLost);
  gate.open();
  blocked.join();
  for (const Prediction& prediction : predictions) EXPECT_EQ(prediction.wait(), kLost);
  source_gate.open();
  EXPECT_TRUE(law_holds(predictor.statistics()));
}

INSTANTIATE_TEST_SUITE_P(Kinds, SeveralDevices, testing::Bool(),
                         [](const auto& tested) { return tested.param ? "asynchronous" : "blocking"; });

// Launches that block beside those that end later.
TEST(MixedDevices, ShareOneQueue) {
  const Devices devices({device(true, milliseconds(2)), device(false, milliseconds(2))});
  Predictor predictor = devices.predictor({.in_flight_limit = 8});
  std::vector<Prediction> predictions;
  for (int i = 0; i < 100; ++i) {
    while (true) {
      auto submitted = predictor.submit(byte_frame(static_cast<std::uint8_t>(i)));
      if (submitted.ok()) {
        predictions.push_back(*submitted);
        break;
      }
      predictor.wait_any();
      predictor.take_finished();
    }
  }
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    ASSERT_TRUE(predictions[i].wait().ok());
    EXPECT_EQ(mark_of(predictions[i]), i);
  }
  EXPECT_GT(predictor.device_statistics()[0].completed, 10U);
  EXPECT_GT(predictor.device_statistics()[1].completed, 10U);
}

// Two predictors on two devices: a frame is not left in the queue of one because the other has taken the room on the
// device that it was meant for.
TEST(MixedDevices, NoFrameWaitsBesideADeviceThatIsFree) {
  const Devices devices({device(false, microseconds(200), 1), device(true, microseconds(200), 1),
                         device(false, microseconds(100), 1)});
  Predictor first =
      devices.predictor({.in_flight_limit = 3, .overload = OverloadPolicy::kBlock, .keep_finished = false});
  Predictor second =
      devices.predictor({.in_flight_limit = 3, .overload = OverloadPolicy::kBlock, .keep_finished = false});
  std::vector<std::thread> threads;
  for (Predictor* const predictor : {&first, &second}) {
    threads.emplace_back([predictor] {
      for (int i = 0; i < 1500; ++i) {
        auto submitted = predictor->submit(byte_frame(1));
        if (i % 3 == 0) submitted->wait().ok();  // so that all fall idle now and then
      }
      predictor->drain();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Predictor* const predictor : {&first, &second}) {
    EXPECT_EQ(predictor->statistics().completed, 1500U);
    for (const DeviceStatistics& each : predictor->device_statistics()) EXPECT_GT(each.completed, 50U);
  }
}

// Devices are lost at random moments below threads that submit, cancel and wait.
TEST(MixedDevices, TheLawHoldsWhileDevicesAreLost) {
  const std::uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    std::vector<NullScript> scripts;
    for (int i = 0; i < 4; ++i)
      scripts.push_back(
          device(random() % 2 == 0, microseconds(random() % 400), 1 + static_cast<int>(random() % 3)));
    const Devices devices(std::move(scripts));
    Predictor predictor = devices.predictor(
        {.in_flight_limit = 12, .overload = OverloadPolicy::kBlock, .keep_finished = false});
    std::vector<std::thread> threads;
    std::atomic<std::uint64_t> completed{0}, failed{0}, cancelled{0}, refused{0};
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        std::vector<Prediction> held;
        for (int i = 0; i < 400; ++i) {
          auto submitted = predictor.submit(byte_frame(1));
          if (!submitted.ok()) {
            EXPECT_EQ(submitted.status(), kLost);
            ++refused;
            continue;
          }
          if ((i + t) % 7 == 0) submitted->cancel();
          held.push_back(*submitted);
        }
        for (const Prediction& prediction : held) {
          prediction.wait().ok();
          ++(prediction.outcome() == Outcome::kCompleted ? completed
             : prediction.outcome() == Outcome::kFailed  ? failed
                                                         : cancelled);
        }
      });
    }
    for (const auto& backend : devices.backends) {
      std::this_thread::sleep_for(microseconds(random() % 5000));
      backend->lose_device(kLost);
      EXPECT_TRUE(law_holds(predictor.statistics()));
    }
    for (std::thread& thread : threads) thread.join();
    const Statistics books = predictor.statistics();
    EXPECT_TRUE(law_holds(books));
    EXPECT_EQ(books.completed, completed);
    EXPECT_EQ(books.failed, failed);
    EXPECT_EQ(books.cancelled, cancelled);
    EXPECT_EQ(books.rejected, refused);
    EXPECT_EQ(books.in_flight, 0U);
  }
}

TEST(MixedDevices, AutomaticLimitIsTwoForEachSlotOfAll) {
  const Devices devices({device(false, Duration(0), 3), device(false, Duration(0), 2)});
  EXPECT_EQ(devices.predictor({.in_flight_limit = Predictor::kInFlightLimitAuto}).places(), 10);
}

TEST(MixedDevices, AnElasticWidthIsChosenOnEachDevice) {
  NullScript elastic = device(false, Duration(0), 4);
  elastic.elastic = true;
  elastic.service_time = [](std::uint64_t, Width width) {
    return width == Width::kWide ? milliseconds(1) : milliseconds(3);
  };
  Gate gate;  // the first launch lasts until the second has ended
  std::atomic<int> launches{0};
  elastic.launch_error = [&](std::uint64_t) {
    if (launches++ == 0) gate.pass();
    return Status();
  };
  const Devices devices({elastic, elastic});
  Predictor predictor = devices.predictor({.in_flight_limit = 8, .watch_share = 0});
  EXPECT_EQ(predictor.width(), WidthPolicy::kElastic);
  const auto first = predictor.submit(byte_frame(1));
  gate.await_arrivals(1);
  const auto second = predictor.submit(byte_frame(2));
  EXPECT_TRUE(second->wait().ok());
  gate.open();
  EXPECT_TRUE(first->wait().ok());
  EXPECT_EQ(first->width(), Width::kWide);
  EXPECT_EQ(second->width(), Width::kWide) << "the other device is free";
  EXPECT_NE(first->slot() / 4, second->slot() / 4);
  for (int i = 0; i < 100; ++i) {
    while (!predictor.submit(byte_frame(1)).ok()) predictor.wait_any(), predictor.take_finished();
  }
  predictor.drain();
  EXPECT_EQ(predictor.statistics().completed, 102U);
}

// ---- What is refused

TEST(MixedDevices, WhatDoesNotFitTogetherIsRefusedWithWhatWasFound) {
  const auto message = [](const auto& result) { return result.status().to_string(); };
  EXPECT_EQ(message(Runtime::open(std::vector{Device::cpu(), Device::cpu()})),
            "invalid argument: device: got cpu twice, want each device once");
  EXPECT_EQ(message(Predictor::create(byte_model(), {.devices = {Device::cuda(1), Device::cuda(1)}})),
            "invalid argument: device: got cuda:1 twice, want each device once");
  EXPECT_EQ(message(Runtime::open(std::vector<Device>())),
            "invalid argument: device: got 0 devices, want 1 to 16");
  EXPECT_EQ(message(Runtime::over(std::vector<std::shared_ptr<Backend>>{nullptr})),
            "invalid argument: runtime: got no backend");
  EXPECT_EQ(message(Predictor::create(byte_model(), {.device = Device::null(), .devices = {Device::cpu()}})),
            "invalid argument: devices: got 1 of them beside the device null, want one of both");
  NullScript on_device = device(true, Duration(0));
  on_device.device_memory = true;
  const Devices devices({on_device, on_device});
  EXPECT_EQ(
      message(Predictor::create(byte_model(), {.runtime = devices.runtime})),
      "unsupported: devices: null leaves outputs in the memory of null, want the host's where there are "
      "several devices");
}

// A device whose compiled model has another output.
class Widening final : public NullBackend {
 public:
  using NullBackend::NullBackend;
  Result<std::shared_ptr<Program>> compile(const Model&, const CompileOptions& options) override {
    return NullBackend::compile(byte_model(8), options);
  }
};

TEST(MixedDevices, ProgramsOfOtherShapesAreRefused) {
  NullScript second;
  second.index = 1;
  const auto runtime =
      Runtime::over({std::make_shared<NullBackend>(NullScript{}), std::make_shared<Widening>(second)});
  EXPECT_EQ(
      Predictor::create(byte_model(), {.runtime = *runtime}).status().to_string(),
      "unsupported: devices: input \"x\" is u8[4] on null, and \"x\" u8[8] on null:1, want the same on each "
      "device");
}

}  // namespace
}  // namespace inflight
