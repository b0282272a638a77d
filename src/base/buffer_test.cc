// SPDX-License-Identifier: Apache-2.0
#include "inflight/buffer.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace inflight {
namespace {

bool aligned(const Buffer& buffer) {
  return reinterpret_cast<std::uintptr_t>(buffer.bytes()) % Buffer::kAlignment == 0;
}

TEST(BufferTest, EmptyHasNoMemory) {
  const Buffer none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.bytes(), nullptr);
  EXPECT_EQ(none.size(), 0U);
  EXPECT_FALSE(none.unique());
  const Buffer copy = none;  // NOLINT(performance-unnecessary-copy-initialization): the copy is the test
  EXPECT_FALSE(copy);
}

TEST(BufferTest, AllocateGivesAlignedMemoryOfTheSizeAsked) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64},
                                  std::size_t{65}, std::size_t{1} << 20}) {
    const Buffer buffer = Buffer::allocate(bytes);
    EXPECT_TRUE(buffer);
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_TRUE(aligned(buffer));
    std::memset(buffer.bytes(), 0xAB, bytes);  // the last byte included: AddressSanitizer watches
  }
}

TEST(BufferTest, CopiesShareAndTheCountSaysSo) {
  Buffer first = Buffer::allocate(8);
  EXPECT_TRUE(first.unique());
  Buffer second = first;
  EXPECT_EQ(second.bytes(), first.bytes());
  EXPECT_FALSE(first.unique());
  EXPECT_FALSE(second.unique());

  const Buffer third = std::move(second);
  EXPECT_FALSE(second);  // NOLINT(bugprone-use-after-move): a moved-from buffer has no memory
  EXPECT_FALSE(third.unique());

  first = Buffer();
  EXPECT_TRUE(third.unique());
}

TEST(BufferTest, AssignmentToItselfKeepsTheMemory) {
  Buffer buffer = Buffer::allocate(8);
  std::byte* const memory = buffer.bytes();
  const Buffer& alias = buffer;
  buffer = alias;
  EXPECT_EQ(buffer.bytes(), memory);
  EXPECT_TRUE(buffer.unique());
}

TEST(BufferTest, WrapReleasesOnceAndOnlyAfterTheLastShare) {
  std::array<std::byte, 16> memory{};
  int released = 0;
  {
    Buffer last;
    {
      Buffer first = Buffer::wrap(memory.data(), memory.size(), [&released] { ++released; });
      EXPECT_EQ(first.bytes(), memory.data());
      EXPECT_EQ(first.size(), memory.size());
      Buffer second = first;
      Buffer third = std::move(first);
      last = second;
    }
    EXPECT_EQ(released, 0);
    EXPECT_TRUE(last.unique());
  }
  EXPECT_EQ(released, 1);
}

TEST(BufferDeathTest, WrapNeedsARelease) {
  int memory = 0;
  EXPECT_DEATH(Buffer::wrap(&memory, sizeof(memory), nullptr), "check failed");
}

TEST(BufferTest, ThreadsShareAndTheLastOneReleases) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 500;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<int> values(kThreads,
                            0);  // one a thread, written while it holds a share, read by the release
    std::atomic<int> released{0};
    int sum = 0;
    std::vector<std::thread> threads;
    {
      const Buffer buffer = Buffer::wrap(values.data(), values.size() * sizeof(int), [&] {
        for (const int value : values) sum += value;
        released.fetch_add(1);
      });
      for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([share = buffer, t]() mutable {
          const Buffer another = share;
          reinterpret_cast<int*>(another.bytes())[t] = t + 1;
          share = Buffer();
        });
      }
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(released.load(), 1);
    ASSERT_EQ(sum, kThreads * (kThreads + 1) / 2) << "a write made under a share was not seen by the release";
  }
}

