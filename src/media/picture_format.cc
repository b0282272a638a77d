// SPDX-License-Identifier: Apache-2.0
#include "media/picture_format.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string_view>
#include <system_error>

#include "media/tiff.h"

namespace inflight {
namespace {

using ffmpeg::Packet;

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
  if (ending == ".webp") return {AV_CODEC_ID_WEBP};
  if (ending == ".psd") return {AV_CODEC_ID_PSD};
  if (ending == ".qoi") return {AV_CODEC_ID_QOI};
  if (is_one_of(ending, kBoxes)) return {AV_CODEC_ID_AV1, av_find_input_format("mov"), true};
  return {};
}

// PBM, PGM and PPM whose numbers follow on the first line, which FFmpeg knows by their names only.
AVCodecID spaced_pnm(std::span<const std::uint8_t> head) {
  static constexpr std::array kCodecs = {AV_CODEC_ID_PBM, AV_CODEC_ID_PGM, AV_CODEC_ID_PPM};
  const bool spaced = head.size() >= 4 && head[0] == 'P' && head[1] >= '1' && head[1] <= '6' &&
                      (head[2] == ' ' || head[2] == '\t') && head[3] >= '1' && head[3] <= '9';
  return spaced ? kCodecs.at((head[1] - '1') % 3) : AV_CODEC_ID_NONE;
}

// FFmpeg's demuxers of single pictures are called after what they hold.
AVCodecID codec_of_demuxer(std::string_view name, const std::string& file_name) {
  constexpr std::string_view kPipe = "_pipe";
  if (name == "image2") {
    const AVOutputFormat* const muxer = av_guess_format("image2", nullptr, nullptr);
    const AVCodecID codec =
        muxer == nullptr ? AV_CODEC_ID_NONE
                         : av_guess_codec(muxer, "image2", file_name.c_str(), nullptr, AVMEDIA_TYPE_VIDEO);
    // It is also for single frames of videos.
    static constexpr std::array kNoPictures = {AV_CODEC_ID_RAWVIDEO, AV_CODEC_ID_V210X,
                                               AV_CODEC_ID_MPEG1VIDEO, AV_CODEC_ID_MPEG2VIDEO,
                                               AV_CODEC_ID_MPEG4};
    const bool picture = std::find(kNoPictures.begin(), kNoPictures.end(), codec) == kNoPictures.end();
    return picture ? codec : AV_CODEC_ID_NONE;
  }
  if (name == "jpeg_pipe") return AV_CODEC_ID_MJPEG;
  if (name == "j2k_pipe") return AV_CODEC_ID_JPEG2000;
  const bool pipe = name.ends_with(kPipe);
  if (!pipe && name != "alias_pix" && name != "brender_pix") return AV_CODEC_ID_NONE;
  if (pipe) name.remove_suffix(kPipe.size());
  const AVCodecDescriptor* const descriptor = avcodec_descriptor_get_by_name(std::string(name).c_str());
  return descriptor == nullptr ? AV_CODEC_ID_NONE : descriptor->id;
}

}  // namespace

Result<Packet> read_picture_file(const std::string& path, std::size_t bytes_max) {
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

bool has_picture_brand(std::span<const std::uint8_t> head) {
  static constexpr std::array<std::string_view, 9> kBrands = {"avif", "avis", "mif1", "msf1", "heic",
                                                              "heix", "heim", "heis", "hevc"};
  if (head.size() < 16 || std::memcmp(head.data() + 4, "ftyp", 4) != 0) return false;
  return is_one_of({reinterpret_cast<const char*>(head.data()) + 8, 4}, kBrands);
}

namespace {

//   score   how sure FFmpeg is of it
PictureFormat find_format(const std::string& path, std::span<const std::uint8_t> head, int& score) {
  const std::string ending = ending_of(path);
  // The name itself may have a % in it, which FFmpeg takes for a pattern.
  const std::string file_name = "picture" + ending;
  // FFmpeg goes by the name only where there is something.
  static constexpr std::array<std::uint8_t, 32 + AVPROBE_PADDING_SIZE> kNothing{};
  if (head.empty()) head = std::span(kNothing).first(32);
  score = AVPROBE_SCORE_MAX;
  if (is_tiff(head)) return {AV_CODEC_ID_TIFF};  // FFmpeg does not know BigTIFF
  if (const AVCodecID codec = spaced_pnm(head); codec != AV_CODEC_ID_NONE) return {codec};
  AVProbeData probe{};
  probe.filename = file_name.c_str();
  probe.buf = const_cast<std::uint8_t*>(head.data());  // it reads only
  probe.buf_size = static_cast<int>(head.size());
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

}  // namespace

PictureFormat find_picture_format(const std::string& path, std::span<const std::uint8_t> head) {
  int score = 0;
  PictureFormat format = find_format(path, head, score);
  // FFmpeg itself opens what it is as sure of as this, and nothing else is a picture.
  format.sure = score > (format.codec == AV_CODEC_ID_NONE ? AVPROBE_SCORE_RETRY : AVPROBE_SCORE_EXTENSION);
  return format;
}

}  // namespace inflight
