// SPDX-License-Identifier: Apache-2.0
#include "media/video_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "media/encoder.h"
#include "media/ffmpeg.h"
#include "media/writer_file.h"

extern "C" {
#include <libavutil/mathematics.h>
}

namespace inflight {
namespace {

using internal::Encoder;
using internal::WriterFile;

std::string ending_of(std::string_view path) {
  std::string ending = std::filesystem::path(path).extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return ending;
}

// The encoder for a picture's ending; null: no picture.
const AVCodec* picture_codec(const std::string& ending) {
  if (ending == ".png") return avcodec_find_encoder(AV_CODEC_ID_PNG);
  if (ending == ".jpg" || ending == ".jpeg") return avcodec_find_encoder(AV_CODEC_ID_MJPEG);
  if (ending == ".bmp") return avcodec_find_encoder(AV_CODEC_ID_BMP);
  return nullptr;
}

// ---- One picture, and folders of them ---------------------------------------------------------------------

// Encodes a picture by itself into a file of its own.
Status write_picture(WriterFile& file, const AVCodec& codec, const WriterPicture& picture) {
  INFLIGHT_TRY_ASSIGN(const std::unique_ptr<Encoder> encoder,
                      Encoder::open({&codec, picture.height, picture.width, {1, 25}, {25, 1}, false}));
  INFLIGHT_TRY(encoder->send(picture, 0, 1));
  INFLIGHT_TRY(encoder->send_end());
  INFLIGHT_TRY_ASSIGN(const AVPacket* packet, encoder->receive());
  if (packet == nullptr) return {StatusCode::kInternal, "the encoder gave no picture"};
  int error = file.write(packet->data, static_cast<std::size_t>(packet->size));
  if (error == 0) error = file.close();
  return error == 0 ? Status() : file.failure(error);
}

class PictureFileWriter final : public VideoWriter {
 public:
  PictureFileWriter(WriterFile file, const AVCodec* codec, std::string option, std::string path)
      : file_(std::move(file)), codec_(codec), option_(std::move(option)), path_(std::move(path)) {}

  Status write(const WriterPicture& picture) override {
    if (!status_.ok()) return status_;
    if (std::exchange(written_, true)) {
      return status_ =
                 Status(StatusCode::kInvalidArgument,
                        fmt::format("{}: \"{}\" is one picture, and the source has more; give a video or a "
                                    "folder",
                                    option_, path_));
    }
    return status_ = write_picture(file_, *codec_, picture);
  }
  Status finish() override { return status_; }
  std::string description() const override { return codec_->name; }

 private:
  WriterFile file_;
  const AVCodec* const codec_;
  const std::string option_;
  const std::string path_;
  bool written_ = false;
  Status status_;
};

class FolderWriter final : public VideoWriter {
 public:
  FolderWriter(std::filesystem::path folder, std::string option)
      : folder_(std::move(folder)), option_(std::move(option)) {}

  Status write(const WriterPicture& picture) override {
    if (!status_.ok()) return status_;
    std::string name = std::filesystem::path(picture.file).filename().string();
    if (name.empty()) name = fmt::format("frame_{:08}.png", picture.frame);
    const std::string ending = ending_of(name);
    if (ending != ".png" && ending != ".jpg" && ending != ".jpeg") name += ".png";
    const AVCodec* const codec = picture_codec(ending_of(name));
    Result<WriterFile> file = WriterFile::open(option_, (folder_ / name).string());
    return status_ = file.ok() ? write_picture(*file, *codec, picture) : file.status();
  }
  Status finish() override { return status_; }
  std::string description() const override { return "pictures"; }

