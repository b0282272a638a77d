// SPDX-License-Identifier: Apache-2.0
#include "media/tiff.h"

#include <gtest/gtest.h>
#include <tiffio.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "media/picture.h"
#include "media/test_media.h"

namespace inflight {
namespace {

constexpr int kHeight = 40;
constexpr int kWidth = 60;

// The colour of a pixel, smooth, so that JPEG keeps it.
int color(int y, int x, int channel) { return channel == 0 ? 4 * x : channel == 1 ? 6 * y : 2 * (x + y); }

struct Kind {
  const char* name;
  int compression = COMPRESSION_NONE;
  int photometric = PHOTOMETRIC_RGB;
  int samples = 3;
  int bits = 8;
  int tile = 0;    // 0: strips
  int strip = 16;  // rows
  bool planar = false;
  int format = SAMPLEFORMAT_UINT;
  const char* mode = "w";
  int tolerance = 0;
};

// The number that stands for the colour in a file of this kind.
unsigned sample(const Kind& kind, int y, int x, int channel) {
  const int sample = kind.photometric == PHOTOMETRIC_SEPARATED
                         ? (channel < 3 ? 255 - color(y, x, channel) : 0)
                     : channel == kind.samples - 1 && kind.samples % 2 == 0 ? 100  // transparency
                                                                            : color(y, x, channel);
  return static_cast<unsigned>(kind.photometric == PHOTOMETRIC_MINISWHITE ? 255 - sample : sample);
}

// The samples of height x width pixels from (top, left) on; those outside of the picture are its last ones.
std::vector<std::uint8_t> block(const Kind& kind, int top, int left, int height, int width, int plane) {
  std::vector<std::uint8_t> bytes;
  for (int y = top; y < top + height; ++y) {
    for (int x = left; x < left + width; ++x) {
      for (int channel = 0; channel < kind.samples; ++channel) {
        if (kind.planar && channel != plane) continue;
        const auto value = static_cast<std::uint8_t>(
            sample(kind, std::min(y, kHeight - 1), std::min(x, kWidth - 1), channel));
        for (int byte = 0; byte < kind.bits / 8; ++byte) bytes.push_back(value);
      }
    }
  }
  return bytes;
}

void write(TIFF* tiff, const Kind& kind) {
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, kWidth);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, kHeight);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, kind.compression);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, kind.photometric);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, kind.samples);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, kind.bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, kind.format);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, kind.planar ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG);
  if (kind.compression == COMPRESSION_JPEG) TIFFSetField(tiff, TIFFTAG_JPEGQUALITY, 98);
  if (kind.photometric == PHOTOMETRIC_YCBCR) TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  const std::uint16_t alpha = EXTRASAMPLE_UNASSALPHA;
  if (kind.samples % 2 == 0 && kind.photometric != PHOTOMETRIC_SEPARATED)
    TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &alpha);
  if (kind.tile > 0) {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, kind.tile);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, kind.tile);
  } else {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, kind.strip);
  }
  std::uint32_t number = 0;
  for (int plane = 0; plane < (kind.planar ? kind.samples : 1); ++plane) {
    const int rows = kind.tile > 0 ? kind.tile : kind.strip;
    for (int top = 0; top < kHeight; top += rows) {
      for (int left = 0; left<kWidth; left += kind.tile> 0 ? kind.tile : kWidth) {
        const int height = kind.tile > 0 ? rows : std::min(rows, kHeight - top);
        std::vector<std::uint8_t> bytes =
            block(kind, top, left, height, kind.tile > 0 ? kind.tile : kWidth, plane);
        const auto size = static_cast<tmsize_t>(bytes.size());
        const tmsize_t written = kind.tile > 0 ? TIFFWriteEncodedTile(tiff, number++, bytes.data(), size)
                                               : TIFFWriteEncodedStrip(tiff, number++, bytes.data(), size);
        ASSERT_EQ(written, size);
      }
    }
  }
}

class Tiffs : public testing::Test {
 protected:
  Result<Picture> read(const Kind& kind) {
    const std::string path = folder_.file(std::string(kind.name) + ".tif");
    TIFF* const tiff = TIFFOpen(path.c_str(), kind.mode);
    write(tiff, kind);
    TIFFClose(tiff);
    return read_picture(path, true, pool_);
  }
  TempFolder folder_;
  BufferPool pool_;
};

