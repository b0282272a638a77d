// SPDX-License-Identifier: Apache-2.0
#include "runtime/fair_share.h"

#include <algorithm>

namespace inflight::internal {

double FairShare::key(const Share& share) const noexcept {
  return std::max(share.time, now_ - kCreditMax / share.weight);
}

double FairShare::begin(Share& share) noexcept {
  share.time = key(share);
  now_ = std::max(now_, share.time);
  share.time += share.cost_mean / share.weight;
  return share.cost_mean;
}

void FairShare::end(Share& share, double charged, double cost) noexcept {
  share.time += (cost - charged) / share.weight;
  if (cost > 0) share.cost_mean += (cost - share.cost_mean) / (share.cost_mean > 0 ? 8 : 1);
}

}  // namespace inflight::internal
