// SPDX-License-Identifier: Apache-2.0
#include "mx/pieces.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/user_code.h"
#include "inflight/clock.h"

namespace inflight::mx::detail {
namespace {

// A call of a compiled network takes up to 10 us, and to wake a thread of the engine more, so a piece must be worth that.
constexpr std::size_t kPieceBytesMin = std::size_t{512} << 10U;
constexpr std::size_t kAlignedElements = 16;  // 64 bytes of f32

constexpr Duration kHelpMax = std::chrono::microseconds(100);
constexpr int kLooksPerRound = 16;
// After its call a thread that waits comes within this time. It is less than what it takes to wake another.
constexpr Duration kWaiterMax = std::chrono::microseconds(10);

}  // namespace

std::size_t count_pieces(std::size_t elements, std::size_t bytes, int threads) {
  const std::size_t most = std::min(static_cast<std::size_t>(threads), bytes / kPieceBytesMin);
  for (const std::size_t unit : {kAlignedElements, std::size_t{1}}) {
    for (std::size_t count = most; count > 1; --count) {
      if (elements % (count * unit) == 0) return count;
    }
  }
  return 1;
}

Status Pieces::run(Environment& environment, const std::function<Status(std::size_t)>& piece) {
  piece_ = &piece;
  next_.store(0, std::memory_order_release);
  if (environment.is_alone()) {
    // A thread that waits is awake; one of the engine's would have to be woken.
    const TimePoint until = steady_clock().now() + kWaiterMax;
    while (waiting_.load(std::memory_order_relaxed) == 0 && steady_clock().now() < until)
      inflight::internal::spin_pause();
    for (std::size_t threads = 1 + waiting_.load(std::memory_order_relaxed); threads < count_; ++threads) {
      // Without a helper this thread takes all pieces, so a refusal is no failure.
      if (!environment.push_helper([self = shared_from_this()] { self->help(); }).ok()) break;
    }
  }
  help();
  all_.wait();
  const inflight::internal::MutexLock lock(mutex_);
  return failure_;
}

bool Pieces::help() {
  if (next_.load(std::memory_order_acquire) >= count_) return false;
  std::size_t index = next_.fetch_add(1, std::memory_order_acquire);
  if (index >= count_) return false;
  for (; index < count_; index = next_.fetch_add(1, std::memory_order_acquire)) {
    // run() waits for this piece, so what it was given is still there.
    Status status = inflight::internal::call_user(*piece_, index);
    if (!status.ok()) {
      const inflight::internal::MutexLock lock(mutex_);
      if (failure_.ok()) failure_ = std::move(status);
    }
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) all_.complete(Status());
  }
  return true;
}

void Pieces::help_until(const inflight::internal::Completion& done) {
  waiting_.fetch_add(1, std::memory_order_relaxed);
  const TimePoint until = steady_clock().now() + kHelpMax;
  bool helped = false;
  while (!helped && !done.ready() && steady_clock().now() < until) {
    for (int look = 0; look < kLooksPerRound && !helped && !done.ready(); ++look) {
      helped = help();
      inflight::internal::spin_pause();
    }
    std::this_thread::yield();  // the thread that runs the operation may need this processor
  }
  waiting_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace inflight::mx::detail
