// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <random>
#include <thread>

#include "mx_test_support.h"

namespace inflight::mx {
namespace {

using Slice = NDArray::OptionalInts;

TEST(MxNDArray, MakesArrays) {
  expect_near(values(NDArray::full({2, 2}, 1.5).value()), {1.5F, 1.5F, 1.5F, 1.5F}, "full");
  EXPECT_EQ(values<std::int32_t>(NDArray::full({3}, -7.9, DType::kI32).value()),
            (std::vector<std::int32_t>{-7, -7, -7}));
  EXPECT_EQ(values<std::uint8_t>(NDArray::full({2}, 300, DType::kU8).value()),
            (std::vector<std::uint8_t>{44, 44}));
  expect_near(values(NDArray::arange(3).value()), {0, 1, 2}, "arange");
  expect_near(values(NDArray::arange(1, 2, 0.5, 2).value()), {1, 1, 1.5F, 1.5F}, "arange");
  expect_near(values(NDArray::arange(3, 0, -1).value()), {3, 2, 1}, "arange");
  expect_near(values(NDArray::eye(2, 3, -1).value()), {0, 0, 0, 1, 0, 0}, "eye");
  for (const double value : {0.0, 1.0, -2.5, 65504.0, 6e-8, 1e-5, 0.1, 1e9}) {
    // Widened again by OpenVINO.
    const float back = values(NDArray::full({1}, value, DType::kF16)->astype(DType::kF32).value())[0];
    const float want = value > 65520 ? std::numeric_limits<float>::infinity() : static_cast<float>(value);
    if (std::isinf(want)) {
      EXPECT_EQ(back, want);
    } else {
      EXPECT_NEAR(back, want, std::max(3e-8, std::abs(value) / 1024));
    }
  }
  expect_clear(NDArray::zeros({2, 0}).status(), StatusCode::kInvalidArgument,
               "got [2,0], want extents of at least 1");
  expect_clear(NDArray::arange(0).status(), StatusCode::kInvalidArgument, "at least one element");
  expect_clear(NDArray::of(inflight::NDArray()).status(), StatusCode::kInvalidArgument, "got an empty one");
}

TEST(MxNDArray, AWriteMakesAVersionAndSnapshotsKeepTheirs) {
  const NDArray a = counted({3});
  const inflight::NDArray before = a.snapshot().value();
  ASSERT_TRUE(
      invoke("_plus_scalar", std::vector<NDArray>{a}, {{"scalar", "1"}}, std::vector<NDArray>{a}).ok());
  ASSERT_TRUE(a.fill_slice({0}, {1}, {}, 9).ok());
  expect_near(values(a), {9, 2, 3}, "after");
  EXPECT_EQ((*before.read()->as<float>())[0], 0);
  const NDArray copy = a.copy().value();
  ASSERT_TRUE(copy.fill(4).ok());
  expect_near(values(a), {9, 2, 3}, "a copy is another name");
  ASSERT_TRUE(a.assign(copy).ok());
  ASSERT_TRUE(copy.fill_slice({}, {}, {}, 5).ok());
  expect_near(values(a), {4, 4, 4}, "what was assigned stays");
}

TEST(MxNDArray, RowsAndReshapesShareMemory) {
  const NDArray a = counted({3, 2});
  const NDArray row = a.at(1).value();
  const NDArray rows = a.rows(1, std::nullopt).value();
  const NDArray flat = a.reshape({-1}).value();
  EXPECT_EQ(row.shape(), Shape{2});
  EXPECT_EQ(rows.shape(), (Shape{2, 2}));
  ASSERT_TRUE(row.fill(7).ok());
  expect_near(values(a), {0, 1, 7, 7, 4, 5}, "through a row");
  ASSERT_TRUE(flat.fill_slice({-1}, {std::nullopt}, {}, 8).ok());
  expect_near(values(rows), {7, 7, 4, 8}, "through a reshape");
  ASSERT_TRUE(flat.assign(counted({6}, 10)).ok());
  expect_near(values(row), {12, 13}, "through the whole");
  EXPECT_EQ(a.shape(), (Shape{3, 2}));
  ASSERT_TRUE(invoke("negative", std::vector<NDArray>{row}, {}, std::vector<NDArray>{row}).ok());
  expect_near(values(a), {10, 11, -12, -13, 14, 15}, "an operator's result");
  expect_near(values(a.at(2)->at(1).value()), {15}, "an element");
  ASSERT_TRUE(a.at(0)->at(0)->fill(1).ok());
  expect_near(values(flat.rows(0, 2).value()), {1, 11}, "rows of a reshape");
  // The pinned version of a part stays.
  const inflight::NDArray pinned = row.snapshot().value();
  ASSERT_TRUE(a.fill(0).ok());
  ASSERT_TRUE(pinned.wait().ok());
  EXPECT_EQ((*pinned.read()->as<float>())[1], -13);
  expect_clear(a.at(3).status(), StatusCode::kInvalidArgument, "index: got 3, want -3 to 2");
  expect_clear(a.rows(2, 1).status(), StatusCode::kInvalidArgument, "nothing is left of axis 0");
  expect_clear(a.reshape({4}).status(), StatusCode::kInvalidArgument, "as many elements");
}

TEST(MxNDArray, SlicesAreCopiesAndCanBeAssigned) {
  const NDArray a = counted({2, 3});
  const NDArray columns = a.slice({std::nullopt, 1}, {std::nullopt, std::nullopt}).value();
  expect_near(values(columns), {1, 2, 4, 5}, "slice");
  expect_near(values(a.slice({1, 2}, {std::nullopt, std::nullopt}, {-1, -2}).value()), {5, 3, 2, 0},
              "steps back");
  ASSERT_TRUE(a.assign_slice({std::nullopt, 0}, {std::nullopt, 2}, {}, array({2, 1}, {8, 9})).ok());
  expect_near(values(a), {8, 8, 2, 9, 9, 5}, "broadcast");
  ASSERT_TRUE(a.assign_slice({0, std::nullopt}, {1, std::nullopt}, {std::nullopt, 2},
                             array<std::int32_t>({2}, {1, 3}))
                  .ok());
  expect_near(values(a), {1, 8, 3, 9, 9, 5}, "converted, with steps");
  expect_near(values(columns), {1, 2, 4, 5}, "a copy");
  ASSERT_TRUE(a.assign(array({1}, {2})).ok());
  expect_near(values(a), {2, 2, 2, 2, 2, 2}, "one for all");
  expect_clear(a.assign(counted({2, 2})), StatusCode::kInvalidArgument,
               "assign: got [2,2], want [2,3] or what broadcasts");
  expect_clear(a.assign_slice({0}, {1}, {0}, counted({1})), StatusCode::kInvalidArgument, "step: got 0");
}

TEST(MxNDArray, RandomSlicesAgreeWithASlowOracle) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::int64_t> extents;
    for (std::size_t i = 0; i < 1 + random() % 4; ++i)
      extents.push_back(1 + static_cast<std::int64_t>(random() % 4));
    const Shape shape = Shape::make(extents).value();
    const NDArray a = counted(shape);
    Slice begin;
    Slice end;
    Slice step;
    for (std::size_t i = 0; i < extents.size(); ++i) {
      const auto maybe = [&]() -> std::optional<std::int64_t> {
        return random() % 3 == 0 ? std::nullopt : std::optional(static_cast<std::int64_t>(random() % 11) - 5);
      };
      begin.push_back(maybe());
      end.push_back(maybe());
      const std::int64_t by = static_cast<std::int64_t>(random() % 5) - 2;
      step.push_back(by == 0 ? std::nullopt : std::optional(by));
    }
    const auto taken = a.slice(begin, end, step);
    if (!taken.ok()) continue;
    // By Python's rules for each axis, worked out element by element.
    std::vector<float> want = {0};
    std::int64_t stride = static_cast<std::int64_t>(shape.elements());
    for (std::size_t i = 0; i < extents.size(); ++i) {
      stride /= extents[i];
      const std::int64_t by = step[i].value_or(1);
      const auto bring_in = [&](std::int64_t at) {
        if (at < 0) at += extents[i];
        return by > 0 ? std::clamp<std::int64_t>(at, 0, extents[i])
                      : std::clamp<std::int64_t>(at, -1, extents[i] - 1);
      };
      const std::int64_t from = begin[i] ? bring_in(*begin[i]) : (by > 0 ? 0 : extents[i] - 1);
      const std::int64_t to = end[i] ? bring_in(*end[i]) : (by > 0 ? extents[i] : -1);
      std::vector<float> next;
      for (const float base : want)
        for (std::int64_t at = from; by > 0 ? at < to : at > to; at += by)
          next.push_back(base + static_cast<float>(at * stride));
      want = next;
    }
    expect_near(values(*taken), want, "slice");
    ASSERT_TRUE(a.fill_slice(begin, end, step, -1).ok());
    std::vector<float> filled = values(counted(shape));
    for (const float at : want) filled[static_cast<std::size_t>(at)] = -1;
    expect_near(values(a), filled, "fill_slice");
    ASSERT_TRUE(a.assign_slice(begin, end, step, *taken).ok());
    expect_near(values(a), values(counted(shape)), "assign_slice");
  }
}

