// SPDX-License-Identifier: Apache-2.0
#include "media/picture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "media/open_source.h"
#include "media/orientation.h"
#include "media/picture_boxes.h"
#include "media/picture_file.h"
#include "media/test_media.h"

namespace inflight {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

std::string big_endian(std::uint32_t number, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text += static_cast<char>(number >> (8 * i) & 0xFF);
  return text;
}

std::string little_endian(std::uint32_t number, int bytes) {
  std::string text = big_endian(number, bytes);
  std::reverse(text.begin(), text.end());
  return text;
}

// A picture's size and pixels, to be compared.
struct Seen {
  int height = 0;
  int width = 0;
  std::string pixels;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen seen(const Picture& picture) {
  return {picture.height, picture.width,
          std::string(reinterpret_cast<const char*>(picture.pixels.bytes()), picture.pixels.size())};
}

class Pictures : public testing::Test {
 protected:
  Result<Picture> read(const std::string& bytes, const std::string& name, bool rotate = true) {
    write_file(folder_.file(name), bytes);
    return read_picture(folder_.file(name), rotate, pool_);
  }
  Seen see(const std::string& bytes, const std::string& name, bool rotate = true) {
    const Result<Picture> picture = read(bytes, name, rotate);
    EXPECT_TRUE(picture.ok()) << picture.status().to_string();
    return picture.ok() ? seen(*picture) : Seen();
  }
  void expect_refused(const std::string& bytes, const std::string& name, std::string_view why,
                      StatusCode code) {
    const Result<Picture> picture = read(bytes, name);
    ASSERT_FALSE(picture.ok()) << name;
    EXPECT_EQ(picture.status().code(), code) << picture.status().to_string();
    EXPECT_NE(picture.status().message().find(why), std::string::npos) << picture.status().to_string();
    EXPECT_NE(picture.status().message().find("\"" + folder_.file(name) + "\""), std::string::npos)
        << picture.status().to_string();
  }

