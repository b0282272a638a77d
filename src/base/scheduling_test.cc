// SPDX-License-Identifier: Apache-2.0
#include "base/scheduling.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include <array>
#include <thread>

namespace inflight::internal {
namespace {

int policy_here() {
  int policy = -1;
  sched_param parameters{};
  EXPECT_EQ(pthread_getschedparam(pthread_self(), &policy, &parameters), 0);
  return policy;
}

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
