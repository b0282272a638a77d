// SPDX-License-Identifier: Apache-2.0
// The ways to wait for predictions that are not the predictor's own.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

using std::chrono::milliseconds;

TEST(PredictorWait, WaitAnyUntilEndsAtItsTime) {
  Gate gate;
  Predictor predictor = null_predictor(gated(gate));
  const std::vector<Prediction> predictions = {*predictor.submit(byte_frame(1))};
  const TimePoint until = steady_clock().now() + milliseconds(1);
  EXPECT_EQ(wait_any_until(predictions, until), std::nullopt);
  EXPECT_GE(steady_clock().now(), until);
  gate.open();
  EXPECT_EQ(wait_any_until(predictions, TimePoint::max()), 0U);
  EXPECT_EQ(wait_any_until(predictions, TimePoint::min()), 0U);
}

TEST(PredictorWait, WaitAllTellsTheFailureOfTheLowestIndex) {
  Gate gate;
  NullScript script = gated(gate);
  script.concurrency_narrow = 1;
  script.outcome = [](std::uint64_t launch) {
    return launch == 0 ? Status() : Status(StatusCode::kDeviceError, "launch " + std::to_string(launch));
  };
  Predictor predictor = null_predictor(std::move(script));
  std::vector<Prediction> predictions;
  for (std::uint8_t i = 0; i < 3; ++i) predictions.push_back(*predictor.submit(byte_frame(i)));
  EXPECT_EQ(wait_all_for(predictions, milliseconds(1)).code(), StatusCode::kDeadlineExceeded);
  gate.let_through(1);
  EXPECT_TRUE(wait_all(std::span(predictions).first(1)).ok());
  EXPECT_EQ(wait_all_until(predictions, TimePoint::min()).code(), StatusCode::kDeadlineExceeded);
  std::thread opener([&] { gate.open(); });
  const Status status = wait_all(predictions);
  EXPECT_EQ(status.code(), StatusCode::kDeviceError);
  EXPECT_EQ(status, predictions[1].status());
  EXPECT_EQ(wait_all_until(predictions, TimePoint::min()), status);
  opener.join();
}

}  // namespace
}  // namespace inflight
