// SPDX-License-Identifier: Apache-2.0
#include "base/in_parallel.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <stdexcept>
#include <thread>

namespace inflight::internal {
namespace {

TEST(InParallel, ReturnsTheFirstFailureByIndex) {
  for (const std::size_t threads : {0, 1, 4, 100}) {
    std::array<std::atomic<int>, 20> calls{};
    const auto work = [&](std::size_t i) -> Status {
      ++calls[i];
      if (i == 7) throw std::runtime_error("seven");
      return i == 13 ? Status(StatusCode::kInternal, "thirteen") : Status();
    };
    EXPECT_EQ(in_parallel(20, work, threads), Status::exception("seven"));
    for (const auto& count : calls) EXPECT_EQ(count, 1);
  }
  EXPECT_TRUE(in_parallel(0, [](std::size_t) { return Status(StatusCode::kInternal, "never"); }).ok());
}

// Each waits for the other.
TEST(InParallel, CallsRunAtTheSameTime) {
  std::atomic<int> arrived{0};
  const auto meet = [&](std::size_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
    return Status();
  };
  EXPECT_TRUE(in_parallel(2, meet, 2).ok());
}

}  // namespace
}  // namespace inflight::internal
