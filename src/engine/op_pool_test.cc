// SPDX-License-Identifier: Apache-2.0
#include "engine/op_pool.h"

#include <gtest/gtest.h>

namespace inflight::internal {
namespace {

// A push that makes memory ready while another thread shuts the engine down once took all memory there was.
TEST(OpPoolTest, MakesNoMoreReadyWhereTheOwnerClosesMeanwhile) {
  OpPool pool;
  std::atomic<std::uint64_t> next{0};
  EXPECT_TRUE(pool.refill(next));
  next.store(5);
  void* const before = pool.ready(5);
  EXPECT_NE(before, nullptr);
  next.fetch_or(OpPool::kClosed);
  EXPECT_TRUE(pool.refill(next));
  EXPECT_EQ(pool.ready(5), before);
  EXPECT_EQ(pool.ready(5 + 64), nullptr);
}

}  // namespace
}  // namespace inflight::internal