constexpr Kind kDecoded[] = {
    {.name = "strips"},
    {.name = "tiles", .tile = 16},
    {.name = "lzw", .compression = COMPRESSION_LZW, .tile = 32},
    {.name = "deflate", .compression = COMPRESSION_ADOBE_DEFLATE, .tile = 48},
    {.name = "packbits", .compression = COMPRESSION_PACKBITS, .tile = 16},
    {.name = "planar", .tile = 16, .planar = true},
    {.name = "jpeg", .compression = COMPRESSION_JPEG, .tolerance = 4},
    {.name = "jpeg_tiles", .compression = COMPRESSION_JPEG, .tile = 16, .tolerance = 4},
    {.name = "jpeg_planar", .compression = COMPRESSION_JPEG, .planar = true, .tolerance = 4},
    {.name = "jpeg_grey",
     .compression = COMPRESSION_JPEG,
     .photometric = PHOTOMETRIC_MINISBLACK,
     .samples = 1,
     .tolerance = 4},
    {.name = "jpeg_ycbcr", .compression = COMPRESSION_JPEG, .photometric = PHOTOMETRIC_YCBCR, .tolerance = 8},
    {.name = "jpeg_ycbcr_tiles",
     .compression = COMPRESSION_JPEG,
     .photometric = PHOTOMETRIC_YCBCR,
     .tile = 16,
     .tolerance = 8},
    {.name = "jpeg_cmyk",
     .compression = COMPRESSION_JPEG,
     .photometric = PHOTOMETRIC_SEPARATED,
     .samples = 4,
     .tolerance = 4},
    {.name = "cmyk", .photometric = PHOTOMETRIC_SEPARATED, .samples = 4},
    {.name = "cmyk_planar", .photometric = PHOTOMETRIC_SEPARATED, .samples = 4, .planar = true},
    {.name = "grey", .photometric = PHOTOMETRIC_MINISBLACK, .samples = 1, .tile = 16},
    {.name = "grey_alpha", .photometric = PHOTOMETRIC_MINISBLACK, .samples = 2},
    {.name = "white_is_0", .photometric = PHOTOMETRIC_MINISWHITE, .samples = 1},
    {.name = "deep", .bits = 16},
    {.name = "deep_grey", .photometric = PHOTOMETRIC_MINISBLACK, .samples = 1, .bits = 16, .tile = 16},
    {.name = "alpha", .samples = 4},
    {.name = "deep_alpha", .samples = 4, .bits = 16},
    {.name = "big", .tile = 16, .mode = "w8"},
    {.name = "big_endian", .bits = 16, .mode = "wb"},
};

TEST_F(Tiffs, AreReadRight) {
  for (const Kind& kind : kDecoded) {
    SCOPED_TRACE(kind.name);
    const Result<Picture> picture = read(kind);
    ASSERT_TRUE(picture.ok()) << picture.status().to_string();
    ASSERT_EQ(picture->height, kHeight);
    ASSERT_EQ(picture->width, kWidth);
    int worst = 0;
    for (int i = 0; i < kHeight * kWidth * 3; ++i) {
      const bool grey = kind.samples < 3;
      const int want = color(i / 3 / kWidth, i / 3 % kWidth, grey ? 0 : i % 3);
      worst = std::max(worst, std::abs(std::to_integer<int>(picture->pixels.bytes()[i]) - want));
    }
    EXPECT_LE(worst, kind.tolerance);
  }
}

// Half of a picture, and what FFmpeg makes black without a word.
TEST_F(Tiffs, AreRefusedWhereTheyCannotBeReadRight) {
  for (const Kind& kind : {
           Kind{.name = "signed", .format = SAMPLEFORMAT_INT},
           Kind{.name = "half", .bits = 16, .format = SAMPLEFORMAT_IEEEFP},
           Kind{.name = "float", .bits = 32, .format = SAMPLEFORMAT_IEEEFP},
           Kind{.name = "long", .bits = 32},
           Kind{.name = "deep_cmyk", .photometric = PHOTOMETRIC_SEPARATED, .samples = 4, .bits = 16},
       }) {
    SCOPED_TRACE(kind.name);
    const Result<Picture> picture = read(kind);
    ASSERT_FALSE(picture.ok());
    EXPECT_EQ(picture.status().code(), StatusCode::kUnsupported) << picture.status().to_string();
  }
}

TEST_F(Tiffs, AreWholeOrRefused) {
  for (const Kind& kind : kDecoded) {
    SCOPED_TRACE(kind.name);
    ASSERT_TRUE(read(kind).ok());
    const std::string whole = read_file(folder_.file(std::string(kind.name) + ".tif"));
    for (const std::size_t percent : {25, 50, 75, 95}) {
      const std::string cut = whole.substr(0, whole.size() * percent / 100);
      const std::vector<std::uint8_t> bytes(cut.begin(), cut.end());
      EXPECT_FALSE(decode_tiff(bytes).ok()) << percent;
    }
  }
}

TEST_F(Tiffs, OfSeveralTheFirstThatIsNoSmallerVersion) {
  const std::string path = folder_.file("pages.tif");
  TIFF* const tiff = TIFFOpen(path.c_str(), "w");
  write(tiff, {.name = "", .photometric = PHOTOMETRIC_MINISWHITE, .samples = 1});
  TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, FILETYPE_REDUCEDIMAGE);
  TIFFWriteDirectory(tiff);
  write(tiff, {.name = ""});
  TIFFClose(tiff);
  const Result<Picture> picture = read_picture(path, true, pool_);
  ASSERT_TRUE(picture.ok()) << picture.status().to_string();
  EXPECT_EQ(std::to_integer<int>(picture->pixels.bytes()[3 * kWidth + 1]), color(1, 0, 1));
}

}  // namespace
}  // namespace inflight
