// SPDX-License-Identifier: Apache-2.0
#include "media/packet_timeline.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <limits>

#include "base/check.h"

namespace inflight {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// Beyond this a stamp is taken for damage: 73 years in nanoseconds, so those of clocks that count from 1970
// are in it.
constexpr std::int64_t kStampMax = std::numeric_limits<std::int64_t>::max() / 4;
// Times end here, at 146 years: sums of two stay in range. Only damaged stamps lead so far.
constexpr std::int64_t kTimeMax = std::numeric_limits<std::int64_t>::max() / 2;
// More frames than this are no hole, but a damaged stamp: a day at 100 a second.
constexpr double kHoleMax = 8'640'000;
// A decoder holds fewer packets than this.
constexpr std::size_t kEntriesMax = 256;
// No decoder shows a frame later than this many packets.
constexpr std::int64_t kReorderMax = 32;
// So many packets without a frame and without an error show a stream in which that is usual.
constexpr std::int64_t kSilentUsual = 3;
// Stamps in milliseconds round by so much, in nanoseconds, twice.
constexpr std::int64_t kRounding = 1'100'000;

__extension__ using Wide = __int128;

std::int64_t sum(Wide a, Wide b) {
  return static_cast<std::int64_t>(std::clamp<Wide>(a + b, -kTimeMax, kTimeMax));
}

}  // namespace

PacketTimeline::PacketTimeline(const Rules& rules) : rules_(rules) {
  INFLIGHT_CHECK(rules.unit_num > 0 && rules.unit_den > 0 && rules.fps > 0);
}

std::optional<std::int64_t> PacketTimeline::ns(std::optional<std::int64_t> stamp) const {
  if (!stamp) return std::nullopt;
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
    // After a complaint the distance may be a hole.
    if (!jump && step > 0 && dts && (!may_lack_packets() || step_ == 0 || step < step_ - kRounding))
      step_ = step;
  }
  last_stamp_ = stamp;
  if (!jump) return;
  starts_anew_ = false;
  ++jumps_;
  if (latest_) shift_ = sum(sum(*latest_, distance()), -pts.value_or(*stamp));
}

