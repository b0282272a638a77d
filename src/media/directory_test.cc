// SPDX-License-Identifier: Apache-2.0
#include "media/directory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "media/open_source.h"
#include "media/test_media.h"

namespace inflight {
namespace {

using Names = std::vector<std::string>;

int red_of(const VideoFrame& frame) { return std::to_integer<int>(frame.pixels.bytes()[0]); }

// Everything that comes, in its order.
std::vector<VideoFrame> read_all(FrameSource& source) {
  std::vector<VideoFrame> frames;
  while (true) {
    Result<std::optional<VideoFrame>> frame = source.next();
    EXPECT_TRUE(frame.ok()) << frame.status().to_string();
    if (!frame.ok() || !frame->has_value()) return frames;
    frames.push_back(std::move(**frame));
  }
}

Names files_of(const std::vector<VideoFrame>& frames) {
  Names names;
  for (const VideoFrame& frame : frames) names.push_back(frame.file == nullptr ? "none" : *frame.file);
  return names;
}

TEST(NaturalOrder, CountsAsPeopleDo) {
  const Names right = {"",
                       "#1",
                       "0",
                       "1.jpg",
                       "2.jpg",
                       "02.jpg",
                       "002.jpg",
                       "10.jpg",
                       "99999999999999999999999999.jpg",
                       "100000000000000000000000000.jpg",
                       "a",
                       "A",
                       "a1b2",
                       "a1b10",
                       "a1b010",
                       "a01b2",
                       "A2",
                       "a10",
                       "B",
                       "frame-2-1",
                       "frame-2-12",
                       "frame-10-1",
                       "frame-x",
                       "Z",
                       "\xC3\xA4"};
  Names names = right;
  std::reverse(names.begin(), names.end());
  std::sort(names.begin(), names.end(), natural_less);
  for (std::size_t i = 0; i < right.size(); ++i) {
    for (std::size_t k = 0; k < right.size(); ++k) {
      // "a" and "A" are equal but for their bytes, and so on: a strict order of all.
      EXPECT_EQ(natural_less(names[i], names[k]), i < k) << names[i] << " and " << names[k];
    }
  }
  EXPECT_TRUE(natural_less("2.jpg", "10.jpg"));
  EXPECT_TRUE(natural_less("2.jpg", "02.jpg"));
  EXPECT_TRUE(natural_less("img9.PNG", "IMG10.png"));
  EXPECT_TRUE(natural_less("9", "10"));
  EXPECT_TRUE(natural_less("0", "00"));
  EXPECT_FALSE(natural_less("a", "a"));
}

TEST(Directory, PicturesInNaturalOrder) {
  const TempFolder folder;
  write_ppm(folder.file("b.ppm"), 40, 30, 40, 0, 0);
  write_ppm(folder.file("a10.ppm"), 40, 30, 30, 0, 0);
  write_ppm(folder.file("a9.PPM"), 40, 30, 20, 0, 0);
  write_ppm(folder.file("a%03d.ppm"), 40, 30, 10, 0, 0);  // a name, not a pattern
  const auto source = std::move(open_source(folder.path())).value();
  EXPECT_EQ(source->fps(), 0);
  EXPECT_EQ(source->width(), 40);
  EXPECT_EQ(source->height(), 30);
  EXPECT_FALSE(source->live());
  EXPECT_TRUE(source->losses().notes.empty());
  const std::vector<VideoFrame> frames = read_all(*source);
  EXPECT_EQ(files_of(frames), (Names{"a%03d.ppm", "a9.PPM", "a10.ppm", "b.ppm"}));
  for (std::size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(frames[i].index, static_cast<std::int64_t>(i));
    EXPECT_EQ(red_of(frames[i]), 10 * (static_cast<int>(i) + 1));
    EXPECT_EQ(frames[i].pixels.size(), 40U * 30 * 3);
  }
  EXPECT_FALSE(source->next()->has_value());
}

TEST(Directory, EachAtItsOwnSize) {
  const TempFolder folder;
  write_ppm(folder.file("a.ppm"), 40, 30, 0, 0, 0);
  write_ppm(folder.file("b.ppm"), 41, 29, 0, 0, 0);
  const auto source = std::move(open_directory(folder.path())).value();
  const std::vector<VideoFrame> frames = read_all(*source);
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[1].width, 41);
  EXPECT_EQ(frames[1].height, 29);
  EXPECT_EQ(frames[1].pixels.size(), 41U * 29 * 3);
}

TEST(Directory, SaysWhatItPassesOver) {
  const TempFolder folder;
  write_ppm(folder.file("a.ppm"), 40, 30, 0, 0, 0);
  // Nobody misses these.
  for (const char* hidden : {"._a.ppm", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.ppm"}) {
    write_ppm(folder.file(hidden), 40, 30, 0, 0, 0);
  }
  std::filesystem::create_directory(folder.file("__MACOSX"));
  std::filesystem::create_directory(folder.file(".git"));
  EXPECT_TRUE(std::move(open_directory(folder.path())).value()->losses().notes.empty());

  write_file(folder.file("notes.txt"), "no picture");
  std::filesystem::create_directory(folder.file("more.ppm"));
  TestVideo video;
  write_video(folder.file("clip.mp4"), video);
  const auto source = std::move(open_directory(folder.path())).value();
  EXPECT_EQ(source->losses().notes,
            (Names{"directory \"" + folder.path() +
                   "\": passed over, as no pictures: clip.mp4, more.ppm/ and notes.txt"}));
  EXPECT_EQ(files_of(read_all(*source)), Names{"a.ppm"});

  for (int i = 0; i < 20; ++i) write_file(folder.file("z" + std::to_string(i) + ".txt"), "none");
  const Names many = std::move(open_directory(folder.path())).value()->losses().notes;
  ASSERT_EQ(many.size(), 1U);
  EXPECT_TRUE(many[0].ends_with(": clip.mp4, more.ppm/, notes.txt, z0.txt and 19 more")) << many[0];
}

TEST(Directory, TakesEveryKindThatWorksAlone) {
  const TempFolder folder;
  const std::vector<std::array<const char*, 4>> kinds = {
      {"a.png", "png", "rgb24"},      {"b.jfif", "mjpeg", "yuvj420p"}, {"c.tga", "targa", "bgr24"},
      {"d.jp2", "jpeg2000", "rgb24"}, {"e.pgm", "pgm", "gray"},        {"f.qoi", "qoi", "rgb24"},
      {"g.jpg", "bmp", "bgr24"},  // it is a BMP
      {"h", "png", "rgb24"}};
  Names names;
  for (const auto& [name, encoder, pixel_format, unused] : kinds) {
    write_file(folder.file(name), encode_picture(encoder, pixel_format));
    names.emplace_back(name);
  }
  for (const std::string name : {"i.apng", "i.gif"}) {  // their first pictures
    TestVideo video;
    video.codec = name == "i.gif" ? "gif" : "apng";
    video.width = 60;
    video.height = 40;
    write_video(folder.file(name), video);
    names.push_back(name);
  }
  const auto source = std::move(open_directory(folder.path())).value();
  const std::vector<VideoFrame> frames = read_all(*source);
  EXPECT_EQ(files_of(frames), names);
  for (const VideoFrame& frame : frames) {
    EXPECT_TRUE(frame.damage.ok()) << frame.damage.to_string();
    EXPECT_EQ(frame.width, 60);
    EXPECT_EQ(frame.height, 40);
  }
}

TEST(Directory, ABadPictureHasItsPlace) {
  const TempFolder folder;
  for (const char* name : {"1.ppm", "2.ppm", "3.ppm", "4.ppm"}) write_ppm(folder.file(name), 40, 30, 0, 0, 0);
  cut_file(folder.file("1.ppm"), 0.5);
  cut_file(folder.file("3.ppm"), 0.0);
  std::filesystem::create_symlink("2.ppm", folder.file("5.ppm"));
  std::filesystem::create_symlink("nothing.ppm", folder.file("6.ppm"));
  const auto source = std::move(open_directory(folder.path())).value();
  EXPECT_EQ(source->width(), 40);
  EXPECT_EQ(source->height(), 30);
  std::filesystem::remove(folder.file("4.ppm"));  // while it runs
  const std::vector<VideoFrame> frames = read_all(*source);
  ASSERT_EQ(files_of(frames), (Names{"1.ppm", "2.ppm", "3.ppm", "4.ppm", "5.ppm", "6.ppm"}));
  const std::vector<StatusCode> codes = {StatusCode::kInvalidMedia, StatusCode::kOk,
                                         StatusCode::kInvalidMedia, StatusCode::kNotFound,
                                         StatusCode::kOk,           StatusCode::kNotFound};
  for (std::size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(frames[i].index, static_cast<std::int64_t>(i));
    EXPECT_EQ(frames[i].damage.code(), codes[i]) << frames[i].damage.to_string();
    EXPECT_EQ(static_cast<bool>(frames[i].pixels), codes[i] == StatusCode::kOk);
    if (codes[i] == StatusCode::kOk) continue;
    EXPECT_NE(frames[i].damage.message().find(*frames[i].file), std::string::npos)
        << frames[i].damage.to_string();
  }
}

TEST(Directory, WithoutAnyGoodPictureIsAnError) {
  const TempFolder folder;
  for (const char* name : {"1.png", "2.png"}) write_file(folder.file(name), "no PNG");
  const auto source = open_directory(folder.path());
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.status().code(), StatusCode::kInvalidMedia);
  EXPECT_NE(source.status().message().find("none of its 2 pictures can be read; "), std::string::npos);
  EXPECT_NE(source.status().message().find("1.png"), std::string::npos) << source.status().to_string();
}

TEST(Directory, EmptyIsAnError) {
  const TempFolder folder;
  write_file(folder.file("notes.txt"), "none");
  const auto source = open_directory(folder.path());
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.status().code(), StatusCode::kNotFound);
  EXPECT_NE(source.status().message().find("no picture in it; it has notes.txt"), std::string::npos);
}

TEST(Directory, MissingIsAnError) {
  const auto source = open_directory("/nowhere/at/all");
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace inflight
