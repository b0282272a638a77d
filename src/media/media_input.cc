// SPDX-License-Identifier: Apache-2.0
#include "media/media_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

extern "C" {
#include <libavdevice/avdevice.h>
}

#include "base/check.h"

namespace inflight {
namespace {

// A demuxer that goes on failing has nothing more to give.
constexpr int kBadReadsMax = 64;

constexpr std::string_view kMov = "mov,mp4,m4a,3gp,3g2,mj2";  // FFmpeg's name for MP4 and its relatives

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Matroska and its like write how long they are into the head, for all streams together.
bool declares_its_length(const AVFormatContext& format) {
  return is_one_of(format.iformat->name, {"matroska,webm", "flv", "asf"}) && format.duration > 0 &&
         format.duration_estimation_method == AVFMT_DURATION_FROM_STREAM;
}

AVDictionary* options_for(const MediaAddress& address) {
  AVDictionary* options = nullptr;
  // A picture called frame%03d.png is one file and not a pattern; other formats do not know the option.
  av_dict_set(&options, "pattern_type", "none", 0);
  if (!address.live || address.kind == MediaKind::kCamera) return options;
  // What waits in buffers grows old. RTSP by TCP loses nothing; servers that refuse it are asked for UDP.
  av_dict_set(&options, "rtsp_flags", "prefer_tcp", 0);
  av_dict_set(&options, "max_delay", "100000", 0);
  av_dict_set(&options, "analyzeduration", "500000", 0);
  av_dict_set(&options, "overrun_nonfatal", "1", 0);
  return options;
}

}  // namespace

Status MediaInput::failure(StatusCode code, std::string_view message) const {
  return Status(code, fmt::format("{}: {}", address_.name(), message));
}

int MediaInput::must_stop(void* input) {
  auto* const self = static_cast<MediaInput*>(input);
  if (self->interrupted_.load(std::memory_order_acquire)) return 1;
  if (steady_clock().now() < self->give_up_ || !(self->address_.live || self->is_playlist())) return 0;
  self->stalled_ = true;
  return 1;
}

// Whether FFmpeg itself waits for more to come.
bool MediaInput::is_playlist() const {
  return opening_->iformat != nullptr && is_one_of(opening_->iformat->name, {"hls", "dash"});
}

bool MediaInput::index_may_come_too_late() const {
  const bool can_seek = format_->pb != nullptr && (format_->pb->seekable & AVIO_SEEKABLE_NORMAL) != 0;
  return !can_seek && format_->iformat->name == kMov;
}

void MediaInput::arm() {
  ffmpeg::forget_complaint();
  give_up_ = deadline_after(patience());
}

Status MediaInput::open_failure(int error) const {
  if (address_.kind == MediaKind::kCamera) {
    const bool absent = error == AVERROR(ENODEV) || error == AVERROR(ENXIO) || error == AVERROR(ENOTTY) ||
                        error == AVERROR(EINVAL) || error == AVERROR(ENOENT);
    return failure(absent ? StatusCode::kNoSuchDevice : StatusCode::kDeviceError, ffmpeg::error_text(error));
  }
  if (error == AVERROR_EXIT) {
    return failure(
        address_.kind == MediaKind::kVideo ? StatusCode::kInvalidMedia : StatusCode::kNotFound,
        fmt::format("gives nothing for {:g} s", std::chrono::duration<double>(patience()).count()));
  }
  if (error == AVERROR_PROTOCOL_NOT_FOUND)
    return failure(StatusCode::kUnsupported, ffmpeg::error_text(error));
  const bool nobody = address_.kind == MediaKind::kStream && error != AVERROR_INVALIDDATA;
  return failure(nobody ? StatusCode::kNotFound : StatusCode::kInvalidMedia, ffmpeg::error_text(error));
}

Status MediaInput::open() {
  const AVInputFormat* device = nullptr;
  if (address_.kind == MediaKind::kCamera) {
    avdevice_register_all();  // does its work once a process, whoever calls
    device = av_find_input_format("v4l2");
    if (device == nullptr) return failure(StatusCode::kUnsupported, "this FFmpeg has no v4l2 devices");
  }
  AVFormatContext* format = avformat_alloc_context();
  INFLIGHT_CHECK(format != nullptr);
  format->interrupt_callback = {&MediaInput::must_stop, this};
  if (address_.opened != nullptr) {
    address_.opened->set_interrupt(format->interrupt_callback);
    format->pb = address_.opened->io();
  }
  opening_ = format;
  AVDictionary* options = options_for(address_);
  arm();
  const int error = avformat_open_input(&format, address_.url.c_str(), device, &options);
  av_dict_free(&options);
  if (error < 0) return open_failure(error);  // `format` has been freed
  format_.reset(format);
  // FFmpeg would draw any .txt file as a terminal.
  if (std::string_view(format->iformat->name) == "tty") {
    return failure(StatusCode::kInvalidMedia, "is text, not a video");
  }
  for (unsigned i = 0; i < format->nb_streams; ++i) {
    // Its decoder never ends on a piece of a file; a picture's own file is checked before.
    if (format->streams[i]->codecpar->codec_id == AV_CODEC_ID_JPEGXL)
      return failure(StatusCode::kUnsupported, "is JPEG XL, which is read from a picture's own file only");
  }
  arm();
  const int info = avformat_find_stream_info(format, nullptr);
  // A short playlist has been read to its last piece by that; its packets are still to be had.
  if (!address_.live) stalled_ = false;
  return info < 0 ? open_failure(info) : Status();
}

void MediaInput::choose(int index) {
  video_ = index;
  video_packets_ = 0;
  if (declares_its_length(*format_)) return;
  const bool may_go_on = (format_->iformat->flags & AVFMT_TS_DISCONT) != 0;  // as another stream
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    const bool video = format_->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO;
    if (static_cast<int>(i) != index && !(video && may_go_on)) format_->streams[i]->discard = AVDISCARD_ALL;
  }
}

