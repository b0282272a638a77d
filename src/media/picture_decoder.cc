// SPDX-License-Identifier: Apache-2.0
#include "media/picture_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

extern "C" {
#include <libavutil/imgutils.h>
}

#include "base/check.h"
#include "media/picture.h"
#include "media/picture_file.h"
#include "media/picture_format.h"
#include "media/tiff.h"

namespace inflight {
namespace {

using ffmpeg::Packet;

struct CloseIo {
  void operator()(AVIOContext* io) const {
    av_freep(&io->buffer);
    avio_context_free(&io);
  }
};

// Decoders hand pieces of a picture to these, and some forget that a piece failed. `opaque` is a bool that
// does not.
int run_jobs(AVCodecContext* codec, int (*job)(AVCodecContext*, void*), void* args, int* results, int count,
             int size) {
  for (int i = 0; i < count; ++i) {
    const int result = job(codec, static_cast<char*>(args) + static_cast<std::ptrdiff_t>(i) * size);
    if (results != nullptr) results[i] = result;
    if (result < 0) *static_cast<bool*>(codec->opaque) = true;
  }
  return 0;
}

int run_numbered_jobs(AVCodecContext* codec, int (*job)(AVCodecContext*, void*, int, int), void* args,
                      int* results, int count) {
  for (int i = 0; i < count; ++i) {
    const int result = job(codec, args, i, 0);
    if (results != nullptr) results[i] = result;
    if (result < 0) *static_cast<bool*>(codec->opaque) = true;
  }
  return 0;
}

// What decoders do about damage that they meet. The strictest is right where keep_pixels() has left pixels
// only, and elsewhere refuses what is merely unknown.
int strictness(AVCodecID codec) {
  switch (codec) {
    case AV_CODEC_ID_MJPEG:
    case AV_CODEC_ID_JPEGLS:
    case AV_CODEC_ID_PNG:
    case AV_CODEC_ID_WEBP:
      return AV_EF_CRCCHECK | AV_EF_EXPLODE;
    default:
      return AV_EF_CRCCHECK;
  }
}

Status damaged(std::string_view why) {
  return Status(StatusCode::kInvalidMedia, fmt::format("is damaged: {}", why));
}

//   parameters   null: those of a decoder that gets whole files
Result<ffmpeg::Frame> decode(AVCodecID id, const AVCodecParameters* parameters, const AVPacket& packet) {
  const AVCodec* const decoder = avcodec_find_decoder(id);
  if (decoder == nullptr) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("this FFmpeg does not decode {}", avcodec_get_name(id)));
  }
  bool job_failed = false;
  const ffmpeg::Codec codec(avcodec_alloc_context3(decoder));
  ffmpeg::Frame frame(av_frame_alloc());
  INFLIGHT_CHECK(codec != nullptr && frame != nullptr);
  if (parameters != nullptr) avcodec_parameters_to_context(codec.get(), parameters);
  codec->thread_count = 1;  // complaints are kept by thread
  codec->err_recognition = strictness(id);
  codec->opaque = &job_failed;
  codec->execute = run_jobs;
  codec->execute2 = run_numbered_jobs;
  ffmpeg::forget_complaint();
  int error = avcodec_open2(codec.get(), decoder, nullptr);
  if (error >= 0) error = avcodec_send_packet(codec.get(), &packet);
  if (error >= 0) {
    avcodec_send_packet(codec.get(), nullptr);
    error = avcodec_receive_frame(codec.get(), frame.get());
  }
  if (error == AVERROR_EOF) return damaged("no picture is in it");
  if (error == AVERROR_PATCHWELCOME || error == AVERROR(ENOSYS)) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("is of a kind that this FFmpeg does not decode ({})", ffmpeg::complaint()));
  }
  if (error < 0) return damaged(ffmpeg::error_text(error));
  // It decodes such files right: rows without padding, and the mark of the end after the last row's.
  constexpr std::string_view kHarmless[] = {"assuming missing line alignment",
                                            "MS RLE: ended frame decode with 2 bytes left over"};
  const std::string complaint = ffmpeg::complaint();
  const bool harmless = std::any_of(std::begin(kHarmless), std::end(kHarmless), [&](std::string_view words) {
    return complaint.find(words) != std::string::npos;
  });
  if (!complaint.empty() && !harmless) return damaged(complaint);
  if (job_failed || frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0) {
    return damaged("a part of it does not decode");
  }
  return frame;
}

