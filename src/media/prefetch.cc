// SPDX-License-Identifier: Apache-2.0
#include "media/prefetch.h"

#include <utility>

#include "base/check.h"
#include "base/scheduling.h"

namespace inflight {

PrefetchedSource::PrefetchedSource(std::unique_ptr<FrameSource> source, std::size_t capacity)
    : source_(std::move(source)),
      capacity_(source_ != nullptr && source_->live() ? kLiveWithoutPixelsMax + 1 : capacity) {
  INFLIGHT_CHECK(source_ != nullptr && capacity >= 1);
  thread_ = std::thread([this] { decode(); });
}

PrefetchedSource::~PrefetchedSource() {
  INFLIGHT_CHECK(thread_.get_id() != std::this_thread::get_id());
  on_available({});
  interrupt();
  thread_.join();
}

void PrefetchedSource::interrupt() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  source_->interrupt();
  space_.notify_all();
}

void PrefetchedSource::decode() {
  const internal::BatchScheduling batch;  // it is woken by the thread that is about to submit
  while (true) {
    {
      std::unique_lock lock(mutex_);
      space_.wait(lock, [this] { return stopping_ || frames_.size() < capacity_; });
      if (stopping_) break;
    }
    Result<std::optional<VideoFrame>> result = source_->next();
    const bool last = !result.ok() || !result->has_value();
    put(std::move(result));
    if (last) return;
  }
  put(std::optional<VideoFrame>());
}

void PrefetchedSource::put(Result<std::optional<VideoFrame>> result) {
  bool was_empty = false;
  {
    const std::lock_guard lock(mutex_);
    was_empty = frames_.empty();
    if (!result.ok()) {
      status_ = result.status();
      ended_ = true;
    } else if (result->has_value()) {
      if (source_->live() && !was_empty && frames_.back().damage.ok()) {
        frames_.back().pixels = Buffer();
        frames_.back().damage = Status(StatusCode::kOverloaded, "a newer frame came before it was taken");
      }
      frames_.push_back(std::move(**result));
    } else {
      ended_ = true;
    }
  }
  available_.notify_all();
  if (!was_empty) return;
  const std::lock_guard lock(hook_mutex_);
  if (hook_) hook_();
}

Taken PrefetchedSource::take_locked() {
  Taken taken;
  if (!frames_.empty()) {
    taken.state = Taken::State::kFrame;
    taken.frame = std::move(frames_.front());
    frames_.pop_front();
  } else if (ended_) {
    taken.state = status_.ok() ? Taken::State::kEnd : Taken::State::kError;
    taken.status = status_;
  }
  return taken;
}

Taken PrefetchedSource::try_next() {
  Taken taken;
  {
    const std::lock_guard lock(mutex_);
    taken = take_locked();
  }
  if (taken.state == Taken::State::kFrame) space_.notify_one();
  return taken;
}

Taken PrefetchedSource::wait_next_until(TimePoint deadline) {
  Taken taken;
  {
    std::unique_lock lock(mutex_);
    available_.wait_until(lock, deadline, [this] { return ended_ || !frames_.empty(); });
    taken = take_locked();
  }
  if (taken.state == Taken::State::kFrame) space_.notify_one();
  return taken;
}

void PrefetchedSource::on_available(UniqueFunction<void()> hook) {
  const std::lock_guard hook_lock(hook_mutex_);
  hook_ = std::move(hook);
  bool something = false;
  {
    const std::lock_guard lock(mutex_);
    something = ended_ || !frames_.empty();
  }
  if (something && hook_) hook_();
}

}  // namespace inflight
