// SPDX-License-Identifier: Apache-2.0
// ResultAge: how old the newest result of a stream is, over time.
#pragma once

#include "inflight/clock.h"
#include "inflight/histogram.h"

namespace inflight::internal {

// Between two results the age grows with time: from when the older one finished until the newer one did. Each
// stretch is entered into a histogram of ages in ns as if somebody looked at it in every microsecond, or 32
// times if it is longer than 32 ms.
//   thread   one at a time
class ResultAge {
 public:
  // A result has come. One that is older than the newest changes nothing.
  //   due        of its frame
  //   returns    false: it is not the newest
  bool came(TimePoint due, TimePoint finished) noexcept;
  // Enters the stretch that the last call of came() ended; nothing after the first one.
  void enter(Histogram& ages) const;

 private:
  bool any_ = false;
  TimePoint due_;    // of the newest result
  TimePoint since_;  // when it came
  Duration low_{0};  // the ages of the last stretch
  Duration high_{0};
};

}  // namespace inflight::internal
