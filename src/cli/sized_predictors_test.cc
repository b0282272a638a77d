// SPDX-License-Identifier: Apache-2.0
#include "cli/sized_predictors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <span>

#include "inflight/buffer.h"
#include "inflight/inflight.h"
#include "onnx_writer.h"

namespace inflight::cli {
namespace {

constexpr int kLimit = 4;
constexpr int kFinished = 64;

// y = x on frames of any size, or resized to 4x6.
Model model_of(bool open) {
  const std::vector<testing::OnnxDim> dims =
      open ? std::vector<testing::OnnxDim>{1, 3, "h", "w"} : std::vector<testing::OnnxDim>{1, 3, 4, 6};
  const std::string bytes = testing::OnnxModel{.nodes = {testing::onnx_node("Identity", {"x"}, {"y"})},
                                               .inputs = {testing::onnx_value("x", testing::kFloat, dims)},
                                               .outputs = {testing::onnx_value("y", testing::kFloat, dims)}}
                                .bytes();
  return Model::load_bytes(std::as_bytes(std::span(bytes.data(), bytes.size())), "m").value();
}

Frame frame_of(int height, int width, std::uint64_t tag) {
  const std::size_t bytes = static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * 3;
  const Buffer buffer = Buffer::allocate(bytes).value();
  std::memset(buffer.bytes(), static_cast<int>(tag % 256), bytes);
  return Frame::of(NDArray::from_buffer(buffer, DType::kU8, Shape{height, width, 3}).value(), tag);
}

struct Fixture {
  explicit Fixture(bool open, int limit = kLimit) : model(model_of(open)) {
    const Runtime runtime = Runtime::open(Device::cpu()).value();
    const auto make = [this, open, runtime, limit](int height, int width) -> Result<SizedPredictors::Made> {
      ++made;
      if (height == 13) return Status(StatusCode::kInvalidModel, "unlucky");
      INFLIGHT_TRY_ASSIGN(const Model fitted,
                          model.with_image_input({.height = open ? height : 0, .width = open ? width : 0}));
      INFLIGHT_TRY_ASSIGN(Predictor predictor,
                          Predictor::create(fitted, {.runtime = runtime, .in_flight_limit = limit}));
      return SizedPredictors::Made{std::move(predictor), !open};
    };
    const Model first = model.with_image_input({.height = 8, .width = 8}).value();
    sized = std::make_unique<SizedPredictors>(
        Predictor::create(first, {.runtime = runtime, .in_flight_limit = limit}).value(), 8, 8, limit,
        kFinished, make);
  }
  Result<Prediction> submit(int height, int width, std::uint64_t tag) {
    INFLIGHT_TRY(sized->prepare(height, width));
    return sized->submit(frame_of(height, width, tag), height, width);
  }
  // Waits until all have been taken.
  std::vector<Prediction> take(std::size_t count) {
    std::vector<Prediction> all;
    std::vector<Prediction> some;
    while (all.size() < count) {
      sized->wait_any_until(steady_clock().now() + std::chrono::milliseconds(50));
      sized->take_finished(some);
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  }
  Model model;
  int made = 0;
  std::unique_ptr<SizedPredictors> sized;
};

TEST(SizedPredictors, EachFrameIsFollowed) {
  Fixture fixture(true);
  // More sizes than predictors are kept, some of them twice.
  std::uint64_t tag = 0;
  for (int round = 0; round < 2; ++round) {
    for (int height = 1; height <= 12; ++height) {
      const int width = height + 1;
      ASSERT_TRUE(fixture.submit(height, width, tag++).ok());
      const std::vector<Prediction> taken = fixture.take(1);
      ASSERT_EQ(taken.size(), 1U);
      EXPECT_EQ(taken[0].tag(), tag - 1);
      const TensorView view = taken[0].output(std::size_t{0}).read().value();
      EXPECT_EQ(view.shape, (Shape{1, 3, height, width}));
      EXPECT_EQ(*static_cast<const float*>(view.data), static_cast<float>(tag - 1));
    }
  }
  EXPECT_EQ(fixture.made, 24);
  const Statistics statistics = fixture.sized->statistics();
  EXPECT_EQ(statistics.submitted, 24U);
  EXPECT_EQ(statistics.completed, 24U);
  EXPECT_EQ(statistics.in_flight, 0U);
  EXPECT_EQ(fixture.sized->latencies().total.count(), 24U);
}

TEST(SizedPredictors, OneTakesAllSizesWhereTheModelHasItsOwn) {
  Fixture fixture(false);
  for (int side = 1; side <= 12; ++side) {
    ASSERT_TRUE(fixture.submit(side, 20, 7).ok());
    const std::vector<Prediction> taken = fixture.take(1);
    const TensorView view = taken[0].output(std::size_t{0}).read().value();
    EXPECT_EQ(view.shape, (Shape{1, 3, 4, 6}));
    const auto* const values = static_cast<const float*>(view.data);
    for (std::size_t i = 0; i < view.shape.elements(); ++i) EXPECT_NEAR(values[i], 7, 1e-3);
  }
  EXPECT_EQ(fixture.made, 1);
}

TEST(SizedPredictors, TheLimitHoldsForAllTogether) {
  Fixture fixture(true, 2);
  std::uint64_t admitted = 0;
  std::uint64_t refused = 0;
  std::set<std::uint64_t> tags;
  for (std::uint64_t tag = 0; tag < 400; ++tag) {
    const int side = 1 + static_cast<int>(tag % 5);
    const Result<Prediction> prediction = fixture.submit(side, side, tag);
    if (prediction.ok()) {
      ++admitted;
    } else {
      EXPECT_EQ(prediction.status().code(), StatusCode::kOverloaded);
      ++refused;
    }
    EXPECT_LE(fixture.sized->statistics().in_flight, 2U);
    std::vector<Prediction> taken;
    fixture.sized->take_finished(taken);
    for (const Prediction& one : taken) EXPECT_TRUE(tags.insert(one.tag()).second);
  }
  for (const Prediction& one : fixture.take(admitted - tags.size()))
    EXPECT_TRUE(tags.insert(one.tag()).second);
  const Statistics statistics = fixture.sized->statistics();
  EXPECT_EQ(statistics.submitted, 400U);
  EXPECT_EQ(statistics.completed, admitted);
  EXPECT_EQ(statistics.rejected, refused);
  EXPECT_LE(statistics.in_flight_max, 2U);
  EXPECT_FALSE(fixture.sized->wait_any_until(steady_clock().now()));
}

TEST(SizedPredictors, ASizeThatCannotBeServedIsSaid) {
  Fixture fixture(true);
  EXPECT_EQ(fixture.sized->prepare(13, 3).code(), StatusCode::kInvalidModel);
  ASSERT_TRUE(fixture.submit(8, 8, 1).ok());
  fixture.take(1);
  EXPECT_EQ(fixture.sized->statistics().rejected, 0U);
  EXPECT_EQ(fixture.sized->statistics().submitted, 1U);
}

}  // namespace
}  // namespace inflight::cli