void MediaInput::note(const AVPacket& packet) {
  bad_reads_ = 0;
  last_is_partial_ = (packet.flags & AV_PKT_FLAG_CORRUPT) != 0;
  const AVStream& stream = *format_->streams[packet.stream_index];
  if (packet.stream_index == video_) ++video_packets_;
  const std::int64_t stamp = packet.pts != AV_NOPTS_VALUE ? packet.pts : packet.dts;
  if (stamp == AV_NOPTS_VALUE) return;
  end_us_ = std::max(end_us_,
                     av_rescale_q(av_sat_add64(stamp, packet.duration), stream.time_base, {1, AV_TIME_BASE}));
}

MediaInput::Got MediaInput::read(AVPacket& packet) {
  // What FFmpeg still held when it was stopped has come with the last packet; it would go on waiting.
  if (stalled_) return stop(AVERROR_EXIT);
  arm();
  const TimePoint asked = steady_clock().now();
  const int error = av_read_frame(format_.get(), &packet);
  last_wait_ = steady_clock().now() - asked;
  if (error < 0) return stop(error);
  note(packet);
  return Got::kPacket;
}

MediaInput::Got MediaInput::stop(int error) {
  if (interrupted_.load(std::memory_order_acquire)) return Got::kEnd;
  if (error == AVERROR(EAGAIN)) return Got::kNothing;
  const AVIOContext* const file = format_->pb;
  if (error == AVERROR_EXIT || stalled_) {
    why_ = fmt::format("no data for {:g} s", std::chrono::duration<double>(patience()).count());
    return Got::kCut;
  }
  if (error == AVERROR_EOF) {
    why_ = ffmpeg::error_text(error);
    if (file != nullptr && file->error < 0 && file->error != AVERROR_EOF) {
      why_ = ffmpeg::error_text(file->error);
      return Got::kCut;
    }
    if (why_.find("prematurely") != std::string::npos) return Got::kCut;
    // Elsewhere the flag says that a number was missed on the way, which is no more than a hint.
    if (!last_is_partial_ || (format_->iformat->flags & AVFMT_TS_DISCONT) != 0) return Got::kEnd;
    why_ = "its last packet is cut short";
    return Got::kCut;
  }
  why_ = ffmpeg::error_text(error);
  if (error == AVERROR(EIO) && index_may_come_too_late()) {
    why_ =
        "its index may come after its frames, and a stream cannot be read back; "
        "\"ffmpeg -i IN -c copy -movflags faststart OUT\" puts the index first";
    return Got::kCut;
  }
  // A demuxer looks for the next sound place after damage, but for the end of the file there is none.
  const bool damage = error == AVERROR_INVALIDDATA && (file == nullptr || file->eof_reached == 0);
  if (damage && ++bad_reads_ < kBadReadsMax) return Got::kNothing;
  return Got::kCut;
}

bool MediaInput::declares_more() const {
  const AVStream& stream = *format_->streams[video_];
  const std::string_view container = format_->iformat->name;
  if (container == kMov) {
    return video_packets_ < avformat_index_get_entries_count(&stream);
  }
  std::int64_t declared_us = 0;
  if (container == "avi" && stream.nb_frames > 0) {  // its duration is guessed from the file's size
    declared_us = av_rescale_q(stream.nb_frames, stream.time_base, {1, AV_TIME_BASE});
  } else if (declares_its_length(*format_)) {
    declared_us = format_->duration;
  }
  // Writers round, and count the last frame or do not.
  const std::int64_t slack_us = std::max<std::int64_t>(AV_TIME_BASE / 4, declared_us / 50);
  return declared_us > 0 && end_us_ < declared_us - slack_us;
}

}  // namespace inflight