  TempFolder folder_;
  BufferPool pool_;
};

struct Coded {
  const char* name;
  const char* encoder;
  const char* pixel_format;
  const char* option = "";
};

constexpr Coded kFormats[] = {
    {"a.png", "png", "rgb24"},
    {"palette.png", "png", "pal8"},
    {"deep.png", "png", "rgb48be"},
    {"alpha.png", "png", "rgba"},
    {"a.jpg", "mjpeg", "yuvj420p"},
    {"a.jfif", "mjpeg", "yuvj444p"},
    {"packed.tif", "tiff", "rgb24"},
    {"lzw.tif", "tiff", "rgb24", "compression_algo=lzw"},
    {"deflate.tiff", "tiff", "rgb24", "compression_algo=deflate"},
    {"raw.tif", "tiff", "rgb24", "compression_algo=raw"},
    {"a.bmp", "bmp", "bgr24"},
    {"a.tga", "targa", "bgr24"},
    {"raw.tga", "targa", "bgr24", "rle=0"},
    {"a.jp2", "jpeg2000", "rgb24"},
    {"a.j2k", "jpeg2000", "rgb24", "format=j2k"},
    {"a.pgm", "pgm", "gray"},
    {"a.ppm", "ppm", "rgb24"},
    {"a.pbm", "pbm", "monow"},
    {"a.pam", "pam", "rgba"},
    {"a.pfm", "pfm", "gbrpf32le"},
    {"a.pcx", "pcx", "rgb24"},
    {"a.sgi", "sgi", "rgb24"},
    {"raw.sgi", "sgi", "rgb24", "rle=0"},
    {"a.ras", "sunrast", "bgr24"},
    {"raw.ras", "sunrast", "bgr24", "rle=0"},
    {"a.xbm", "xbm", "monow"},
    {"a.xwd", "xwd", "rgb24"},
    {"a.dpx", "dpx", "rgb24"},
    {"a.qoi", "qoi", "rgb24"},
    {"a.exr", "exr", "gbrpf32le"},
    {"a.jls", "jpegls", "rgb24"},
    {"a.webp", "libwebp", "yuv420p"},
    {"lossless.webp", "libwebp", "bgra", "lossless=1"},
    {"a.jxl", "libjxl", "rgb24"},
    {"a.gif", "gif", "pal8"},
};

TEST_F(Pictures, AreWholeOrRefused) {
  for (const Coded& coded : kFormats) {
    SCOPED_TRACE(coded.name);
    const std::string whole = encode_picture(coded.encoder, coded.pixel_format, coded.option);
    if (whole.empty()) continue;
    const Seen right = see(whole, coded.name);
    EXPECT_EQ(right.width, 60);
    EXPECT_EQ(right.height, 40);
    EXPECT_TRUE(is_still_picture(folder_.file(coded.name)));
    std::vector<std::size_t> lengths;
    for (const std::size_t percent : {25, 50, 75, 95}) lengths.push_back(whole.size() * percent / 100);
    // The last bytes may be padding, or a mark of the end that nobody misses.
    for (const std::size_t missing : {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 40})
      lengths.push_back(whole.size() - missing);
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      const Result<Picture> cut = read(whole.substr(0, lengths[i]), coded.name);
      if (!cut.ok()) {
        EXPECT_EQ(cut.status().code(), StatusCode::kInvalidMedia) << cut.status().to_string();
      } else {
        EXPECT_GE(i, 4U) << "of " << whole.size() << " bytes, " << lengths[i] << " are enough";
        EXPECT_EQ(seen(*cut), right) << "of " << whole.size() << " bytes, " << lengths[i];
      }
    }
  }
}

TEST_F(Pictures, BytesAfterTheEndAreNothing) {
  std::string rest;
  for (int i = 0; i < 40; ++i) rest += "what another program left \xFF\xD8\xFF\xE0"s;
  for (const Coded& coded : kFormats) {
    SCOPED_TRACE(coded.name);
    const std::string whole = encode_picture(coded.encoder, coded.pixel_format, coded.option);
    if (whole.empty()) continue;
    EXPECT_EQ(see(whole + rest, coded.name), see(whole, coded.name));
    EXPECT_EQ(see(whole + '\0', coded.name), see(whole, coded.name));
    EXPECT_TRUE(is_still_picture(folder_.file(coded.name)));
  }
}

// ---- Orientation ----

// An EXIF block with a camera's name before the orientation, as cameras write it.
std::string exif(int orientation, bool is_big_endian = true, bool is_long = false) {
  const auto number = is_big_endian ? big_endian : little_endian;
  const auto value = static_cast<std::uint32_t>(orientation);
  std::string block = is_big_endian ? "MM" : "II";
  block += number(42, 2) + number(8, 4) + number(2, 2);
  block += number(0x010F, 2) + number(2, 2) + number(4, 4) + "cam\0"s;
  block += number(0x0112, 2) + number(is_long ? 4 : 3, 2) + number(1, 4);
  block += is_long ? number(value, 4) : number(value, 2) + number(0, 2);
  return block + number(0, 4);
}

std::string png_chunk(const std::string& type, const std::string& data) {
  std::uint32_t crc = ~0U;
  for (const char c : type + data) {
    crc ^= static_cast<std::uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320U : 0U);
  }
  return big_endian(static_cast<std::uint32_t>(data.size()), 4) + type + data + big_endian(~crc, 4);
}

constexpr std::size_t kAfterPngHeader = 8 + 25;

std::string png_with(const std::string& chunk) {
  return encode_picture("png", "rgb24").insert(kAfterPngHeader, chunk);
}

std::string jpeg_segment(char marker, const std::string& body) {
  return "\xFF"s + marker + big_endian(static_cast<std::uint32_t>(body.size() + 2), 2) + body;
}

std::string jpeg_with(const std::string& segments) {
  return encode_picture("mjpeg", "yuvj444p").insert(2, segments);
}

