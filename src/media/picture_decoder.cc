// SPDX-License-Identifier: Apache-2.0
#include "media/picture_decoder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "media/picture.h"
#include "media/picture_file.h"

namespace inflight {
namespace {

using ffmpeg::Packet;

struct CloseIo {
  void operator()(AVIOContext* io) const {
    av_freep(&io->buffer);
    avio_context_free(&io);
  }
};

// ---- Reading ----

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

Status system_failure(int error) {
  if (error == ENOENT || error == ENOTDIR) return Status(StatusCode::kNotFound, "no such file");
  return Status(StatusCode::kInvalidMedia, std::generic_category().message(error));
}

// The first `bytes_max` bytes of a file, as a packet: that is memory with the room after it that decoders want.
Result<Packet> read_file(const std::string& path, std::size_t bytes_max) {
  const Descriptor file(path);
  struct stat found {};
  if (file.get() < 0 || fstat(file.get(), &found) != 0) return system_failure(errno);
  const std::size_t bytes = std::min(static_cast<std::size_t>(found.st_size), bytes_max);
  if (bytes > INT_MAX - AV_INPUT_BUFFER_PADDING_SIZE) {
    return Status(StatusCode::kUnsupported, fmt::format("has {} bytes, want less than 2 GiB", bytes));
  }
  Packet packet(av_packet_alloc());
  if (packet == nullptr || av_new_packet(packet.get(), static_cast<int>(bytes)) < 0) {
    return Status(StatusCode::kOutOfMemory, fmt::format("no memory for its {} bytes", bytes));
  }
  std::size_t got = 0;
  while (got < bytes) {
    const ssize_t count = read(file.get(), packet->data + got, bytes - got);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_failure(errno);
    if (count == 0) break;  // it has become shorter
    got += static_cast<std::size_t>(count);
  }
  av_shrink_packet(packet.get(), static_cast<int>(got));
  return packet;
}

std::span<std::uint8_t> bytes_of(const Packet& packet) {
  return {packet->data, static_cast<std::size_t>(packet->size)};
}

// ---- Which format it is ----

struct PictureFormat {
  AVCodecID codec = AV_CODEC_ID_NONE;        // none: no picture
  const AVInputFormat* container = nullptr;  // null: the file is what the decoder wants
  bool may_move = false;
};

std::string ending_of(std::string_view path) {
  const std::size_t dot = path.find_last_of("./");
  if (dot == std::string_view::npos || path[dot] == '/') return "";
  std::string ending(path.substr(dot));
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return ending;
}

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Endings of pictures that FFmpeg knows by their content only.
PictureFormat format_of_ending(std::string_view ending) {
  static constexpr std::array<std::string_view, 4> kJpeg = {".jfif", ".jif", ".jpe", ".jpg"};
  static constexpr std::array<std::string_view, 6> kBoxes = {".avif", ".avifs", ".heic",
                                                             ".heif", ".heics", ".hif"};
  if (is_one_of(ending, kJpeg)) return {AV_CODEC_ID_MJPEG};
  if (ending == ".apng") return {AV_CODEC_ID_PNG, nullptr, true};
  if (ending == ".gif") return {AV_CODEC_ID_GIF, av_find_input_format("gif"), true};
  if (ending == ".ico") return {AV_CODEC_ID_BMP, av_find_input_format("ico")};
  if (ending == ".jxl") return {AV_CODEC_ID_JPEGXL};
  if (is_one_of(ending, kBoxes)) return {AV_CODEC_ID_AV1, av_find_input_format("mov"), true};
  return {};
}

// FFmpeg's demuxers of single pictures are called after what they hold.
AVCodecID codec_of_demuxer(std::string_view name, const std::string& file_name) {
  constexpr std::string_view kPipe = "_pipe";
  if (name == "image2") {
    const AVOutputFormat* const muxer = av_guess_format("image2", nullptr, nullptr);
    const AVCodecID codec =
        muxer == nullptr ? AV_CODEC_ID_NONE
                         : av_guess_codec(muxer, "image2", file_name.c_str(), nullptr, AVMEDIA_TYPE_VIDEO);
    const AVCodecDescriptor* const descriptor = avcodec_descriptor_get(codec);
    const bool picture = descriptor != nullptr && (descriptor->props & AV_CODEC_PROP_INTRA_ONLY) != 0;
    return picture && codec != AV_CODEC_ID_RAWVIDEO ? codec : AV_CODEC_ID_NONE;
  }
  if (name == "jpeg_pipe") return AV_CODEC_ID_MJPEG;
  if (name == "j2k_pipe") return AV_CODEC_ID_JPEG2000;
  const bool pipe = name.ends_with(kPipe);
  if (!pipe && name != "alias_pix" && name != "brender_pix") return AV_CODEC_ID_NONE;
  if (pipe) name.remove_suffix(kPipe.size());
  const AVCodecDescriptor* const descriptor = avcodec_descriptor_get_by_name(std::string(name).c_str());
  return descriptor == nullptr ? AV_CODEC_ID_NONE : descriptor->id;
}

// Whether a file of boxes says that it is AVIF or HEIF.
bool has_picture_brand(PictureBytes head) {
  static constexpr std::array<std::string_view, 9> kBrands = {"avif", "avis", "mif1", "msf1", "heic",
                                                              "heix", "heim", "heis", "hevc"};
  if (head.size() < 16 || std::memcmp(head.data() + 4, "ftyp", 4) != 0) return false;
  return is_one_of({reinterpret_cast<const char*>(head.data()) + 8, 4}, kBrands);
}

// How much of a file says what it is.
constexpr std::size_t kHeadBytes = std::size_t{1} << 16;

//   head   the file's first bytes, with zeros somewhere after them; may be empty
PictureFormat find_format(const std::string& path, PictureBytes head) {
  const std::string ending = ending_of(path);
  // The name itself may have a % in it, which FFmpeg takes for a pattern.
  const std::string file_name = "picture" + ending;
  AVProbeData probe{};
  probe.filename = file_name.c_str();
  probe.buf = const_cast<std::uint8_t*>(head.data());  // it reads only
  probe.buf_size = static_cast<int>(head.size());
  int score = 0;
  const AVInputFormat* const found = av_probe_input_format3(&probe, 1, &score);
  if (found == nullptr) return format_of_ending(ending);
  const std::string_view name = found->name;
  if (const AVCodecID codec = codec_of_demuxer(name, file_name); codec != AV_CODEC_ID_NONE) return {codec};
  if (name == "gif") return {AV_CODEC_ID_GIF, found, true};
  if (name == "ico") return {AV_CODEC_ID_BMP, found};
  if (name == "apng") return {AV_CODEC_ID_PNG, nullptr, true};
  if (name.starts_with("mov,") && has_picture_brand(head)) return {AV_CODEC_ID_AV1, found, true};
  // A JPEG with others after it: previews, gain maps, the second eye.
  if (name == "mjpeg" && codec_of_demuxer("image2", file_name) == AV_CODEC_ID_MJPEG && ending != ".mjpg") {
    return format_of_ending(".jpg");
  }
  // What FFmpeg only guesses at is what its name says.
  return score < AVPROBE_SCORE_EXTENSION ? format_of_ending(ending) : PictureFormat();
}

PictureFormat find_format_of_file(const std::string& path, std::size_t head_bytes) {
  static_assert(AV_INPUT_BUFFER_PADDING_SIZE >= AVPROBE_PADDING_SIZE);
  ffmpeg::quiet_log();
  const Result<Packet> head = read_file(path, head_bytes);
  return find_format(path, head.ok() ? PictureBytes(bytes_of(*head)) : PictureBytes());
}

// ---- Decoding ----

// Decoders hand pieces of a picture to these, and some forget that a piece failed. `opaque` is a bool that does not.
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

// What decoders do about damage that they meet. The strictest is right where keep_pixels() has left pixels only, and
// elsewhere refuses what is merely unknown.
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
  if (error < 0) return damaged(ffmpeg::error_text(error));
  // It decodes such a file right.
  constexpr std::string_view kUnpaddedBmp = "assuming missing line alignment";
  const std::string complaint = ffmpeg::complaint();
  if (!complaint.empty() && complaint.find(kUnpaddedBmp) == std::string::npos) return damaged(complaint);
  if (job_failed || frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0) {
    return damaged("a part of it does not decode");
  }
  return frame;
}

// ---- Containers ----

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
  explicit Demuxer(PictureBytes bytes) : file_(bytes) {}

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
      const AVCodecParameters& parameters = *format->streams[i]->codecpar;
      const std::int64_t area = std::int64_t{parameters.width} * parameters.height;
      if (parameters.codec_type != AVMEDIA_TYPE_VIDEO || area <= area_max) continue;
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

// Whether a second picture follows the first.
bool moves(const PictureFormat& format, PictureBytes file) {
  if (!format.may_move) return false;
  const AVInputFormat* const container =
      format.container != nullptr ? format.container : av_find_input_format("apng");
  Demuxer demuxer(file);
  if (container == nullptr || !demuxer.open(container).ok()) return false;
  for (int i = 0; i < 2; ++i) {
    const Result<Packet> packet = demuxer.next();
    if (!packet.ok() || *packet == nullptr) return false;
  }
  return true;
}

}  // namespace

