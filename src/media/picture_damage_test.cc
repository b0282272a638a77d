// SPDX-License-Identifier: Apache-2.0
// What the fuzzing harnesses have found in pictures.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "media/picture.h"
#include "media/picture_file.h"
#include "media/rgb_converter.h"
#include "media/test_media.h"
#include "media/video.h"

namespace inflight {
namespace {

using namespace std::string_view_literals;

std::string jxl_box(std::string_view type, std::string_view body) {
  const std::size_t bytes = 8 + body.size();
  std::string box = {0, 0, static_cast<char>(bytes >> 8), static_cast<char>(bytes & 0xFF)};
  return box.append(type).append(body);
}

// In boxes, the codestream in two pieces, as other encoders than FFmpeg's write it.
std::string boxed_jxl(const std::string& codestream) {
  const std::string first = std::string("\0\0\0\0"sv).append(codestream, 0, 20);
  const std::string second = std::string("\x80\0\0\1"sv).append(codestream, 20);
  return jxl_box("JXL ", "\r\n\x87\n") + jxl_box("ftyp", "jxl \0\0\0\0jxl "sv) + jxl_box("jxlp", first) +
         jxl_box("jxlp", second);
}

class DamagedPictures : public testing::Test {
 protected:
  // Its pixels, or the name of its failure.
  std::string read(const std::string& bytes, const std::string& name) {
    write_file(folder_.file(name), bytes);
    const Result<Picture> picture = read_picture(folder_.file(name), true, pool_);
    if (!picture.ok()) return std::string(picture.status().to_string());
    return {reinterpret_cast<const char*>(picture->pixels.bytes()), picture->pixels.size()};
  }

  TempFolder folder_;
  BufferPool pool_;
};

// FFmpeg's decoder would not return.
TEST_F(DamagedPictures, AJpegXlThatIsCutWithinABoxIsRefused) {
  const std::string codestream = encode_picture("libjxl", "rgb24");
  if (codestream.empty()) GTEST_SKIP() << "this FFmpeg does not encode JPEG XL";
  const std::string whole = boxed_jxl(codestream);
  const std::string pixels = read(codestream, "a.jxl");
  ASSERT_EQ(pixels.size(), 60U * 40 * 3);
  EXPECT_EQ(read(whole, "a.jxl"), pixels);
  EXPECT_EQ(read(whole + std::string(3, '\0'), "a.jxl"), pixels);
  EXPECT_EQ(read(whole + "any text", "a.jxl"), pixels);
  // The signature has 12 bytes, the next box 20, the one behind it 32.
  for (const std::size_t length :
       {1, 2, 9, 11, 12, 13, 19, 22, 31, 32, 33, 39, 40, 43, 44, 63, 64, 65, 71, 72, 75})
    EXPECT_NE(read(whole.substr(0, length), "a.jxl").find("invalid media"), std::string::npos) << length;
  EXPECT_NE(read(std::string(9, '\0'), "a.jxl").find("is no JPEG XL"), std::string::npos);
}

TEST_F(DamagedPictures, AJpegXlIsNoVideo) {
  write_file(folder_.file("a.jxl"), "\xFF\x0A\xFA\x1F\x01\x90\x08\x06");
  EXPECT_EQ(open_video(folder_.file("a.jxl")).status().code(), StatusCode::kUnsupported);
}

TEST(PictureFile, OfNoBytesNothingIsLeft) {
  for (const AVCodecID codec :
       {AV_CODEC_ID_MJPEG, AV_CODEC_ID_PNG, AV_CODEC_ID_WEBP, AV_CODEC_ID_TIFF, AV_CODEC_ID_JPEGXL})
    EXPECT_EQ(keep_pixels(codec, {}), 0U);
}

TEST(PictureFile, ATiffWhoseDirectoryIsInItsHeaderIsLeftAsItIs) {
  // The directory is said to be at byte 3; there it would have 768 entries.
  const std::string whole = std::string("II*\0\x03\0\0\0"sv).append(100, '\1').append(100, '\0');
  std::vector<std::uint8_t> file(whole.begin(), whole.end());
  EXPECT_EQ(keep_pixels(AV_CODEC_ID_TIFF, file), whole.size());
  EXPECT_EQ(std::string(file.begin(), file.end()), whole);
}

// Decoders put the number that stands in the file into the frame.
TEST(RgbConverter, AMatrixWithoutANameIsTheUsualOne) {
  const ffmpeg::Frame frame(av_frame_alloc());
  frame->format = AV_PIX_FMT_YUV420P;
  frame->width = 4;
  frame->height = 2;
  ASSERT_EQ(av_frame_get_buffer(frame.get(), 0), 0);
  std::memset(frame->data[0], 90, static_cast<std::size_t>(frame->linesize[0]) * 2);
  std::memset(frame->data[1], 130, static_cast<std::size_t>(frame->linesize[1]));
  std::memset(frame->data[2], 170, static_cast<std::size_t>(frame->linesize[2]));
  std::array<std::byte, 24> usual{};
  std::array<std::byte, 24> unnamed{};
  ASSERT_TRUE(RgbConverter().convert(*frame, usual.data()).ok());
  const int number = 138;
  std::memcpy(&frame->colorspace, &number, sizeof number);
  std::memcpy(&frame->color_range, &number, sizeof number);
  ASSERT_TRUE(RgbConverter().convert(*frame, unnamed.data()).ok());
  EXPECT_EQ(unnamed, usual);
  // Of BT.601 in limited range, by hand: 1.164 * (90 - 16) + 1.596 * (170 - 128) = 153.
  EXPECT_NEAR(std::to_integer<int>(usual[0]), 153, 1);
}

}  // namespace
}  // namespace inflight
