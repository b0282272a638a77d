// SPDX-License-Identifier: Apache-2.0
// Packets with any stamps, frames for any of them: numbers and times of frames grow, whatever the stamps are.
#include "media/packet_timeline.h"

#include "support.h"

namespace {

using namespace inflight;

PacketTimeline::Rules make_rules(fuzz::Bytes& bytes) {
  PacketTimeline::Rules rules;
  rules.unit_num = bytes.below(4) != 0 ? 1 : 1 + (bytes.number<std::uint32_t>() >> 1);
  constexpr std::int64_t kUnits[] = {1000, 90'000, 1, 25, 1'000'000'000};
  rules.unit_den = bytes.below(4) != 0 ? kUnits[bytes.below(5)] : 1 + (bytes.number<std::uint32_t>() >> 1);
  constexpr double kRates[] = {25, 0.01, 1000, 29.97, 60};  // StreamDecoder::kFpsMin to kFpsMax
  rules.fps = kRates[bytes.below(5)];
  rules.jumps = bytes.below(2) != 0;
  return rules;
}

std::optional<std::int64_t> make_stamp(fuzz::Bytes& bytes, std::int64_t usual) {
  switch (bytes.below(8)) {
    case 0:
      return std::nullopt;
    case 1:
      return bytes.number<std::int64_t>();
    case 2:
      return bytes.number<std::int32_t>();
    default:
      return usual + bytes.below(4);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  PacketTimeline line(make_rules(bytes));
  std::vector<std::int64_t> held;
  std::optional<PacketTimeline::Place> before;
  const bool reorders = bytes.below(2) != 0;
  std::int64_t usual = 0;
  while (!bytes.empty()) {
    switch (bytes.below(8)) {
      case 0:
        line.add_error();
        break;
      case 1:
        line.add_hint();
        break;
      case 2:
        if (bytes.below(8) == 0) {
          line.finish();
          held.clear();
          const auto pause = Duration(static_cast<std::int64_t>(bytes.number<std::uint32_t>()) * 1000);
          line.restart(make_rules(bytes), pause);
        }
        break;
      case 3:
      case 4: {
        if (held.empty()) break;
        const std::size_t which =
            bytes.below(4) == 0 ? static_cast<std::size_t>(bytes.byte()) % held.size() : 0;
        const std::int64_t number = held[which];
        if (bytes.below(8) != 0) held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
        const PacketTimeline::Place place = line.take(number, reorders);
        fuzz::must(place.index >= 0 && place.pts.count() >= 0, "numbers and times are not negative");
        if (before) {
          fuzz::must(place.index > before->index, "numbers grow");
          fuzz::must(place.pts > before->pts, "times grow");
        } else {
          fuzz::must(place.pts.count() == 0, "the first frame's time is 0");
        }
        fuzz::must(line.next_index() > place.index, "the next frame has a later number");
        before = place;
        break;
      }
      default: {
        usual += 1 + bytes.below(40);
        const std::optional<std::int64_t> pts = make_stamp(bytes, usual);
        const std::optional<std::int64_t> dts = make_stamp(bytes, usual);
        const int flags = bytes.below(16);
        held.push_back(line.add({pts, dts, flags == 0, flags == 1}));
      }
    }
    fuzz::must(line.skipped() >= 0 && line.skipped() <= line.next_index(), "the lost ones are counted");
  }
  line.finish();
  return 0;
}