// Whether this FFmpeg shows PFM, whose rows go upwards, upside down. Versions differ, so one of two pixels is
// decoded.
bool turns_pfm_over() {
  constexpr std::string_view kBlackBelow("Pf\n1 2\n-1.0\n\0\0\0\0\0\0\x80\x3F", 20);
  const Packet packet(av_packet_alloc());
  if (packet == nullptr || av_new_packet(packet.get(), static_cast<int>(kBlackBelow.size())) < 0)
    return false;
  std::memcpy(packet->data, kBlackBelow.data(), kBlackBelow.size());
  const Result<ffmpeg::Frame> frame = decode(AV_CODEC_ID_PFM, nullptr, *packet);
  if (!frame.ok()) return false;
  float top = 0;
  std::memcpy(&top, (*frame)->data[0], sizeof top);
  return top == 0;
}

// Puts right what FFmpeg's decoders make wrong and do not say.
void correct(AVCodecID codec, AVFrame& frame) {
  // In a JPEG 2000, YCbCr is that of JPEG.
  if (codec == AV_CODEC_ID_JPEG2000 && frame.color_range == AVCOL_RANGE_UNSPECIFIED)
    frame.color_range = AVCOL_RANGE_JPEG;
  if (codec != AV_CODEC_ID_PFM && codec != AV_CODEC_ID_PHM) return;
  static const bool turns_over = turns_pfm_over();
  for (int i = 0; turns_over && i < AV_NUM_DATA_POINTERS && frame.data[i] != nullptr; ++i) {
    frame.data[i] += std::ptrdiff_t{frame.linesize[i]} * (frame.height - 1);
    frame.linesize[i] = -frame.linesize[i];
  }
}

// ---- Containers ----

// The numbers of a decoded frame, to be compared.
std::vector<std::uint8_t> numbers_of(const AVFrame& frame) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const int bytes = av_image_get_buffer_size(format, frame.width, frame.height, 1);
  std::vector<std::uint8_t> numbers(static_cast<std::size_t>(std::max(bytes, 0)));
  av_image_copy_to_buffer(numbers.data(), bytes, frame.data, frame.linesize, format, frame.width,
                          frame.height, 1);
  return numbers;
}

// Decodes it twice, with different bytes after its end. It is whole if that makes no difference.
Result<ffmpeg::Frame> decode_between_fills(AVCodecID codec, const AVPacket& packet) {
  ffmpeg::Frame frames[2];
  for (int i = 0; i < 2; ++i) {
    constexpr std::size_t kFillBytes = 64;
    std::vector<std::uint8_t> bytes(packet.data, packet.data + packet.size);
    if (!bytes.empty() && bytes.back() == 0xFF) bytes.push_back(0);  // or a JPEG would have a mark there
    bytes.insert(bytes.end(), kFillBytes, i == 0 ? 0x00 : 0xB5);
    bytes.insert(bytes.end(), {0xFF, 0xD9});  // the end of a JPEG
    const Packet filled(av_packet_alloc());
    if (filled == nullptr || av_new_packet(filled.get(), static_cast<int>(bytes.size())) < 0) {
      return Status(StatusCode::kOutOfMemory, "no memory for its bytes");
    }
    std::copy(bytes.begin(), bytes.end(), filled->data);
    INFLIGHT_TRY_ASSIGN(frames[i], decode(codec, nullptr, *filled));
  }
  if (numbers_of(*frames[0]) != numbers_of(*frames[1]))
    return Status(StatusCode::kInvalidMedia, "is cut short");
  return std::move(frames[0]);
}

