// SPDX-License-Identifier: Apache-2.0
// The queue between the loop and the thread that writes results. ThreadSanitizer runs it too.
#include "cli/results.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "cli/output_file.h"
#include "inflight/inflight.h"

namespace inflight::cli {
namespace {

constexpr std::size_t kPredictionsMax = 4;

// Reads what comes through a pipe; the writer's end is a path of its own.
class Reader {
 public:
  Reader() {
    EXPECT_EQ(pipe(ends_.data()), 0);
    thread_ = std::thread([this] {
      std::array<char, 4096> piece{};
      for (ssize_t count = 0; (count = ::read(ends_[0], piece.data(), piece.size())) > 0;) {
        text_.append(piece.data(), static_cast<std::size_t>(count));
      }
    });
  }
  OutputFile file() {
    OutputFile file = OutputFile::open("--results", "/dev/fd/" + std::to_string(ends_[1])).value();
    close(ends_[1]);
    return file;
  }
  // After the writer's end was closed.
  std::vector<nlohmann::json> lines() {
    thread_.join();
    close(ends_[0]);
    std::vector<nlohmann::json> lines;
    std::istringstream text(text_);
    for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

 private:
  std::array<int, 2> ends_{};
  std::string text_;
  std::thread thread_;
};

void put(ResultsWriter& results, std::int64_t frame, std::optional<Prediction> prediction) {
  FrameResult result{frame, {}, {}, std::move(prediction), Status()};
  if (!result.prediction) result.refusal = Status(StatusCode::kOverloaded, "no place");
  while (!results.put(result)) results.wait_room_until(steady_clock().now() + std::chrono::seconds(10));
}

TEST(ResultsWriter, EveryFrameHasOneLineWhileOutputsAreLetGoOf) {
  constexpr int kFrames = 2000;
  const Model model = Model::opaque("m", {{"x", DType::kU8, {2}}}, {{"y", DType::kU8, {3}}}).value();
  Predictor predictor =
      Predictor::create(model, {.device = Device::null(), .in_flight_limit = 8, .finished_limit = 8}).value();
  Reader reader;
  ResultsWriter results(reader.file(), {.outputs = {{"y", DType::kU8, {3}}}, .meaning = {}, .truths = {}},
                        kPredictionsMax);
  results.set_start(steady_clock().now());
  for (int i = 0; i < kFrames; ++i) {
    const std::array<std::uint8_t, 2> pixels = {static_cast<std::uint8_t>(i), 7};
    if (i % 4 == 3) {
      put(results, i, std::nullopt);
      continue;
    }
    const NDArray array = NDArray::copy_of({pixels.data(), DType::kU8, {2}}).value();
    const Prediction prediction = predictor.submit(Frame::of(array)).value();
    ASSERT_TRUE(prediction.wait().ok());
    predictor.take_finished();
    put(results, i, prediction);
  }
  ASSERT_TRUE(results.finish().ok());
  const std::vector<nlohmann::json> lines = reader.lines();
  ASSERT_EQ(lines.size(), std::size_t{kFrames});
  for (int i = 0; i < kFrames; ++i) {
    const nlohmann::json& line = lines[static_cast<std::size_t>(i)];
    EXPECT_EQ(line["frame"], i);
    EXPECT_EQ(line["outcome"], i % 4 == 3 ? "rejected" : "completed");
    if (i % 4 != 3) {
      EXPECT_EQ(line["outputs"]["y"]["values"][2], i % 256);
    }
  }
}

TEST(ResultsWriter, AReaderThatGoesIsSaidAtTheEnd) {
  std::signal(SIGPIPE, SIG_IGN);  // as the program does
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  OutputFile file = OutputFile::open("--results", "/dev/fd/" + std::to_string(ends[1])).value();
  close(ends[0]);
  close(ends[1]);
  ResultsWriter results(std::move(file), {}, kPredictionsMax);
  for (int i = 0; i < 100; ++i) put(results, i, std::nullopt);
  EXPECT_EQ(results.finish().code(), StatusCode::kIoError);
}

}  // namespace
}  // namespace inflight::cli
