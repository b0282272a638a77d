// SPDX-License-Identifier: Apache-2.0
// How the library's threads are scheduled: batch threads, exact sleeps, usable processors, names.
#pragma once

namespace inflight::internal {

// While it lives, the calling thread is a batch thread. Every thread that it starts meanwhile is one for its
// whole life. Batch threads get the same share of the processor as any other, but do not preempt when they
// wake. Threads that compute, decode or write are batch threads, so that waking one does not take the
// processor from the thread that woke it: otherwise submit() would last as long as an inference on a machine
// with few cores. Does nothing if the thread has another scheduling policy than the default.
class BatchScheduling {
 public:
  BatchScheduling() noexcept;
  ~BatchScheduling();
  BatchScheduling(const BatchScheduling&) = delete;
  BatchScheduling& operator=(const BatchScheduling&) = delete;

 private:
  bool changed_ = false;
};

// From now on the calling thread's sleeps end at their time. By default Linux may extend them by up to 50 us,
// to save wake-ups.
void wake_on_time() noexcept;

// How many processors' worth of time the process may use: as many as the calling thread may run on, or fewer
// if the container's quota is smaller (base/cgroup.h). At least 1. Reads files: not for a hot path.
int usable_processors() noexcept;
// How many processors the affinity of the calling thread allows, whatever the container's quota; at least 1.
int allowed_processors() noexcept;

// Names the calling thread, for debuggers and top(1). Linux keeps the first 15 characters.
void name_thread(const char* name) noexcept;

}  // namespace inflight::internal