std::string webp_with(const std::string& exif_chunk) {
  const std::string plain = encode_picture("libwebp", "yuv420p");
  if (plain.empty()) return "";
  const auto chunk = [](const std::string& name, const std::string& data) {
    return name + little_endian(static_cast<std::uint32_t>(data.size()), 4) + data +
           (data.size() % 2 ? "\0"s : ""s);
  };
  constexpr std::uint32_t kHasExif = 8;
  const std::string header = little_endian(kHasExif, 4) + little_endian(59, 3) + little_endian(39, 3);
  const std::string rest = "WEBP" + chunk("VP8X", header) + plain.substr(12) + chunk("EXIF", exif_chunk);
  return "RIFF" + little_endian(static_cast<std::uint32_t>(rest.size()), 4) + rest;
}

// A TIFF of 3x2 pixels, whose reds are 1 to 6, with these entries (tag, type, count, value) beside those it
// needs.
struct Entry {
  unsigned tag, type;
  std::uint32_t count, value;
};
std::string tiff(bool is_big_endian, std::vector<Entry> more, bool sorted = true) {
  const auto number = is_big_endian ? big_endian : little_endian;
  std::vector<Entry> entries = {{256, 4, 1, 3}, {257, 4, 1, 2}, {259, 3, 1, 1}, {262, 3, 1, 2},
                                {277, 3, 1, 3}, {278, 4, 1, 2}, {279, 4, 1, 18}};
  entries.insert(sorted ? entries.end() : entries.begin(), more.begin(), more.end());
  const auto count = static_cast<std::uint32_t>(entries.size() + 2);
  const std::uint32_t bits = 8 + 2 + 12 * count + 4;
  entries.push_back({258, 3, 3, bits});
  entries.push_back({273, 4, 1, bits + 6});
  if (sorted) std::sort(entries.begin(), entries.end(), [](Entry a, Entry b) { return a.tag < b.tag; });
  std::string file = (is_big_endian ? "MM" : "II") + number(42, 2) + number(8, 4) + number(count, 2);
  for (const Entry& entry : entries) {
    file += number(entry.tag, 2) + number(entry.type, 2) + number(entry.count, 4);
    file +=
        entry.type == 3 && entry.count == 1 ? number(entry.value, 2) + number(0, 2) : number(entry.value, 4);
  }
  file += number(0, 4) + number(8, 2) + number(8, 2) + number(8, 2);
  for (char red = 1; red <= 6; ++red) file += red + "\0\0"s;
  return file;
}

