// SPDX-License-Identifier: Apache-2.0
// FrameBell: a descriptor that can be read once one of several sources has something to take.
#pragma once

#include <vector>

#include "inflight/internal/event_fd.h"
#include "inflight/internal/mutex.h"
#include "media/prefetch.h"

namespace inflight::cli {

//   thread   listen(), descriptor() and silence(): one; the sources ring from threads of their own
class FrameBell {
 public:
  FrameBell() = default;
  ~FrameBell();
  FrameBell(const FrameBell&) = delete;
  FrameBell& operator=(const FrameBell&) = delete;

  // Rings for this source, too, which outlives the bell.
  void listen(PrefetchedSource& source);
  // Readable from a ring to silence(); -1 if no descriptor is left.
  int descriptor() const noexcept { return descriptor_; }
  // To be called before the sources are looked at, so that no ring is lost.
  void silence() noexcept;

 private:
  void ring() noexcept;

  std::vector<PrefetchedSource*> sources_;
  int descriptor_ = -1;
  internal::Mutex mutex_;
  internal::EventFd event_fd_ INFLIGHT_GUARDED_BY(mutex_);
  bool rung_ INFLIGHT_GUARDED_BY(mutex_) = false;
};

}  // namespace inflight::cli