TEST(MxNDArray, OutTakesTheResult) {
  const NDArray a = counted({2});
  const NDArray out = NDArray::zeros({2}).value();
  const auto results = invoke("exp", std::vector<NDArray>{a}, {}, std::vector<NDArray>{out}).value();
  EXPECT_TRUE(results[0].shares_memory_with(out));
  expect_near(values(out), {1, std::exp(1.0F)}, "out");
  const auto refused =
      invoke("exp", std::vector<NDArray>{a}, {}, std::vector<NDArray>{NDArray::zeros({3}).value()});
  expect_clear(refused.status(), StatusCode::kInvalidArgument, "operator exp: out: got f32[3], want f32[2]");
}

TEST(MxNDArray, AnErrorFlowsToWhatDependsOnIt) {
  const NDArray bad =
      call("_plus_scalar", {array<std::int64_t>({1}, {std::int64_t{1} << 40})}, {{"scalar", "1"}});
  const NDArray next = call("negative", {bad});
  expect_clear(next.wait(), StatusCode::kUnsupported, "got an int64 of");
  EXPECT_TRUE(next.can_read());
  expect_clear(next.status(), StatusCode::kUnsupported, "got an int64 of");
  ASSERT_TRUE(bad.fill(1).ok());
  EXPECT_TRUE(bad.wait().ok()) << "a write that replaces all does not look at what was there";
  expect_clear(next.wait(), StatusCode::kUnsupported, "got an int64 of");
}

