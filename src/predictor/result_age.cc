// SPDX-License-Identifier: Apache-2.0
#include "predictor/result_age.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace inflight::internal {
namespace {

constexpr Duration kStep = std::chrono::milliseconds(1);
constexpr std::int64_t kStepsMax = 32;

}  // namespace

bool ResultAge::came(TimePoint due, TimePoint finished) noexcept {
  if (any_ && due <= due_) return false;
  low_ = any_ ? since_ - due_ : Duration(0);
  high_ = any_ ? finished - due_ : Duration(0);
  any_ = true;
  due_ = due;
  since_ = finished;
  return true;
}

void ResultAge::enter(Histogram& ages) const {
  const Duration stretch = high_ - low_;
  if (stretch <= Duration(0)) return;
  const std::int64_t steps = std::clamp<std::int64_t>(stretch / kStep, 1, kStepsMax);
  const std::int64_t us = std::max<std::int64_t>(stretch / std::chrono::microseconds(1), 1);
  for (std::int64_t i = 0; i < steps; ++i) {
    const Duration middle = low_ + stretch * (2 * i + 1) / (2 * steps);
    // The shares add up to `us`.
    ages.add(middle.count(), static_cast<std::uint64_t>(us * (i + 1) / steps - us * i / steps));
  }
}

}  // namespace inflight::internal
