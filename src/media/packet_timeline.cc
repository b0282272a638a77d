// SPDX-License-Identifier: Apache-2.0
#include "media/packet_timeline.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace inflight {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// Beyond this a stamp is taken for damage: 146 years in nanoseconds, so that sums of two stay in range.
constexpr std::int64_t kStampMax = std::numeric_limits<std::int64_t>::max() / 4;
// A decoder holds fewer packets than this.
constexpr std::size_t kEntriesMax = 256;
// So many packets without a frame and without an error show a stream in which that is usual.
constexpr std::int64_t kSilentUsual = 3;

}  // namespace

PacketTimeline::PacketTimeline(const Rules& rules) : rules_(rules) {
  INFLIGHT_CHECK(rules.unit_num > 0 && rules.unit_den > 0 && rules.fps > 0);
}

std::optional<std::int64_t> PacketTimeline::ns(std::optional<std::int64_t> stamp) const {
  if (!stamp) return std::nullopt;
  __extension__ using Wide = __int128;
  const Wide value = Wide{*stamp} * kSecond * rules_.unit_num / rules_.unit_den;
  if (value > kStampMax || value < -kStampMax) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::int64_t PacketTimeline::distance() const {
  return step_ > 0 ? step_ : std::max<std::int64_t>(1, std::llround(kSecond / rules_.fps));
}

// Finds jumps in the order of decoding, in which stamps grow.
void PacketTimeline::watch_for_jump(std::optional<std::int64_t> pts, std::optional<std::int64_t> dts) {
  const std::optional<std::int64_t> stamp = dts ? dts : pts;
  if (!stamp) return;
  bool jump = starts_anew_;
  if (last_stamp_ && !jump) {
    const std::int64_t step = *stamp - *last_stamp_;
    // Without a decoding stamp the order of showing goes back a little with every B frame.
    const std::int64_t back_max = rules_.jumps && dts ? 0 : kSecond;
    jump = step < -back_max || (rules_.jumps && step > kJump.count());
    if (!jump && step > 0 && dts) step_ = step;
  }
  last_stamp_ = stamp;
  if (!jump) return;
  starts_anew_ = false;
  ++jumps_;
  if (latest_) shift_ = *latest_ + distance() - pts.value_or(*stamp);
}

std::int64_t PacketTimeline::add(const Packet& packet) {
  const std::optional<std::int64_t> pts = ns(packet.pts);
  const std::optional<std::int64_t> dts = ns(packet.dts);
  watch_for_jump(pts, dts);
  key_seen_ = key_seen_ || packet.key;
  Entry entry{next_number_++, pts, dts, packet.key, key_seen_ && !packet.hidden};
  if (entry.pts) *entry.pts += shift_;
  if (entry.dts) *entry.dts += shift_;
  if (const auto& stamp = entry.pts ? entry.pts : entry.dts; stamp && (!latest_ || *stamp > *latest_)) {
    latest_ = stamp;
  }
  // The oldest will not come any more.
  if (entries_.size() == kEntriesMax) {
    const std::int64_t lost = judge(entries_.front().counts ? 1 : 0);
    next_index_ += lost;
    skipped_ += lost;
    entries_.erase(entries_.begin());
  }
  entries_.push_back(entry);
  return entry.number;
}

void PacketTimeline::add_error() {
  ++errors_;
  suspicious_ = true;
  suspicious_from_ = next_number_;
}

// How many of `passed` packets that gave no frame have lost one.
std::int64_t PacketTimeline::judge(std::int64_t passed) {
  if (!suspicious_) {
    silent_ += passed;
    return 0;
  }
  const std::int64_t lost = silent_ >= kSilentUsual ? std::min(passed, errors_) : passed;
  errors_ = std::max<std::int64_t>(0, errors_ - lost);
  return lost;
}

// What is shown before a frame comes before it.
std::optional<std::int64_t> PacketTimeline::take_stamped(std::size_t at, std::int64_t& lost) {
  const Entry taken = entries_[at];
  const auto passed = [&](const Entry& entry) {
    return entry.pts ? *entry.pts < *taken.pts : entry.number < taken.number;
  };
  lost = judge(std::count_if(entries_.begin(), entries_.end(),
                             [&](const Entry& entry) { return entry.counts && passed(entry); }));
  std::erase_if(entries_, [&](const Entry& entry) { return entry.number == taken.number || passed(entry); });
  return taken.pts;
}

// Without a stamp for the showing, the decoding stamps in their order are those of the frames in theirs.
std::optional<std::int64_t> PacketTimeline::take_unstamped(std::size_t at, bool reorders,
                                                           std::int64_t& lost) {
  std::size_t last = at;
  if (reorders) {
    last = static_cast<std::size_t>(std::min<std::int64_t>(errors_, static_cast<std::int64_t>(at)));
    lost = static_cast<std::int64_t>(last);
    errors_ = 0;
  } else {
    lost = judge(std::count_if(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(at),
                               [](const Entry& entry) { return entry.counts; }));
  }
  const std::optional<std::int64_t> stamp = entries_[last].dts;
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(last) + 1);
  return stamp;
}

PacketTimeline::Place PacketTimeline::take(std::int64_t number, bool reorders) {
  std::int64_t lost = 0;
  std::optional<std::int64_t> stamp;
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [number](const Entry& entry) { return entry.number == number; });
  // Of the entries without a stamp, another one may have been taken in this one's place.
  const bool first_stands_in = reorders && !entries_.empty() && !entries_.front().pts;
  const auto at = found == entries_.end() && first_stands_in ? entries_.begin() : found;
  if (at != entries_.end()) {
    const auto position = static_cast<std::size_t>(at - entries_.begin());
    const bool clears = at->key && number >= suspicious_from_;
    stamp = at->pts ? take_stamped(position, lost) : take_unstamped(position, reorders, lost);
    if (clears) {
      suspicious_ = false;
      errors_ = 0;
    }
  }
  key_seen_ = true;
  next_index_ += lost;
  skipped_ += lost;
  Duration pts{0};
  if (last_) pts = *last_ + Duration(distance() * (1 + lost));
  if (stamp && !origin_) origin_ = *stamp - pts.count();
  if (stamp && (!last_ || Duration(*stamp - *origin_) > *last_)) pts = Duration(*stamp - *origin_);
  last_ = pts;
  return {next_index_++, pts};
}

void PacketTimeline::finish() {
  const std::int64_t lost =
      judge(std::count_if(entries_.begin(), entries_.end(), [](const Entry& entry) { return entry.counts; }));
  entries_.clear();
  next_index_ += lost;
  skipped_ += lost;
}

void PacketTimeline::restart(const Rules& rules, Duration pts) {
  finish();
  rules_ = rules;
  key_seen_ = false;
  errors_ = 0;
  suspicious_ = false;
  step_ = 0;
  last_stamp_.reset();
  starts_anew_ = true;
  if (origin_) latest_ = std::max(latest_.value_or(*origin_), *origin_ + pts.count() - distance());
}

}  // namespace inflight
