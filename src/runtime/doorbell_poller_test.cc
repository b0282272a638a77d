// SPDX-License-Identifier: Apache-2.0
// Whom a piece of work calls while the poller watches, and what a poller that leaves learns.
#include "runtime/doorbell.h"

#include <gtest/gtest.h>

#include <thread>

namespace inflight::internal {
namespace {

using Call = Doorbell::Call;
using Whom = Doorbell::Whom;

// A thread that waits at the doorbell, again after each call, until the test ends.
class DoorbellPoller : public testing::Test {
 protected:
  DoorbellPoller() : sleeper_([this] { sleep(); }) {
    while (true) {
      const MutexLock lock(mutex_);
      if (bell_.all_asleep()) return;
    }
  }
  ~DoorbellPoller() override {
    {
      const MutexLock lock(mutex_);
      ends_ = true;
    }
    bell_.wake_all();
    sleeper_.join();
  }
  void sleep() {
    MutexLock lock(mutex_);
    while (!ends_) {
      bell_.wait(lock, false);
      ++woken_;
    }
  }
  Call announce() {
    const MutexLock lock(mutex_);
    return bell_.announce(Doorbell::kLate);
  }
  void poller_watches(bool called = false) {
    const MutexLock lock(mutex_);
    bell_.poller_watches(called);
  }
  bool poller_leaves() {
    const MutexLock lock(mutex_);
    return bell_.poller_leaves();
  }
  int woken() {
    const MutexLock lock(mutex_);
    return woken_;
  }

  Mutex mutex_;
  Doorbell bell_{mutex_, steady_clock()};
  bool ends_ INFLIGHT_GUARDED_BY(mutex_) = false;
  int woken_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  std::thread sleeper_;
};

TEST_F(DoorbellPoller, APollerThatWatchesIsCalledAndNoSleeper) {
  for (int i = 0; i < 100; ++i) {
    poller_watches();
    EXPECT_FALSE(bell_.poller_called());
    const Call call = announce();
    ASSERT_EQ(call.whom, Whom::kPoller);
    bell_.wake(call);
    EXPECT_TRUE(bell_.poller_called());
  }
  EXPECT_EQ(woken(), 0);
}

TEST_F(DoorbellPoller, MoreWorkThanThePollerWasCalledForCallsASleeper) {
  poller_watches();
  ASSERT_EQ(announce().whom, Whom::kPoller);
  const Call call = announce();
  ASSERT_EQ(call.whom, Whom::kSleeper);
  EXPECT_EQ(announce().whom, Whom::kNobody) << "both have been called";
  poller_watches();
  EXPECT_EQ(announce().whom, Whom::kNobody) << "the sleeper has been called, and looks";
  bell_.wake(call);
  while (woken() == 0) std::this_thread::yield();
}

TEST_F(DoorbellPoller, APollerThatLeavesLearnsThatItWasCalled) {
  EXPECT_FALSE(poller_leaves()) << "it did not watch";
  poller_watches();
  EXPECT_FALSE(poller_leaves());
  Call call = announce();
  EXPECT_EQ(call.whom, Whom::kSleeper) << "the poller is away";
  bell_.wake(call);
  while (woken() == 0) std::this_thread::yield();
  for (bool asleep = false; !asleep;) {
    const MutexLock lock(mutex_);
    asleep = bell_.all_asleep();
  }
  poller_watches();
  call = announce();
  ASSERT_EQ(call.whom, Whom::kPoller);
  EXPECT_TRUE(poller_leaves()) << "the store of wake() may still come";
  bell_.wake(call);
  poller_watches();
  EXPECT_FALSE(bell_.poller_called());
  poller_watches(true);
  EXPECT_TRUE(bell_.poller_called()) << "it calls itself";
  EXPECT_TRUE(poller_leaves());
}

}  // namespace
}  // namespace inflight::internal
