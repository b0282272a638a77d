// SPDX-License-Identifier: Apache-2.0
#include "media/video.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

extern "C" {
#include <libavdevice/avdevice.h>
}

#include "base/check.h"
#include "media/ffmpeg.h"
#include "media/rgb_converter.h"

namespace inflight {
namespace {

// What kind of thing is opened: it decides the words of the messages and how damage is taken.
enum class MediaKind { kVideo, kPicture, kCamera };

class VideoSource final : public FrameSource {
 public:
  VideoSource(std::string path, MediaKind kind, SharedBufferPool pool)
      : path_(std::move(path)), kind_(kind), pool_(std::move(pool)) {}

  Status open() {
    ffmpeg::forget_complaint();
    frame_.reset(av_frame_alloc());
    packet_.reset(av_packet_alloc());
    INFLIGHT_CHECK(frame_ != nullptr && packet_ != nullptr);
    INFLIGHT_TRY(open_format());
    INFLIGHT_TRY(open_decoder());
    if (kind_ == MediaKind::kCamera) {
      // What the device is set to; waiting for a picture here could not be interrupted.
      width_ = codec_->width;
      height_ = codec_->height;
      return Status();
    }
    // Containers may be wrong about the size, and a file of which nothing decodes should fail now.
    INFLIGHT_TRY_ASSIGN(const bool got, decode());
    if (!got) return failure(StatusCode::kInvalidMedia, "holds no frame that can be decoded");
    width_ = frame_->width;
    height_ = frame_->height;
    has_first_ = true;
    return Status();
  }

  Result<std::optional<VideoFrame>> next() override {
    if (!outcome_.ok()) return outcome_;
    if (ended_ || interrupted_.load(std::memory_order_acquire)) return std::optional<VideoFrame>();
    if (!std::exchange(has_first_, false)) {
      Result<bool> got = decode();
      if (!got.ok()) return outcome_ = got.status();
      if (!*got) {
        ended_ = true;
        return std::optional<VideoFrame>();
      }
    }
    if (frame_->width != width_ || frame_->height != height_) {
      return outcome_ = failure(StatusCode::kInvalidMedia,
                                fmt::format("frame {}: got {}x{}, want {}x{} as the first", index_,
                                            frame_->width, frame_->height, width_, height_));
    }
    VideoFrame frame;
    Result<Buffer> pixels = pool_->acquire(frame_bytes());
    if (!pixels.ok()) return outcome_ = pixels.status();
    frame.pixels = std::move(pixels).value();
    frame.height = height_;
    frame.width = width_;
    const Status converted = converter_.convert(*frame_, frame.pixels.bytes());
    if (!converted.ok())
      return outcome_ = converted.with_context(fmt::format("{}: frame {}", name(), index_));
    frame.index = index_++;
    return std::optional<VideoFrame>(std::move(frame));
  }

  Status reserve(std::size_t frames) override { return pool_->reserve(frame_bytes(), frames); }
  void interrupt() noexcept override { interrupted_.store(true, std::memory_order_release); }
  double fps() const noexcept override { return fps_; }
  int height() const noexcept override { return height_; }
  int width() const noexcept override { return width_; }
  bool live() const noexcept override { return kind_ == MediaKind::kCamera; }
  std::string description() const override {
    std::string text = fmt::format("{} {}x{}", name(), width_, height_);
    if (fps_ > 0) text += fmt::format(" at {:.5g} fps", fps_);
    return text;
  }

 private:
  std::string name() const {
    const char* noun = kind_ == MediaKind::kCamera    ? "camera"
                       : kind_ == MediaKind::kPicture ? "picture"
                                                      : "video";
    return fmt::format("{} \"{}\"", noun, path_);
  }
  Status failure(StatusCode code, std::string_view message) const {
    return Status(code, fmt::format("{}: {}", name(), message));
  }

  static int interrupted(void* source) {
    return static_cast<VideoSource*>(source)->interrupted_.load(std::memory_order_acquire) ? 1 : 0;
  }

