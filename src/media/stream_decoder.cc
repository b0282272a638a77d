// SPDX-License-Identifier: Apache-2.0
#include "media/stream_decoder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

extern "C" {
#include <libavutil/display.h>
}

#include "base/check.h"

namespace inflight {
namespace {

// A decoder that fails so often on what it holds spins; it is emptied.
constexpr int kErrorsInARowMax = 32;
// So much of another stream, while ours gives nothing, shows that it has taken its place.
constexpr std::size_t kSuccessorPackets = 25;
constexpr std::size_t kSuccessorBytes = std::size_t{32} << 20;

std::optional<std::int64_t> stamp(std::int64_t value) {
  if (value == AV_NOPTS_VALUE) return std::nullopt;
  return value;
}

Orientation orientation_of(const void* bytes, std::size_t size) {
  std::array<std::int32_t, 9> matrix{};
  if (size < sizeof matrix) return {};
  std::memcpy(matrix.data(), bytes, sizeof matrix);
  return Orientation::from_display_matrix(matrix);
}

ffmpeg::Packet make_packet() {
  ffmpeg::Packet packet(av_packet_alloc());
  INFLIGHT_CHECK(packet != nullptr);
  return packet;
}

}  // namespace

Status StreamDecoder::open() {
  frame_.reset(av_frame_alloc());
  INFLIGHT_CHECK(frame_ != nullptr);
  INFLIGHT_TRY(input_.open());
  const std::uint64_t complaints = ffmpeg::complaints();
  doubtful_ = complaints != std::exchange(complaints_, complaints);
  const AVCodec* decoder = nullptr;
  const int stream = av_find_best_stream(&input_.format(), AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
  if (stream == AVERROR_DECODER_NOT_FOUND) {
    return input_.failure(StatusCode::kUnsupported, "this FFmpeg has no decoder for its video");
  }
  if (stream < 0) return input_.failure(StatusCode::kInvalidMedia, "has no video in it");
  input_.choose(stream);
  return open_codec(decoder, stream);
}

Status StreamDecoder::open_codec(const AVCodec* decoder, int stream_index) {
  AVStream* const stream = input_.format().streams[stream_index];
  ffmpeg::Codec codec(avcodec_alloc_context3(decoder));
  INFLIGHT_CHECK(codec != nullptr);
  int error = avcodec_parameters_to_context(codec.get(), stream->codecpar);
  // Two threads keep one large video going; more would take cores from the predictions. Frame threads hold
  // pictures back, which what is live must not.
  codec->thread_count = address_.live ? 1 : 2;
  codec->pkt_timebase = stream->time_base;
  if (address_.live && stream->codecpar->video_delay == 0) codec->flags |= AV_CODEC_FLAG_LOW_DELAY;
  if (error >= 0) error = avcodec_open2(codec.get(), decoder, nullptr);
  if (error < 0) return input_.open_failure(error);
  codec_ = std::move(codec);
  stream_ = stream_index;
  const AVRational rate = av_guess_frame_rate(&input_.format(), stream, nullptr);
  declared_fps_ = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
  fps_ = declared_fps_ >= kFpsMin && declared_fps_ <= kFpsMax ? declared_fps_ : 0;
  return Status();
}

PacketTimeline::Rules StreamDecoder::rules() const {
  const AVStream& stream = *input_.format().streams[stream_];
  PacketTimeline::Rules rules;
  if (stream.time_base.num > 0 && stream.time_base.den > 0) {
    rules.unit_num = stream.time_base.num;
    rules.unit_den = stream.time_base.den;
  }
  rules.fps = fps_ > 0 ? fps_ : kFpsUsual;
  rules.doubtful = doubtful_;
  rules.jumps = address_.live || (input_.format().iformat->flags & AVFMT_TS_DISCONT) != 0;
  return rules;
}

Orientation StreamDecoder::orientation() const {
  const AVFrameSideData* own = av_frame_get_side_data(frame_.get(), AV_FRAME_DATA_DISPLAYMATRIX);
  if (own != nullptr) return orientation_of(own->data, own->size);
  std::size_t size = 0;
  const std::uint8_t* bytes =
      av_stream_get_side_data(input_.format().streams[stream_], AV_PKT_DATA_DISPLAYMATRIX, &size);
  return bytes == nullptr ? Orientation() : orientation_of(bytes, size);
}

Result<StreamDecoder::Got> StreamDecoder::next() {
  while (!interrupted_.load(std::memory_order_acquire)) {
    ffmpeg::forget_complaint();
    const int error = avcodec_receive_frame(codec_.get(), frame_.get());
    if (error == 0) {
      errors_in_a_row_ = 0;
      note_complaints();
      return Got::kFrame;
    }
    if (error == AVERROR(ENOMEM)) return input_.failure(StatusCode::kOutOfMemory, "a frame does not fit");
    bool emptied = error == AVERROR_EOF;
    if (!emptied && error != AVERROR(EAGAIN)) {
      note_damage(error);
      if (++errors_in_a_row_ < kErrorsInARowMax) continue;
      errors_in_a_row_ = 0;
      emptied = draining_;
      avcodec_flush_buffers(codec_.get());
    }
    if (emptied) {
      timeline_->finish();
      if (!successor_) return why_cut_.empty() ? Got::kEnd : Got::kCut;
      INFLIGHT_TRY(follow());
    }
    feed();
  }
  return Got::kEnd;
}

// Gives the decoder the next packet, or the end when there is none.
void StreamDecoder::feed() {
  if (draining_) return;
  if (!backlog_.empty()) {
    const ffmpeg::Packet packet = std::move(backlog_.front());
    backlog_.pop_front();
    return feed_packet(*packet);
  }
  const bool replaced = successor_ && (input_ended_ || successor_->packets.size() >= kSuccessorPackets ||
                                       successor_->bytes >= kSuccessorBytes);
  if (input_ended_ || replaced) {
    draining_ = true;
    avcodec_send_packet(codec_.get(), nullptr);
    return;
  }
  read();
}

void StreamDecoder::read() {
  ffmpeg::Packet packet = make_packet();
  switch (input_.read(*packet)) {
    case MediaInput::Got::kNothing:
      return;
    case MediaInput::Got::kCut:
      why_cut_ = input_.why();
      input_ended_ = true;
      return;
    case MediaInput::Got::kEnd:
      if (!address_.live && input_.declares_more()) why_cut_ = "it says itself that it is longer";
      input_ended_ = true;
      return;
    case MediaInput::Got::kPacket:
      if (packet->stream_index != stream_) return consider(std::move(packet));
      if (successor_) beside_.push_back(std::exchange(successor_, std::nullopt)->stream);
      return feed_packet(*packet);
  }
}

// FFmpeg looks into the packet, so one that is damaged has lost its flag. Where the first one is to have it,
// the index of the container still says so.
bool StreamDecoder::is_key(const AVPacket& packet) {
  if ((packet.flags & AV_PKT_FLAG_KEY) != 0) return true;
  if (!std::exchange(is_first_, false)) return false;
  AVStream* const stream = input_.format().streams[stream_];
  const auto indexed = [stream](std::int64_t stamp) {
    if (stamp == AV_NOPTS_VALUE) return false;
    const AVIndexEntry* const entry =
        avformat_index_get_entry_from_timestamp(stream, stamp, AVSEEK_FLAG_BACKWARD);
    return entry != nullptr && entry->timestamp == stamp;
  };
  return indexed(packet.dts) || indexed(packet.pts);
}

void StreamDecoder::feed_packet(const AVPacket& packet) {
  if (packet.data == nullptr || packet.size == 0) return;  // a frame that AVI repeats
  note_complaints();
  codec_->reordered_opaque = timeline_->add({.pts = stamp(packet.pts),
                                             .dts = stamp(packet.dts),
                                             .key = is_key(packet),
                                             .hidden = (packet.flags & AV_PKT_FLAG_DISCARD) != 0});
  // AV_PKT_FLAG_CORRUPT is a hint: the decoder finds out.
  ffmpeg::forget_complaint();
  const int error = avcodec_send_packet(codec_.get(), &packet);
  if (error < 0) note_damage(error);
}

// A packet of another stream: if ours gives nothing any more, it is the one that ours goes on as.
void StreamDecoder::consider(ffmpeg::Packet packet) {
  const int index = packet->stream_index;
  const AVStream& stream = *input_.format().streams[index];
  const bool picture = (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
  if (stream.codecpar->codec_type != AVMEDIA_TYPE_VIDEO || picture) return;
  if (std::find(beside_.begin(), beside_.end(), index) != beside_.end()) return;
  if (!successor_) successor_ = Successor{index, {}, 0};
  if (successor_->stream != packet->stream_index) return;
  successor_->bytes += static_cast<std::size_t>(packet->size);
  successor_->packets.push_back(std::move(packet));
}

Status StreamDecoder::follow() {
  const int stream = successor_->stream;
  backlog_ = std::move(successor_->packets);
  successor_.reset();
  draining_ = false;
  beside_.push_back(stream_);
  const AVCodec* decoder = avcodec_find_decoder(input_.format().streams[stream]->codecpar->codec_id);
  if (decoder == nullptr) {
    return input_.failure(StatusCode::kUnsupported, "this FFmpeg has no decoder for its video");
  }
  INFLIGHT_TRY(open_codec(decoder, stream));
  timeline_->restart(rules(), Duration(0));
  return Status();
}

// A decoder's threads and the demuxer say more in the log than by their codes.
void StreamDecoder::note_complaints() {
  const std::uint64_t complaints = ffmpeg::complaints();
  if (std::exchange(complaints_, complaints) != complaints) timeline_->add_hint();
}

void StreamDecoder::note_damage(int error) {
  timeline_->add_error();
  if (first_damage_.empty()) first_damage_ = ffmpeg::error_text(error);
}

}  // namespace inflight
