// SPDX-License-Identifier: Apache-2.0
// A device that completes later, as a GPU does.
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
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
    Predictor predictor = null_predictor(script, {.in_flight_limit = 16, .width = width});
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
  const auto after = predictor.submit(byte_frame(9));
  ASSERT_TRUE(after.ok()) << "every place came back";
  EXPECT_EQ(after->wait(), lost);
  EXPECT_TRUE(law_holds(predictor.statistics()));
  EXPECT_EQ(predictor.statistics().failed, 5U);
}

}  // namespace
}  // namespace inflight