  Status open_format() {
    const AVInputFormat* device = nullptr;
    if (kind_ == MediaKind::kCamera) {
      avdevice_register_all();  // does its work once a process, whoever calls
      device = av_find_input_format("v4l2");
      if (device == nullptr) return failure(StatusCode::kUnsupported, "this FFmpeg has no v4l2 devices");
    }
    AVFormatContext* format = avformat_alloc_context();
    INFLIGHT_CHECK(format != nullptr);
    format->interrupt_callback = {&VideoSource::interrupted, this};
    AVDictionary* options = nullptr;
    // A picture called frame%03d.png is one file and not a pattern; other formats do not know the option.
    av_dict_set(&options, "pattern_type", "none", 0);
    // "file:" keeps a name with a colon in it from being taken for an address.
    const std::string url = kind_ == MediaKind::kCamera ? path_ : "file:" + path_;
    const int error =
        avformat_open_input(&format, url.c_str(), device, &options);  // frees `format` on failure
    av_dict_free(&options);
    if (error < 0) return open_failure(error);
    format_.reset(format);
    // FFmpeg would draw any .txt file as a terminal.
    if (std::string_view(format->iformat->name) == "tty") {
      return failure(StatusCode::kInvalidMedia, "is text, not a video or a picture");
    }
    const int info = avformat_find_stream_info(format, nullptr);
    return info < 0 ? open_failure(info) : Status();
  }

  Status open_failure(int error) const {
    if (kind_ != MediaKind::kCamera) return failure(StatusCode::kInvalidMedia, ffmpeg::error_text(error));
    const bool absent = error == AVERROR(ENODEV) || error == AVERROR(ENXIO) || error == AVERROR(ENOTTY) ||
                        error == AVERROR(EINVAL) || error == AVERROR(ENOENT);
    return failure(absent ? StatusCode::kNoSuchDevice : StatusCode::kDeviceError, ffmpeg::error_text(error));
  }

  Status open_decoder() {
    const AVCodec* decoder = nullptr;
    stream_ = av_find_best_stream(format_.get(), AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    if (stream_ == AVERROR_DECODER_NOT_FOUND) {
      return failure(StatusCode::kUnsupported, "this FFmpeg has no decoder for its video");
    }
    if (stream_ < 0) return failure(StatusCode::kInvalidMedia, "has no video in it");
    AVStream* stream = format_->streams[stream_];
    for (unsigned i = 0; i < format_->nb_streams; ++i) {
      if (static_cast<int>(i) != stream_) format_->streams[i]->discard = AVDISCARD_ALL;
    }
    codec_.reset(avcodec_alloc_context3(decoder));
    INFLIGHT_CHECK(codec_ != nullptr);
    int error = avcodec_parameters_to_context(codec_.get(), stream->codecpar);
    // Two threads keep one large video going; more would take cores from the predictions. Frame threads hold
    // pictures back, which a camera must not.
    codec_->thread_count = kind_ == MediaKind::kVideo ? 2 : 1;
    codec_->pkt_timebase = stream->time_base;
    // A picture is whole or of no use; half of one would be made up in grey.
    if (kind_ == MediaKind::kPicture) codec_->err_recognition |= AV_EF_EXPLODE;
    if (error >= 0) error = avcodec_open2(codec_.get(), decoder, nullptr);
    if (error < 0) return open_failure(error);
    if (kind_ != MediaKind::kPicture) {
      const AVRational rate = av_guess_frame_rate(format_.get(), stream, nullptr);
      if (rate.num > 0 && rate.den > 0) fps_ = av_q2d(rate);
    }
    return Status();
  }

  // Brings the next picture into frame_. False: there is none any more.
  Result<bool> decode() {
    while (!interrupted_.load(std::memory_order_acquire)) {
      const int error = avcodec_receive_frame(codec_.get(), frame_.get());
      if (error == 0) return true;
      if (error == AVERROR_EOF) {
        if (!damage_.empty()) return failure(damage_code_, fmt::format("frame {}: {}", index_, damage_));
        return false;
      }
      if (error != AVERROR(EAGAIN) && !forgiven(error)) {
        note_damage(error);
        // Whatever state the decoder is in, what it still holds came before the damage; then it says the end.
        if (std::exchange(drained_after_error_, true)) {
          return failure(damage_code_, fmt::format("frame {}: {}", index_, damage_));
        }
      }
      feed();
    }
    return false;
  }

  // Gives the decoder the next packet, or the end when there is none.
  void feed() {
    if (flushing_) return;
    if (damage_.empty() && !read_packet()) return;
    if (damage_.empty() && packet_->data != nullptr) {
      const int error = avcodec_send_packet(codec_.get(), packet_.get());
      av_packet_unref(packet_.get());
      if (error < 0) note_damage(error);
      if (damage_.empty()) return;
    }
    flushing_ = true;
    avcodec_send_packet(codec_.get(), nullptr);
  }

  // Fills packet_; leaves it empty at the end. False: nothing for us in it, ask again.
  bool read_packet() {
    ffmpeg::forget_complaint();
    const int error = av_read_frame(format_.get(), packet_.get());
    if (error == AVERROR(EAGAIN)) return false;
    if (error == AVERROR_EOF || error == AVERROR_EXIT) {
      av_packet_unref(packet_.get());
      if (error == AVERROR_EOF && format_->pb != nullptr && format_->pb->error < 0)
        note_damage(format_->pb->error);
      return true;
    }
    if (error < 0) {
      note_damage(error);
      return true;
    }
    const bool ours = packet_->stream_index == stream_;
    if (ours && (packet_->flags & AV_PKT_FLAG_CORRUPT) != 0) {
      av_packet_unref(packet_.get());
      if (forgiven(AVERROR_INVALIDDATA)) return false;
      damage_code_ = StatusCode::kInvalidMedia;
      damage_ = "the file is damaged or cut short";
    } else if (!ours) {
      av_packet_unref(packet_.get());
    }
    return ours;
  }

  // A camera's frame that does not decode is lost, like one that came too late; the next will do.
  bool forgiven(int error) const {
    return kind_ == MediaKind::kCamera && (error == AVERROR_INVALIDDATA || error == AVERROR(EAGAIN));
  }

  void note_damage(int error) {
    if (forgiven(error) || !damage_.empty()) return;
    damage_code_ = kind_ == MediaKind::kCamera ? StatusCode::kDeviceError : StatusCode::kInvalidMedia;
    damage_ = ffmpeg::error_text(error);
  }

  std::size_t frame_bytes() const noexcept {
    return static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_) * 3;
  }

