// SPDX-License-Identifier: Apache-2.0
// PacketTimeline: which number a decoded frame has, and when it is shown.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "inflight/clock.h"

namespace inflight {

// Matches the frames that a decoder gives back to the packets that it was given. Arithmetic only.
//   numbers   A packet holds one frame. Frames are numbered in the order in which they are shown, and a frame
//             that does not decode keeps its number, so that no later one shifts. Packets that hold no frame
//             of their own (second fields, hidden reference frames) take no number: a packet without a frame
//             counts as damage only where the decoder has reported an error since the last key frame, or
//             where it was one. Packets that are lost with their containers leave a hole in stamps that were
//             steady before; it counts where FFmpeg has complained since the last key frame. What comes
//             before the first key frame, as in a recording that begins anywhere, and does not decode is not
//             counted.
//   times     0 for the first frame, then always growing. Stamps that jump (a join, a wrap of 33 bits, a
//             lost connection) go on at the usual distance; equal or missing ones follow at that distance.
//   AVI says so for some packets only: then the decoding stamps in their order are the times of the frames.
// Not thread-safe: one owner.
class PacketTimeline {
 public:
  struct Rules {
    std::int64_t unit_num = 1;  // the stamps' unit is unit_num / unit_den seconds
    std::int64_t unit_den = 1000;
    double fps = 25;        // the declared rate, above 0
    bool jumps = false;     // the format has jumps (MPEG-TS): a step back or of more than kJump is one
    bool doubtful = false;  // FFmpeg has complained while it looked ahead, kLookAhead at most
  };
  struct Packet {
    std::optional<std::int64_t> pts;
    std::optional<std::int64_t> dts;
    bool key = false;
    bool hidden = false;  // the container says that its frame is not shown
  };
  struct Place {
    std::int64_t index = 0;
    Duration pts{0};
  };

  static constexpr Duration kJump = std::chrono::seconds(5);
  static constexpr Duration kLookAhead = std::chrono::seconds(10);

  explicit PacketTimeline(const Rules& rules);

  // A packet is about to be given to the decoder.
  //   returns  what to ask take() with
  std::int64_t add(const Packet& packet);
  // The decoder has reported damage.
  void add_error();
  // FFmpeg has complained, which may or may not mean damage.
  void add_hint();
  // The frame of packet `number` has been decoded; `reorders`: the decoder shows frames in another order
  // than that of their packets.
  Place take(std::int64_t number, bool reorders);
  // The decoder has given back everything that it holds.
  void finish();
  // What the decoder holds is given up; the next packet's frame is shown `pts` after the first one at the
  // earliest. Its stream may have another unit.
  void restart(const Rules& rules, Duration pts);

  // Frames that were lost to damage, so far.
  std::int64_t skipped() const { return skipped_; }
  // How often stamps have jumped.
  std::int64_t jumps() const { return jumps_; }
  // The frame that the next take() brings at the earliest.
  std::int64_t next_index() const { return next_index_; }
  // Where the last frame taken is shown; nothing before the first.
  std::optional<Duration> last_pts() const { return last_; }

 private:
  struct Entry {
    std::int64_t number;
    std::optional<std::int64_t> pts;  // in ns from any origin, without jumps
    std::optional<std::int64_t> dts;
    bool key;
    bool counts;  // it is one frame less if it does not come
  };

  std::optional<std::int64_t> ns(std::optional<std::int64_t> stamp) const;
  void watch_for_jump(std::optional<std::int64_t> pts, std::optional<std::int64_t> dts);
  template <typename Passed>
  std::int64_t judge(const Passed& passed);
  bool may_lack_packets() const;
  std::int64_t hole_before(std::int64_t stamp) const;
  std::optional<std::int64_t> take_stamped(std::size_t at, std::int64_t& lost);
  std::optional<std::int64_t> take_unstamped(std::size_t at, bool reorders, std::int64_t& lost);
  std::int64_t distance() const;

  Rules rules_;
  std::vector<Entry> entries_;  // given to the decoder and not yet back, in the order of their numbers
  std::int64_t next_number_ = 0;
  bool key_seen_ = false;
  bool stamped_ = true;  // every packet has said when its frame is shown

  std::optional<std::int64_t> last_stamp_;  // the last packet's, in ns
  std::int64_t step_ = 0;                   // the last distance of two packets in ns; 0: none has been seen
  std::int64_t shift_ = 0;                  // from stamps to a time without jumps
  std::optional<std::int64_t> latest_;      // of all packets, without jumps
  bool starts_anew_ = false;                // the next packet does not follow the last one

  std::int64_t errors_ = 0;           // reported, and no frame missed for them yet
  bool suspicious_ = false;           // an error since the last key frame
  std::int64_t suspicious_from_ = 0;  // the packet that was next then
  bool hinted_ = false;               // a complaint, likewise
  std::int64_t hinted_from_ = 0;
  std::int64_t silent_ = 0;  // packets that had no frame, without an error

  std::int64_t next_index_ = 0;
  std::int64_t skipped_ = 0;
  std::int64_t jumps_ = 0;
  std::optional<std::int64_t> origin_;  // where the first frame is shown
  std::optional<Duration> last_;
};

}  // namespace inflight
