// SPDX-License-Identifier: Apache-2.0
// Whether a frame gets a place: pure decisions over numbers, so that every policy can be tested without a
// thread.
#pragma once

#include <cstddef>

#include "inflight/predictor.h"

namespace inflight::internal {

// What a decision looks at, as it is at this instant.
struct AdmissionState {
  int in_flight = 0;
  int in_flight_limit = 0;
  std::size_t untaken = 0;  // finished predictions that wait for take_finished()
  std::size_t finished_limit = 0;
  OverloadPolicy policy = OverloadPolicy::kReject;
  bool may_wait = true;  // the block timeout has not passed
  bool shutting_down = false;
};

enum class Admission {
  kAdmit,
  kWait,  // until something changes, then decide again
  kRefuseFull,
  kRefuseUntaken,
  kRefuseShuttingDown,
};

// Each policy is a row here and nowhere else.
Admission decide(const AdmissionState& state);

}  // namespace inflight::internal