// A file in memory, as FFmpeg's demuxers read it.
class MemoryFile {
 public:
  explicit MemoryFile(PictureBytes bytes) : bytes_(bytes) {
    constexpr int kBufferBytes = 1 << 15;
    auto* const buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
    INFLIGHT_CHECK(buffer != nullptr);
    io_.reset(
        avio_alloc_context(buffer, kBufferBytes, 0, this, &MemoryFile::read, nullptr, &MemoryFile::seek));
    INFLIGHT_CHECK(io_ != nullptr);
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  AVIOContext* io() { return io_.get(); }

 private:
  static int read(void* self, std::uint8_t* to, int bytes) {
    auto& file = *static_cast<MemoryFile*>(self);
    const std::size_t count = std::min(static_cast<std::size_t>(bytes), file.bytes_.size() - file.at_);
    if (count == 0) return AVERROR_EOF;
    std::memcpy(to, file.bytes_.data() + file.at_, count);
    file.at_ += count;
    return static_cast<int>(count);
  }
  static std::int64_t seek(void* self, std::int64_t offset, int whence) {
    auto& file = *static_cast<MemoryFile*>(self);
    const auto size = static_cast<std::int64_t>(file.bytes_.size());
    if ((whence & AVSEEK_SIZE) != 0) return size;
    const int from = whence & ~AVSEEK_FORCE;
    if (from == SEEK_CUR) offset += static_cast<std::int64_t>(file.at_);
    if (from == SEEK_END) offset += size;
    if (offset < 0 || offset > size) return AVERROR(EINVAL);
    file.at_ = static_cast<std::size_t>(offset);
    return offset;
  }

  const PictureBytes bytes_;
  std::size_t at_ = 0;
  std::unique_ptr<AVIOContext, CloseIo> io_;
};

// The packets of a container's largest picture.
class Demuxer {
 public:
  explicit Demuxer(PictureBytes bytes) : bytes_(bytes), file_(bytes) {}

  Status open(const AVInputFormat* container) {
    ffmpeg::forget_complaint();
    AVFormatContext* format = avformat_alloc_context();
    INFLIGHT_CHECK(format != nullptr);
    format->pb = file_.io();
    const int error = avformat_open_input(&format, nullptr, container, nullptr);  // frees `format` on failure
    if (error < 0) return damaged(ffmpeg::error_text(error));
    format_.reset(format);
    std::int64_t area_max = -1;
    for (unsigned i = 0; i < format->nb_streams; ++i) {
      if (format->streams[i]->codecpar->codec_type != AVMEDIA_TYPE_VIDEO) continue;
      const std::int64_t area = area_of(i);
      if (area <= area_max) continue;
      area_max = area;
      stream_ = static_cast<int>(i);
    }
    return stream_ < 0 ? damaged("no picture is in it") : Status();
  }

  const AVCodecParameters& parameters() const { return *format_->streams[stream_]->codecpar; }

  // The next packet of the picture; null at the end.
  Result<Packet> next() {
    Packet packet(av_packet_alloc());
    INFLIGHT_CHECK(packet != nullptr);
    while (true) {
      const int error = av_read_frame(format_.get(), packet.get());
      if (error == AVERROR_EOF) return Packet();
      if (error < 0) return damaged(ffmpeg::error_text(error));
      if (packet->stream_index == stream_) break;
      av_packet_unref(packet.get());
    }
    if ((packet->flags & AV_PKT_FLAG_CORRUPT) != 0) return Status(StatusCode::kInvalidMedia, "is cut short");
    return packet;
  }

 private:
  std::int64_t area_of(unsigned stream) const {
    // FFmpeg does not say it of PNG in an ICO. There a directory has 16 bytes for each, size first; 0 is 256.
    const std::size_t entry = 6 + std::size_t{16} * stream;
    if (std::string_view(format_->iformat->name) == "ico" && entry + 2 <= bytes_.size()) {
      const auto side = [this](std::size_t at) {
        return bytes_[at] == 0 ? 256 : static_cast<int>(bytes_[at]);
      };
      return std::int64_t{side(entry)} * side(entry + 1);
    }
    const AVCodecParameters& parameters = *format_->streams[stream]->codecpar;
    return std::int64_t{parameters.width} * parameters.height;
  }

