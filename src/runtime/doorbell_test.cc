// SPDX-License-Identifier: Apache-2.0
// Whom a Doorbell wakes, and that it does: the times of the watch are set by hand. If the thread that waits is not
// woken, it waits for ever (or for an hour), and the test hangs.
#include "runtime/doorbell.h"

#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace inflight::internal {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using Call = Doorbell::Call;
using Whom = Doorbell::Whom;

// A doorbell with one line of frames, and a thread that waits once.
class Waiting {
 public:
  explicit Waiting(const Clock& clock) : clock_(clock), doorbell_(mutex_, clock) {
    const MutexLock lock(mutex_);
    doorbell_.add(line_);
  }
  ~Waiting() {
    const MutexLock lock(mutex_);
    doorbell_.remove(line_);
  }

  // Ten frames, the last of them now.
  void frames_come(Duration interval) {
    const MutexLock lock(mutex_);
    for (int i = 9; i >= 0; --i) line_.watch.arrived(clock_.now() - i * interval);
  }
  std::optional<Watch> next() {
    const MutexLock lock(mutex_);
    return line_.watch.next(clock_.now());
  }
  // Waits for work on a thread, and calls `act` once that thread waits. Returns when the thread has found the work.
  void wait(const std::function<void()>& act) {
    std::thread waiter([this] {
      MutexLock lock(mutex_);
      while (!std::exchange(work_, false)) doorbell_.wait(lock, true);
    });
    while (!waits()) std::this_thread::yield();
    act();
    waiter.join();
  }
  // Work that the thread finds when it looks next.
  void bring_work() {
    const MutexLock lock(mutex_);
    work_ = true;
  }
  Whom call() {
    Call call;
    {
      const MutexLock lock(mutex_);
      work_ = true;
      call = doorbell_.announce(clock_.now());
    }
    doorbell_.wake(call);
    return call.whom;
  }
  void call_all() {
    bring_work();
    doorbell_.wake_all();
  }

 private:
  bool waits() {
    const MutexLock lock(mutex_);
    return doorbell_.can_be_called();
  }

  const Clock& clock_;
  Mutex mutex_;
  Doorbell doorbell_;
  Doorbell::Line line_{1};
  bool work_ = false;
};

// The clock stands in the middle of the watch, so the end of the watch does not come by itself.
class DoorbellAwake : public testing::Test {
 protected:
  DoorbellAwake() {
    clock_.advance(hours(1));
    waiting_.frames_come(milliseconds(20));
    clock_.advance(milliseconds(20));
  }
  void SetUp() override {
    const auto watch = waiting_.next();
    ASSERT_TRUE(watch);
    ASSERT_LT(watch->from, clock_.now());
    ASSERT_GT(watch->until, clock_.now());
  }

  ManualClock clock_;
  Waiting waiting_{clock_};
};

TEST_F(DoorbellAwake, ACallEndsTheWatch) {
  for (int i = 0; i < 100; ++i) waiting_.wait([&] { EXPECT_EQ(waiting_.call(), Whom::kWatchAwake); });
}

TEST_F(DoorbellAwake, ACallOfAllEndsTheWatch) {
  waiting_.wait([&] { waiting_.call_all(); });
}

TEST_F(DoorbellAwake, TheWatchEndsAtItsTime) {
  waiting_.wait([&] {
    waiting_.bring_work();
    clock_.advance(waiting_.next()->until - clock_.now());
  });
}

TEST(Doorbell, ACallWakesAWatcherThatSleepsForAnHour) {
  Waiting waiting(steady_clock());
  waiting.frames_come(hours(1));
  ASSERT_GT(waiting.next()->from, steady_clock().now() + std::chrono::minutes(30));
  waiting.wait([&] { EXPECT_EQ(waiting.call(), Whom::kWatchAsleep); });
  waiting.wait([&] { waiting.call_all(); });
}

TEST(Doorbell, ACallWakesASleeperWhereNoFramesCome) {
  Waiting waiting(steady_clock());
  ASSERT_FALSE(waiting.next());
  waiting.wait([&] { EXPECT_EQ(waiting.call(), Whom::kSleeper); });
  waiting.wait([&] { waiting.call_all(); });
}

// Threads that sleep, each again after each call of it, until the test ends.
class Sleepers {
 public:
  ~Sleepers() {
    {
      const MutexLock lock(mutex_);
      ends_ = true;
    }
    bell_.wake_all();
    for (std::thread& thread : threads_) thread.join();
  }
  // Returns when the new thread sleeps.
  void add() {
    threads_.emplace_back([this, name = static_cast<int>(threads_.size())] { sleep(name); });
    await_sleeps(++sleeps_);
  }
  // Calls one thread. Returns its name when it sleeps again, or -1 if nobody sleeps.
  int call() {
    Call call;
    {
      const MutexLock lock(mutex_);
      call = bell_.announce(Doorbell::kLate);
    }
    bell_.wake(call);
    if (call.whom != Whom::kSleeper) return -1;
    await_sleeps(++sleeps_);
    const MutexLock lock(mutex_);
    return last_;
  }

 private:
  void sleep(int name) {
    MutexLock lock(mutex_);
    while (!ends_) {
      last_ = name;
      ++began_;
      bell_.wait(lock, true);
    }
  }
  // The thread that has counted its sleep holds the mutex until it sleeps.
  void await_sleeps(int count) {
    while (true) {
      const MutexLock lock(mutex_);
      if (began_ == count) return;
    }
  }

  Mutex mutex_;
  Doorbell bell_{mutex_};
  bool ends_ INFLIGHT_GUARDED_BY(mutex_) = false;
  int began_ INFLIGHT_GUARDED_BY(mutex_) = 0;
  int last_ INFLIGHT_GUARDED_BY(mutex_) = -1;
  int sleeps_ = 0;
  std::vector<std::thread> threads_;
};

TEST(Doorbell, ACallWakesTheThreadThatFellAsleepLast) {
  Sleepers sleepers;
  EXPECT_EQ(sleepers.call(), -1);
  for (int name = 0; name < 3; ++name) {
    sleepers.add();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(sleepers.call(), name);
  }
}

}  // namespace
}  // namespace inflight::internal
