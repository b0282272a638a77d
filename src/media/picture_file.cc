// SPDX-License-Identifier: Apache-2.0
#include "media/picture_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "media/picture_boxes.h"

extern "C" {
#include <libavutil/crc.h>
#include <libavutil/intreadwrite.h>
}

namespace inflight {
namespace {

bool starts_with(PictureBytes bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

bool contains(PictureBytes bytes, std::string_view text) {
  return std::search(bytes.begin(), bytes.end(), text.begin(), text.end(), [](std::uint8_t byte, char c) {
           return byte == static_cast<std::uint8_t>(c);
         }) != bytes.end();
}

// ---- EXIF, which is a TIFF ----

constexpr std::size_t kEntryBytes = 12;
constexpr unsigned kOrientationTag = 0x0112;

// The first directory of a TIFF: entries of 12 bytes.
struct TiffDirectory {
  bool big_endian = false;
  std::size_t offset = 0;   // of its first entry
  std::size_t entries = 0;  // those that are wholly in the file

  unsigned u16(PictureBytes tiff, std::size_t at) const {
    return big_endian ? AV_RB16(tiff.data() + at) : AV_RL16(tiff.data() + at);
  }
  std::uint32_t u32(PictureBytes tiff, std::size_t at) const {
    return big_endian ? AV_RB32(tiff.data() + at) : AV_RL32(tiff.data() + at);
  }
};

TiffDirectory first_directory(PictureBytes tiff) {
  using namespace std::string_view_literals;
  TiffDirectory directory;
  constexpr std::size_t kHeaderBytes = 8;
  if (tiff.size() < kHeaderBytes) return directory;
  directory.big_endian = starts_with(tiff, "MM"sv);
  if (!directory.big_endian && !starts_with(tiff, "II"sv)) return directory;
  const std::size_t offset = directory.u32(tiff, 4);
  if (offset < kHeaderBytes || offset > tiff.size() - 2) return directory;
  directory.offset = offset + 2;
  directory.entries =
      std::min<std::size_t>(directory.u16(tiff, offset), (tiff.size() - directory.offset) / kEntryBytes);
  return directory;
}

Orientation tiff_orientation(PictureBytes tiff) {
  constexpr unsigned kShort = 3;
  constexpr unsigned kLong = 4;
  const TiffDirectory directory = first_directory(tiff);
  for (std::size_t i = 0; i < directory.entries; ++i) {
    const std::size_t entry = directory.offset + i * kEntryBytes;
    if (directory.u16(tiff, entry) != kOrientationTag || directory.u32(tiff, entry + 4) != 1) continue;
    const unsigned type = directory.u16(tiff, entry + 2);
    if (type == kShort) return Orientation::from_exif(static_cast<int>(directory.u16(tiff, entry + 8)));
    if (type == kLong) return Orientation::from_exif(static_cast<int>(directory.u32(tiff, entry + 8)));
    return {};
  }
  return {};
}

// Of EXIF as it stands in a file: some writers put the marker of JPEG before it elsewhere too.
Orientation exif_orientation(PictureBytes block) {
  using namespace std::string_view_literals;
  if (starts_with(block, "Exif\0"sv) && block.size() >= 6) block = block.subspan(6);
  return tiff_orientation(block);
}

// ---- JPEG ----

constexpr unsigned kStartOfScan = 0xDA;
constexpr unsigned kEndOfImage = 0xD9;

struct JpegSegment {
  unsigned marker = 0;
  std::size_t begin = 0;  // of its marker
  std::size_t end = 0;
  PictureBytes body(PictureBytes file) const { return file.subspan(begin + 4, end - begin - 4); }
};

// The segment that begins at `at` (fill bytes skipped). Nothing: no whole one does.
std::optional<JpegSegment> jpeg_segment(PictureBytes file, std::size_t at) {
  while (at + 1 < file.size() && file[at] == 0xFF && file[at + 1] == 0xFF) ++at;
  if (at + 2 > file.size() || file[at] != 0xFF) return std::nullopt;
  JpegSegment segment{file[at + 1], at, at + 2};
  const bool bare = segment.marker == 0x01 || (segment.marker >= 0xD0 && segment.marker <= kEndOfImage);
  if (bare) return segment;
  if (at + 4 > file.size()) return std::nullopt;
  const std::size_t length = AV_RB16(file.data() + at + 2);
  if (length < 2 || at + 2 + length > file.size()) return std::nullopt;
  segment.end = at + 2 + length;
  return segment;
}

Orientation jpeg_orientation(PictureBytes file) {
  using namespace std::string_view_literals;
  std::size_t at = 0;
  while (const std::optional<JpegSegment> segment = jpeg_segment(file, at)) {
    if (segment->marker == kStartOfScan || segment->marker == kEndOfImage) break;
    if (segment->marker == 0xE1 && starts_with(segment->body(file), "Exif\0"sv)) {
      return exif_orientation(segment->body(file));
    }
    at = segment->end;
  }
  return {};
}

// Application segments but those that say what the numbers mean (0: AVI1; 8: of JPEG-LS; 14: Adobe) go.
std::size_t strip_jpeg(std::span<std::uint8_t> file) {
  std::size_t at = 0;
  std::size_t kept = 0;
  while (const std::optional<JpegSegment> segment = jpeg_segment(file, at)) {
    if (segment->marker == kStartOfScan || segment->marker == kEndOfImage) break;
    const unsigned application = segment->marker - 0xE0;
    const bool drop = application < 16 && application != 0 && application != 8 && application != 14;
    if (!drop) {
      std::memmove(file.data() + kept, file.data() + segment->begin, segment->end - segment->begin);
      kept += segment->end - segment->begin;
    }
    at = segment->end;
  }
  std::copy(file.begin() + static_cast<std::ptrdiff_t>(at), file.end(),
            file.begin() + static_cast<std::ptrdiff_t>(kept));
  return kept + file.size() - at;
}

// Where one scan holds every component, its decoder reports an early end. Later scans refine or complete what
// is there already, and nobody would miss one but for the mark of the end.
Status check_jpeg(AVCodecID codec, PictureBytes file) {
  using namespace std::string_view_literals;
  std::size_t at = 0;
  bool one_scan = codec != AV_CODEC_ID_JPEGLS;
  unsigned components = 0;
  while (const std::optional<JpegSegment> segment = jpeg_segment(file, at)) {
    at = segment->end;
    if (segment->marker == kEndOfImage) return Status();
    const bool frame = segment->marker >= 0xC0 && segment->marker <= 0xCF && segment->marker != 0xC4 &&
                       segment->marker != 0xC8 && segment->marker != 0xCC;
    const PictureBytes body = segment->end > segment->begin + 4 ? segment->body(file) : PictureBytes();
    if (frame && body.size() >= 6) {
      components = body[5];
      one_scan = one_scan && (segment->marker == 0xC0 || segment->marker == 0xC1);
    }
    if (segment->marker != kStartOfScan) continue;
    if (body.empty() || (one_scan && body[0] == components) || contains(file.subspan(at), "\xFF\xD9"sv))
      return Status();
    return Status(StatusCode::kInvalidMedia, "is cut short (no end of image)");
  }
  return Status();  // the decoder says what is wrong
}

bool jpeg_lacks_end(PictureBytes file) {
  using namespace std::string_view_literals;
  std::size_t at = 0;
  while (const std::optional<JpegSegment> segment = jpeg_segment(file, at)) {
    at = segment->end;
    if (segment->marker == kEndOfImage) return false;
    if (segment->marker == kStartOfScan) return !contains(file.subspan(at), "\xFF\xD9"sv);
  }
  return false;
}

// ---- PNG ----

constexpr std::size_t kPngSignatureBytes = 8;

struct PngChunk {
  std::size_t begin = 0;   // of its length
  std::size_t length = 0;  // of its data
  std::uint32_t type = 0;
  std::size_t end() const { return begin + 12 + length; }
  bool ancillary() const { return (type & 0x20000000) != 0; }
};

std::optional<PngChunk> png_chunk(PictureBytes file, std::size_t at) {
  if (at > file.size() || file.size() - at < 12) return std::nullopt;
  const PngChunk chunk{at, AV_RB32(file.data() + at), AV_RB32(file.data() + at + 4)};
  if (chunk.length > file.size() - at - 12) return std::nullopt;
  return chunk;
}

Orientation png_orientation(PictureBytes file) {
  constexpr std::uint32_t kExif = 0x65584966;  // eXIf
  std::size_t at = kPngSignatureBytes;
  while (const std::optional<PngChunk> chunk = png_chunk(file, at)) {
    at = chunk->end();
    if (chunk->type != kExif) continue;
    const PictureBytes checked = file.subspan(chunk->begin + 4, chunk->length + 4);
    const std::uint32_t crc =
        ~av_crc(av_crc_get_table(AV_CRC_32_IEEE_LE), ~0U, checked.data(), checked.size());
    if (crc != AV_RB32(file.data() + at - 4)) continue;
    return exif_orientation(checked.subspan(4));
  }
  return {};
}

// Leaves the signature and the critical chunks, to IEND. Transparency is ancillary: frames have none.
std::size_t strip_png(std::span<std::uint8_t> file) {
  constexpr std::uint32_t kEnd = 0x49454E44;  // IEND
  std::size_t at = kPngSignatureBytes;
  std::size_t kept = at;
  while (const std::optional<PngChunk> chunk = png_chunk(file, at)) {
    if (!chunk->ancillary()) {
      std::memmove(file.data() + kept, file.data() + at, 12 + chunk->length);
      kept += 12 + chunk->length;
    }
    at = chunk->end();
    if (chunk->type == kEnd) return kept;
  }
  if (at >= file.size()) return std::min(kept, file.size());
  std::copy(file.begin() + static_cast<std::ptrdiff_t>(at), file.end(),
            file.begin() + static_cast<std::ptrdiff_t>(kept));
  return kept + file.size() - at;
}

// ---- WebP ----

constexpr std::size_t kRiffHeaderBytes = 12;

// The next chunk of a RIFF file: its name, and where its data stands.
struct RiffChunk {
  std::string_view name;
  std::size_t begin = 0;
  std::size_t length = 0;
  std::size_t end() const { return begin + length + length % 2; }
};

std::optional<RiffChunk> riff_chunk(PictureBytes file, std::size_t at) {
  if (at > file.size() || file.size() - at < 8) return std::nullopt;
  const RiffChunk chunk{std::string_view(reinterpret_cast<const char*>(file.data()) + at, 4), at + 8,
                        AV_RL32(file.data() + at + 4)};
  if (chunk.length > file.size() - chunk.begin) return std::nullopt;
  return chunk;
}

Orientation webp_orientation(PictureBytes file) {
  std::size_t at = kRiffHeaderBytes;
  while (const std::optional<RiffChunk> chunk = riff_chunk(file, at)) {
    if (chunk->name == "EXIF") return exif_orientation(file.subspan(chunk->begin, chunk->length));
    at = chunk->end();
  }
  return {};
}

// FFmpeg reads EXIF in a WebP and complains of it as of damage, so it gets a name that nobody knows.
std::size_t blank_webp(std::span<std::uint8_t> file) {
  std::size_t at = kRiffHeaderBytes;
  while (const std::optional<RiffChunk> chunk = riff_chunk(file, at)) {
    if (chunk->name == "EXIF") std::memcpy(file.data() + chunk->begin - 8, "xxif", 4);
    at = chunk->end();
  }
  const std::size_t whole = std::size_t{8} + (file.size() >= 8 ? AV_RL32(file.data() + 4) : 0);
  return std::min(file.size(), std::max(whole, kRiffHeaderBytes));
}

Status check_webp(PictureBytes file) {
  const std::optional<RiffChunk> first = riff_chunk(file, kRiffHeaderBytes);
  constexpr std::uint8_t kAnimation = 0x02;
  if (first && first->name == "VP8X" && first->length >= 1 && (file[first->begin] & kAnimation) != 0) {
    return Status(StatusCode::kUnsupported, "is an animated WebP, which is not supported (still ones are)");
  }
  return Status();
}

// ---- JPEG XL ----

constexpr std::string_view kJxlCodestream = "\xFF\x0A";
constexpr std::string_view kJxlBoxes("\0\0\0\x0CJXL \r\n\x87\n", 12);

Status check_jxl(PictureBytes file) {
  if (starts_with(file, kJxlCodestream) || starts_with(file, kJxlBoxes)) return Status();
  return Status(StatusCode::kInvalidMedia, "is no JPEG XL");
}

// FFmpeg's decoder never ends where a box is cut within what it wants of it at once, so it gets whole ones.
std::size_t keep_whole_boxes(PictureBytes file) {
  return starts_with(file, kJxlBoxes) ? whole_boxes_bytes(file) : file.size();
}

// ---- Others ----

// A picture of one byte a pixel has its palette at the end of the file, where its decoder looks for it.
bool pcx_ends_with_palette(PictureBytes file) {
  constexpr std::size_t kBits = 3;
  constexpr std::size_t kPlanes = 65;
  return file.size() > kPlanes && file[kBits] == 8 && file[kPlanes] == 1;
}

// FFmpeg takes grey with transparency for colours of 5 bits.
Status check_targa(PictureBytes file) {
  constexpr std::size_t kDepth = 16;
  const bool grey = file.size() > kDepth && (file[2] == 3 || file[2] == 11);
  if (!grey || file[kDepth] == 8) return Status();
  return Status(
      StatusCode::kUnsupported,
      fmt::format("is a TGA of {} bits of grey, which is not supported (8 bits are)", file[kDepth]));
}

// FFmpeg takes all colours that are not YCbCr for RGB.
Status check_jpeg2000(PictureBytes file) {
  using namespace std::string_view_literals;
  constexpr std::string_view kEnumerated = "colr\x01"sv;
  constexpr std::array kKnown = {16U, 17U, 18U};  // sRGB, grey, sYCC
  const auto box =
      std::search(file.begin(), file.end(), kEnumerated.begin(), kEnumerated.end(),
                  [](std::uint8_t byte, char c) { return byte == static_cast<std::uint8_t>(c); });
  constexpr std::ptrdiff_t kNumber = 7;
  if (file.end() - box < kNumber + 4) return Status();
  const std::uint32_t space = AV_RB32(&*box + kNumber);
  if (std::find(kKnown.begin(), kKnown.end(), space) != kKnown.end()) return Status();
  return Status(
      StatusCode::kUnsupported,
      fmt::format("is a JPEG 2000 of colour space {}{}, which is not supported (sRGB, grey and sYCC are)",
                  space, space == 12 ? " (CMYK)" : ""));
}

}  // namespace

Orientation picture_orientation(AVCodecID codec, PictureBytes file) {
  switch (codec) {
    case AV_CODEC_ID_MJPEG:
      return jpeg_orientation(file);
    case AV_CODEC_ID_PNG:
      return png_orientation(file);
    case AV_CODEC_ID_WEBP:
      return webp_orientation(file);
    case AV_CODEC_ID_AV1:
    case AV_CODEC_ID_HEVC:
      return boxes_orientation(file);
    default:
      return {};
  }
}

std::size_t keep_pixels(AVCodecID codec, std::span<std::uint8_t> file) {
  switch (codec) {
    case AV_CODEC_ID_MJPEG:
    case AV_CODEC_ID_JPEGLS:
      return strip_jpeg(file);
    case AV_CODEC_ID_PNG:
      return file.size() > kPngSignatureBytes ? strip_png(file) : file.size();
    case AV_CODEC_ID_WEBP:
      return blank_webp(file);
    case AV_CODEC_ID_JPEGXL:
      return keep_whole_boxes(file);
    default:
      return file.size();
  }
}

bool may_read_past_end(AVCodecID codec, PictureBytes file) {
  switch (codec) {
    case AV_CODEC_ID_MJPEG:
      return jpeg_lacks_end(file);
    case AV_CODEC_ID_PCX:
      return !pcx_ends_with_palette(file);
    // They count their bytes, or have a mark of their end that check_picture() looks for.
    case AV_CODEC_ID_ALIAS_PIX:
    case AV_CODEC_ID_BMP:
    case AV_CODEC_ID_JPEG2000:
    case AV_CODEC_ID_JPEGLS:
    case AV_CODEC_ID_JPEGXL:
    case AV_CODEC_ID_PAM:
    case AV_CODEC_ID_PBM:
    case AV_CODEC_ID_PGM:
    case AV_CODEC_ID_PNG:
    case AV_CODEC_ID_PPM:
    case AV_CODEC_ID_SVG:
    case AV_CODEC_ID_TARGA:
    case AV_CODEC_ID_WEBP:
      return false;
    default:
      return true;
  }
}

Status check_picture(AVCodecID codec, PictureBytes file) {
  switch (codec) {
    case AV_CODEC_ID_MJPEG:
    case AV_CODEC_ID_JPEGLS:
      return check_jpeg(codec, file);
    case AV_CODEC_ID_WEBP:
      return check_webp(file);
    case AV_CODEC_ID_TARGA:
      return check_targa(file);
    case AV_CODEC_ID_JPEG2000:
      return check_jpeg2000(file);
    case AV_CODEC_ID_JPEGXL:
      return check_jxl(file);
    case AV_CODEC_ID_XBM:
    case AV_CODEC_ID_XPM:
      // They are text in C, and half a number is one.
      return contains(file, "}") ? Status()
                                 : Status(StatusCode::kInvalidMedia, "is cut short (no closing brace)");
    default:
      return Status();
  }
}

}  // namespace inflight