// Whether every orientation of a file that `make` makes shows what orient() makes of the coded picture.
void expect_turned(const std::function<Seen(const std::string&, bool)>& see,
                   const std::function<std::string(int)>& make) {
  for (const int value : {1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 65'535}) {
    SCOPED_TRACE(value);
    const std::string file = make(value);
    if (file.empty()) return;
    const Seen coded = see(file, false);
    Seen want = coded;
    const Orientation orientation = Orientation::from_exif(value);
    orient(orientation, reinterpret_cast<const std::byte*>(coded.pixels.data()), coded.height, coded.width,
           reinterpret_cast<std::byte*>(want.pixels.data()));
    if (orientation.swaps_sides()) std::swap(want.height, want.width);
    EXPECT_EQ(see(file, true), want);
  }
}

TEST_F(Pictures, ExifOrientationOfJpeg) {
  const auto see_it = [this](const std::string& file, bool rotate) { return see(file, "a.jpg", rotate); };
  for (const bool is_big_endian : {false, true}) {
    for (const bool is_long : {false, true}) {
      expect_turned(see_it, [&](int value) {
        return jpeg_with(jpeg_segment('\xE1', "Exif\0\0"s + exif(value, is_big_endian, is_long)));
      });
    }
  }
  // After other segments, one of them an APP1 that is no EXIF.
  expect_turned(see_it, [](int value) {
    return jpeg_with(jpeg_segment('\xE2', "ICC_PROFILE\0\1\1 no profile at all"s) +
                     jpeg_segment('\xE1', "http://ns.adobe.com/xap/1.0/\0<x/>"s) + "\xFF" +
                     jpeg_segment('\xE1', "Exif\0\0"s + exif(value)));
  });
}

TEST_F(Pictures, ExifOrientationOfPngAndWebp) {
  const auto png = [this](const std::string& file, bool rotate) { return see(file, "a.png", rotate); };
  expect_turned(png, [](int value) { return png_with(png_chunk("eXIf", exif(value))); });
  const auto webp = [this](const std::string& file, bool rotate) { return see(file, "a.webp", rotate); };
  expect_turned(webp, [](int value) { return webp_with(exif(value, false)); });
  expect_turned(webp, [](int value) { return webp_with("Exif\0\0"s + exif(value)); });
}

TEST_F(Pictures, OrientationOfTiff) {
  const auto see_it = [this](const std::string& file, bool rotate) { return see(file, "a.tif", rotate); };
  for (const bool is_big_endian : {false, true}) {
    for (const unsigned type : {3U, 4U}) {
      expect_turned(see_it, [&](int value) {
        return tiff(is_big_endian, {{274, type, 1, static_cast<std::uint32_t>(value)}});
      });
    }
  }
  // By hand: the columns 1 4, 2 5, 3 6 turned to the right.
  const Seen turned = see(tiff(true, {{274, 3, 1, 6}}), "a.tif");
  EXPECT_EQ(turned.height, 3);
  EXPECT_EQ(turned.width, 2);
  EXPECT_EQ(turned.pixels, "\4\0\0\1\0\0\5\0\0\2\0\0\6\0\0\3\0\0"s);
}

TEST_F(Pictures, BrokenExifChangesNothing) {
  const Seen right = see(encode_picture("mjpeg", "yuvj444p"), "a.jpg");
  const std::string whole = "Exif\0\0"s + exif(6);
  const std::size_t needed = whole.size() - 4 - 2;  // without the directory's end and the value's padding
  for (std::size_t length = 0; length < needed; ++length) {
    EXPECT_EQ(see(jpeg_with(jpeg_segment('\xE1', whole.substr(0, length))), "a.jpg"), right) << length;
  }
  const Seen png = see(encode_picture("png", "rgb24"), "a.png");
  for (const std::string& block :
       {"MM\0\x2A\xFF\xFF\xFF\xFF"s, "II\x2A\0\x08\0\0\0\xFF\xFF"s, "not EXIF at all"s, ""s}) {
    EXPECT_EQ(see(jpeg_with(jpeg_segment('\xE1', "Exif\0\0"s + block)), "a.jpg"), right);
    EXPECT_EQ(see(png_with(png_chunk("eXIf", block)), "a.png"), png);
    const std::string webp = webp_with(block);
    if (webp.empty()) continue;
    EXPECT_EQ(see(webp, "a.webp"), see(encode_picture("libwebp", "yuv420p"), "a.webp"));
  }
  std::string wrong_crc = png_chunk("eXIf", exif(6));
  wrong_crc.back() ^= 1;
  EXPECT_EQ(see(png_with(wrong_crc), "a.png"), png);
}

// irot and imir by the tables of ISO/IEC 23008-12: quarter turns anticlockwise; 0 swaps top and bottom, 1 the
// sides.
TEST(PictureBoxes, RotationAndMirroring) {
  const auto box = [](const std::string& type, const std::string& body) {
    return big_endian(static_cast<std::uint32_t>(body.size() + 8), 4) + type + body;
  };
  const auto file = [&](const std::string& properties, const std::string& numbers) {
    const std::string association =
        "\0\0\0\0\0\0\0\2"s + "\0\5\1\1"s + "\0\7"s + static_cast<char>(numbers.size()) + numbers;
    const std::string iprp =
        box("iprp", box("ipco", box("ispe", std::string(12, '\0')) + properties) + box("ipma", association));
    return box("ftyp", "avif\0\0\0\0"s) + box("meta", "\0\0\0\0"s + box("pitm", "\0\0\0\0\0\7"s) + iprp);
  };
  const auto orientation = [](const std::string& bytes) {
    return boxes_orientation({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  };
  const std::string turn = box("irot", "\1");
  EXPECT_EQ(orientation(file(turn, "\1\x82")), Orientation::from_exif(8));
  EXPECT_EQ(orientation(file(box("irot", "\2"), "\1\x82")), Orientation::from_exif(3));
  EXPECT_EQ(orientation(file(box("irot", "\3"), "\1\x82")), Orientation::from_exif(6));
  EXPECT_EQ(orientation(file(box("irot", "\0"s), "\1\x82")), Orientation());
  EXPECT_EQ(orientation(file(box("imir", "\0"s), "\1\x82")), Orientation::from_exif(4));
  EXPECT_EQ(orientation(file(box("imir", "\1"), "\1\x82")), Orientation::from_exif(2));
  // Turned to the left, then the sides swapped: row and column change places and nothing else... by hand:
  // 1 2 / 3 4 turned is 2 4 / 1 3, mirrored 4 2 / 3 1, which is what EXIF 7 makes of it.
  EXPECT_EQ(orientation(file(turn + box("imir", "\1"), "\1\x82\x83")), Orientation::from_exif(7));
  // Mirrored first: 2 1 / 4 3, turned 1 3 / 2 4, EXIF 5.
  EXPECT_EQ(orientation(file(turn + box("imir", "\1"), "\1\x83\x82")), Orientation::from_exif(5));
  // Of another item, of none, and cut anywhere.
  EXPECT_EQ(orientation(file(turn, "\1")), Orientation());
  const std::string whole = file(turn, "\1\x82");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(orientation(whole.substr(0, length)), Orientation()) << length;
  }
}

// ---- Hints, and damage ----

TEST_F(Pictures, HintsOfPngAreNoDamage) {
  const Seen right = see(encode_picture("png", "rgb24"), "a.png");
  std::string wrong_crc = png_chunk("tEXt", "Comment\0wrong"s);
  wrong_crc.back() ^= 1;
  for (const std::string& chunk :
       {wrong_crc, png_chunk("iCCP", "no profile"), png_chunk("gAMA", "\0\0\0\0"s), png_chunk("tRNS", "odd"),
        png_chunk("zTXt", "x"), png_chunk("pHYs", ""), png_chunk("noNe", std::string(100'000, 'x'))}) {
    EXPECT_EQ(see(png_with(chunk), "a.png"), right) << chunk.substr(4, 4);
  }
  for (const std::string_view type : {"IHDR"sv, "IDAT"sv}) {
    std::string damaged = encode_picture("png", "rgb24");
    damaged[damaged.find(type) + 7] ^= 1;
    expect_refused(damaged, "b.png", "damaged", StatusCode::kInvalidMedia);
  }
}

TEST_F(Pictures, HintsOfTiffAreNoDamage) {
  for (const bool is_big_endian : {false, true}) {
    const Seen right = see(tiff(is_big_endian, {}), "a.tif");
    EXPECT_EQ(right.pixels, "\1\0\0\2\0\0\3\0\0\4\0\0\5\0\0\6\0\0"s);
    for (const Entry& entry :
         {Entry{282, 5, 1, 0xFFFFFFF0}, Entry{283, 5, 0, 0}, Entry{296, 3, 1, 77},
          Entry{305, 2, 1'000'000, 8}, Entry{34675, 7, 500'000, 4}, Entry{33550, 12, 3, 0},
          Entry{34735, 3, 4'000, 0xFFFFFF00}, Entry{34665, 4, 1, 0xFFFFFFFF}, Entry{700, 1, 0xFFFFFFFF, 8},
          Entry{65'001, 3, 1, 0}, Entry{40'000, 99, 1, 0}}) {
      EXPECT_EQ(see(tiff(is_big_endian, {entry}), "a.tif"), right) << entry.tag;
      EXPECT_EQ(see(tiff(is_big_endian, {entry}, false), "a.tif"), right) << entry.tag << " out of order";
    }
  }
  std::string deflated = encode_picture("tiff", "rgb24", "compression_algo=deflate");
  for (std::size_t i = 100; i < 140; ++i) deflated[i] ^= 0x55;
  expect_refused(deflated, "b.tif", "damaged", StatusCode::kInvalidMedia);
}

TEST_F(Pictures, HintsOfJpegAreNoDamage) {
  const Seen right = see(encode_picture("mjpeg", "yuvj444p"), "a.jpg");
  for (const char marker : {'\xE1', '\xE2', '\xE3', '\xED', '\xEF', '\xFE'}) {
    EXPECT_EQ(see(jpeg_with(jpeg_segment(marker, "whatever")), "a.jpg"), right) << marker;
    EXPECT_EQ(see(jpeg_with(jpeg_segment(marker, "")), "a.jpg"), right) << marker;
  }
  // A whole JPEG within: a preview.
  const std::string preview = encode_picture("mjpeg", "yuvj420p");
  EXPECT_EQ(see(jpeg_with(jpeg_segment('\xE1', "Exif\0\0"s + exif(1) + preview)), "a.jpg"), right);
  EXPECT_EQ(see(encode_picture("mjpeg", "yuvj444p") + preview, "a.jpg"), right);
}

TEST(PictureFile, ProgressiveJpegWithoutItsEnd) {
  const std::string frame = jpeg_segment('\xC2', "\x08\0\x08\0\x08\1\1\x11\0"s);
  const std::string scan = jpeg_segment('\xDA', "\1\1\0\0\0\0"s) + "pixels";
  const auto check = [](const std::string& bytes) {
    return check_picture(AV_CODEC_ID_MJPEG,
                         {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  };
  EXPECT_FALSE(check("\xFF\xD8"s + frame + scan).ok());
  EXPECT_TRUE(check("\xFF\xD8"s + frame + scan + "\xFF\xD9"s).ok());
  std::string baseline = frame;
  baseline[1] = '\xC0';
  EXPECT_TRUE(check("\xFF\xD8"s + baseline + scan).ok());
}

TEST_F(Pictures, BmpWithoutPadding) {
  // 3x2 pixels whose rows of 9 bytes are not filled up to 12, bottom row first.
  std::string file = "BM" + little_endian(54 + 18, 4) + little_endian(0, 4) + little_endian(54, 4);
  file += little_endian(40, 4) + little_endian(3, 4) + little_endian(2, 4) + little_endian(1, 2) +
          little_endian(24, 2);
  file += std::string(24, '\0');
  for (const char blue : {4, 5, 6, 1, 2, 3}) file += blue + "\0\0"s;
  EXPECT_EQ(see(file, "a.bmp").pixels, "\0\0\1\0\0\2\0\0\3\0\0\4\0\0\5\0\0\6"s);
}

TEST_F(Pictures, LargestOfAnIco) {
  const std::string png = encode_picture("png", "rgba");
  std::string small =
      "\x28\0\0\0\1\0\0\0\2\0\0\0\1\0\x20\0"s + std::string(24, '\0') + "\1\2\3\xFF"s + "\0\0\0\0"s;
  const std::string header = "\0\0\1\0\2\0"s;
  const auto entry = [](char width, char height, std::size_t bytes, std::size_t offset) {
    return std::string{width, height} + "\0\0\1\0\x20\0"s +
           little_endian(static_cast<std::uint32_t>(bytes), 4) +
           little_endian(static_cast<std::uint32_t>(offset), 4);
  };
  const std::string file =
      header + entry(1, 1, small.size(), 38) + entry(60, 40, png.size(), 38 + small.size()) + small + png;
  EXPECT_EQ(see(file, "a.ico"), see(png, "a.png"));
}

TEST_F(Pictures, WhatItIsDecidesAndNotItsName) {
  const std::string png = encode_picture("png", "rgb24");
  for (const char* name : {"a.jpg", "a.tif", "a", "a.mp4", "100%03d.png"}) {
    EXPECT_EQ(see(png, name), see(png, "a.png")) << name;
    EXPECT_TRUE(is_still_picture(folder_.file(name))) << name;
  }
  TestVideo video;
  write_video(folder_.file("video.mp4"), video);
  write_file(folder_.file("video.jpg"), read_file(folder_.file("video.mp4")));
  write_file(folder_.file("notes.txt"), "nothing to see");
  write_file(folder_.file("video.mp3"), "");
  for (const char* name : {"video.mp4", "video.jpg", "notes.txt", "video.mp3", "missing"}) {
    EXPECT_FALSE(is_picture(folder_.file(name))) << name;
  }
  for (const char* name : {"missing.JPG", "missing.gif", "missing.avif", "missing.jfif", "missing.webp"}) {
    EXPECT_TRUE(is_picture(folder_.file(name))) << name;
  }
}

TEST_F(Pictures, MovingOnesAreVideosWhenAlone) {
  for (const std::string& name : {"gif"s, "apng"s}) {
    SCOPED_TRACE(name);
    TestVideo video;
    video.codec = name.c_str();
    video.frames = 3;
    write_video(folder_.file("moving." + name), video);
    video.frames = 1;
    write_video(folder_.file("still." + name), video);
    EXPECT_TRUE(is_picture(folder_.file("moving." + name)));
    EXPECT_FALSE(is_still_picture(folder_.file("moving." + name)));
    EXPECT_TRUE(is_still_picture(folder_.file("still." + name)));
    const auto source = open_source(folder_.file("moving." + name));
    ASSERT_TRUE(source.ok()) << source.status().to_string();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE((*source)->next()->has_value());
    const Result<Picture> first = read_picture(folder_.file("moving." + name), true, pool_);
    ASSERT_TRUE(first.ok()) << first.status().to_string();
    EXPECT_EQ(std::to_integer<int>(first->pixels.bytes()[0]), test_grey(0));
  }
}

TEST_F(Pictures, SayWhatIsWrong) {
  expect_refused("", "empty.png", "is empty", StatusCode::kInvalidMedia);
  expect_refused("not a picture at all, but words\n", "text.jpg", "damaged", StatusCode::kInvalidMedia);
  expect_refused(std::string(5000, '\0'), "zeros.png", "damaged", StatusCode::kInvalidMedia);
  expect_refused("II\x2B\0\x08\0\0\0\x10\0\0\0\0\0\0\0"s, "big.tif", "is damaged", StatusCode::kInvalidMedia);
  expect_refused(
      "\0\0\0\x18"
      "ftypheic\0\0\0\0mif1heic\0\0\0\x08meta"s,
      "a.heic", "HEIF", StatusCode::kUnsupported);
  expect_refused("RIFF\x16\0\0\0WEBPVP8X\x0A\0\0\0\x02\0\0\0\0\0\0\0\0\0"s, "a.webp", "animated WebP",
                 StatusCode::kUnsupported);
  const auto missing = read_picture(folder_.file("missing.png"), true, pool_);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
}

TEST_F(Pictures, AreSourcesOfOneFrame) {
  write_file(folder_.file("a.png"), png_with(png_chunk("eXIf", exif(6))));
  for (const bool rotate : {true, false}) {
    SourceOptions options;
    options.rotate = rotate;
    const auto source = std::move(open_source(folder_.file("a.png"), options)).value();
    EXPECT_EQ(source->height(), rotate ? 60 : 40);
    EXPECT_EQ(source->width(), rotate ? 40 : 60);
    EXPECT_EQ(source->fps(), 0);
    EXPECT_FALSE(source->live());
    const auto frame = source->next();
    ASSERT_TRUE(frame.ok() && frame->has_value());
    EXPECT_EQ((*frame)->height, source->height());
    EXPECT_EQ((*frame)->pixels.size(), 60U * 40 * 3);
    EXPECT_FALSE(source->next()->has_value());
  }
}

}  // namespace
}  // namespace inflight
