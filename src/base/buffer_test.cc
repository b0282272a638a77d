// SPDX-License-Identifier: Apache-2.0
#include "inflight/buffer.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
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
    const Buffer buffer = Buffer::allocate(bytes).value();
    EXPECT_TRUE(buffer);
    EXPECT_EQ(buffer.size(), bytes);
    EXPECT_TRUE(aligned(buffer));
    std::memset(buffer.bytes(), 0xAB, bytes);  // the last byte included: AddressSanitizer watches
  }
}

TEST(BufferTest, CopiesShareAndTheCountSaysSo) {
  Buffer first = Buffer::allocate(8).value();
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
  Buffer buffer = Buffer::allocate(8).value();
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
      Buffer first = Buffer::wrap(memory.data(), memory.size(), [&released] { ++released; }).value();
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

TEST(BufferTest, ThreadsShareAndTheLastOneReleases) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 500;
  for (int round = 0; round < kRounds; ++round) {
    // One for each thread, written while that holds a reference, and read by the release function.
    std::vector<int> values(kThreads, 0);
    std::atomic<int> released{0};
    int sum = 0;
    std::vector<std::thread> threads;
    {
      const Buffer buffer = Buffer::wrap(values.data(), values.size() * sizeof(int), [&] {
                              for (const int value : values) sum += value;
                              released.fetch_add(1);
                            }).value();
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
  Buffer buffer = pool.acquire(100).value();
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

  const Buffer other_size = pool.acquire(101).value();
  EXPECT_NE(other_size.bytes(), memory);
  EXPECT_EQ(pool.retained_bytes(), 100U);

  const Buffer again = pool.acquire(100).value();
  EXPECT_EQ(again.bytes(), memory);
  EXPECT_TRUE(again.unique());
  EXPECT_EQ(pool.retained_bytes(), 0U);
}

TEST(BufferPoolTest, NeverHandsOutWhatIsHeld) {
  BufferPool pool;
  std::vector<Buffer> held;
  std::set<std::byte*> seen;
  for (int i = 0; i < 10; ++i) {
    held.push_back(pool.acquire(64).value());
    EXPECT_TRUE(seen.insert(held.back().bytes()).second);
  }
}

TEST(BufferPoolTest, ReservedBuffersAreTheOnesAcquired) {
  BufferPool pool;
  EXPECT_TRUE(pool.reserve(256, 3).ok());
  EXPECT_EQ(pool.retained_bytes(), 3 * 256U);
  std::vector<Buffer> held;
  for (std::size_t left = 3; left > 0; --left) {
    held.push_back(pool.acquire(256).value());
    EXPECT_EQ(pool.retained_bytes(), (left - 1) * 256);
  }
  held.push_back(pool.acquire(256).value());  // one past the reserve: made anew
  EXPECT_TRUE(held.back());
  held.clear();
  EXPECT_EQ(pool.retained_bytes(), 4 * 256U);
}

TEST(BufferPoolTest, RetainsUpToItsBoundAndNoByteMore) {
  BufferPool pool(host_allocator(), 300);
  {
    const Buffer a = pool.acquire(100).value();
    const Buffer b = pool.acquire(100).value();
    const Buffer c = pool.acquire(100).value();
  }
  EXPECT_EQ(pool.retained_bytes(), 300U);  // exactly the bound

  BufferPool smaller(host_allocator(), 299);
  {
    const Buffer a = smaller.acquire(100).value();
    const Buffer b = smaller.acquire(100).value();
    const Buffer c = smaller.acquire(100).value();
  }
  EXPECT_EQ(smaller.retained_bytes(), 200U);  // the third would have been one past
  EXPECT_TRUE(smaller.reserve(100, 5).ok());
  EXPECT_EQ(smaller.retained_bytes(), 200U);
  EXPECT_TRUE(smaller.reserve(99, 1).ok());
  EXPECT_EQ(smaller.retained_bytes(), 299U);
}

TEST(BufferPoolTest, BuffersOutliveThePool) {
  auto pool = std::make_unique<BufferPool>();
  EXPECT_TRUE(pool->reserve(32, 2).ok());
  Buffer survivor = pool->acquire(32).value();
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
        const Buffer buffer = pool.acquire(i % 2 == 0 ? 64 : 128).value();
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
  // Each thread used at most one buffer of each size at a time.
  EXPECT_LE(pool.retained_bytes(), kThreads * (64U + 128U));
  EXPECT_GT(pool.retained_bytes(), 0U);
}

// Memory that the host must not use: its addresses are invented. Counts what is allocated, and fails on
// request.
class FarAllocator final : public Allocator {
 public:
  Device device() const noexcept override { return Device::cuda(2); }
  Result<void*> allocate(std::size_t bytes) override {
    if (out + bytes > room) return Status::out_of_memory("cuda:2", bytes);
    if (throws) throw std::runtime_error("driver");
    out += bytes;
    return reinterpret_cast<void*>(next += 64);  // NOLINT(performance-no-int-to-ptr)
  }
  void deallocate(void*, std::size_t bytes) noexcept override { out -= bytes; }

  std::uintptr_t next = 0;
  std::size_t out = 0;
  std::size_t room = 1000;
  bool throws = false;
};

TEST(BufferTest, KnowsWhereItsMemoryIs) {
  const auto far = std::make_shared<FarAllocator>();
  {
    const Buffer buffer = Buffer::allocate(10, far).value();
    EXPECT_EQ(buffer.device(), Device::cuda(2));
    EXPECT_EQ(far->out, 10U);
    EXPECT_EQ(Buffer::wrap(
                  buffer.bytes(), 10, [buffer] {}, Device::cuda(2))
                  ->device(),
              Device::cuda(2));
  }
  EXPECT_EQ(far->out, 0U);
  EXPECT_EQ(Buffer().device(), Device::cpu());
  EXPECT_EQ(Buffer::allocate(1)->device(), Device::cpu());
}

// ThreadSanitizer stops the process if its operator new is asked for too much.
#if defined(__SANITIZE_THREAD__)
constexpr std::size_t kTooMuch = SIZE_MAX / 2;
#else
constexpr std::size_t kTooMuch = std::size_t{1} << 62;
#endif

TEST(BufferTest, MemoryThatCannotBeHadIsAStatusThatSaysHowMuch) {
  for (const std::size_t bytes : {SIZE_MAX, SIZE_MAX - 63, SIZE_MAX / 2, kTooMuch}) {
    const Result<Buffer> buffer = Buffer::allocate(bytes);
    ASSERT_FALSE(buffer.ok());
    EXPECT_EQ(buffer.status().code(), StatusCode::kOutOfMemory);
    EXPECT_NE(buffer.status().message().find(std::to_string(bytes)), std::string_view::npos);
  }
  const auto far = std::make_shared<FarAllocator>();
  far->room = 9;
  EXPECT_EQ(Buffer::allocate(10, far).status(), Status::out_of_memory("cuda:2", 10));
  far->throws = true;
  EXPECT_EQ(Buffer::allocate(9, far).status(), Status(StatusCode::kException, "driver"));
  EXPECT_EQ(Buffer::allocate(9, nullptr).status().code(), StatusCode::kInvalidArgument);
}

TEST(BufferTest, WrapRefusesWhatItCouldNotGiveBack) {
  int memory = 0;
  EXPECT_EQ(Buffer::wrap(&memory, sizeof(memory), nullptr).status().code(), StatusCode::kInvalidArgument);
  int released = 0;
  EXPECT_EQ(Buffer::wrap(nullptr, 1, [&] { ++released; }).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(released, 0) << "what was refused stays the caller's";
  EXPECT_TRUE(Buffer::wrap(nullptr, 0, [&] { ++released; }).ok());
  EXPECT_EQ(released, 1);
}

TEST(BufferTest, AReleaseThatThrowsEndsTheBufferAllTheSame) {
  int memory = 0;
  {
    const auto buffer = Buffer::wrap(&memory, sizeof(memory), [] { throw std::runtime_error("release"); });
  }
}

TEST(BufferPoolTest, ServesMemoryThatTheHostCannotTouch) {
  const auto far = std::make_shared<FarAllocator>();
  {
    BufferPool pool(far);
    EXPECT_EQ(pool.device(), Device::cuda(2));
    ASSERT_TRUE(pool.reserve(100, 2).ok());
    EXPECT_EQ(far->out, 200U);
    Buffer buffer = pool.acquire(100).value();
    EXPECT_EQ(buffer.device(), Device::cuda(2));
    const std::byte* const where = buffer.bytes();
    buffer = Buffer();
    EXPECT_EQ(pool.acquire(100)->bytes(), where);
    EXPECT_EQ(far->out, 200U);
  }
  EXPECT_EQ(far->out, 0U);
}

TEST(BufferPoolTest, AReserveThatDoesNotFitMakesNothing) {
  const auto far = std::make_shared<FarAllocator>();
  BufferPool pool(far);
  EXPECT_EQ(pool.reserve(100, 11).code(), StatusCode::kOutOfMemory);
  EXPECT_EQ(far->out, 0U);
  EXPECT_EQ(pool.retained_bytes(), 0U);
  EXPECT_TRUE(pool.reserve(100, 10).ok());
  EXPECT_EQ(pool.acquire(101).status().code(), StatusCode::kOutOfMemory);
  EXPECT_TRUE(pool.acquire(100).ok());
}

TEST(BufferPoolTest, FindsEachOfManySizes) {
  BufferPool pool;
  std::map<std::size_t, std::set<std::byte*>> made;
  {
    std::vector<Buffer> held;
    for (std::size_t i = 0; i < 3000; ++i) {
      held.push_back(pool.acquire(i % 1000 * 8).value());
      made[held.back().size()].insert(held.back().bytes());
    }
  }
  for (const auto& [size, there] : made) {
    std::vector<Buffer> held;
    for (std::size_t i = 0; i < there.size(); ++i) {
      held.push_back(pool.acquire(size).value());
      EXPECT_EQ(held.back().size(), size);
      EXPECT_TRUE(there.contains(held.back().bytes())) << size;
    }
  }
  EXPECT_EQ(pool.retained_bytes(), 3U * 8 * 999 * 1000 / 2);
}

TEST(BufferPoolTest, KeepsBuffersWithoutAByte) {
  BufferPool pool(host_allocator(), 0);
  Buffer first = pool.acquire(0).value();
  const Buffer second = pool.acquire(0).value();
  EXPECT_EQ(first.size(), 0U);
  const std::byte* const where = first.bytes();
  first = Buffer();
  EXPECT_EQ(pool.acquire(0)->bytes(), where);
}

// Views of views of views: each keeps the one before alive.
TEST(BufferTest, ALongChainOfViewsEndsWithoutADeepStack) {
  constexpr int kLinks = 1'000'000;
  int released = 0;
  Buffer last = Buffer::allocate(1).value();
  for (int i = 0; i < kLinks; ++i) {
    std::byte* const memory = last.bytes();
    last = Buffer::wrap(memory, 1, [before = std::move(last), &released] { ++released; }).value();
  }
  last = Buffer();
  EXPECT_EQ(released, kLinks);
}

}  // namespace
}  // namespace inflight
