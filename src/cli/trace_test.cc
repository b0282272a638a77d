// SPDX-License-Identifier: Apache-2.0
// The queue between the loop and the thread that writes a trace. ThreadSanitizer runs it too.
#include "cli/trace.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

namespace inflight::cli {
namespace {

using std::chrono::microseconds;

const TimePoint kStart = TimePoint(std::chrono::seconds(5));

TraceRecord record(std::int64_t frame) {
  const TimePoint due = kStart + microseconds(100) * frame;
  return {.frame = frame,
          .outcome = Outcome::kCompleted,
          .slot = static_cast<int>(frame % 3),
          .due = due,
          .launched = due + microseconds(1),
          .finished = due + microseconds(5),
          .delivered = due + microseconds(7)};
}

TEST(TraceTextTest, TimesAreMicrosecondsWithNanoseconds) {
  TraceText text({"d", {"a \"stream\""}});
  fmt::memory_buffer out;
  text.append_head(out);
  TraceRecord early = record(0);
  early.due = kStart - std::chrono::nanoseconds(1500);
  text.append(early, kStart, out);
  TraceText::append_end(out);
  const nlohmann::json trace = nlohmann::json::parse(out.begin(), out.end());
  for (const nlohmann::json& event : trace["traceEvents"]) {
    if (event["ph"] == "b") {
      EXPECT_EQ(event["ts"], -1.5);
    }
    if (event["ph"] == "b") {
      EXPECT_EQ(event["args"]["wait_us"], 2.5);
    }
    if (event["ph"] == "X") {
      EXPECT_EQ(event["dur"], 4.0);
    }
  }
}

// A reader that takes nothing until the queue is full.
TEST(TraceWriterTest, IsFullWhenItSaysSoAndWritesAllOfIt) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  OutputFile file = OutputFile::open("--trace", "/dev/fd/" + std::to_string(ends[1])).value();
  close(ends[1]);
  std::string text;
  std::int64_t put = 0;
  std::thread reader;
  {
    TraceWriter writer(std::move(file), {"d", {"s"}});
    writer.set_start(kStart);
    for (; writer.has_room(); ++put) {
      writer.put(record(put));
      ASSERT_LT(put, 10'000'000) << "the pipe takes everything";
    }
    EXPECT_GE(put, static_cast<std::int64_t>(TraceWriter::kWaitingMax));
    writer.put(record(put++));  // what is in flight still finds a place
    reader = std::thread([&] {
      std::array<char, 65536> piece{};
      for (ssize_t count = 0; (count = ::read(ends[0], piece.data(), piece.size())) > 0;)
        text.append(piece.data(), static_cast<std::size_t>(count));
    });
    while (!writer.has_room()) writer.wait_room_until(steady_clock().now() + std::chrono::milliseconds(50));
    EXPECT_TRUE(writer.finish().ok());
  }
  reader.join();
  close(ends[0]);
  const nlohmann::json trace = nlohmann::json::parse(text);
  std::int64_t frames = 0;
  for (const nlohmann::json& event : trace["traceEvents"]) {
    if (event["ph"] == "b") {
      EXPECT_EQ(event["id"], frames++);
    }
  }
  EXPECT_EQ(frames, put);
}

}  // namespace
}  // namespace inflight::cli
