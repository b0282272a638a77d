// SPDX-License-Identifier: Apache-2.0
#include "base/scheduling.h"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/cgroup.h"

namespace inflight::internal {

BatchScheduling::BatchScheduling() noexcept {
  int policy = 0;
  sched_param parameters{};
  changed_ = pthread_getschedparam(pthread_self(), &policy, &parameters) == 0 && policy == SCHED_OTHER &&
             pthread_setschedparam(pthread_self(), SCHED_BATCH, &parameters) == 0;
}

BatchScheduling::~BatchScheduling() {
  const sched_param parameters{};
  if (changed_) pthread_setschedparam(pthread_self(), SCHED_OTHER, &parameters);
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
