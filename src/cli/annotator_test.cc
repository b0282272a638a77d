// SPDX-License-Identifier: Apache-2.0
// The ring between the loop and the drawing thread. ThreadSanitizer runs it too.
#include "cli/annotator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <limits>
#include <random>
#include <utility>

#include "inflight/inflight.h"

namespace inflight::cli {
namespace {

constexpr int kSide = 24;
constexpr std::size_t kFrameBytes = std::size_t{kSide} * kSide * 3;
constexpr std::uint32_t kOpen = std::numeric_limits<std::uint32_t>::max();

// What the writer was given. The drawing thread writes it until finish().
struct Written {
  std::int64_t frame;
  Duration time;
  std::uint8_t last_grey;  // of the last pixel, on which nothing is drawn
  bool drawn;              // not one colour
};

// Lets as many pictures through as the gate says, then waits; fails at one picture.
struct Script {
  std::atomic<std::uint32_t> gate{kOpen};
  std::size_t fails_at = std::numeric_limits<std::size_t>::max();
  std::vector<Written> pictures;
  bool finished = false;

  void open_gate(std::uint32_t count) {
    gate.store(count);
    gate.notify_all();
  }
};

class ScriptedWriter final : public VideoWriter {
 public:
  explicit ScriptedWriter(Script& script) : script_(script) {}
  Status write(const WriterPicture& picture) override {
    const std::size_t count = script_.pictures.size();
    for (std::uint32_t gate = script_.gate.load(); count >= gate; gate = script_.gate.load()) {
      script_.gate.wait(gate);
    }
    if (count == script_.fails_at) return {StatusCode::kIoError, "the disk is full"};
    const auto pixel = [&](int x, int y) { return picture.pixels + y * picture.stride + x * 4; };
    Written written{picture.frame, picture.time, *pixel(picture.width - 1, picture.height - 1), false};
    for (int y = 0; y < picture.height; ++y) {
      for (int x = 0; x < picture.width; ++x) {
        if (std::memcmp(pixel(x, y), pixel(picture.width - 1, picture.height - 1), 3) != 0)
          written.drawn = true;
      }
    }
    script_.pictures.push_back(written);
    return {};
  }
  Status finish() override {
    script_.finished = true;
    return {};
  }
  std::string description() const override { return "script"; }

