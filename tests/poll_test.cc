// SPDX-License-Identifier: Apache-2.0
// Invariant: a poll takes no lock and makes no system call. The test counts them.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <latch>
#include <memory>
#include <mutex>
#include <vector>

#include "inflight/engine.h"
#include "inflight/ndarray.h"
#include "inflight/predictor.h"
#include "predictor/predictor_test_support.h"

#if defined(__SANITIZE_THREAD__)
// ThreadSanitizer's runtime replaces pthread_mutex_lock itself, and makes system calls at any time.
#define SKIP_UNDER_TSAN() \
  GTEST_SKIP() << "not under ThreadSanitizer, which locks and calls on its own account"
#else
#define SKIP_UNDER_TSAN() static_cast<void>(0)
#endif

namespace {

// Locks and waits of this thread in the C library, which every std::mutex and std::condition_variable uses.
thread_local unsigned long locks = 0;

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

#if !defined(__SANITIZE_THREAD__)
extern "C" {

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  static auto* const next = real<int(pthread_mutex_t*)>("pthread_mutex_lock");
  ++locks;
  return next(mutex);
}

int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  static auto* const next = real<int(pthread_mutex_t*)>("pthread_mutex_trylock");
  ++locks;
  return next(mutex);
}

int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept {
  static auto* const next = real<int(pthread_rwlock_t*)>("pthread_rwlock_rdlock");
  ++locks;
  return next(lock);
}

int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept {
  static auto* const next = real<int(pthread_rwlock_t*)>("pthread_rwlock_wrlock");
  ++locks;
  return next(lock);
}

}  // extern "C"
#endif

namespace inflight {
namespace {

constexpr int kPolls = 1'000'000;

// True: every poll gave the right answer.
template <typename Pollable>
bool poll_many(const Pollable& is_ready, const Pollable& is_pending) {
  int ready = 0, pending = 0;
  for (int i = 0; i < kPolls; ++i) {
    ready += is_ready.can_read() ? 1 : 0;
    pending += is_pending.can_read() ? 0 : 1;
  }
  return ready == kPolls && pending == kPolls;
}

// One array that is ready and one whose computation is held up, by the real engine.
class PollTest : public testing::Test {
 protected:
  PollTest()
      : engine_(*make_threaded_engine({.threads = 1})), ready_(make_ready()), name_(*engine_, make_ready()) {
    pending_ = name_
                   .write({},
                          [this](std::span<const TensorView>, const MutableTensorView&) {
                            started_.count_down();
                            open_.wait();
                            return Status();
                          })
                   .value();
    started_.wait();
  }
  ~PollTest() override {
    open_.count_down();
    EXPECT_TRUE(pending_.wait().ok());
    EXPECT_TRUE(pending_.can_read());
  }

  static NDArray make_ready() {
    const float zero = 0;
    return NDArray::copy_of({&zero, DType::kF32, Shape{1}}).value();
  }

  std::latch started_{1}, open_{1};
  std::unique_ptr<Engine> engine_;
  const NDArray ready_;
  MutableNDArray name_;
  NDArray pending_;
};

TEST_F(PollTest, TakesNoLock) {
  SKIP_UNDER_TSAN();
  {
    const unsigned long before = locks;
    std::mutex mutex;
    const std::lock_guard lock(mutex);
    ASSERT_EQ(locks, before + 1) << "locks are not counted on this system";
  }
  const unsigned long before = locks;
  const bool right = poll_many(ready_, pending_);
  EXPECT_EQ(locks, before);
  EXPECT_TRUE(right);
  (void)name_.snapshot();  // and this one does
  EXPECT_EQ(locks, before + 1);
}

// Runs `work` in a child that the kernel kills at its first system call, except the one by which it ends.
// Returns how the child ended, as waitpid() reports it; -1: this system has no strict mode.
template <typename Work>
int run_without_system_calls(const Work& work) {
  constexpr int kNoStrictMode = 77;
  const pid_t child = fork();
  if (child == 0) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) syscall(SYS_exit, kNoStrictMode);
    const long code = work() ? 0 : 1;
    syscall(SYS_exit, code);
  }
  int status = 0;
  while (waitpid(child, &status, 0) == -1 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == kNoStrictMode ? -1 : status;
}

TEST_F(PollTest, MakesNoSystemCall) {
  SKIP_UNDER_TSAN();
  const int control = run_without_system_calls([] { return syscall(SYS_getppid) > 0; });
  if (control == -1) GTEST_SKIP() << "this system has no strict seccomp mode";
  ASSERT_TRUE(WIFSIGNALED(control) && WTERMSIG(control) == SIGKILL) << "a system call was let pass";
  const int status = run_without_system_calls([this] { return poll_many(ready_, pending_); });
  EXPECT_TRUE(WIFEXITED(status)) << "a poll made a system call";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// The same for a prediction that is finished and one that is held at its launch.
class PredictionPollTest : public testing::Test {
 protected:
  PredictionPollTest()
      : predictor_(null_predictor(gated(gate_), {.in_flight_limit = 2})),
        ready_(finish_one()),
        pending_(start_one()) {}
  ~PredictionPollTest() override {
    gate_.open();
    EXPECT_TRUE(pending_.wait().ok());
    EXPECT_TRUE(pending_.can_read());
  }

  Prediction finish_one() {
    Prediction prediction = predictor_.submit(byte_frame(1)).value();
    gate_.let_through(1);
    EXPECT_TRUE(prediction.wait().ok());
    return prediction;
  }
  Prediction start_one() {
    Prediction prediction = predictor_.submit(byte_frame(2)).value();
    gate_.await_arrivals(2);
    return prediction;
  }

  Gate gate_;
  Predictor predictor_;
  const Prediction ready_, pending_;
};

TEST_F(PredictionPollTest, TakesNoLock) {
  SKIP_UNDER_TSAN();
  const unsigned long before = locks;
  const bool right = poll_many(ready_, pending_) && poll_many(ready_.output(0), pending_.output(0));
  EXPECT_EQ(locks, before);
  EXPECT_TRUE(right);
}

TEST_F(PredictionPollTest, MakesNoSystemCall) {
  SKIP_UNDER_TSAN();
  const NDArray ready_output = ready_.output(0), pending_output = pending_.output(0);
  const int status = run_without_system_calls(
      [&] { return poll_many(ready_, pending_) && poll_many(ready_output, pending_output); });
  if (status == -1) GTEST_SKIP() << "this system has no strict seccomp mode";
  EXPECT_TRUE(WIFEXITED(status)) << "a poll made a system call";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace inflight
