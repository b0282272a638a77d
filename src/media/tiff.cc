// SPDX-License-Identifier: Apache-2.0
#include "media/tiff.h"

#include <fmt/format.h>
#include <tiffio.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

extern "C" {
#include <libavutil/imgutils.h>
}

#include "base/check.h"

namespace inflight {
namespace {

struct CloseTiff {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
struct FreeOptions {
  void operator()(TIFFOpenOptions* options) const { TIFFOpenOptionsFree(options); }
};

// A file in memory as libtiff reads it, and what libtiff says of it.
class TiffFile {
 public:
  explicit TiffFile(std::span<const std::uint8_t> bytes) : bytes_(bytes) {
    const std::unique_ptr<TIFFOpenOptions, FreeOptions> options(TIFFOpenOptionsAlloc());
    INFLIGHT_CHECK(options != nullptr);
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), &TiffFile::keep_error, this);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), &TiffFile::keep_warning, this);
    tiff_.reset(TIFFClientOpenExt("picture", "r", this, &TiffFile::read, &TiffFile::write, &TiffFile::seek,
                                  &TiffFile::close, &TiffFile::size, &TiffFile::map, &TiffFile::unmap,
                                  options.get()));
  }
  TiffFile(const TiffFile&) = delete;
  TiffFile& operator=(const TiffFile&) = delete;

  TIFF* get() const { return tiff_.get(); }
  // The first error; empty where there is none. Not each one makes a call fail.
  const std::string& error() const { return error_; }
  // The first complaint of a decoder that made up pixels; empty where there is none.
  const std::string& damage() const { return damage_; }
  // What has been wrong until now was not in the pixels.
  void forget() {
    error_.clear();
    damage_.clear();
  }

  // A number of the present directory, or the default that the standard gives.
  template <typename Number>
  Number number(std::uint32_t tag, Number otherwise) const {
    Number value = otherwise;
    return TIFFGetFieldDefaulted(tiff_.get(), tag, &value) == 1 ? value : otherwise;
  }

 private:
  static TiffFile& self(thandle_t file) { return *static_cast<TiffFile*>(file); }
  static tmsize_t read(thandle_t file, void* to, tmsize_t bytes) {
    TiffFile& tiff = self(file);
    if (bytes <= 0 || tiff.at_ >= tiff.bytes_.size()) return 0;
    const std::size_t count = std::min(static_cast<std::size_t>(bytes), tiff.bytes_.size() - tiff.at_);
    std::memcpy(to, tiff.bytes_.data() + tiff.at_, count);
    tiff.at_ += count;
    return static_cast<tmsize_t>(count);
  }
  static tmsize_t write(thandle_t /*file*/, void* /*from*/, tmsize_t /*bytes*/) { return -1; }
  static toff_t seek(thandle_t file, toff_t offset, int whence) {
    TiffFile& tiff = self(file);
    if (whence == SEEK_CUR) offset += tiff.at_;
    if (whence == SEEK_END) offset += tiff.bytes_.size();
    tiff.at_ = static_cast<std::size_t>(offset);
    return offset;
  }
  static int close(thandle_t /*file*/) { return 0; }
  // libtiff 4.5 reads tiles without compression in mapped files only. It does not write to them.
  static int map(thandle_t file, void** base, toff_t* size) {
    const std::span<const std::uint8_t> bytes = self(file).bytes_;
    *base = const_cast<std::uint8_t*>(bytes.data());
    *size = bytes.size();
    return 1;
  }
  static void unmap(thandle_t /*file*/, void* /*base*/, toff_t /*size*/) {}
  static toff_t size(thandle_t file) { return self(file).bytes_.size(); }

  __attribute__((format(printf, 2, 0))) static void keep(std::string& text, const char* format,
                                                         va_list args) {
    if (!text.empty()) return;
    std::array<char, 200> line{};
    std::vsnprintf(line.data(), line.size(), format, args);
    text = line.data();
  }
  static int keep_error(TIFF* /*tiff*/, void* user, const char* /*module*/, const char* format,
                        va_list args) {
    keep(static_cast<TiffFile*>(user)->error_, format, args);
    return 1;
  }
  // Of warnings, those of these decoders are about pixels that they had to make up.
  static int keep_warning(TIFF* /*tiff*/, void* user, const char* module, const char* format, va_list args) {
    const std::string_view from = module == nullptr ? "" : module;
    if (from == "JPEGLib" || from.starts_with("Fax"))
      keep(static_cast<TiffFile*>(user)->damage_, format, args);
    return 1;
  }

  const std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
  std::string error_;
  std::string damage_;
  std::unique_ptr<TIFF, CloseTiff> tiff_;
};

Status damaged(std::string_view why) {
  return Status(StatusCode::kInvalidMedia, fmt::format("is damaged: {}", why));
}

Status unsupported(std::string_view what) {
  return Status(StatusCode::kUnsupported, fmt::format("is a TIFF {}", what));
}

bool is_reduced(const TiffFile& file) {
  return (file.number<std::uint32_t>(TIFFTAG_SUBFILETYPE, 0) & FILETYPE_REDUCEDIMAGE) != 0;
}

// Goes to the first picture that is not a smaller version of another one.
Status choose_directory(const TiffFile& file) {
  TIFF* const tiff = file.get();
  std::uint16_t count = 0;
  const void* values = nullptr;
  const bool raw = TIFFGetField(tiff, TIFFTAG_DNGVERSION, &values) == 1;
  bool hides_others = false;
  while (!raw && is_reduced(file)) {
    hides_others = hides_others || TIFFGetField(tiff, TIFFTAG_SUBIFD, &count, &values) == 1;
    if (TIFFReadDirectory(tiff) != 0) continue;
    TIFFSetDirectory(tiff, 0);
    break;
  }
  if (raw || (hides_others && is_reduced(file)))
    return unsupported("with a camera's raw picture, which is not supported");
  return Status();
}

