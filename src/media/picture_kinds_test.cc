// SPDX-License-Identifier: Apache-2.0
// Kinds of pictures that FFmpeg's decoders make something else of, and do not say so. All files are written
// by hand.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

#include "media/picture.h"
#include "media/test_media.h"

namespace inflight {
namespace {

using namespace std::string_literals;

class PictureKinds : public testing::Test {
 protected:
  // The pixels, three numbers each, row by row.
  std::string see(const std::string& name, const std::string& bytes) {
    const Result<Picture> picture = read(name, bytes);
    EXPECT_TRUE(picture.ok()) << picture.status().to_string();
    if (!picture.ok()) return "";
    return {reinterpret_cast<const char*>(picture->pixels.bytes()), picture->pixels.size()};
  }
  Result<Picture> read(const std::string& name, const std::string& bytes) {
    write_file(folder_.file(name), bytes);
    return read_picture(folder_.file(name), true, pool_);
  }
  TempFolder folder_;
  BufferPool pool_;
};

std::string floats(std::initializer_list<float> numbers) {
  std::string bytes;
  for (const float number : numbers) {
    std::array<char, sizeof number> each{};
    std::memcpy(each.data(), &number, sizeof number);
    bytes.append(each.data(), each.size());
  }
  return bytes;
}

// The rows of a PFM go upwards, and a grey of 1 is white.
TEST_F(PictureKinds, Pfm) {
  EXPECT_EQ(see("a.pfm", "Pf\n1 3\n-1.0\n" + floats({0, 0.4F, 1})), "\xFF\xFF\xFF\x66\x66\x66\0\0\0"s);
  EXPECT_EQ(see("b.pfm", "PF\n1 2\n-1.0\n" + floats({1, 0, 0, 0, 0, 1})), "\0\0\xFF\xFF\0\0"s);
}

// Its palette stands at the end of the file.
TEST_F(PictureKinds, PcxOfAPalette) {
  std::string head(128, '\0');
  const std::array<std::pair<std::size_t, char>, 7> bytes = {
      {{0, 10}, {1, 5}, {2, 1}, {3, 8}, {8, 1}, {65, 1}, {66, 2}}};  // 2x1, rows of 2 bytes
  for (const auto& [at, value] : bytes) head[at] = value;
  std::string palette(768, '\0');
  palette.replace(3 * 7, 3, "\x01\x02\x03");
  palette.replace(3 * 9, 3, "\x04\x05\x06");
  const std::string file = head + "\x07\x09" + "\x0C" + palette;
  EXPECT_EQ(see("a.pcx", file), "\1\2\3\4\5\6");
  for (const std::size_t missing : {1, 2, 100, 768, 770})
    EXPECT_FALSE(read("a.pcx", file.substr(0, file.size() - missing)).ok()) << missing;
}

TEST_F(PictureKinds, BmpOfRunsWithItsEndMark) {
  const auto head = [](char bits, char compression, char pixels) {
    return "BM\x44\0\0\0\0\0\0\0\x3E\0\0\0"s + "\x28\0\0\0\4\0\0\0\1\0\0\0\1\0"s + bits + "\0"s +
           compression + "\0\0\0"s + pixels + "\0\0\0"s + std::string(8, '\0') + "\2\0\0\0\0\0\0\0"s;
  };
  const std::string palette = "\3\2\1\0\6\5\4\0"s;  // blue first
  EXPECT_EQ(see("a.bmp", head(4, 2, 6) + palette + "\4\x01\0\0\0\1"s), "\1\2\3\4\5\6\1\2\3\4\5\6");
}

TEST_F(PictureKinds, GreyAndTransparencyInATgaAreRefused) {
  const auto tga = [](char type, char depth) {
    return std::string(2, '\0') + type + std::string(9, '\0') + "\2\0\1\0"s + depth + "\0"s +
           "\x64\xFF\x65\xFF"s;
  };
  EXPECT_EQ(see("a.tga", tga(3, 8)).substr(0, 3), "ddd");
  EXPECT_EQ(read("b.tga", tga(3, 16)).status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(read("c.tga", tga(11, 16)).status().code(), StatusCode::kUnsupported);
}

TEST_F(PictureKinds, Jpeg2000OfOtherColorsIsRefused) {
  std::string file = encode_picture("jpeg2000", "rgb24");
  if (file.empty()) GTEST_SKIP() << "this FFmpeg does not encode JPEG 2000";
  const std::size_t box = file.find("colr\1"s);
  ASSERT_NE(box, std::string::npos);
  EXPECT_TRUE(read("a.jp2", file).ok());
  file[box + 10] = 12;
  const Status refused = read("a.jp2", file).status();
  EXPECT_EQ(refused.code(), StatusCode::kUnsupported);
  EXPECT_NE(refused.message().find("CMYK"), std::string::npos) << refused.to_string();
}

}  // namespace
}  // namespace inflight
