// SPDX-License-Identifier: Apache-2.0
#include "base/scheduling.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/cgroup.h"

namespace inflight::internal {

bool BatchScheduling::get(Attributes& attributes) noexcept {
  return syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) == 0;
}

bool BatchScheduling::set(Attributes attributes) noexcept {
  attributes.size = sizeof attributes;
  return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
}

BatchScheduling::BatchScheduling(BatchWork work) noexcept {
  if (!get(before_) || before_.policy != SCHED_OTHER) return;
  Attributes batch = before_;
  batch.policy = SCHED_BATCH;
  if (work == BatchWork::kLong)
    batch.runtime = static_cast<std::uint64_t>(std::chrono::nanoseconds(kLongSlice).count());
  changed_ = set(batch);
}

BatchScheduling::~BatchScheduling() {
  if (changed_) set(before_);
}

void wake_on_time() noexcept { prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }

int allowed_processors() noexcept {
  cpu_set_t usable;
  // The call fails if there are more processors than the set has room for.
  return sched_getaffinity(0, sizeof(usable), &usable) == 0 ? std::max(1, CPU_COUNT(&usable)) : CPU_SETSIZE;
}

int usable_processors() noexcept {
  const int allowed = allowed_processors();
  return std::max(1, std::min(allowed, processors_by_quota("").value_or(allowed)));
}

void name_thread(const char* name) noexcept {
  std::array<char, 16> kept{};
  std::strncpy(kept.data(), name, kept.size() - 1);
  pthread_setname_np(pthread_self(), kept.data());
}

}  // namespace inflight::internal
