// SPDX-License-Identifier: Apache-2.0
#include "inflight/internal/mutex.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <iterator>
#include <thread>
#include <vector>

namespace inflight::internal {
namespace {

TEST(MutexTest, OnlyOneThreadHoldsIt) {
  Mutex mutex;
  int counter = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        const MutexLock lock(mutex);
        ++counter;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 80'000);
}

TEST(MutexTest, TryLockAnswersAtOnce) {
  Mutex mutex;
  ASSERT_TRUE(mutex.try_lock());
  std::thread([&] { EXPECT_FALSE(mutex.try_lock()); }).join();
  mutex.unlock();
  std::thread([&] {
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  }).join();
}

// Forbids the calling thread membarrier(2), as a sandbox may once a program has started.
bool forbid_barrier() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = std::size(program), .filter = program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(MutexTest, AWaiterWithoutTheBarrierLooksByItself) {
  Mutex mutex;
  std::atomic<bool> forbidden{false};
  std::atomic<int> got{0};
  mutex.lock();
  std::thread waiter([&] {
    forbidden = forbid_barrier();
    if (!forbidden) return;
    for (int i = 0; i < 20; ++i) {
      const MutexLock lock(mutex);
      ++got;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  mutex.unlock();
  for (int i = 0; i < 20; ++i) {
    const MutexLock lock(mutex);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  waiter.join();
  if (!forbidden) GTEST_SKIP() << "this process may not use seccomp filters";
  EXPECT_EQ(got, 20);
}

TEST(CondVarTest, HandsEveryTokenOver) {
  Mutex mutex;
  CondVar changed;
  int tokens = 0;
  int taken = 0;
  constexpr int kTokens = 20'000;
  std::vector<std::thread> takers;
  for (int thread = 0; thread < 3; ++thread) {
    takers.emplace_back([&] {
      MutexLock lock(mutex);
      while (true) {
        while (tokens == 0 && taken < kTokens) changed.wait(lock);
        if (taken == kTokens) break;
        --tokens;
        if (++taken == kTokens) changed.notify_all();
      }
    });
  }
  for (int i = 0; i < kTokens; ++i) {
    {
      const MutexLock lock(mutex);
      ++tokens;
    }
    changed.notify_one();  // after the unlock, as most callers do
  }
  for (std::thread& thread : takers) thread.join();
  EXPECT_EQ(taken, kTokens);
  EXPECT_EQ(tokens, 0);
}

TEST(CondVarTest, WaitUntilEndsWhenTheTimeComes) {
  Mutex mutex;
  CondVar changed;
  MutexLock lock(mutex);
  const TimePoint when = steady_clock().now() + std::chrono::milliseconds(5);
  while (changed.wait_until(lock, when)) {
  }
  EXPECT_GE(steady_clock().now(), when);
  EXPECT_FALSE(changed.wait_until(lock, steady_clock().now() - std::chrono::seconds(1)));
}

// A real-time thread that waits leaves the processor to a preempted holder of lower priority. With a lock
// that spins or yields, it would keep it until the system's real-time limit, after 0.95 s.
TEST(MutexTest, ARealTimeThreadWaitsForAPreemptedHolderWithoutSpinning) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &before)) {
      CPU_SET(cpu, &one);
      break;
    }
  }
  Mutex mutex;
  std::atomic<bool> held{false};
  std::atomic<Duration::rep> waited{-1};
  std::thread holder([&] {
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    mutex.lock();
    held = true;
    const TimePoint until = steady_clock().now() + std::chrono::milliseconds(20);
    while (steady_clock().now() < until) {
    }
    mutex.unlock();
  });
  std::thread waiter([&] {
    while (!held) std::this_thread::yield();
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    const sched_param priority{.sched_priority = 10};
    if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) != 0) return;
    const TimePoint began = steady_clock().now();
    mutex.lock();
    mutex.unlock();
    waited = (steady_clock().now() - began).count();
  });
  waiter.join();
  holder.join();
  if (waited < 0) GTEST_SKIP() << "this process may not use SCHED_FIFO";
  EXPECT_LT(Duration(waited), std::chrono::milliseconds(400));
}

}  // namespace
}  // namespace inflight::internal