std::int64_t PacketTimeline::add(const Packet& packet) {
  const std::optional<std::int64_t> pts = ns(packet.pts);
  const std::optional<std::int64_t> dts = ns(packet.dts);
  watch_for_jump(pts, dts);
  key_seen_ = key_seen_ || packet.key;
  stamped_ = stamped_ && pts.has_value();
  Entry entry{next_number_++, pts, dts, packet.key, key_seen_ && !packet.hidden};
  if (entry.pts) entry.pts = sum(*entry.pts, shift_);
  if (entry.dts) entry.dts = sum(*entry.dts, shift_);
  if (const auto& stamp = entry.pts ? entry.pts : entry.dts; stamp && (!latest_ || *stamp > *latest_)) {
    latest_ = stamp;
  }
  // The oldest will not come any more.
  if (entries_.size() == kEntriesMax) {
    const std::int64_t oldest = entries_.front().number;
    const std::int64_t lost = judge([oldest](const Entry& each) { return each.number == oldest; });
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

void PacketTimeline::add_hint() {
  hinted_ = true;
  hinted_from_ = next_number_;
}

// How many of the packets that `passed` chooses, which gave no frame, have lost one.
template <typename Passed>
std::int64_t PacketTimeline::judge(const Passed& passed) {
  std::int64_t count = 0;
  bool key = false;  // there is a picture in it, whatever it is
  for (const Entry& entry : entries_) {
    if (!entry.counts || !passed(entry)) continue;
    ++count;
    key = key || entry.key;
  }
  suspicious_ = suspicious_ || key;
  if (!suspicious_ && !hinted_) {
    silent_ += count;
    return 0;
  }
  const bool silence_is_usual = silent_ >= kSilentUsual;
  const std::int64_t lost =
      silence_is_usual ? std::min(count, std::max<std::int64_t>(errors_, key ? 1 : 0)) : count;
  errors_ = std::max<std::int64_t>(0, errors_ - lost);
  return lost;
}

// Whether the container may have lost packets on the way to here.
bool PacketTimeline::may_lack_packets() const {
  return hinted_ || (rules_.doubtful && last_.value_or(Duration(0)) < kLookAhead);
}

// How many frames are missing between the last one taken and one that is shown at `stamp`.
std::int64_t PacketTimeline::hole_before(std::int64_t stamp) const {
  if (!may_lack_packets() || !last_ || !origin_ || step_ == 0) return 0;
  const auto step = static_cast<double>(step_);
  const double declared = static_cast<double>(kSecond) / rules_.fps;
  const auto length = static_cast<double>(sum(stamp, -*origin_)) - static_cast<double>(last_->count());
  // Where the first distance of all is a hole, it is several times the declared one.
  const double times = std::max(1.0, std::round(step / declared));
  const double frames = length / (std::abs(times * declared - step) <= kRounding ? declared : step);
  // What does not fit the distance is no hole, but a pause.
  if (frames < 1.5 || frames > kHoleMax || std::abs(frames - std::round(frames)) > 0.2) return 0;
  return std::llround(frames) - 1;
}

// What is shown before a frame comes before it.
std::optional<std::int64_t> PacketTimeline::take_stamped(std::size_t at, std::int64_t& lost) {
  const Entry taken = entries_[at];
  const auto passed = [&](const Entry& entry) { return *entry.pts < *taken.pts; };
  lost = std::max(judge(passed), hole_before(*taken.pts));
  std::erase_if(entries_, [&](const Entry& entry) { return entry.number == taken.number || passed(entry); });
  return taken.pts;
}

// Without a stamp for the showing, the decoding stamps in their order are those of the frames in theirs.
std::optional<std::int64_t> PacketTimeline::take_unstamped(std::size_t at, bool reorders,
                                                           std::int64_t& lost) {
  std::size_t last = at;
  if (reorders) {
    last = static_cast<std::size_t>(std::min<std::int64_t>(errors_, std::ssize(entries_) - 1));
    lost = static_cast<std::int64_t>(last);
    errors_ = 0;
  } else {
    const std::int64_t number = entries_[at].number;
    lost = judge([number](const Entry& entry) { return entry.number < number; });
    if (entries_[at].dts) lost = std::max(lost, hole_before(*entries_[at].dts));
  }
  const std::optional<std::int64_t> stamp = entries_[last].dts;
  const std::int64_t newest = entries_.back().number;
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(last) + 1);
  std::erase_if(entries_, [newest](const Entry& entry) { return entry.number + kReorderMax < newest; });
  return stamp;
}

PacketTimeline::Place PacketTimeline::take(std::int64_t number, bool reorders) {
  std::int64_t lost = 0;
  std::optional<std::int64_t> stamp;
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [number](const Entry& entry) { return entry.number == number; });
  // Of the entries without a stamp, another one may have been taken in this one's place.
  const bool first_stands_in = reorders && !entries_.empty() && !stamped_;
  const auto at = found == entries_.end() && first_stands_in ? entries_.begin() : found;
  if (at != entries_.end()) {
    const auto position = static_cast<std::size_t>(at - entries_.begin());
    const bool clears = at->key && number >= suspicious_from_;
    const bool clears_hint = at->key && number >= hinted_from_;
    stamp = stamped_ ? take_stamped(position, lost) : take_unstamped(position, reorders, lost);
    if (clears) {
      suspicious_ = false;
      errors_ = 0;
    }
    if (clears_hint) hinted_ = false;
  }
  key_seen_ = true;
  next_index_ += lost;
  skipped_ += lost;
  std::int64_t pts = 0;
  if (last_) pts = std::max(sum(last_->count(), Wide{distance()} * (1 + lost)), last_->count() + 1);
  if (stamp && !origin_) origin_ = sum(*stamp, -pts);
  if (stamp) {
    const std::int64_t shown = sum(*stamp, -*origin_);
    if (!last_ || shown > last_->count()) pts = shown;
  }
  last_ = Duration(pts);
  return {next_index_++, *last_};
}

void PacketTimeline::finish() {
  const std::int64_t lost = judge([](const Entry&) { return true; });
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
  hinted_ = false;
  stamped_ = true;
  step_ = 0;
  last_stamp_.reset();
  starts_anew_ = true;
  if (origin_) latest_ = std::max(latest_.value_or(*origin_), sum(sum(*origin_, pts.count()), -distance()));
}

}  // namespace inflight