  const std::string path_;
  const MediaKind kind_;
  const SharedBufferPool pool_;
  ffmpeg::Format format_;
  ffmpeg::Codec codec_;
  ffmpeg::Frame frame_;
  ffmpeg::Packet packet_;
  RgbConverter converter_;
  int stream_ = -1;
  int width_ = 0;
  int height_ = 0;
  double fps_ = 0;
  std::int64_t index_ = 0;  // of the next frame to deliver
  bool has_first_ = false;  // frame_ holds the one that open() decoded
  bool flushing_ = false;   // the decoder has been told that no more comes
  bool drained_after_error_ = false;
  bool ended_ = false;
  std::string damage_;  // what was reported, told once the frames before it are out
  StatusCode damage_code_ = StatusCode::kInvalidMedia;
  Status outcome_;  // the error that ended the source, answered again
  std::atomic<bool> interrupted_{false};
};

Result<std::unique_ptr<FrameSource>> open_media(const std::string& path, MediaKind kind,
                                                SharedBufferPool pool) {
  ffmpeg::quiet_log();
  if (pool == nullptr) pool = std::make_shared<BufferPool>();
  auto source = std::make_unique<VideoSource>(path, kind, std::move(pool));
  INFLIGHT_TRY(source->open());
  return std::unique_ptr<FrameSource>(std::move(source));
}

}  // namespace

bool is_picture_name(std::string_view name) {
  static constexpr std::array<std::string_view, 8> kEndings = {".bmp", ".jpg", ".jpeg", ".png",
                                                               ".ppm", ".tif", ".tiff", ".webp"};
  return std::any_of(kEndings.begin(), kEndings.end(), [name](std::string_view ending) {
    if (name.size() <= ending.size()) return false;
    return std::equal(
        ending.begin(), ending.end(), name.end() - static_cast<std::ptrdiff_t>(ending.size()),
        [](char want, char got) { return want == (got >= 'A' && got <= 'Z' ? got + ('a' - 'A') : got); });
  });
}

Result<std::unique_ptr<FrameSource>> open_video(const std::string& path, SharedBufferPool pool) {
  const MediaKind kind = is_picture_name(path) ? MediaKind::kPicture : MediaKind::kVideo;
  const auto failure = [&](StatusCode code, std::string_view message) {
    return Status(
        code, fmt::format("{} \"{}\": {}", kind == MediaKind::kPicture ? "picture" : "video", path, message));
  };
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return failure(StatusCode::kNotFound, "no such file");
    return failure(StatusCode::kInvalidMedia, std::generic_category().message(errno));
  }
  if (S_ISDIR(found.st_mode)) return failure(StatusCode::kInvalidArgument, "is a directory");
  if (S_ISREG(found.st_mode) && found.st_size == 0) return failure(StatusCode::kInvalidMedia, "is empty");
  return open_media(path, kind, std::move(pool));
}

Result<std::unique_ptr<FrameSource>> open_camera(const std::string& path, SharedBufferPool pool) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0 || !S_ISCHR(found.st_mode)) {
    return Status(StatusCode::kNoSuchDevice, fmt::format("camera \"{}\": no such capture device", path));
  }
  return open_media(path, MediaKind::kCamera, std::move(pool));
}

}  // namespace inflight
