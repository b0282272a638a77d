// SPDX-License-Identifier: Apache-2.0
#include "media/pacing.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "base/check.h"

namespace inflight {

Result<FrameRate> FrameRate::from_double(double fps) {
  constexpr double kFpsMax = 1e6;
  constexpr std::int64_t kMillion = 1'000'000;
  if (fps == 0) return FrameRate{0, 1};
  if (!(fps >= 1.0 / kMillion) || fps > kFpsMax) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("fps: got {}, want 0, or 0.000001 to 1000000", fps));
  }
  // NTSC rates (24, 30, 48, 60, 120, 240 divided by 1.001) are written with two digits or more: 23.98, 29.97.
  const auto nominal = static_cast<std::int64_t>(std::round(fps * 1.001));
  const bool ntsc = nominal >= 24 && nominal <= 240 && nominal % 6 == 0 && fps != std::round(fps);
  if (ntsc && std::abs(fps - static_cast<double>(nominal) / 1.001) < 0.005)
    return FrameRate{nominal * 1000, 1001};
  const std::int64_t millionths = std::llround(fps * kMillion);
  const std::int64_t divisor = std::gcd(millionths, kMillion);
  return FrameRate{millionths / divisor, kMillion / divisor};
}

Pacer::Pacer(FrameRate rate, const Clock& clock) : rate_(rate), clock_(clock), start_(clock.now()) {
  INFLIGHT_CHECK(rate.num >= 0 && rate.den >= 1);
}

TimePoint Pacer::due(std::int64_t index) const {
  INFLIGHT_CHECK(index >= 0);
  if (unpaced()) return clock_.now();
  __extension__ using Wide = __int128;
  const Wide ns = Wide{index} * 1'000'000'000 * rate_.den / rate_.num;
  const Wide room = (TimePoint::max() - start_).count();
  return start_ + Duration(static_cast<Duration::rep>(ns < room ? ns : room));
}

TimePoint Pacer::due_at(Duration pts) const {
  INFLIGHT_CHECK(pts.count() >= 0);
  return pts < TimePoint::max() - start_ ? start_ + pts : TimePoint::max();
}

bool Pacer::is_due(std::int64_t index) const { return unpaced() || clock_.now() >= due(index); }

void Pacer::restart() { start_ = clock_.now(); }

}  // namespace inflight
