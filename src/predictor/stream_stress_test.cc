// SPDX-License-Identifier: Apache-2.0
// Streams under many threads, and many streams that come and go.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "base/test_stress.h"
#include "predictor/predictor_test_support.h"

namespace inflight {
namespace {

void add(Statistics& sum, const Statistics& books) {
  for (const auto each : {&Statistics::submitted, &Statistics::completed, &Statistics::failed,
                          &Statistics::rejected, &Statistics::dropped, &Statistics::expired,
                          &Statistics::cancelled, &Statistics::in_flight, &Statistics::superseded})
    sum.*each += books.*each;
}

// Threads with streams of every policy and delivery submit, cancel, let deadlines pass and take.
TEST(StreamStress, TheLawHoldsForEachStreamAndTheirSum) {
  constexpr int kThreads = 4;
  constexpr int kStreams = 12;
  const int frames = kStress * 400;
  NullScript script;
  script.concurrency_narrow = 2;
  script.outcome = [](std::uint64_t launch) {
    return launch % 13 == 0 ? Status(StatusCode::kDeviceError, "fault") : Status();
  };
  Predictor predictor = null_predictor(std::move(script), {.in_flight_limit = 6, .finished_limit = 64});
  std::vector<Stream> streams;
  for (int i = 0; i < kStreams; ++i) {
    streams.push_back(*predictor.open_stream({.policy = static_cast<OverloadPolicy>(i % 4),
                                              .block_timeout = std::chrono::milliseconds(1),
                                              .weight = 1.0 + i % 3,
                                              .priority = i % 2,
                                              .delivery = static_cast<Delivery>(i / 4)}));
  }
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> taken{0};
  std::map<std::size_t, std::uint64_t> newest;  // per stream that does not deliver as completed
  bool ordered = true;
  const auto take = [&] {
    for (const Prediction& prediction : predictor.take_finished()) {
      ++taken;
      const Stream stream = prediction.stream();
      if (stream.options().delivery == Delivery::kAsCompleted) continue;
      const auto which =
          static_cast<std::size_t>(std::find(streams.begin(), streams.end(), stream) - streams.begin());
      const std::uint64_t id = prediction.id() + 1;
      ordered = ordered && id > newest[which];
      newest[which] = id;
    }
  };
  std::thread taker([&] {
    while (!done) {
      take();
      EXPECT_TRUE(law_holds(predictor.statistics()));
      for (const Stream& stream : streams) EXPECT_TRUE(law_holds(stream.statistics()));
    }
  });
  std::vector<std::thread> submitters;
  for (int t = 0; t < kThreads; ++t) {
    submitters.emplace_back([&, t] {
      std::minstd_rand random(static_cast<unsigned>(t + 1));
      for (int i = 0; i < frames; ++i) {
        Frame frame = byte_frame(1);
        const std::size_t which = random() % (kStreams + 1);
        if (which < kStreams) frame.stream = streams[which];
        if (random() % 5 == 0)
          frame.deadline = steady_clock().now() + std::chrono::microseconds(random() % 100);
        const auto prediction = predictor.submit(std::move(frame));
        if (prediction.ok() && random() % 7 == 0) prediction->cancel();
      }
    });
  }
  for (std::thread& thread : submitters) thread.join();
  predictor.drain();
  done = true;
  taker.join();
  take();
  EXPECT_TRUE(ordered) << "a stream's results came out of order";
  Statistics sum;
  std::uint64_t not_delivered = 0;
  for (const Stream& stream : streams) {
    const Statistics books = stream.statistics();
    EXPECT_TRUE(law_holds(books));
    EXPECT_EQ(books.in_flight, 0U);
    add(sum, books);
    if (stream.options().delivery == Delivery::kNewestOnly)
      not_delivered += books.superseded + books.dropped + books.expired + books.cancelled;
  }
  const Statistics all = predictor.statistics();
  EXPECT_EQ(all.submitted, static_cast<std::uint64_t>(kThreads * frames));
  EXPECT_LE(sum.submitted, all.submitted) << "some frames named no stream";
  EXPECT_EQ(sum.dropped, all.dropped);
  EXPECT_EQ(sum.superseded, all.superseded);
  EXPECT_EQ(taken + not_delivered, all.submitted - all.rejected);
}

// Several threads submit to one stream: still no more than one frame waits.
TEST(StreamStress, OneFrameWaitsUnderKeepLatest) {
  Gate gate;
  Predictor predictor =
      null_predictor(gated(gate), {.in_flight_limit = 32, .slots = 1, .keep_finished = false});
  const Stream camera = *predictor.open_stream({.policy = OverloadPolicy::kKeepLatest});
  Frame first = byte_frame(1);
  first.stream = camera;
  const Prediction running = *predictor.submit(std::move(first));
  gate.await_arrivals(1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kStress * 200; ++i) {
        Frame frame = byte_frame(2);
        frame.stream = camera;
        EXPECT_TRUE(predictor.submit(std::move(frame)).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(camera.statistics().in_flight, 2U);
  gate.open();
  predictor.drain();
  EXPECT_EQ(camera.statistics().completed, 2U);
}

TEST(StreamStress, ManyStreamsComeAndGoInFlatMemory) {
  const int streams = kStress * 10'000;
  Predictor predictor = null_predictor({}, {.in_flight_limit = 8, .finished_limit = 64});
  Statistics sum;
  std::vector<Stream> open(16);
  std::size_t used = 0;
  for (int i = 0; i < streams; ++i) {
    Stream& place = open[static_cast<std::size_t>(i) % open.size()];
    if (place) {
      predictor.drain();
      add(sum, place.statistics());
    }
    place = *predictor.open_stream(
        {.policy = static_cast<OverloadPolicy>(i % 4), .delivery = static_cast<Delivery>(i % 3)});
    for (std::uint8_t k = 0; k < 3; ++k) {
      Frame frame = byte_frame(k);
      frame.stream = place;
      static_cast<void>(predictor.submit(std::move(frame)));
    }
    predictor.take_finished();
    if (i == streams / 4) used = mallinfo2().uordblks;
  }
  const auto grown = static_cast<std::int64_t>(mallinfo2().uordblks) - static_cast<std::int64_t>(used);
  predictor.drain();
  for (const Stream& stream : open) add(sum, stream.statistics());
  const Statistics all = predictor.statistics();
  EXPECT_EQ(sum.submitted, all.submitted);
  EXPECT_EQ(sum.completed, all.completed);
  EXPECT_EQ(sum.rejected, all.rejected);
  EXPECT_EQ(sum.dropped, all.dropped);
  EXPECT_EQ(all.submitted, 3 * static_cast<std::uint64_t>(streams));
  EXPECT_LT(grown, 1 << 20) << "bytes in three quarters of the streams";
}

TEST(StreamStress, AStreamOutlivesItsPredictor) {
  Stream stream;
  Prediction prediction;
  {
    Predictor predictor = null_predictor({});
    stream = *predictor.open_stream({.name = "door"});
    Frame frame = byte_frame(1);
    frame.stream = stream;
    prediction = *predictor.submit(std::move(frame));
    EXPECT_TRUE(prediction.wait().ok());
  }
  EXPECT_EQ(stream.statistics().completed, 1U);
  stream = Stream();
  EXPECT_EQ(prediction.stream().name(), "door");
}

}  // namespace
}  // namespace inflight
