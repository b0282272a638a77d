// SPDX-License-Identifier: Apache-2.0
// When each frame is due.
#pragma once

#include <cstdint>

#include "inflight/clock.h"
#include "inflight/status.h"

namespace inflight {

// Frames a second as a fraction; 0/1 means as fast as they are accepted.
struct FrameRate {
  std::int64_t num = 0;
  std::int64_t den = 1;

  // The fraction that a decimal rate stands for: 25 -> 25/1, 29.97 and 29.97002997 -> 30000/1001, 12.5 ->
  // 25/2; otherwise to the millionth.
  //   errors   kInvalidArgument: not a number, negative, above a million, or above 0 and below a millionth
  static Result<FrameRate> from_double(double fps);
  friend bool operator==(const FrameRate&, const FrameRate&) = default;
};

// Says when a frame is due. By its number, frame k is due at start + k / rate, rounded down to the nanosecond
// and computed from k each time, so nothing drifts. By its time stamp, it is due at start + pts. Not
// thread-safe: one owner.
class Pacer {
 public:
  // Starts now, by `clock`, which must outlive the pacer. Requires a rate with num >= 0 and den >= 1.
  Pacer(FrameRate rate, const Clock& clock);

  // When frame `index` (not negative) is due. At rate 0 it is due whenever asked: now.
  TimePoint due(std::int64_t index) const;
  // When the frame is due that is shown `pts` (not negative) after the first one, whatever the rate.
  TimePoint due_at(Duration pts) const;
  // Whether frame `index` is due by now.
  bool is_due(std::int64_t index) const;
  // Moves the start to now: frame 0 is due at once.
  void restart();
  // True where the rate is 0.
  bool unpaced() const noexcept { return rate_.num == 0; }
  TimePoint start() const noexcept { return start_; }

 private:
  FrameRate rate_;
  const Clock& clock_;
  TimePoint start_;
};

}  // namespace inflight
