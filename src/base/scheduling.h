// SPDX-License-Identifier: Apache-2.0
// Who gives way to whom on a machine with fewer cores than threads.
#pragma once

namespace inflight::internal {

// While it lives, the calling thread is a batch thread, and so is for good every thread that it starts
// meanwhile. Batch threads get the same share of the processor as any other, but do not preempt when they
// wake. Those that compute, decode or write are, so that waking one does not take the processor from the very
// thread that woke it: submit() would otherwise last as long as an inference where cores are few. Does
// nothing where somebody has chosen another policy for the thread.
class BatchScheduling {
 public:
  BatchScheduling() noexcept;
  ~BatchScheduling();
  BatchScheduling(const BatchScheduling&) = delete;
  BatchScheduling& operator=(const BatchScheduling&) = delete;

 private:
  bool changed_ = false;
};

// From now on the calling thread's sleeps end when they are meant to. Linux else lets them last up to 50 us
// longer, to save wake-ups.
void wake_on_time() noexcept;

// How many processors' worth of time the calling thread's process may use: those that the thread may run on,
// or fewer where the container's quota is smaller (base/cgroup.h). At least 1. Reads files: not for a hot
// path.
int usable_processors() noexcept;

// Names the calling thread, for debuggers and top(1). Linux keeps the first 15 characters.
void name_thread(const char* name) noexcept;

}  // namespace inflight::internal
