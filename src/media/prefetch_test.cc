// SPDX-License-Identifier: Apache-2.0
#include "media/prefetch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <optional>
#include <semaphore>
#include <utility>

namespace inflight {
namespace {

constexpr TimePoint kForever = TimePoint::max();
constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();

// Frames 0 to `frames`, then the end or an error; optionally each only when the test lets it.
class FakeSource final : public FrameSource {
 public:
  FakeSource(std::int64_t frames, Status after, bool gated = false, bool live = false)
      : frames_(frames), after_(std::move(after)), gated_(gated), live_(live) {}

  Result<std::optional<VideoFrame>> next() override {
    if (gated_) gate_.acquire();
    if (interrupted_) return std::optional<VideoFrame>();
    if (asked_ == frames_) {
      if (!after_.ok()) return after_;
      return std::optional<VideoFrame>();
    }
    VideoFrame frame;
    frame.index = asked_++;
    if (live_) frame.pixels = std::move(Buffer::allocate(3)).value();
    return std::optional<VideoFrame>(std::move(frame));
  }
  void interrupt() noexcept override {
    interrupted_ = true;
    gate_.release();
  }
  double fps() const noexcept override { return 0; }
  int height() const noexcept override { return 1; }
  int width() const noexcept override { return 1; }
  bool live() const noexcept override { return live_; }
  std::string description() const override { return "fake"; }

  void let(int frames) { gate_.release(frames); }
  std::int64_t asked() const { return asked_; }

 private:
  const std::int64_t frames_;
  const Status after_;
  const bool gated_;
  const bool live_;
  std::counting_semaphore<> gate_{0};
  std::atomic<bool> interrupted_{false};
  std::atomic<std::int64_t> asked_{0};
};

TEST(Prefetch, DeliversAllInOrderThenTheEnd) {
  PrefetchedSource source(std::make_unique<FakeSource>(1000, Status()), 3);
  for (std::int64_t i = 0; i < 1000; ++i) {
    const Taken taken = source.wait_next_until(kForever);
    ASSERT_EQ(taken.state, Taken::State::kFrame);
    ASSERT_EQ(taken.frame.index, i);
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(source.wait_next_until(kForever).state, Taken::State::kEnd);
    EXPECT_EQ(source.try_next().state, Taken::State::kEnd);
  }
}

TEST(Prefetch, ErrorComesAfterTheFramesBeforeIt) {
  const Status error(StatusCode::kInvalidMedia, "video \"x\": frame 5: damaged");
  PrefetchedSource source(std::make_unique<FakeSource>(5, error), 8);
  for (std::int64_t i = 0; i < 5; ++i) {
    const Taken taken = source.wait_next_until(kForever);
    ASSERT_EQ(taken.state, Taken::State::kFrame);
    EXPECT_EQ(taken.frame.index, i);
  }
  for (int i = 0; i < 2; ++i) {
    const Taken taken = source.wait_next_until(kForever);
    EXPECT_EQ(taken.state, Taken::State::kError);
    EXPECT_EQ(taken.status, error);
  }
}

TEST(Prefetch, TryNextNeverWaits) {
  auto fake = std::make_unique<FakeSource>(kEndless, Status(), true);
  FakeSource& gate = *fake;
  PrefetchedSource source(std::move(fake));
  EXPECT_EQ(source.try_next().state, Taken::State::kNotYet);
  EXPECT_EQ(source.wait_next_until(TimePoint()).state, Taken::State::kNotYet);
  gate.let(1);
  EXPECT_EQ(source.wait_next_until(kForever).state, Taken::State::kFrame);
  EXPECT_EQ(source.try_next().state, Taken::State::kNotYet);
}

TEST(Prefetch, DecodesNoMoreThanItsCapacityAhead) {
  auto fake = std::make_unique<FakeSource>(kEndless, Status());
  FakeSource& asked = *fake;
  PrefetchedSource source(std::move(fake), 4);
  for (std::int64_t i = 0; i < 500; ++i) {
    ASSERT_EQ(source.wait_next_until(kForever).frame.index, i);
    ASSERT_LE(asked.asked(), i + 1 + 4);
  }
}

TEST(Prefetch, OfALiveSourceOnlyTheNewestKeepsItsPixels) {
  constexpr std::int64_t kFrames = 100;
  auto fake = std::make_unique<FakeSource>(kFrames, Status(), false, true);
  FakeSource& asked = *fake;
  PrefetchedSource source(std::move(fake), 2);
  while (asked.asked() < kFrames) std::this_thread::yield();
  std::int64_t with_pixels = 0;
  for (std::int64_t i = 0; i < kFrames; ++i) {
    const Taken taken = source.wait_next_until(kForever);
    ASSERT_EQ(taken.state, Taken::State::kFrame);
    EXPECT_EQ(taken.frame.index, i);
    EXPECT_EQ(static_cast<bool>(taken.frame.pixels), taken.frame.damage.ok());
    with_pixels += taken.frame.damage.ok() ? 1 : 0;
    EXPECT_TRUE(taken.frame.damage.ok() || taken.frame.damage.code() == StatusCode::kOverloaded);
  }
  EXPECT_GE(with_pixels, 1);
  EXPECT_LE(with_pixels, 2);  // the last one, and one that was taken while it was the newest
  EXPECT_EQ(source.wait_next_until(kForever).state, Taken::State::kEnd);
}

TEST(Prefetch, DestructorEndsABlockedSource) {
  const PrefetchedSource source(std::make_unique<FakeSource>(kEndless, Status(), true));
}

TEST(Prefetch, DestructorEndsAFullQueue) {
  auto fake = std::make_unique<FakeSource>(kEndless, Status());
  FakeSource& asked = *fake;
  const PrefetchedSource source(std::move(fake), 2);
  while (asked.asked() < 2) std::this_thread::yield();
}

TEST(Prefetch, InterruptKeepsWhatIsDecodedThenEnds) {
  auto fake = std::make_unique<FakeSource>(kEndless, Status(), true);
  FakeSource& gate = *fake;
  PrefetchedSource source(std::move(fake), 8);
  std::counting_semaphore<> first{0};
  source.on_available([&first] { first.release(); });
  gate.let(1);
  first.acquire();
  source.interrupt();
  EXPECT_EQ(source.wait_next_until(kForever).state, Taken::State::kFrame);
  EXPECT_EQ(source.wait_next_until(kForever).state, Taken::State::kEnd);
}

// A loop that sleeps until the hook wakes it, and takes until kNotYet, misses nothing.
TEST(Prefetch, HookWakesALoop) {
  PrefetchedSource source(std::make_unique<FakeSource>(2000, Status()), 3);
  std::counting_semaphore<> wake{0};
  source.on_available([&wake] { wake.release(); });
  std::int64_t frames = 0;
  for (bool ended = false; !ended;) {
    wake.acquire();
    while (true) {
      const Taken taken = source.try_next();
      if (taken.state == Taken::State::kFrame) ++frames;
      ended = taken.state == Taken::State::kEnd;
      if (taken.state != Taken::State::kFrame) break;
    }
  }
  EXPECT_EQ(frames, 2000);
}

TEST(Prefetch, HookSetLateIsCalledAtOnce) {
  PrefetchedSource source(std::make_unique<FakeSource>(0, Status()));
  EXPECT_EQ(source.wait_next_until(kForever).state, Taken::State::kEnd);
  int calls = 0;
  source.on_available([&calls] { ++calls; });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace inflight
