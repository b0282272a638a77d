// SPDX-License-Identifier: Apache-2.0
// What the tests of the engines share.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/test_stress.h"
#include "inflight/engine.h"

namespace inflight {

// So long that a stack frame for each operation would not fit.
inline constexpr int kChain = 200'000;

inline Status failure(std::string message) { return Status(StatusCode::kDeviceError, std::move(message)); }

// An operation that has started and ends when the test says so.
class Held {
 public:
  Engine::AsyncClosure closure() {
    return [this](OpToken token) {
      const std::lock_guard lock(mutex_);
      token_ = std::move(token);
      started_.notify_all();
    };
  }
  bool started() {
    const std::lock_guard lock(mutex_);
    return static_cast<bool>(token_);
  }
  void wait_started() {
    std::unique_lock lock(mutex_);
    started_.wait(lock, [this] { return static_cast<bool>(token_); });
  }
  void end(Status status = Status()) {
    wait_started();
    OpToken token;
    {
      const std::lock_guard lock(mutex_);
      token = std::move(token_);
    }
    token.complete(std::move(status));
  }

 private:
  std::mutex mutex_;
  std::condition_variable started_;
  OpToken token_;
};

// What happened, in order.
class Log {
 public:
  void add(std::string what) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(what));
  }
  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

using Lines = std::vector<std::string>;

inline Engine::Closure ok_op() {
  return [] { return Status(); };
}

// Counts its runs, which must not be at the same time.
inline auto counting(int& runs) {
  return [&runs] {
    ++runs;
    return Status();
  };
}

struct EngineKind {
  const char* name;
  int threads;  // 0: the naive engine
};

// What both engines promise.
class EngineTest : public testing::TestWithParam<EngineKind> {
 protected:
  EngineTest()
      : engine_(GetParam().threads == 0 ? *make_naive_engine()
                                        : *make_threaded_engine({.threads = GetParam().threads})) {}
  void push(Engine::Closure closure, OpOptions options) {
    const Status status = engine_->push(std::move(closure), std::move(options));
    ASSERT_TRUE(status.ok()) << status.to_string();
  }
  std::unique_ptr<Engine> engine_;
};

}  // namespace inflight
