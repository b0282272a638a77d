// SPDX-License-Identifier: Apache-2.0
// Videos as they are found: turned, damaged, joined, cut.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "media/open_source.h"
#include "media/orientation.h"
#include "media/test_media.h"
#include "media/video.h"

namespace inflight {
namespace {

struct Read {
  std::vector<std::int64_t> indices;
  std::vector<Duration> pts;
  Status status;
};

Read read_all(FrameSource& source) {
  Read read;
  while (true) {
    auto frame = source.next();
    if (!frame.ok()) read.status = frame.status();
    if (!frame.ok() || !frame->has_value()) return read;
    read.indices.push_back((*frame)->index);
    read.pts.push_back((*frame)->pts.value_or(Duration(-1)));
    // Its grey says which one it is.
    const int grey = std::to_integer<int>((*frame)->pixels.bytes()[0]);
    EXPECT_NEAR(grey, test_grey(static_cast<int>((*frame)->index)), 4) << (*frame)->index;
  }
}

std::vector<std::byte> pixels_of(const std::string& path, bool rotate, int& height, int& width) {
  SourceOptions options;
  options.rotate = rotate;
  const auto source = std::move(open_source(path, options)).value();
  const VideoFrame frame = std::move(*source->next().value());
  height = frame.height;
  width = frame.width;
  EXPECT_EQ(source->height(), height);
  EXPECT_EQ(source->width(), width);
  return {frame.pixels.bytes(), frame.pixels.bytes() + frame.pixels.size()};
}

TEST(VideoAsFound, AllEightDisplayMatricesAreObeyed) {
  const TempFolder folder;
  constexpr std::int32_t kOne = 65536;
  struct Case {
    int exif;
    std::int32_t a, b, c, d;
  };
  for (const Case& one :
       {Case{1, 1, 0, 0, 1}, Case{2, -1, 0, 0, 1}, Case{3, -1, 0, 0, -1}, Case{4, 1, 0, 0, -1},
        Case{5, 0, 1, 1, 0}, Case{6, 0, 1, -1, 0}, Case{7, 0, -1, -1, 0}, Case{8, 0, -1, 1, 0}}) {
    TestVideo video;
    video.width = 80;
    video.height = 48;
    video.gradient = true;
    video.display_matrix = {one.a * kOne, one.b * kOne, 0, one.c * kOne, one.d * kOne, 0, 0, 0, 1 << 30};
    write_video(folder.file("a.mp4"), video);
    int height = 0;
    int width = 0;
    const std::vector<std::byte> coded = pixels_of(folder.file("a.mp4"), false, height, width);
    EXPECT_EQ(width, 80);
    EXPECT_EQ(height, 48);
    std::vector<std::byte> want(coded.size());
    const Orientation orientation = Orientation::from_exif(one.exif);
    orient(orientation, coded.data(), height, width, want.data());
    EXPECT_EQ(pixels_of(folder.file("a.mp4"), true, height, width), want) << one.exif;
    EXPECT_EQ(width, orientation.swaps_sides() ? 48 : 80) << one.exif;
    EXPECT_TRUE(one.exif == 1 || want != coded);
  }
}

// Overwrites the data of frame `index` of an MJPEG in AVI, whose frames begin with "00dc" and a size.
void spoil(const std::string& path, int index) {
  std::string bytes = read_file(path);
  std::size_t at = bytes.find("movi");
  for (int i = 0; i <= index; ++i) at = bytes.find("00dc", at + 1);
  const auto size =
      static_cast<unsigned char>(bytes[at + 4]) + 256U * static_cast<unsigned char>(bytes[at + 5]);
  bytes.replace(at + 8, size, size, '\0');
  write_file(path, bytes);
}

TEST(VideoAsFound, DamagedFramesAreSkippedAndKeepTheirNumbers) {
  const TempFolder folder;
  TestVideo video;
  video.codec = "mjpeg";
  for (const std::vector<int>& spoiled : {std::vector{7}, {0}, {19}, {3, 4, 11}}) {
    write_video(folder.file("a.avi"), video);
    std::vector<std::int64_t> want;
    for (int i = 0; i < 20; ++i) {
      if (std::find(spoiled.begin(), spoiled.end(), i) == spoiled.end()) want.push_back(i);
    }
    for (const int index : spoiled) spoil(folder.file("a.avi"), index);
    const auto source = std::move(open_video(folder.file("a.avi"))).value();
    const Read read = read_all(*source);
    EXPECT_TRUE(read.status.ok()) << read.status.to_string();
    EXPECT_EQ(read.indices, want) << spoiled[0];
    const SourceLosses losses = source->losses();
    EXPECT_EQ(losses.skipped, static_cast<std::int64_t>(spoiled.size())) << spoiled[0];
    EXPECT_FALSE(losses.ended_early);
    ASSERT_EQ(losses.notes.size(), 1U);
    EXPECT_NE(losses.notes[0].find("a.avi"), std::string::npos);
  }
}

TEST(VideoAsFound, NothingThatDecodesIsInvalidMedia) {
  const TempFolder folder;
  TestVideo video;
  video.codec = "mjpeg";
  video.frames = 5;
  write_video(folder.file("a.avi"), video);
  for (int i = 0; i < 5; ++i) spoil(folder.file("a.avi"), i);
  const Status status = open_video(folder.file("a.avi")).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidMedia) << status.to_string();
}

TEST(VideoAsFound, JoinedRecordingsAreOne) {
  const TempFolder folder;
  TestVideo video;
  video.codec = "mpeg2video";
  write_video(folder.file("a.ts"), video);
  const std::string bytes = read_file(folder.file("a.ts"));
  write_file(folder.file("a.ts"), bytes + bytes);
  const auto source = std::move(open_video(folder.file("a.ts"))).value();
  Read read;
  while (true) {
    auto frame = source->next().value();
    if (!frame) break;
    read.indices.push_back(frame->index);
    read.pts.push_back(*frame->pts);
    EXPECT_NEAR(std::to_integer<int>(frame->pixels.bytes()[0]),
                test_grey(static_cast<int>(frame->index % 20)), 4);
  }
  ASSERT_EQ(read.indices.size(), 40U);
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(read.indices[i], static_cast<std::int64_t>(i));
    EXPECT_EQ(read.pts[i], static_cast<std::int64_t>(i) * std::chrono::milliseconds(40));
  }
  EXPECT_EQ(source->losses().skipped, 0);
  EXPECT_TRUE(source->losses().notes.empty());
}

