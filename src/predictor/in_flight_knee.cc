// SPDX-License-Identifier: Apache-2.0
#include "predictor/in_flight_knee.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace inflight::internal {
namespace {

// A period counts whole rounds of the limit, and at least so many completions: launches that began together end
// together.
constexpr int kCompletionsMin = 64;
constexpr int kPeriodsBetweenProbes = 8;
constexpr double kChanged = 0.1;

}  // namespace

InFlightKnee::InFlightKnee(int first, int most) {
  for (int limit = 1; limit < most; limit += limit < 4 ? 1 : 1 << (std::ilogb(limit) - 1)) {
    levels_.push_back({limit, 0});
  }
  levels_.push_back({most, 0});
  while (at_ + 1 < levels_.size() && levels_[at_].limit < first) ++at_;
  chosen_ = at_;
  settling_ = 2 * limit();
}

void InFlightKnee::begin_period(TimePoint now) noexcept {
  began_ = now;
  count_ = 0;
  round_ = 0;
}

void InFlightKnee::completed(TimePoint now) noexcept {
  round_ = std::exchange(reached_, false) ? 0 : round_ + 1;
  if (settling_ > 0) {
    if (--settling_ == 0) begin_period(now);
    return;
  }
  if (round_ > limit()) {
    // A whole round without the limit: the load is what there is to measure.
    settling_ = 2 * limit();
    return;
  }
  ++count_;
  const int wanted = (kCompletionsMin + limit() - 1) / limit() * limit();
  if (count_ < wanted) return;
  const double seconds = std::chrono::duration<double>(now - began_).count();
  end_period(static_cast<double>(count_) / std::max(seconds, 1e-9));
  settling_ = 2 * limit();
}

std::size_t InFlightKnee::smallest_that_keeps() const noexcept {
  double best = 0;
  for (const Level& level : levels_) best = std::max(best, level.rate);
  std::size_t smallest = 0;
  while (levels_[smallest].rate < kKept * best) ++smallest;
  return smallest;
}

std::size_t InFlightKnee::unmeasured() const noexcept {
  if (chosen_ + 1 < levels_.size() && levels_[chosen_ + 1].rate == 0) return chosen_ + 1;
  if (chosen_ > 0 && levels_[chosen_ - 1].rate == 0) return chosen_ - 1;
  return chosen_;
}

void InFlightKnee::end_period(double rate) noexcept {
  Level& measured = levels_[at_];
  if (at_ == chosen_ && measured.rate > 0 && std::abs(rate - measured.rate) > kChanged * measured.rate) {
    for (Level& level : levels_) level.rate = 0;  // the machine or the load is another one
    found_ = false;
  }
  measured.rate = rate;
  chosen_ = smallest_that_keeps();
  at_ = unmeasured();
  if (at_ != chosen_) return;
  found_ = true;
  if (++periods_ < kPeriodsBetweenProbes) return;
  periods_ = 0;
  probe_up_ = !probe_up_;
  if (probe_up_ && chosen_ + 1 < levels_.size()) at_ = chosen_ + 1;
  if (!probe_up_ && chosen_ > 0) at_ = chosen_ - 1;
}

}  // namespace inflight::internal
