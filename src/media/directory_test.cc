// SPDX-License-Identifier: Apache-2.0
#include "media/directory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "media/open_source.h"
#include "media/test_media.h"

namespace inflight {
namespace {

int red_of(const VideoFrame& frame) { return std::to_integer<int>(frame.pixels.bytes()[0]); }

TEST(Directory, PicturesInTheOrderOfTheirNames) {
  const TempFolder folder;
  write_ppm(folder.file("b.ppm"), 40, 30, 20, 0, 0);
  write_ppm(folder.file("a10.ppm"), 40, 30, 10, 0, 0);
  write_ppm(folder.file("c%03d.PPM"), 40, 30, 30, 0, 0);  // a name, not a pattern
  write_file(folder.file("README.md"), "no picture");
  write_file(folder.file(".ppm"), "no picture either");
  std::filesystem::create_directory(folder.file("d.ppm"));
  const auto source = std::move(open_source(folder.path())).value();
  EXPECT_EQ(source->fps(), 0);
  EXPECT_EQ(source->width(), 40);
  EXPECT_EQ(source->height(), 30);
  EXPECT_FALSE(source->live());
  for (int i = 0; i < 3; ++i) {
    auto frame = source->next();
    ASSERT_TRUE(frame.ok()) << frame.status().to_string();
    ASSERT_TRUE(frame->has_value());
    EXPECT_EQ((*frame)->index, i);
    EXPECT_EQ(red_of(**frame), 10 * (i + 1));
    EXPECT_EQ((*frame)->pixels.size(), 40U * 30 * 3);
  }
  EXPECT_FALSE(source->next()->has_value());
}

TEST(Directory, PictureOfAnotherSizeIsNamed) {
  const TempFolder folder;
  write_ppm(folder.file("a.ppm"), 40, 30, 0, 0, 0);
  write_ppm(folder.file("b.ppm"), 41, 30, 0, 0, 0);
  const auto source = std::move(open_directory(folder.path())).value();
  ASSERT_TRUE(source->next()->has_value());
  for (int i = 0; i < 2; ++i) {
    const auto other = source->next();
    ASSERT_FALSE(other.ok());
    EXPECT_EQ(other.status().code(), StatusCode::kInvalidMedia);
    EXPECT_NE(other.status().message().find("b.ppm\": got 41x30, want 40x30 as \"a.ppm\""), std::string::npos)
        << other.status().to_string();
  }
}

TEST(Directory, EmptyIsAnError) {
  const TempFolder folder;
  write_file(folder.file("notes.txt"), "none");
  const auto source = open_directory(folder.path());
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.status().code(), StatusCode::kNotFound);
  EXPECT_NE(source.status().message().find("no picture in it"), std::string::npos);
}

TEST(Directory, MissingIsAnError) {
  const auto source = open_directory("/nowhere/at/all");
  ASSERT_FALSE(source.ok());
  EXPECT_EQ(source.status().code(), StatusCode::kNotFound);
}

TEST(Directory, DamagedPictureIsNamed) {
  const TempFolder folder;
  write_ppm(folder.file("a.ppm"), 40, 30, 0, 0, 0);
  write_ppm(folder.file("b.ppm"), 40, 30, 0, 0, 0);
  cut_file(folder.file("b.ppm"), 0.5);
  const auto source = std::move(open_directory(folder.path())).value();
  ASSERT_TRUE(source->next()->has_value());
  const auto damaged = source->next();
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(damaged.status().code(), StatusCode::kInvalidMedia);
  EXPECT_NE(damaged.status().message().find("b.ppm"), std::string::npos) << damaged.status().to_string();
}

}  // namespace
}  // namespace inflight