 private:
  Script& script_;
};

std::uint8_t grey_of(std::int64_t number) { return static_cast<std::uint8_t>(number % 251); }
Duration time_of(std::int64_t number) { return std::chrono::milliseconds(40) * number; }

VideoFrame frame_of(std::int64_t number) {
  VideoFrame frame;
  frame.pixels = Buffer::allocate(kFrameBytes).value();
  frame.height = kSide;
  frame.width = kSide;
  frame.index = number;
  std::memset(frame.pixels.bytes(), grey_of(number), kFrameBytes);
  return frame;
}

Interpretation classifier() {
  Interpretation meaning;
  meaning.task = Task::kClassify;
  return meaning;
}

Annotator annotator_of(Script& script, OutputPace pace, std::size_t frame_bytes = kFrameBytes) {
  return {std::make_unique<ScriptedWriter>(script), classifier(), 1, frame_bytes, pace};
}

void begin(Annotator& annotator, std::int64_t number) {
  annotator.begin(number, frame_of(number), time_of(number));
}

void expect_in_order(const Script& script) {
  std::int64_t before = -1;
  for (const Written& picture : script.pictures) {
    EXPECT_GT(picture.frame, before);
    EXPECT_EQ(picture.time, time_of(picture.frame));
    EXPECT_EQ(picture.last_grey, grey_of(picture.frame));
    before = picture.frame;
  }
  EXPECT_TRUE(script.finished);
}

// Frames end out of order, some of them late, as predictions do.
void run_frames(Annotator& annotator, std::int64_t count, unsigned seed) {
  std::minstd_rand random(seed);
  std::vector<std::int64_t> open;
  const auto end_one = [&] {
    std::swap(open[random() % open.size()], open.back());
    annotator.end(open.back(), std::nullopt);
    open.pop_back();
  };
  for (std::int64_t number = 0; number < count; ++number) {
    while (annotator.pace() == OutputPace::kKeepsPace && !annotator.has_room()) {
      // Room comes from the thread, or from an end that others wait for.
      annotator.wait_room_until(steady_clock().now() + std::chrono::milliseconds(open.empty() ? 1000 : 1));
      if (!annotator.has_room() && !open.empty()) end_one();
    }
    begin(annotator, number);
    open.push_back(number);
    while (open.size() > 1 + random() % 8) end_one();
  }
  while (!open.empty()) end_one();
}

unsigned seed_of_run() {
  auto seed = static_cast<unsigned>(GTEST_FLAG_GET(random_seed));
  if (seed == 0) seed = std::random_device()() % 99'999 + 1;
  std::printf("replay with --gtest_random_seed=%u\n", seed);
  return seed;
}

// Bounds of 64, 3 and 2 frames.
class AnnotatorRing : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, AnnotatorRing,
                         testing::Values(kFrameBytes, Annotator::kBytesMax / 3, Annotator::kBytesMax));

TEST_P(AnnotatorRing, WritesEveryFrameInItsOrderWhereTheLoopWaits) {
  Script script;
  Annotator annotator = annotator_of(script, OutputPace::kKeepsPace, GetParam());
  run_frames(annotator, 500, seed_of_run());
  ASSERT_TRUE(annotator.finish().ok());
  expect_in_order(script);
  EXPECT_EQ(script.pictures.size(), 500U);
  EXPECT_EQ(annotator.written(), 500);
  EXPECT_EQ(annotator.dropped(), 0);
}

TEST_P(AnnotatorRing, CountsWhatItLeavesOutWhereItGivesWay) {
  Script script;
  Annotator annotator = annotator_of(script, OutputPace::kGivesWay, GetParam());
  run_frames(annotator, 500, seed_of_run());
  ASSERT_TRUE(annotator.finish().ok());
  expect_in_order(script);
  EXPECT_EQ(annotator.written(), static_cast<std::int64_t>(script.pictures.size()));
  EXPECT_EQ(annotator.written() + annotator.dropped(), 500);
  EXPECT_GE(annotator.written(), 2);
}

TEST(Annotator, TakesAsManyAsItsBoundAndLeavesOutTheNext) {
  Script script;
  script.gate = 0;
  Annotator annotator = annotator_of(script, OutputPace::kKeepsPace);
  for (std::int64_t number = 0; number < 64; ++number) {
    EXPECT_TRUE(annotator.has_room());
    begin(annotator, number);
    annotator.end(number, std::nullopt);
  }
  EXPECT_FALSE(annotator.has_room());
  annotator.wait_room_until(steady_clock().now());  // the time comes first
  EXPECT_FALSE(annotator.has_room());
  begin(annotator, 64);
  annotator.end(64, std::nullopt);  // of a frame that was left out
  EXPECT_EQ(annotator.dropped(), 1);
  script.open_gate(1);
  annotator.wait_room_until(TimePoint::max());
  EXPECT_TRUE(annotator.has_room());
  begin(annotator, 65);
  annotator.end(65, std::nullopt);
  EXPECT_FALSE(annotator.has_room());
  script.open_gate(kOpen);
  ASSERT_TRUE(annotator.finish().ok());
  expect_in_order(script);
  EXPECT_EQ(annotator.written(), 65);
  EXPECT_EQ(script.pictures.back().frame, 65);
}

TEST(Annotator, FinishWritesFramesThatHaveNoEnd) {
  Script script;
  Annotator annotator = annotator_of(script, OutputPace::kGivesWay);
  for (std::int64_t number = 0; number < 100; ++number) begin(annotator, number);
  for (std::int64_t number = 1; number < 100; number += 2) annotator.end(number, std::nullopt);
  ASSERT_TRUE(annotator.finish().ok());
  expect_in_order(script);
  EXPECT_EQ(annotator.written(), 100);
}

TEST(Annotator, FinishSaysTheFirstErrorAndTheRestGoesOn) {
  Script script;
  script.fails_at = 3;
  Annotator annotator = annotator_of(script, OutputPace::kKeepsPace);
  run_frames(annotator, 200, 1);
  EXPECT_EQ(annotator.finish().code(), StatusCode::kIoError);
  expect_in_order(script);
  EXPECT_EQ(annotator.written(), 3);
}

// Also: pixels and outputs are let go of on the drawing thread, while the predictor goes on.
TEST(Annotator, DrawsThePredictionsThatThereAre) {
  constexpr int kFrames = 300;
  const Model model =
      Model::opaque("m", {{"x", DType::kU8, {kSide, kSide, 3}}}, {{"y", DType::kF32, {1, 3}}}).value();
  Predictor predictor = Predictor::create(model, {.device = Device::null(), .in_flight_limit = 8}).value();
  Script script;
  Annotator annotator = annotator_of(script, OutputPace::kKeepsPace);
  std::deque<std::pair<std::int64_t, Prediction>> in_flight;
  const auto end_first = [&] {
    static_cast<void>(in_flight.front().second.wait());
    annotator.end(in_flight.front().first, std::move(in_flight.front().second));
    in_flight.pop_front();
  };
  for (std::int64_t number = 0; number < kFrames; ++number) {
    while (!annotator.has_room()) annotator.wait_room_until(TimePoint::max());
    const VideoFrame frame = frame_of(number);
    annotator.begin(number, frame, time_of(number));
    if (number % 3 == 2) {
      annotator.end(number, std::nullopt);  // refused
      continue;
    }
    const NDArray pixels = NDArray::from_buffer(frame.pixels, DType::kU8, {kSide, kSide, 3}).value();
    if (in_flight.size() == 8) end_first();
    in_flight.emplace_back(number, predictor.submit(Frame::of(pixels)).value());
  }
  while (!in_flight.empty()) end_first();
  ASSERT_TRUE(annotator.finish().ok());
  expect_in_order(script);
  ASSERT_EQ(script.pictures.size(), std::size_t{kFrames});
  for (const Written& picture : script.pictures) EXPECT_EQ(picture.drawn, picture.frame % 3 != 2);
}

}  // namespace
}  // namespace inflight::cli
