// SPDX-License-Identifier: Apache-2.0
#include "predictor/admission.h"

#include "base/check.h"

namespace inflight::internal {

Admission decide(const AdmissionState& state) {
  INFLIGHT_CHECK(state.in_flight >= 0 && state.in_flight <= state.in_flight_limit);
  if (state.shutting_down) return Admission::kRefuseShuttingDown;
  // Waiting would not help: only the caller itself can take them.
  if (state.untaken >= state.finished_limit) return Admission::kRefuseUntaken;
  if (state.in_flight < state.in_flight_limit) return Admission::kAdmit;
  switch (state.policy) {
    case OverloadPolicy::kReject:
      return Admission::kRefuseFull;
    case OverloadPolicy::kBlock:
      return state.may_wait ? Admission::kWait : Admission::kRefuseFull;
  }
  check_failed("overload policy", __FILE__, __LINE__);
}

}  // namespace inflight::internal
