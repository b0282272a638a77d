// SPDX-License-Identifier: Apache-2.0
#include "inflight/completion_queue.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "base/test_stress.h"
#include "ndarray/ndarray_test_support.h"

namespace inflight {
namespace {

using internal::Ref;
using internal::Version;

constexpr int kRounds = 200 * kStress;

using Tags = std::vector<std::uint64_t>;

Tags take(CompletionQueue& queue) {
  Tags tags = {99};  // to be cleared
  queue.take(tags);
  return tags;
}

bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

TEST(CompletionQueueTest, HandsTagsOutOnceInTheOrderOfBecomingReady) {
  CompletionQueue queue;
  Pending a, b, c;
  queue.add(a.array(), 1);
  queue.add(b.array(), 2);
  queue.add(c.array(), 3);
  queue.add(b.array(), 2);  // counts for itself
  EXPECT_EQ(queue.size(), 4U);
  EXPECT_EQ(take(queue), Tags());
  EXPECT_EQ(queue.take_one(), std::nullopt);
  c.complete();
  a.complete(Status(StatusCode::kDeviceError, "failed"));  // failed is ready, too
  EXPECT_EQ(take(queue), (Tags{3, 1}));
  EXPECT_EQ(take(queue), Tags());
  EXPECT_EQ(queue.size(), 2U);
  b.complete();
  EXPECT_EQ(queue.take_one(), 2U);
  EXPECT_EQ(queue.take_one(), 2U);
  EXPECT_EQ(queue.take_one(), std::nullopt);
  EXPECT_EQ(queue.size(), 0U);
  queue.add(a.array(), 4);  // there already
  EXPECT_EQ(take(queue), Tags{4});
}

TEST(CompletionQueueTest, LetsGoOfWhatIsReady) {
  CompletionQueue queue;
  Pending pending;
  queue.add(pending.array(), 1);
  EXPECT_EQ(pending.shares(), 2U);
  pending.complete();
  EXPECT_EQ(pending.shares(), 1U);
  queue.add(pending.array(), 2);
  EXPECT_EQ(pending.shares(), 1U);
}

TEST(CompletionQueueTest, MayEndWhileHandlesArePending) {
  Pending first, second, third;
  {
    CompletionQueue queue;
    queue.add(first.array(), 1);
    queue.add(second.array(), 2);
    queue.add(third.array(), 3);
    second.complete();  // and is never taken
  }
  EXPECT_EQ(first.shares(), 1U);
  first.complete();
  third.complete();
}

// The queue has the last reference to an array that no operation computes. User code takes the memory back:
// it calls the queue that is ending, and would hang if the queue held its lock.
TEST(CompletionQueueTest, ReleasesMemoryWithoutItsLock) {
  auto queue = std::make_unique<CompletionQueue>();
  bool released = false;
  std::array<std::int64_t, 2> memory = {};
  auto version = Ref<Version>::adopt(new Version);
  const auto release = [&, ending = queue.get()] {
    EXPECT_EQ(ending->size(), 1U);
    released = true;
  };
  version->values.emplace_back(DType::kI64, Shape{2},
                               Buffer::wrap(memory.data(), sizeof(memory), release).value());
  queue->add(NDArray(std::move(version), 0), 1);
  EXPECT_FALSE(released);
  queue.reset();
  EXPECT_TRUE(released);
}

TEST(CompletionQueueTest, AWaitEndsAtItsTimeOrWithATag) {
  CompletionQueue queue;
  Pending pending;
  queue.add(pending.array(), 7);
  EXPECT_FALSE(queue.wait_until(TimePoint::min()));
  const TimePoint until = steady_clock().now() + std::chrono::milliseconds(1);
  EXPECT_FALSE(queue.wait_until(until));
  EXPECT_GE(steady_clock().now(), until);
  std::thread completer([&] { pending.complete(); });
  queue.wait();
  EXPECT_TRUE(queue.wait_until(TimePoint::min()));
  EXPECT_EQ(queue.take_one(), 7U);
  completer.join();
}

TEST(CompletionQueueTest, TheDescriptorIsReadableExactlyWhileSomethingIsThere) {
  CompletionQueue queue;
  Pending early, a, b, c;
  queue.add(early.array(), 0);
  early.complete();
  const int fd = queue.event_fd().value();  // made when something is there already
  EXPECT_TRUE(readable(fd));
  EXPECT_EQ(queue.event_fd().value(), fd);
  EXPECT_EQ(take(queue), Tags{0});
  EXPECT_FALSE(readable(fd));
  queue.add(a.array(), 1);
  queue.add(b.array(), 2);
  queue.add(c.array(), 3);
  EXPECT_FALSE(readable(fd));
  a.complete();
  EXPECT_TRUE(readable(fd));
  EXPECT_TRUE(readable(fd));  // a level
  b.complete();
  EXPECT_EQ(queue.take_one(), 1U);
  EXPECT_TRUE(readable(fd));
  EXPECT_EQ(queue.take_one(), 2U);
  EXPECT_FALSE(readable(fd));
  EXPECT_EQ(take(queue), Tags());
  c.complete();
  EXPECT_TRUE(readable(fd));
  EXPECT_EQ(take(queue), Tags{3});
  EXPECT_FALSE(readable(fd));
}

TEST(CompletionQueueTest, TheDescriptorCoalesces) {
  CompletionQueue queue;
  const int fd = queue.event_fd().value();
  std::vector<Pending> pending(1'000);
  for (const Pending& one : pending) queue.add(one.array(), 1);
  for (Pending& one : pending) one.complete();
  // The counter adds up the writes. Reading it is against the contract, and does no harm after the last one.
  std::uint64_t writes = 0;
  ASSERT_EQ(::read(fd, &writes, sizeof(writes)), static_cast<ssize_t>(sizeof(writes)));
  EXPECT_EQ(writes, 1U);
  EXPECT_EQ(take(queue).size(), 1'000U);
  EXPECT_FALSE(readable(fd));
}

TEST(CompletionQueueTest, SaysThatNoDescriptorIsLeftAndMayBeAskedAgain) {
  CompletionQueue queue;
  Pending pending;
  queue.add(pending.array(), 1);
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{0, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Result<int> refused = queue.event_fd();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(refused.status().code(), StatusCode::kOutOfMemory);
  EXPECT_EQ(refused.status().message(), "eventfd: Too many open files");
  pending.complete();
  EXPECT_TRUE(readable(queue.event_fd().value()));
}

// One thread destroys the queue while two others complete arrays that are in it: none of them may notify an
// entry that is gone.
TEST(CompletionQueueTest, MayEndWhileOthersComplete) {
  std::atomic<int> round{0};
  std::vector<std::vector<Pending>> pending(2);
  std::atomic<int> finished{0};
  std::vector<std::thread> completers;
  for (std::size_t t = 0; t < pending.size(); ++t) {
    completers.emplace_back([&, t] {
      for (int r = 1; r <= kRounds; ++r) {
        while (round.load() < r) std::this_thread::yield();
        for (Pending& one : pending[t]) one.complete();
        finished.fetch_add(1);
      }
    });
  }
  for (int r = 1; r <= kRounds; ++r) {
    auto queue = std::make_unique<CompletionQueue>();
    if (r % 2 == 0) {
      EXPECT_TRUE(queue->event_fd().ok());
    }
    for (auto& some : pending) {
      some = std::vector<Pending>(8);
      for (const Pending& one : some) queue->add(one.array(), 1);
    }
    round.store(r);
    if (r % 3 == 0) queue->wait();
    if (r % 3 == 0) {
      EXPECT_TRUE(queue->take_one().has_value());
    }
    queue.reset();
    while (finished.load() < 2 * r) std::this_thread::yield();
  }
  for (std::thread& thread : completers) thread.join();
}

// Threads that add, complete and take at random: every tag comes out once, and never before its array is
// ready; the descriptor is still right at the end.
TEST(CompletionQueueTest, ManyThreadsGetEveryTagOnce) {
  constexpr std::size_t kThreads = 3, kEach = 3'000;
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  CompletionQueue queue;
  const int fd = queue.event_fd().value();
  std::vector<Pending> pending(kThreads * kEach);
  std::vector<NDArray> arrays;
  for (const Pending& one : pending) arrays.push_back(one.array());
  std::vector<std::atomic<int>> taken(pending.size());
  std::atomic<std::size_t> left{pending.size()};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {  // adds its own, and completes some before and some after
      std::minstd_rand random(seed + static_cast<unsigned>(t));
      for (std::size_t i = t; i < pending.size(); i += kThreads) {
        const bool before = random() % 2 == 0;
        if (before) pending[i].complete();
        queue.add(pending[i].array(), i);
        if (!before) pending[i].complete();
        if (random() % 16 == 0) std::this_thread::yield();
      }
    });
  }
  for (std::size_t t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      Tags tags;
      while (left.load() > 0) {
        // Another thread may have taken the last one meanwhile: so the wait has a limit.
        if (!queue.wait_until(steady_clock().now() + std::chrono::milliseconds(1))) continue;
        if (t == 0) {
          queue.take(tags);
        } else if (const auto tag = queue.take_one()) {
          tags = {*tag};
        } else {
          continue;
        }
        for (const std::uint64_t tag : tags) {
          EXPECT_TRUE(arrays[tag].can_read());
          taken[tag].fetch_add(1);
        }
        left.fetch_sub(tags.size());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::atomic<int>& count : taken) EXPECT_EQ(count, 1);
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_FALSE(readable(fd));
}

TEST(CompletionQueueTest, EqualTagsEachCountInTheOrderInWhichTheyBecomeReady) {
  CompletionQueue queue;
  std::array<Pending, 3> pending;
  for (Pending& one : pending) queue.add(one.array(), 7);
  queue.add(array_of({1}), 7);  // ready already: ready at this moment
  EXPECT_EQ(queue.size(), 4U);
  for (std::size_t i = pending.size(); i-- > 0;) pending[i].complete();
  std::vector<std::uint64_t> tags;
  queue.take(tags);
  EXPECT_EQ(tags, (std::vector<std::uint64_t>{7, 7, 7, 7}));
}

}  // namespace
}  // namespace inflight
