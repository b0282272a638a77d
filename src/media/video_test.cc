// SPDX-License-Identifier: Apache-2.0
#include "media/video.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <tuple>

#include "media/open_source.h"
#include "media/test_media.h"

namespace inflight {
namespace {

struct Read {
  int frames = 0;
  Status status;
};

// Reads to the end, checking index, size and (where the video is ours) content.
Read read_all(FrameSource& source, bool check_grey = true) {
  Read read;
  while (true) {
    auto frame = source.next();
    if (!frame.ok()) read.status = frame.status();
    if (!frame.ok() || !frame->has_value()) return read;
    const VideoFrame& got = **frame;
    EXPECT_EQ(got.index, read.frames);
    EXPECT_EQ(got.width, source.width());
    EXPECT_EQ(got.height, source.height());
    EXPECT_FALSE(got.label.has_value());
    const auto bytes = static_cast<std::size_t>(got.width * got.height * 3);
    EXPECT_EQ(got.pixels.size(), bytes);
    int off_max = 0;
    for (std::size_t i = 0; check_grey && i < bytes; ++i) {
      off_max =
          std::max(off_max, std::abs(std::to_integer<int>(got.pixels.bytes()[i]) - test_grey(read.frames)));
    }
    EXPECT_LE(off_max, 3) << "frame " << read.frames;
    ++read.frames;
  }
}

TEST(Video, EveryFrameOfEveryContainer) {
  const TempFolder folder;
  for (const auto& [name, codec] : {std::pair{"a.mp4", "mpeg4"}, std::pair{"a.mkv", "mpeg4"},
                                    std::pair{"a.avi", "mjpeg"}, std::pair{"a.mov", "mjpeg"}}) {
    for (const auto& [width, height] : {std::pair{64, 48}, std::pair{50, 38}, std::pair{33, 17}}) {
      TestVideo video;
      video.codec = codec;
      video.width = width;
      video.height = height;
      write_video(folder.file(name), video);
      const auto source = open_source(folder.file(name));
      ASSERT_TRUE(source.ok()) << source.status().to_string();
      EXPECT_EQ((*source)->width(), width);
      EXPECT_EQ((*source)->height(), height);
      EXPECT_DOUBLE_EQ((*source)->fps(), 25);
      EXPECT_FALSE((*source)->live());
      const Read read = read_all(**source);
      EXPECT_EQ(read.frames, 20) << name;
      EXPECT_TRUE(read.status.ok()) << read.status.to_string();
      EXPECT_FALSE((*source)->next()->has_value());
    }
  }
}

TEST(Video, RateOfItsOwn) {
  const TempFolder folder;
  TestVideo video;
  video.fps_num = 30000;
  video.fps_den = 1001;
  write_video(folder.file("a.mp4"), video);
  const auto source = std::move(open_video(folder.file("a.mp4"))).value();
  EXPECT_NEAR(source->fps(), 30000.0 / 1001, 1e-9);
  EXPECT_NE(source->description().find("a.mp4\" 64x48 at 29.97 fps"), std::string::npos)
      << source->description();
}

TEST(Video, NameWithColonAndPercentIsAFile) {
  const TempFolder folder;
  write_video(folder.file("x:%d.mp4"), {});
  EXPECT_EQ(read_all(*open_video(folder.file("x:%d.mp4")).value()).frames, 20);
}

TEST(Video, CutWithoutIndexFailsWhenOpened) {
  const TempFolder folder;
  write_video(folder.file("cut.mp4"), {});
  cut_file(folder.file("cut.mp4"), 0.5);
  const auto source = open_video(folder.file("cut.mp4"));
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.status().code(), StatusCode::kInvalidMedia);
  EXPECT_NE(source.status().message().find("cut.mp4"), std::string::npos);
  EXPECT_NE(source.status().message().find("moov atom not found"), std::string::npos)
      << source.status().to_string();
}

TEST(Video, CutInTheMiddleDeliversWhatIsThere) {
  const TempFolder folder;
  for (const char* name : {"cut.mp4", "cut.avi", "cut.mkv"}) {
    TestVideo video;
    video.width = 320;
    video.height = 240;
    video.frames = 60;
    video.index_first = std::string_view(name) == "cut.mp4";
    write_video(folder.file(name), video);
    cut_file(folder.file(name), 0.5);
    const auto source = open_video(folder.file(name));
    ASSERT_TRUE(source.ok()) << source.status().to_string();
    const Read read = read_all(**source);
    EXPECT_GT(read.frames, 15) << name;
    EXPECT_LT(read.frames, 45) << name;
    EXPECT_TRUE(read.status.ok()) << read.status.to_string();
    const SourceLosses losses = (*source)->losses();
    EXPECT_TRUE(losses.ended_early) << name;
    ASSERT_EQ(losses.notes.size(), 1U);
    EXPECT_NE(losses.notes[0].find(fmt::format("{}\": ", name)), std::string::npos) << losses.notes[0];
    EXPECT_NE(losses.notes[0].find("the file ends early"), std::string::npos) << losses.notes[0];
  }
}

TEST(Video, WhatIsNoVideo) {
  const TempFolder folder;
  write_file(folder.file("empty.mp4"), "");
  write_file(folder.file("noise.mp4"), std::string(5000, '\x5a'));
  write_file(folder.file("notes.txt"), "just words\n");
  const auto status = [&](const char* name) { return open_video(folder.file(name)).status(); };
  EXPECT_EQ(status("missing.mp4").code(), StatusCode::kNotFound);
  EXPECT_NE(status("missing.mp4").message().find("missing.mp4\": no such file"), std::string::npos);
  EXPECT_EQ(status("empty.mp4").code(), StatusCode::kInvalidMedia);
  EXPECT_NE(status("empty.mp4").message().find("is empty"), std::string::npos);
  EXPECT_EQ(status("noise.mp4").code(), StatusCode::kInvalidMedia) << status("noise.mp4").to_string();
  EXPECT_EQ(status("notes.txt").code(), StatusCode::kInvalidMedia) << status("notes.txt").to_string();
  EXPECT_EQ(open_video(folder.path()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(open_source("").status().code(), StatusCode::kInvalidArgument);
}

// The same numbers are other colours in BT.601 and BT.709: a tagged stream must not be read as an untagged
// one.
TEST(Video, ColorMatrixOfTheStreamIsHonoured) {
  constexpr int kUnspecified = 2;
  constexpr int kBt709 = 1;
  constexpr int kChroma = 160;
  const TempFolder folder;
  for (const auto& [tag, red, green, blue] : {std::tuple{kUnspecified, 1.596, -0.813 - 0.392, 2.017},
                                              std::tuple{kBt709, 1.793, -0.533 - 0.213, 2.112}}) {
    TestVideo video;
    video.color_space = tag;
    video.chroma = kChroma;
    write_video(folder.file("a.mkv"), video);
    const auto source = std::move(open_video(folder.file("a.mkv"))).value();
    const auto frame = source->next();
    ASSERT_TRUE(frame.ok() && frame->has_value());
    const double grey = test_grey(0);
    const std::byte* pixel = (*frame)->pixels.bytes();
    EXPECT_NEAR(std::to_integer<int>(pixel[0]), grey + red * (kChroma - 128), 3) << tag;
    EXPECT_NEAR(std::to_integer<int>(pixel[1]), std::max(0.0, grey + green * (kChroma - 128)), 3) << tag;
    EXPECT_NEAR(std::to_integer<int>(pixel[2]), grey + blue * (kChroma - 128), 3) << tag;
  }
}

TEST(Video, ColorsOfAPpmAreExact) {
  const TempFolder folder;
  write_ppm(folder.file("a.ppm"), 35, 20, 201, 102, 3);
  const auto source = std::move(open_video(folder.file("a.ppm"))).value();
  const auto frame = source->next();
  ASSERT_TRUE(frame.ok());
  const std::byte* last = (*frame)->pixels.bytes() + (35 * 20 - 1) * 3;
  EXPECT_EQ(std::to_integer<int>(last[0]), 201);
  EXPECT_EQ(std::to_integer<int>(last[1]), 102);
  EXPECT_EQ(std::to_integer<int>(last[2]), 3);
}

TEST(Video, InterruptEnds) {
  const TempFolder folder;
  write_video(folder.file("a.mp4"), {});
  const auto source = std::move(open_video(folder.file("a.mp4"))).value();
  ASSERT_TRUE(source->next()->has_value());
  source->interrupt();
  const auto end = source->next();
  ASSERT_TRUE(end.ok());
  EXPECT_FALSE(end->has_value());
}

TEST(Video, BuffersComeFromThePool) {
  const TempFolder folder;
  write_video(folder.file("a.mp4"), {});
  const auto pool = std::make_shared<BufferPool>();
  EXPECT_EQ(read_all(*open_video(folder.file("a.mp4"), true, pool).value()).frames, 20);
  EXPECT_EQ(pool->retained_bytes(), 64U * 48 * 3);  // one buffer served all
}

TEST(Camera, AbsentOrNoCamera) {
  EXPECT_EQ(open_source("/dev/video99").status().code(), StatusCode::kNoSuchDevice);
  const Status null_device = open_source("/dev/null").status();
  EXPECT_EQ(null_device.code(), StatusCode::kNoSuchDevice) << null_device.to_string();
}

TEST(Video, PersonIsDeliveredWhole) {
  const std::string path = INFLIGHT_SHARED_DATA_DIR "/person.mp4";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "not here: " << path;
  const auto source = std::move(open_video(path)).value();
  EXPECT_EQ(source->width(), 768);
  EXPECT_EQ(source->height(), 432);
  EXPECT_DOUBLE_EQ(source->fps(), 10);
  const Read read = read_all(*source, false);
  EXPECT_EQ(read.frames, 1394);
  EXPECT_TRUE(read.status.ok()) << read.status.to_string();
}

}  // namespace
}  // namespace inflight