TEST(VideoAsFound, CleanOnesLoseNothing) {
  const TempFolder folder;
  for (const auto& [name, codec] :
       {std::pair{"a.mp4", "mpeg4"}, std::pair{"a.mkv", "mpeg4"}, std::pair{"a.avi", "mpeg4"},
        std::pair{"a.mov", "mjpeg"}, std::pair{"a.mpg", "mpeg2video"}, std::pair{"a.ts", "mpeg2video"},
        std::pair{"a.flv", "flv"}}) {
    for (const int b_frames : {0, 2}) {
      TestVideo video;
      video.codec = codec;
      const std::string_view kind = codec;
      video.b_frames = kind == "mjpeg" || kind == "flv" ? 0 : b_frames;
      write_video(folder.file(name), video);
      const auto source = std::move(open_video(folder.file(name))).value();
      const Read read = read_all(*source);
      EXPECT_EQ(read.indices.size(), 20U) << name << " " << b_frames;
      EXPECT_TRUE(source->losses().notes.empty())
          << name << " " << b_frames << " " << source->losses().notes[0];
      for (std::size_t i = 0; i < read.pts.size(); ++i) {
        const double ms = std::chrono::duration<double, std::milli>(read.pts[i]).count();
        // A program stream says the time of some frames only.
        const double room = std::string_view(name) == "a.mpg" ? 41 : 1.1;
        EXPECT_NEAR(ms, 40.0 * static_cast<double>(i), room) << name << " " << b_frames;
      }
    }
  }
}

// FFmpeg would look for more for minutes.
TEST(VideoAsFound, APlaylistWithoutItsEndEnds) {
  const TempFolder folder;
  TestVideo video;
  video.codec = "mpeg2video";
  write_video(folder.file("a.ts"), video);
  const auto open = [&](const std::string& piece) {
    write_file(folder.file("a.m3u8"),
               "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\n" + folder.file(piece) + "\n");
    MediaAddress address;
    address.url = "file:" + folder.file("a.m3u8");
    address.text = "a.m3u8";
    address.playlist_timeout = std::chrono::milliseconds(500);
    return open_media(address);
  };
  auto source = open("a.ts");
  ASSERT_TRUE(source.ok()) << source.status().to_string();
  EXPECT_EQ(read_all(**source).indices.size(), 20U);
  const SourceLosses losses = (*source)->losses();
  EXPECT_TRUE(losses.ended_early);
  ASSERT_EQ(losses.notes.size(), 1U);
  EXPECT_NE(losses.notes[0].find("no data for 0.5 s"), std::string::npos) << losses.notes[0];
  const Status missing = open("missing.ts").status();
  EXPECT_EQ(missing.code(), StatusCode::kInvalidMedia) << missing.to_string();
}

}  // namespace
}  // namespace inflight
