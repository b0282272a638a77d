// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "inflight/internal/mutex.h"
#include "inflight/ndarray.h"

namespace inflight::mx::detail {

// What all names of one piece of memory share: its newest version.
struct ArrayRoot {
  explicit ArrayRoot(inflight::NDArray version) : newest(std::move(version)) {}

  inflight::NDArray read() INFLIGHT_EXCLUDES(mutex) {
    const inflight::internal::MutexLock lock(mutex);
    return newest;
  }

  // Held while a write is pushed, so that versions follow each other in the order of the calls.
  inflight::internal::Mutex mutex;
  inflight::NDArray newest INFLIGHT_GUARDED_BY(mutex);
};

}  // namespace inflight::mx::detail
