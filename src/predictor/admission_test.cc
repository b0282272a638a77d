// SPDX-License-Identifier: Apache-2.0
#include "predictor/admission.h"

#include <gtest/gtest.h>

namespace inflight::internal {
namespace {

AdmissionState state_with(int in_flight) {
  return {.in_flight = in_flight, .in_flight_limit = 8, .untaken = 0, .finished_limit = 4};
}

TEST(Admission, AdmitsUpToTheLimitAndNotOnePast) {
  EXPECT_EQ(decide(state_with(0)), Admission::kAdmit);
  EXPECT_EQ(decide(state_with(7)), Admission::kAdmit);
  EXPECT_EQ(decide(state_with(8)), Admission::kRefuseFull);
}

TEST(Admission, BlockWaitsUntilItsTimeIsUp) {
  AdmissionState state = state_with(8);
  state.policy = OverloadPolicy::kBlock;
  EXPECT_EQ(decide(state), Admission::kWait);
  state.may_wait = false;
  EXPECT_EQ(decide(state), Admission::kRefuseFull);
  state.in_flight = 7;
  EXPECT_EQ(decide(state), Admission::kAdmit);
}

TEST(Admission, RefusesWhileTooManyWaitToBeTakenUnderEitherPolicy) {
  for (const OverloadPolicy policy : {OverloadPolicy::kReject, OverloadPolicy::kBlock}) {
    AdmissionState state = state_with(0);
    state.policy = policy;
    state.untaken = 3;
    EXPECT_EQ(decide(state), Admission::kAdmit);
    state.untaken = 4;
    EXPECT_EQ(decide(state), Admission::kRefuseUntaken);
  }
}

TEST(Admission, ShuttingDownComesFirst) {
  AdmissionState state = state_with(8);
  state.policy = OverloadPolicy::kBlock;
  state.shutting_down = true;
  EXPECT_EQ(decide(state), Admission::kRefuseShuttingDown);
}

}  // namespace
}  // namespace inflight::internal
