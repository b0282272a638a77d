// SPDX-License-Identifier: Apache-2.0
// StreamDecoder: the decoded frames of an input, whatever becomes of it on the way.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/media_input.h"
#include "media/orientation.h"
#include "media/packet_timeline.h"

namespace inflight {

// Decodes the best video stream. What does not decode is passed over, and counted; what a decoder conceals
// comes as the decoder shows it. Where the stream ends and another one begins (a change of programme), it
// goes on with that. Not thread-safe: one owner.
class StreamDecoder {
 public:
  // Rates outside of these are taken for a mistake of the writer.
  static constexpr double kFpsMin = 0.01;
  static constexpr double kFpsMax = 1000;
  static constexpr double kFpsUsual = 25;

  enum class Got : std::uint8_t {
    kFrame,
    kEnd,  // no more frames come
    kCut,  // likewise, for the input breaks off: why_cut() says how
  };

  StreamDecoder(const MediaAddress& address, const std::atomic<bool>& interrupted)
      : address_(address), interrupted_(interrupted), input_(address, interrupted) {}

  //   errors   those of MediaInput::open(); kInvalidMedia: no video in it; kUnsupported: no decoder for it
  Status open();

  // Brings the next frame.
  //   errors   kOutOfMemory
  Result<Got> next();
  const AVFrame& frame() const { return *frame_; }
  // Of frame(): the packet that held it, as PacketTimeline numbers them.
  std::int64_t packet_number() const { return frame_->reordered_opaque; }
  // How frame() is to be turned to be shown.
  Orientation orientation() const;
  bool reorders() const { return codec_->has_b_frames > 0; }

  // Tells `line` of packets and errors from now on.
  void set_timeline(PacketTimeline& line) { timeline_ = &line; }
  PacketTimeline::Rules rules() const;

  double fps() const { return fps_; }                    // 0: none is declared, or a foolish one
  double declared_fps() const { return declared_fps_; }  // as it is; 0: none
  int coded_height() const { return codec_->height; }
  int coded_width() const { return codec_->width; }
  const MediaInput& input() const { return input_; }
  const std::string& first_damage() const { return first_damage_; }  // empty: there is none
  const std::string& why_cut() const { return why_cut_; }

 private:
  // A stream that ours may go on as: its packets, until that is known.
  struct Successor {
    int stream;
    std::deque<ffmpeg::Packet> packets;
    std::size_t bytes;
  };

  Status open_codec(const AVCodec* decoder, int stream);
  void feed();
  void read();
  bool is_key(const AVPacket& packet);
  void feed_packet(const AVPacket& packet);
  void consider(ffmpeg::Packet packet);
  Status follow();
  void note_damage(int error);
  void note_complaints();

  const MediaAddress address_;
  const std::atomic<bool>& interrupted_;
  MediaInput input_;
  ffmpeg::Codec codec_;
  ffmpeg::Frame frame_;
  PacketTimeline* timeline_ = nullptr;
  int stream_ = -1;
  std::vector<int> beside_;  // other video streams that have come together with ours
  double fps_ = 0;
  double declared_fps_ = 0;
  std::optional<Successor> successor_;
  std::deque<ffmpeg::Packet> backlog_;  // read and not yet given to the decoder
  bool is_first_ = true;                // no packet has been given to the decoder
  bool input_ended_ = false;
  bool draining_ = false;  // the decoder has been told that no more comes
  int errors_in_a_row_ = 0;
  std::uint64_t complaints_ = ffmpeg::complaints();  // of which the timeline knows
  bool doubtful_ = false;                            // there was one when the input was opened
  std::string first_damage_;
  std::string why_cut_;
};

}  // namespace inflight
