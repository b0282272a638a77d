// SPDX-License-Identifier: Apache-2.0
#include "mx/pieces.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <set>
#include <thread>
#include <vector>

#include "inflight/internal/mutex.h"
#include "mx/mx_test_support.h"

namespace inflight::mx {
namespace {

using detail::count_pieces;
using detail::Environment;
using detail::Pieces;

constexpr std::size_t kMiB = std::size_t{1} << 20U;

TEST(MxPieces, AreADivisorOfTheElementsAndWorthACall) {
  EXPECT_EQ(count_pieces(921'600, 7 * kMiB, 2), 2U);
  EXPECT_EQ(count_pieces(921'600, 7 * kMiB, 1), 1U);    // nobody could help
  EXPECT_EQ(count_pieces(921'600, 7 * kMiB, 64), 12U);  // 7 MiB are worth 14, which does not divide it
  EXPECT_EQ(count_pieces(3'000'009, 24 * kMiB, 4), 3U);
  EXPECT_EQ(count_pieces(1'000'003, 8 * kMiB, 2), 1U);  // a prime
  EXPECT_EQ(count_pieces(1'000, kMiB / 2, 2), 1U);      // too little
  EXPECT_EQ(count_pieces(96, 8 * kMiB, 4), 3U);         // rather 3 pieces of whole cache lines than 4
}

// What run_pieces() returns when an operation of the engine calls it, and nothing else is pending.
Status run_alone(std::size_t count, const std::function<Status(std::size_t)>& piece) {
  Environment& environment = **Environment::get();
  Status result;
  environment.engine().drain();
  EXPECT_TRUE(environment.engine()
                  .push(
                      [&] {
                        result = std::make_shared<Pieces>(count)->run(environment, piece);
                        return Status();
                      },
                      {})
                  .ok());
  environment.engine().drain();
  return result;
}

TEST(MxPieces, AreEachCalledOnce) {
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> calls(7);
    EXPECT_TRUE(run_alone(calls.size(), [&](std::size_t index) {
                  ++calls.at(index);
                  return Status();
                }).ok());
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
}

TEST(MxPieces, AreTakenBySeveralThreads) {
  if ((*(*Environment::get())->backend(Device::cpu()))->capacity() < 2) GTEST_SKIP() << "one processor";
  std::atomic<int> started{0};
  inflight::internal::Mutex mutex;
  std::set<std::thread::id> threads;
  // Each piece waits for the other to start, so one thread alone would wait for ever.
  EXPECT_TRUE(run_alone(2, [&](std::size_t) {
                {
                  const inflight::internal::MutexLock lock(mutex);
                  threads.insert(std::this_thread::get_id());
                }
                ++started;
                while (started < 2) std::this_thread::yield();
                return Status();
              }).ok());
  EXPECT_EQ(threads.size(), 2U);
}

// Another operation is pending, so the engine's threads do not help.
TEST(MxPieces, AreTakenByAThreadThatWaits) {
  Environment& environment = **Environment::get();
  const auto pieces = std::make_shared<Pieces>(2);
  const Var var = Var::make();
  inflight::internal::Completion done;
  std::atomic<int> started{0};
  std::atomic<bool> here{false};
  const std::thread::id me = std::this_thread::get_id();
  const auto piece = [&](std::size_t) {
    here = here || std::this_thread::get_id() == me;
    ++started;
    while (started < 2) std::this_thread::yield();
    return Status();
  };
  std::atomic<bool> pushed{false};
  OpOptions first;
  first.writes.push_back(var);
  ASSERT_TRUE(environment.engine()
                  .push(
                      [&] {
                        while (!pushed) std::this_thread::yield();
                        done.complete(pieces->run(environment, piece));
                        return Status();
                      },
                      std::move(first))
                  .ok());
  OpOptions second;
  second.reads.push_back(var);
  ASSERT_TRUE(environment.engine().push([] { return Status(); }, std::move(second)).ok());
  pushed = true;
  while (!done.ready()) pieces->help_until(done);
  EXPECT_TRUE(done.status().ok());
  EXPECT_TRUE(here);
  environment.engine().drain();
}

TEST(MxPieces, ReportAFailureAndRunTheOthers) {
  std::atomic<int> calls{0};
  const Status failed = run_alone(5, [&](std::size_t index) {
    ++calls;
    return index == 3 ? Status(StatusCode::kInvalidArgument, "the third") : Status();
  });
  EXPECT_EQ(failed.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(calls, 5);
  EXPECT_EQ(run_alone(3, [](std::size_t) -> Status { throw std::bad_alloc(); }).code(),
            StatusCode::kOutOfMemory);
}

// Sizes of one piece and of many, of whole cache lines and not, and a prime.
TEST(MxPieces, ComputeWhatOnePieceComputes) {
  for (const Shape& shape : {Shape{3, 640, 480}, Shape{3, 1'000'003}, Shape{1'000'003}, Shape{1'022, 514}}) {
    const NDArray x = counted(shape, -100, 0.25);
    const NDArray y = counted(shape, 3, -0.5);
    const std::vector<float> xs = values(x);
    const std::vector<float> ys = values(y);
    const std::vector<float> sum = values(call("broadcast_add", {x, y}));
    const std::vector<float> less = values(call("_rminus_scalar", {x}, {{"scalar", "7"}}));
    const std::vector<float> chosen =
        values(call("where", {call("_greater_scalar", {x}, {{"scalar", "9"}}), x, y}));
    const NDArray whole = call("Cast", {x}, {{"dtype", "int32"}});
    const std::vector<std::int32_t> cast = values<std::int32_t>(whole);
    EXPECT_EQ(whole.shape(), shape);
    ASSERT_EQ(sum.size(), xs.size());
    for (std::size_t i = 0; i < xs.size(); ++i) {
      ASSERT_EQ(sum[i], xs[i] + ys[i]) << i;
      ASSERT_EQ(less[i], 7 - xs[i]) << i;
      ASSERT_EQ(chosen[i], xs[i] > 9 ? xs[i] : ys[i]) << i;
      ASSERT_EQ(cast[i], static_cast<std::int32_t>(xs[i])) << i;
    }
  }
}

TEST(MxPieces, AFailureOfOneIsTheOperators) {
  std::vector<std::int64_t> big(1U << 20U, 1);
  big.back() = std::int64_t{1} << 40U;
  const NDArray sum = call("_plus_scalar", {array(Shape{1 << 20}, big)}, {{"scalar", "1"}});
  static_cast<void>(sum.wait());
  expect_clear(sum.status(), StatusCode::kUnsupported, "want what fits in 32 bits");
}

}  // namespace
}  // namespace inflight::mx