TEST(MxNDArray, RandomNumbersAreThoseOfTheSeedInTheOrderOfTheCalls) {
  const auto draw = [] {
    std::vector<float> all;
    std::vector<NDArray> arrays;
    for (int i = 0; i < 20; ++i) {
      arrays.push_back(random_uniform(-1, 1, {7}).value());
      arrays.push_back(random_normal(0, 1, {3, 2}).value());
    }
    for (const NDArray& one : arrays) {
      const auto numbers = values(one);
      all.insert(all.end(), numbers.begin(), numbers.end());
    }
    return all;
  };
  seed(42);
  const auto first = draw();
  const auto other = draw();
  seed(42);
  EXPECT_EQ(draw(), first);
  EXPECT_NE(other, first);
  seed(43);
  EXPECT_NE(draw(), first);

  const auto uniform = values(random_uniform(2, 4, {200'000}).value());
  double sum = 0;
  for (const float x : uniform) {
    ASSERT_TRUE(x >= 2 && x < 4);
    sum += x;
  }
  EXPECT_NEAR(sum / 200'000, 3, 0.01);
  double square = 0;
  sum = 0;
  for (const float x : values(random_normal(1, 2, {200'000}).value())) {
    sum += x;
    square += static_cast<double>(x) * x;
  }
  EXPECT_NEAR(sum / 200'000, 1, 0.02);
  EXPECT_NEAR(square / 200'000, 5, 0.05);
  std::vector<int> seen(4, 0);
  for (const std::int32_t x : values<std::int32_t>(random_randint(-2, 2, {4'000}).value())) {
    ASSERT_TRUE(x >= -2 && x < 2);
    ++seen[static_cast<std::size_t>(x + 2)];
  }
  for (const int count : seen) EXPECT_NEAR(count, 1000, 150);
  expect_clear(random_uniform(2, 1, {1}).status(), StatusCode::kInvalidArgument, "want low below high");
  expect_clear(random_normal(0, -1, {1}).status(), StatusCode::kInvalidArgument, "scale: got -1");
  expect_clear(random_randint(0, 2, {1}, DType::kF32).status(), StatusCode::kInvalidArgument,
               "dtype: got f32");
}

TEST(MxNDArray, ManyThreadsWriteAndReadOneArray) {
  const NDArray a = NDArray::zeros({64}).value();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&a, t] {
      for (int i = 0; i < 200; ++i) {
        if (t % 2 == 0) {
          ASSERT_TRUE(a.fill(i).ok());
          ASSERT_TRUE(a.at(i % 64)->fill(-1).ok());
        } else {
          const std::vector<float> seen = values(a);
          int different = 0;
          for (const float x : seen) different += x != seen[0] ? 1 : 0;
          ASSERT_LE(different, 64);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Not a promise, a look: what one call costs, and `x + 1` of f32[3,640,480].
TEST(MxNDArray, CallsReturnAtOnce) {
  const NDArray x = counted({3, 640, 480});
  const std::vector<NDArray> inputs = {x};
  const Attributes one = {{"scalar", "1"}};
  ASSERT_TRUE(call("_plus_scalar", inputs, one).wait().ok());
  const auto time_us = [](int count, auto&& body) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) body();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() /
           count;
  };
  const double waited = time_us(200, [&] { (void)call("_plus_scalar", inputs, one).wait(); });
  NDArray last;
  const double streamed = time_us(200, [&] { last = call("_plus_scalar", inputs, one); });
  const double drained = time_us(1, [] { wait_all(); });
  const NDArray small = counted({4});
  const double pushed = time_us(2000, [&] { last = call("_plus_scalar", {small}, one); });
  wait_all();
  const double looked = time_us(100'000, [&] { (void)last.can_read(); });
  std::printf("x + 1: %.0f us waited for, %.0f us each in a stream; a call %.2f us, can_read %.1f ns\n",
              waited, streamed + drained / 200, pushed, looked * 1000);
  EXPECT_LT(pushed, 1000);
}

}  // namespace
}  // namespace inflight::mx
