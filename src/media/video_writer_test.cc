// SPDX-License-Identifier: Apache-2.0
// The writer read back by the source of videos; tests/cli_detect_test.py reads it with PyAV.
#include "media/video_writer.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <vector>

#include "media/open_source.h"

namespace inflight {
namespace {

class VideoWriterTest : public testing::Test {
 protected:
  VideoWriterTest() {
    folder_ = std::filesystem::path(testing::TempDir()) / "inflight_video_writer_test";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~VideoWriterTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  // Writes grey pictures at these milliseconds; picture k has the level 40 + 20 * k.
  Status write(const std::string& to, const std::vector<int>& times_ms, int height = 48, int width = 64) {
    INFLIGHT_TRY_ASSIGN(const std::unique_ptr<VideoWriter> writer,
                        VideoWriter::open(to, {"--output", height, width, 10}));
    for (std::size_t k = 0; k < times_ms.size(); ++k) {
      INFLIGHT_TRY(write_grey(*writer, height, width, 40 + 20 * static_cast<int>(k), times_ms[k]));
    }
    return writer->finish();
  }

  static Status write_grey(VideoWriter& writer, int height, int width, int level, int time_ms) {
    const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(height * width * 4),
                                           static_cast<std::uint8_t>(level));
    WriterPicture picture;
    picture.pixels = pixels.data();
    picture.stride = width * 4;
    picture.height = height;
    picture.width = width;
    picture.time = std::chrono::milliseconds(time_ms);
    return writer.write(picture);
  }

  static int level(const VideoFrame& frame, int y, int x) {
    return std::to_integer<int>(frame.pixels.bytes()[(y * frame.width + x) * 3]);
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(VideoWriterTest, IsReadBackWithItsTimes) {
  const std::vector<int> times = {0, 100, 250, 1000};
  ASSERT_TRUE(write(path("a.mkv"), times).ok());
  std::unique_ptr<FrameSource> source = *open_source(path("a.mkv"));
  for (std::size_t k = 0; k < times.size(); ++k) {
    const std::optional<VideoFrame> frame = *source->next();
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->height, 48);
    EXPECT_EQ(frame->width, 64);
    ASSERT_TRUE(frame->pts);
    EXPECT_NEAR(static_cast<double>(frame->pts->count()) / 1e6, times[k], 1);
    EXPECT_NEAR(level(*frame, 24, 32), 40 + 20 * static_cast<int>(k), 3);
  }
  EXPECT_FALSE(*source->next());
}

// A tall picture in a wide video: borders left and right.
TEST_F(VideoWriterTest, FitsOtherSizesIn) {
  {
    const std::unique_ptr<VideoWriter> writer = *VideoWriter::open(path("a.mp4"), {"--output", 48, 64, 10});
    ASSERT_TRUE(write_grey(*writer, 48, 64, 200, 0).ok());
    ASSERT_TRUE(write_grey(*writer, 100, 50, 200, 100).ok());
    ASSERT_TRUE(writer->finish().ok());
  }
  std::unique_ptr<FrameSource> source = *open_source(path("a.mp4"));
  const VideoFrame first = **source->next();
  EXPECT_NEAR(level(first, 24, 2), 200, 4);
  const VideoFrame second = **source->next();
  EXPECT_EQ(second.width, 64);
  EXPECT_NEAR(level(second, 24, 32), 200, 4);
  EXPECT_NEAR(level(second, 24, 4), 0, 12);
  EXPECT_NEAR(level(second, 24, 59), 0, 12);
}

// Times that do not rise are moved as little as the container's clock allows, and nothing is lost.
TEST_F(VideoWriterTest, KeepsEveryPictureOfOneTime) {
  ASSERT_TRUE(write(path("a.avi"), {0, 0, 10, 20, 400}).ok());
  std::unique_ptr<FrameSource> source = *open_source(path("a.avi"));
  int frames = 0;
  while (*source->next()) ++frames;
  EXPECT_GE(frames, 5);
}

TEST_F(VideoWriterTest, LeavesWhatWasThereUntilTheFirstPicture) {
  std::ofstream(path("old.mp4")) << "old";
  { ASSERT_TRUE(VideoWriter::open(path("old.mp4"), {"--output", 48, 64, 10}).ok()); }
  std::string kept;
  std::ifstream(path("old.mp4")) >> kept;
  EXPECT_EQ(kept, "old");
  { ASSERT_TRUE(VideoWriter::open(path("new.mp4"), {"--output", 48, 64, 10}).ok()); }
  EXPECT_FALSE(std::filesystem::exists(path("new.mp4")));
  // A video of no frames is none.
  { ASSERT_TRUE(write(path("empty.mp4"), {}).ok()); }
  EXPECT_FALSE(std::filesystem::exists(path("empty.mp4")));
}

TEST_F(VideoWriterTest, Refusals) {
  const auto code = [&](const std::string& to) {
    return VideoWriter::open(to, {"--output", 48, 64, 10}).status().code();
  };
  EXPECT_EQ(code(path("a.xyz")), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(path("a")), StatusCode::kInvalidArgument);
  EXPECT_EQ(code(path("none/a.mp4")), StatusCode::kNotFound);
  EXPECT_EQ(code(path("none/folder/")), StatusCode::kNotFound);
  std::filesystem::create_symlink("/dev/full", path("full.mp4"));
  EXPECT_EQ(write(path("full.mp4"), {0, 100}).code(), StatusCode::kIoError);
}

}  // namespace
}  // namespace inflight