// libtiff takes every sample for an unsigned number.
Status check_samples(const TiffFile& file) {
  const auto photometric = file.number<std::uint16_t>(TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
  if (photometric == PHOTOMETRIC_LOGL || photometric == PHOTOMETRIC_LOGLUV) return Status();
  const auto bits = file.number<std::uint16_t>(TIFFTAG_BITSPERSAMPLE, 1);
  constexpr std::string_view kWanted =
      "which is not supported (unsigned integers of up to 8, or of 16 bits are)";
  switch (file.number<std::uint16_t>(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT)) {
    case SAMPLEFORMAT_UINT:
    case SAMPLEFORMAT_VOID:
      break;
    case SAMPLEFORMAT_IEEEFP:
      return unsupported(fmt::format("of floating point samples of {} bits, {}", bits, kWanted));
    case SAMPLEFORMAT_INT:
      return unsupported(fmt::format("of signed samples of {} bits, {}", bits, kWanted));
    default:
      return unsupported(fmt::format("of complex or other samples of {} bits, {}", bits, kWanted));
  }
  if (bits > 8 && bits != 16) return unsupported(fmt::format("of samples of {} bits, {}", bits, kWanted));
  return Status();
}

// libtiff multiplies colours by a transparency that the file keeps apart from them, unless it thinks that
// this has been done.
void keep_colors(const TiffFile& file) {
  std::uint16_t count = 0;
  const std::uint16_t* kinds = nullptr;
  if (TIFFGetField(file.get(), TIFFTAG_EXTRASAMPLES, &count, &kinds) != 1 || count == 0) return;
  const std::vector<std::uint16_t> associated(count, EXTRASAMPLE_ASSOCALPHA);
  TIFFSetField(file.get(), TIFFTAG_EXTRASAMPLES, count, associated.data());
}

Result<ffmpeg::Frame> read_rgb(TiffFile& file) {
  TIFF* const tiff = file.get();
  const auto compression = file.number<std::uint16_t>(TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  if (TIFFIsCODECConfigured(compression) == 0)
    return unsupported(fmt::format("of compression {}, which this libtiff does not decode", compression));
  std::array<char, 1024> why{};
  if (TIFFRGBAImageOK(tiff, why.data()) == 0)
    return unsupported(fmt::format("of a kind that libtiff does not decode ({})", why.data()));
  TIFFRGBAImage image{};
  constexpr int kStopAtErrors = 1;
  if (TIFFRGBAImageBegin(&image, tiff, kStopAtErrors, why.data()) == 0)
    return unsupported(fmt::format("of a kind that libtiff does not decode ({})", why.data()));
  const std::unique_ptr<TIFFRGBAImage, decltype(&TIFFRGBAImageEnd)> end(&image, &TIFFRGBAImageEnd);
  // As coded: whoever asked turns it.
  image.orientation = ORIENTATION_TOPLEFT;
  image.req_orientation = ORIENTATION_TOPLEFT;
  // Of a tile that reaches over the right edge, libtiff 4.5 reads 16 bit greys from wrong places; so all is
  // read.
  const auto tile = file.number<std::uint32_t>(TIFFTAG_TILEWIDTH, 1);
  const std::uint64_t width = (std::uint64_t{image.width} + tile - 1) / std::max(tile, 1U) * tile;
  if (width > INT_MAX || av_image_check_size(static_cast<unsigned>(width), image.height, 0, nullptr) < 0)
    return damaged(fmt::format("it says that it has {}x{} pixels", image.width, image.height));
  ffmpeg::Frame frame(av_frame_alloc());
  INFLIGHT_CHECK(frame != nullptr);
  frame->format = AV_PIX_FMT_RGB0;
  frame->width = static_cast<int>(width);
  frame->height = static_cast<int>(image.height);
  constexpr int kDense = 1;
  if (av_frame_get_buffer(frame.get(), kDense) < 0 || frame->linesize[0] != frame->width * 4)
    return Status(StatusCode::kOutOfMemory, "no memory for its pixels");
  frame->width = static_cast<int>(image.width);
  image.width = static_cast<std::uint32_t>(width);
  file.forget();
  auto* const pixels = reinterpret_cast<std::uint32_t*>(frame->data[0]);
  if (TIFFRGBAImageGet(&image, pixels, image.width, image.height) == 0) return damaged(file.error());
  if (!file.damage().empty()) return damaged(file.damage());
  return frame;
}

}  // namespace

bool is_tiff(std::span<const std::uint8_t> head) {
  using namespace std::string_view_literals;
  static constexpr std::array kHeads = {"II*\0"sv, "MM\0*"sv, "II+\0"sv, "MM\0+"sv};
  return head.size() >= 4 && std::any_of(kHeads.begin(), kHeads.end(), [&](std::string_view text) {
           return std::memcmp(head.data(), text.data(), text.size()) == 0;
         });
}

Result<DecodedPicture> decode_tiff(std::span<const std::uint8_t> bytes) {
  TiffFile file(bytes);
  if (file.get() == nullptr) return damaged(file.error());
  INFLIGHT_TRY(choose_directory(file));
  INFLIGHT_TRY(check_samples(file));
  keep_colors(file);
  DecodedPicture picture;
  picture.orientation = Orientation::from_exif(file.number<std::uint16_t>(TIFFTAG_ORIENTATION, 1));
  INFLIGHT_TRY_ASSIGN(picture.frame, read_rgb(file));
  return picture;
}

}  // namespace inflight
