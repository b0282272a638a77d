// SPDX-License-Identifier: Apache-2.0
#include "base/scheduling.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <thread>

namespace inflight::internal {
namespace {

// The kernel's answer: the C library remembers what it was told last.
int policy_here() { return sched_getscheduler(0); }

int policy_of_a_new_thread() {
  int policy = -1;
  std::thread([&] { policy = policy_here(); }).join();
  return policy;
}

TEST(BatchScheduling, HoldsForItsScopeAndForThreadsStartedInIt) {
  if (policy_here() != SCHED_OTHER) GTEST_SKIP() << "this process was given another policy";
  {
    const BatchScheduling scope;
    EXPECT_EQ(policy_here(), SCHED_BATCH);
    EXPECT_EQ(policy_of_a_new_thread(), SCHED_BATCH);
    {
      const BatchScheduling inner;  // nothing to change, nothing to restore
    }
    EXPECT_EQ(policy_here(), SCHED_BATCH);
  }
  EXPECT_EQ(policy_here(), SCHED_OTHER);
  EXPECT_EQ(policy_of_a_new_thread(), SCHED_OTHER);
}

// The slice of the calling thread; 0: this kernel has none for threads of this kind.
std::chrono::nanoseconds slice_here() {
  struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  } attributes{};
  EXPECT_EQ(syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0), 0);
  return std::chrono::nanoseconds(attributes.runtime);
}

TEST(BatchScheduling, LongWorkHasALongSliceWhereTheKernelHasSlices) {
  if (policy_here() != SCHED_OTHER) GTEST_SKIP() << "this process was given another policy";
  const std::chrono::nanoseconds before = slice_here();
  const std::chrono::nanoseconds wanted = before.count() == 0 ? before : kLongSlice;
  {
    const BatchScheduling scope(BatchWork::kLong);
    EXPECT_EQ(policy_here(), SCHED_BATCH);
    EXPECT_EQ(slice_here(), wanted);
    std::thread([&] { EXPECT_EQ(slice_here(), wanted); }).join();
  }
  EXPECT_EQ(slice_here(), before);
  {
    const BatchScheduling scope;
    EXPECT_EQ(slice_here(), before);
  }
}

TEST(BatchScheduling, KeepsTheNiceValue) {
  std::thread([] {
    const auto nice_here = [] { return getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())); };
    ASSERT_EQ(setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 19), 0);
    {
      const BatchScheduling scope;
      EXPECT_EQ(nice_here(), 19);
    }
    EXPECT_EQ(nice_here(), 19);
  }).join();
}

TEST(Scheduling, WakesOnTime) {
  std::thread([] {
    wake_on_time();
    EXPECT_EQ(prctl(PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL), 1);
  }).join();
}

TEST(Scheduling, CountsTheProcessorsThatThisThreadMayUse) {
  EXPECT_GE(usable_processors(), 1);
  std::thread([] {
    cpu_set_t usable;
    ASSERT_EQ(sched_getaffinity(0, sizeof(usable), &usable), 0);
    int first = 0;
    while (!CPU_ISSET(first, &usable)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    EXPECT_EQ(usable_processors(), 1);
  }).join();
}

TEST(Scheduling, NamesTheThreadByFifteenCharacters) {
  std::thread([] {
    std::array<char, 32> name{};
    name_thread("inflight slot 3");
    ASSERT_EQ(pthread_getname_np(pthread_self(), name.data(), name.size()), 0);
    EXPECT_STREQ(name.data(), "inflight slot 3");
    name_thread("inflight slot 12345");
    ASSERT_EQ(pthread_getname_np(pthread_self(), name.data(), name.size()), 0);
    EXPECT_STREQ(name.data(), "inflight slot 1");
  }).join();
}

}  // namespace
}  // namespace inflight::internal
