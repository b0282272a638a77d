// SPDX-License-Identifier: Apache-2.0
// How the library's threads are scheduled: batch threads, exact sleeps, usable processors, names.
#pragma once

#include <chrono>
#include <cstdint>

namespace inflight::internal {

// What a batch thread does each time it wakes. kLong: it computes for milliseconds.
enum class BatchWork : std::uint8_t { kBrief, kLong };
// The slice of a thread that computes for long: the longest one that Linux has.
inline constexpr std::chrono::milliseconds kLongSlice{100};

// While it lives, the calling thread is a batch thread. Every thread that it starts meanwhile is one for its
// whole life. Batch threads get the same share of the processor as any other, but do not preempt when they
// wake. Threads that compute, decode or write are batch threads, so that waking one does not take the
// processor from the thread that woke it: otherwise submit() would last as long as an inference on a machine
// with few cores. Does nothing if the thread has another scheduling policy than the default.
//
// A thread that wakes up preempts at once one that runs if its own slice is the shorter one; else it waits for a tick of the
// kernel, up to 4 ms. So threads with long work have a long slice. Linux has had slices since 6.12.
class BatchScheduling {
 public:
  explicit BatchScheduling(BatchWork work = BatchWork::kBrief) noexcept;
  ~BatchScheduling();
  BatchScheduling(const BatchScheduling&) = delete;
  BatchScheduling& operator=(const BatchScheduling&) = delete;

 private:
  // The kernel's struct sched_attr in its first version, which the C library may lack.
  struct Attributes {
    std::uint32_t size = sizeof(Attributes);
    std::uint32_t policy = 0;
    std::uint64_t flags = 0;
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t runtime = 0;  // the slice in ns; 0: the kernel's own, or it has none
    std::uint64_t deadline = 0;
    std::uint64_t period = 0;
  };
  static bool get(Attributes& attributes) noexcept;
  static bool set(Attributes attributes) noexcept;

  Attributes before_;
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
