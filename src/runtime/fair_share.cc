// SPDX-License-Identifier: Apache-2.0
#include "runtime/fair_share.h"

#include <algorithm>

namespace inflight::internal {

void FairShare::look(Share& share, bool waits, bool runs) noexcept {
  if (&share == current_) current_waits_ = waits;
  if (!waits) {
    share.away = share.away || !runs;
    return;
  }
  if (share.away) {
    share.away = false;
    share.time = std::max(share.time, now_ - credit_ / share.weight);
    current_ = nullptr;
  }
  if (least_ == nullptr || share.time < least_->time) least_ = &share;
}

FairShare::Share* FairShare::choose() noexcept {
  if (least_ == nullptr) return nullptr;
  now_ = std::max(now_, least_->time);
  const bool goes_on =
      current_ != nullptr && current_waits_ && current_->time - least_->time < quantum_ / current_->weight;
  if (!goes_on) current_ = least_;
  return current_;
}

double FairShare::begin(Share& share) noexcept {
  share.time += share.cost_mean / share.weight;
  return share.cost_mean;
}

void FairShare::end(Share& share, double charged, double cost) noexcept {
  share.time += (cost - charged) / share.weight;
  if (cost > 0) share.cost_mean += (cost - share.cost_mean) / (share.cost_mean > 0 ? 8 : 1);
}

}  // namespace inflight::internal
