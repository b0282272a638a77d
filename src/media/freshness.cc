// SPDX-License-Identifier: Apache-2.0
#include "media/freshness.h"

#include <algorithm>

namespace inflight {

bool Freshness::is_stale(Duration pts, Duration distance, TimePoint now) {
  const Duration delay = now.time_since_epoch() - pts;
  if (soonest_) {
    const auto passed = static_cast<double>((now - last_).count());
    *soonest_ += Duration(static_cast<Duration::rep>(passed * kDrift));
  }
  last_ = now;
  soonest_ = std::min(soonest_.value_or(delay), delay);
  if (delay - *soonest_ <= distance + distance / 2) {
    stale_since_.reset();
    return false;
  }
  if (!stale_since_ || delay < least_ - distance) {  // it catches up
    stale_since_ = now;
    least_ = delay;
  }
  if (now - *stale_since_ < kPatience) return true;
  soonest_ = delay;
  stale_since_.reset();
  return false;
}

void Freshness::restart() {
  soonest_.reset();
  stale_since_.reset();
}

}  // namespace inflight