 private:
  const std::filesystem::path folder_;
  const std::string option_;
  Status status_;
};

Result<std::unique_ptr<VideoWriter>> open_folder(const std::string& path, const std::string& option) {
  const auto failed = [&](const std::string& reason) {
    return Status(StatusCode::kNotFound, fmt::format("{}: cannot write \"{}\": {}", option, path, reason));
  };
  std::error_code error;
  std::filesystem::create_directory(path, error);
  if (error) return failed(error.message());
  // Whether a file can be made there, before anything runs.
  const std::string trial = (std::filesystem::path(path) / ".inflight_output_trial").string();
  Result<WriterFile> file = WriterFile::open(option, trial);
  if (!file.ok()) return file.status();
  return std::unique_ptr<VideoWriter>(std::make_unique<FolderWriter>(path, option));
}

// ---- Videos -----------------------------------------------------------------------------------------------

// In this order: what most players play, what this FFmpeg has, what the container likes best.
const AVCodec* video_codec(const AVOutputFormat& format) {
  constexpr std::array<const char*, 5> kNames = {"libx264", "libopenh264", "mpeg4", "libvpx", "libvpx-vp9"};
  for (const char* const name : kNames) {
    const AVCodec* const codec = avcodec_find_encoder_by_name(name);
    if (codec == nullptr) continue;
    // FFmpeg does not know what a transport stream takes; H.264 is among it.
    const bool takes = std::string_view(format.name) == "mpegts"
                           ? codec->id == AV_CODEC_ID_H264
                           : avformat_query_codec(&format, codec->id, FF_COMPLIANCE_NORMAL) == 1;
    if (takes) return codec;
  }
  return format.video_codec == AV_CODEC_ID_NONE ? nullptr : avcodec_find_encoder(format.video_codec);
}

// AVI counts frames; others count a fine clock.
AVRational time_base_of(const AVOutputFormat& format, const AVCodec& codec, AVRational rate) {
  const std::string_view name = format.name;
  if (name == "avi") return av_inv_q(rate);
  if (name == "gif") return {1, 100};
  if (codec.id == AV_CODEC_ID_MPEG4) return {1, 60'000};  // 16 bits at most
  return {1, 90'000};
}

class ContainerWriter final : public VideoWriter {
 public:
  ContainerWriter(WriterFile file, const VideoWriterOptions& options, std::string path)
      : options_(options), path_(std::move(path)), file_(std::move(file)) {}
  ~ContainerWriter() override {
    if (format_ != nullptr && format_->pb != nullptr) {
      av_freep(&format_->pb->buffer);
      avio_context_free(&format_->pb);
    }
  }

  Status open(const AVOutputFormat& output, const AVCodec& codec) {
    AVFormatContext* format = nullptr;
    if (avformat_alloc_output_context2(&format, &output, nullptr, path_.c_str()) < 0) return no_memory();
    format_.reset(format);
    const AVRational rate = av_d2q(options_.fps, 60'000);
    const Encoder::Plan plan{&codec,         options_.height,
                             options_.width, time_base_of(output, codec, rate),
                             rate,           (output.flags & AVFMT_GLOBALHEADER) != 0};
    INFLIGHT_TRY_ASSIGN(encoder_, Encoder::open(plan));
    stream_ = avformat_new_stream(format, &codec);
    if (stream_ == nullptr) return no_memory();
    const AVCodecContext& context = encoder_->context();
    if (avcodec_parameters_from_context(stream_->codecpar, &context) < 0) return no_memory();
    stream_->time_base = context.time_base;
    stream_->avg_frame_rate = context.framerate;
    // The fourth argument says that it is written to; the buffer is FFmpeg's to replace.
    constexpr int kBufferBytes = 1 << 16;
    auto* const buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
    if (buffer == nullptr) return no_memory();
    format->pb = avio_alloc_context(buffer, kBufferBytes, 1, this, nullptr, &ContainerWriter::write_bytes,
                                    file_.can_seek() ? &ContainerWriter::seek : nullptr);
    if (format->pb == nullptr) {
      av_free(buffer);
      return no_memory();
    }
    format->pb->seekable = file_.can_seek() ? AVIO_SEEKABLE_NORMAL : 0;
    return {};
  }

  Status write(const WriterPicture& picture) override {
    if (status_.ok()) status_ = write_one(picture);
    return status_;
  }

  Status finish() override {
    if (!std::exchange(begun_, false)) return status_;
    if (status_.ok()) status_ = encoder_->send_end();
    if (status_.ok()) status_ = write_packets();
    // A file without its end is still worth more than none, so it is tried even then.
    const int error = av_write_trailer(format_.get());
    avio_flush(format_->pb);
    if (status_.ok() && (error < 0 || format_->pb->error < 0)) status_ = failure(error);
    const int closed = file_.close();
    if (status_.ok() && closed != 0) status_ = file_.failure(closed);
    return status_;
  }

  std::string description() const override {
    return fmt::format("{} in {}", avcodec_get_name(encoder_->context().codec_id), format_->oformat->name);
  }

 private:
  struct FreeFormat {
    void operator()(AVFormatContext* format) const { avformat_free_context(format); }
  };

  static Status no_memory() { return {StatusCode::kOutOfMemory, "no memory for a video"}; }

  static int write_bytes(void* self, std::uint8_t* bytes, int count) {
    auto* const writer = static_cast<ContainerWriter*>(self);
    const int error = writer->file_.write(bytes, static_cast<std::size_t>(count));
    if (error == 0) return count;
    writer->error_ = error;
    return AVERROR(error);
  }
  static std::int64_t seek(void* self, std::int64_t offset, int whence) {
    if ((whence & AVSEEK_SIZE) != 0) return AVERROR(ENOSYS);
    const std::int64_t place =
        static_cast<ContainerWriter*>(self)->file_.seek(offset, whence & ~AVSEEK_FORCE);
    return place < 0 ? AVERROR(errno) : place;
  }

  Status failure(int error) const {
    if (error_ != 0) return file_.failure(error_);
    return {StatusCode::kIoError,
            fmt::format("{}: cannot write \"{}\": {}", options_.option, path_, ffmpeg::error_text(error))};
  }

  // The time in ticks of the encoder, at least one after that of the picture before.
  std::int64_t ticks(Duration time) const {
    const AVRational base = encoder_->context().time_base;
    const std::int64_t at = av_rescale_q_rnd(time.count(), {1, 1'000'000'000}, base, AV_ROUND_NEAR_INF);
    return std::max(at, last_pts_ + 1);
  }

  Status write_one(const WriterPicture& picture) {
    if (!begun_) {
      if (const int error = avformat_write_header(format_.get(), nullptr); error < 0) return failure(error);
      begun_ = true;
    }
    const AVRational base = encoder_->context().time_base;
    const std::int64_t duration = std::max<std::int64_t>(1, std::llround(1 / (options_.fps * av_q2d(base))));
    last_pts_ = ticks(picture.time);
    INFLIGHT_TRY(encoder_->send(picture, last_pts_, duration));
    INFLIGHT_TRY(write_packets());
    // What the muxer keeps in memory would hide a full disk.
    if (format_->pb->error < 0) return failure(format_->pb->error);
    return {};
  }

  Status write_packets() {
    while (true) {
      INFLIGHT_TRY_ASSIGN(AVPacket * packet, encoder_->receive());
      if (packet == nullptr) return {};
      const AVRational base = encoder_->context().time_base;
      if (packet->duration == 0)
        packet->duration = std::max<std::int64_t>(1, std::llround(1 / (options_.fps * av_q2d(base))));
      av_packet_rescale_ts(packet, base, stream_->time_base);
      packet->stream_index = 0;
      if (const int error = av_write_frame(format_.get(), packet); error < 0) return failure(error);
    }
  }

  const VideoWriterOptions options_;
  const std::string path_;
  WriterFile file_;
  std::unique_ptr<AVFormatContext, FreeFormat> format_;
  std::unique_ptr<Encoder> encoder_;
  AVStream* stream_ = nullptr;
  std::int64_t last_pts_ = -1;
  int error_ = 0;  // of the file, an errno
  bool begun_ = false;
  Status status_;
};

Result<std::unique_ptr<VideoWriter>> open_container(const std::string& path,
                                                    const VideoWriterOptions& options) {
  // The containers whose times and pictures are known to come out right. FFmpeg has others, for old players,
  // music with a cover, or patterns of pictures.
  constexpr std::array<std::string_view, 10> kEndings = {".mp4", ".m4v", ".mov",  ".mkv", ".webm",
                                                         ".avi", ".ts",  ".m2ts", ".flv", ".gif"};
  const std::string ending = ending_of(path);
  if (std::find(kEndings.begin(), kEndings.end(), ending) == kEndings.end()) {
    return Status(
        StatusCode::kInvalidArgument,
        fmt::format(
            "{}: got \"{}\", want a video ({}), a picture (.png, .jpg, .jpeg, .bmp) or a folder (with "
            "/ at its end)",
            options.option, path, fmt::join(kEndings, ", ")));
  }
  const AVOutputFormat* const format = av_guess_format(nullptr, ("x" + ending).c_str(), nullptr);
  if (format == nullptr) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("{}: \"{}\": this FFmpeg cannot write {}", options.option, path, ending));
  }
  const AVCodec* const codec = video_codec(*format);
  if (codec == nullptr) {
    return Status(StatusCode::kUnsupported, fmt::format("{}: \"{}\": this FFmpeg has no encoder for {}",
                                                        options.option, path, format->long_name));
  }
  INFLIGHT_TRY_ASSIGN(WriterFile file, WriterFile::open(options.option, path, options.stop_time));
  constexpr std::array<std::string_view, 6> kSeeking = {"mp4", "mov", "ipod", "3gp", "3g2", "psp"};
  if (!file.can_seek() && std::find(kSeeking.begin(), kSeeking.end(), format->name) != kSeeking.end()) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("{}: \"{}\" is a pipe or the like, and {} needs a file; .mkv "
                              "does not",
                              options.option, path, format->name));
  }
  auto writer = std::make_unique<ContainerWriter>(std::move(file), options, path);
  if (const Status opened = writer->open(*format, *codec); !opened.ok()) {
    return opened.with_context(fmt::format("{}: \"{}\"", options.option, path));
  }
  return std::unique_ptr<VideoWriter>(std::move(writer));
}

}  // namespace

Result<std::unique_ptr<VideoWriter>> VideoWriter::open(const std::string& path,
                                                       const VideoWriterOptions& options) {
  ffmpeg::quiet_log();
  ffmpeg::forget_complaint();
  std::error_code error;
  if (path.ends_with('/') || std::filesystem::is_directory(path, error))
    return open_folder(path, options.option);
  const std::string ending = ending_of(path);
  if (const AVCodec* const codec = picture_codec(ending)) {
    INFLIGHT_TRY_ASSIGN(WriterFile file, WriterFile::open(options.option, path, options.stop_time));
    return std::unique_ptr<VideoWriter>(
        std::make_unique<PictureFileWriter>(std::move(file), codec, options.option, path));
  }
  return open_container(path, options);
}

}  // namespace inflight