TEST(BufferPoolTest, GivesBackWhatCameBack) {
  BufferPool pool;
  Buffer buffer = pool.acquire(100);
  EXPECT_EQ(buffer.size(), 100U);
  EXPECT_TRUE(aligned(buffer));
  EXPECT_TRUE(buffer.unique());
  EXPECT_EQ(pool.retained_bytes(), 0U);

  std::byte* const memory = buffer.bytes();
  Buffer share = buffer;
  buffer = Buffer();
  EXPECT_EQ(pool.retained_bytes(), 0U) << "still held by a share";
  share = Buffer();
  EXPECT_EQ(pool.retained_bytes(), 100U);

  const Buffer other_size = pool.acquire(101);
  EXPECT_NE(other_size.bytes(), memory);
  EXPECT_EQ(pool.retained_bytes(), 100U);

  const Buffer again = pool.acquire(100);
  EXPECT_EQ(again.bytes(), memory);
  EXPECT_TRUE(again.unique());
  EXPECT_EQ(pool.retained_bytes(), 0U);
}

TEST(BufferPoolTest, NeverHandsOutWhatIsHeld) {
  BufferPool pool;
  std::vector<Buffer> held;
  std::set<std::byte*> seen;
  for (int i = 0; i < 10; ++i) {
    held.push_back(pool.acquire(64));
    EXPECT_TRUE(seen.insert(held.back().bytes()).second);
  }
}

TEST(BufferPoolTest, ReservedBuffersAreTheOnesAcquired) {
  BufferPool pool;
  pool.reserve(256, 3);
  EXPECT_EQ(pool.retained_bytes(), 3 * 256U);
  std::vector<Buffer> held;
  for (std::size_t left = 3; left > 0; --left) {
    held.push_back(pool.acquire(256));
    EXPECT_EQ(pool.retained_bytes(), (left - 1) * 256);
  }
  held.push_back(pool.acquire(256));  // one past the reserve: made anew
  EXPECT_TRUE(held.back());
  held.clear();
  EXPECT_EQ(pool.retained_bytes(), 4 * 256U);
}

TEST(BufferPoolTest, RetainsUpToItsBoundAndNoByteMore) {
  BufferPool pool(300);
  {
    const Buffer a = pool.acquire(100);
    const Buffer b = pool.acquire(100);
    const Buffer c = pool.acquire(100);
  }
  EXPECT_EQ(pool.retained_bytes(), 300U);  // exactly the bound

  BufferPool smaller(299);
  {
    const Buffer a = smaller.acquire(100);
    const Buffer b = smaller.acquire(100);
    const Buffer c = smaller.acquire(100);
  }
  EXPECT_EQ(smaller.retained_bytes(), 200U);  // the third would have been one past
  smaller.reserve(100, 5);
  EXPECT_EQ(smaller.retained_bytes(), 200U);
  smaller.reserve(99, 1);
  EXPECT_EQ(smaller.retained_bytes(), 299U);
}

TEST(BufferPoolTest, BuffersOutliveThePool) {
  auto pool = std::make_unique<BufferPool>();
  pool->reserve(32, 2);
  Buffer survivor = pool->acquire(32);
  const Buffer share = survivor;
  pool.reset();
  std::memset(survivor.bytes(), 1, survivor.size());
  survivor = Buffer();
  EXPECT_TRUE(share.unique());
  std::memset(share.bytes(), 2, share.size());  // goes after the pool: AddressSanitizer watches for leaks
}

TEST(BufferPoolTest, NoTwoThreadsHoldOneBuffer) {
  BufferPool pool;
  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  std::atomic<int> spoilt{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&pool, &spoilt, t] {
      const auto mark = static_cast<unsigned char>(t + 1);
      for (int i = 0; i < 3000; ++i) {
        const Buffer buffer = pool.acquire(i % 2 == 0 ? 64 : 128);
        const Buffer share = buffer;
        std::memset(buffer.bytes(), mark, buffer.size());
        for (std::size_t b = 0; b < share.size(); ++b) {
          if (share.bytes()[b] != static_cast<std::byte>(mark)) spoilt.fetch_add(1);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(spoilt.load(), 0);
  // At most one of each size a thread was ever out.
  EXPECT_LE(pool.retained_bytes(), kThreads * (64U + 128U));
  EXPECT_GT(pool.retained_bytes(), 0U);
}

}  // namespace
}  // namespace inflight