  const PictureBytes bytes_;
  MemoryFile file_;
  ffmpeg::Format format_;
  int stream_ = -1;
};

Result<ffmpeg::Frame> decode_contained(const PictureFormat& format, PictureBytes file) {
  Demuxer demuxer(file);
  const Status opened = demuxer.open(format.container);
  if (!opened.ok() && has_picture_brand(file) && std::memcmp(file.data() + 8, "avi", 3) != 0) {
    return Status(StatusCode::kUnsupported,
                  "is a HEIF picture, which this FFmpeg does not read (AVIF it does)");
  }
  INFLIGHT_TRY(opened);
  INFLIGHT_TRY_ASSIGN(const Packet packet, demuxer.next());
  if (packet == nullptr) return damaged("no picture is in it");
  return decode(demuxer.parameters().codec_id, &demuxer.parameters(), *packet);
}

PictureFormat find_format_of_file(const std::string& path, std::size_t head_bytes) {
  static_assert(AV_INPUT_BUFFER_PADDING_SIZE >= AVPROBE_PADDING_SIZE);
  ffmpeg::quiet_log();
  const Result<Packet> head = read_picture_file(path, head_bytes);
  return find_picture_format(path, head.ok() ? PictureBytes(bytes_of(*head)) : PictureBytes());
}

// Whether a second picture follows the first.
bool moves(const PictureFormat& format, PictureBytes file) {
  if (!format.may_move) return false;
  const AVInputFormat* const container =
      format.container != nullptr ? format.container : av_find_input_format("apng");
  Demuxer demuxer(file);
  if (container == nullptr || !demuxer.open(container).ok()) return false;
  const Result<Packet> first = demuxer.next();
  if (!first.ok() || *first == nullptr) return false;
  const Result<Packet> second = demuxer.next();
  return !second.ok() || *second != nullptr;  // one that is cut short is one, too
}

}  // namespace

bool is_picture(const std::string& path) {
  // Of many files in a folder nearly all say it at once.
  constexpr std::size_t kLeastBytes = 4096;
  return find_format_of_file(path, kLeastBytes).codec != AV_CODEC_ID_NONE ||
         find_format_of_file(path, kPictureHeadBytes).codec != AV_CODEC_ID_NONE;
}

bool is_still_picture(const std::string& path) {
  const PictureFormat format = find_format_of_file(path, kPictureHeadBytes);
  if (format.codec == AV_CODEC_ID_NONE || !format.may_move) return format.codec != AV_CODEC_ID_NONE;
  const Result<Packet> file = read_picture_file(path);
  return !file.ok() || is_still_picture(format, bytes_of(*file));
}

bool is_still_picture(const PictureFormat& format, PictureBytes file) { return !moves(format, file); }

Result<DecodedPicture> decode_picture(const std::string& path) {
  ffmpeg::quiet_log();
  INFLIGHT_TRY_ASSIGN(const Packet packet, read_picture_file(path));
  return decode_picture(path, packet);
}

Result<DecodedPicture> decode_picture(const std::string& name, const Packet& packet) {
  if (packet->size == 0) return Status(StatusCode::kInvalidMedia, "is empty");
  const std::span<std::uint8_t> file = bytes_of(packet);
  const PictureFormat format =
      find_picture_format(name, file.first(std::min(file.size(), kPictureHeadBytes)));
  if (format.codec == AV_CODEC_ID_NONE) return Status(StatusCode::kInvalidMedia, "is not a picture");
  if (format.codec == AV_CODEC_ID_TIFF) return decode_tiff(file);
  INFLIGHT_TRY(check_picture(format.codec, file));
  DecodedPicture picture;
  picture.orientation = picture_orientation(format.codec, file);
  if (format.container != nullptr) {
    INFLIGHT_TRY_ASSIGN(picture.frame, decode_contained(format, file));
  } else {
    av_shrink_packet(packet.get(), static_cast<int>(keep_pixels(format.codec, file)));
    if (may_read_past_end(format.codec, bytes_of(packet))) {
      INFLIGHT_TRY_ASSIGN(picture.frame, decode_between_fills(format.codec, *packet));
    } else {
      INFLIGHT_TRY_ASSIGN(picture.frame, decode(format.codec, nullptr, *packet));
    }
    correct(format.codec, *picture.frame);
  }
  return picture;
}

}  // namespace inflight
