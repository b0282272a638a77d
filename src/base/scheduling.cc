// SPDX-License-Identifier: Apache-2.0
#include "base/scheduling.h"

#include <pthread.h>
#include <sched.h>

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

}  // namespace inflight::internal