bool is_picture(const std::string& path) {
  // Of many files in a folder nearly all say it at once.
  constexpr std::size_t kLeastBytes = 4096;
  return find_format_of_file(path, kLeastBytes).codec != AV_CODEC_ID_NONE ||
         find_format_of_file(path, kHeadBytes).codec != AV_CODEC_ID_NONE;
}

bool is_still_picture(const std::string& path) {
  const PictureFormat format = find_format_of_file(path, kHeadBytes);
  if (format.codec == AV_CODEC_ID_NONE || !format.may_move) return format.codec != AV_CODEC_ID_NONE;
  const Result<Packet> file = read_file(path, SIZE_MAX);
  return !file.ok() || !moves(format, bytes_of(*file));
}

Result<DecodedPicture> decode_picture(const std::string& path) {
  ffmpeg::quiet_log();
  INFLIGHT_TRY_ASSIGN(const Packet packet, read_file(path, SIZE_MAX));
  if (packet->size == 0) return Status(StatusCode::kInvalidMedia, "is empty");
  const std::span<std::uint8_t> file = bytes_of(packet);
  const PictureFormat format = find_format(path, file.first(std::min(file.size(), kHeadBytes)));
  if (format.codec == AV_CODEC_ID_NONE) return Status(StatusCode::kInvalidMedia, "is not a picture");
  INFLIGHT_TRY(check_picture(format.codec, file));
  DecodedPicture picture;
  picture.orientation = picture_orientation(format.codec, file);
  if (format.container != nullptr) {
    INFLIGHT_TRY_ASSIGN(picture.frame, decode_contained(format, file));
  } else {
    av_shrink_packet(packet.get(), static_cast<int>(keep_pixels(format.codec, file)));
    INFLIGHT_TRY_ASSIGN(picture.frame, decode(format.codec, nullptr, *packet));
  }
  return picture;
}

}  // namespace inflight
