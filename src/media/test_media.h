// SPDX-License-Identifier: Apache-2.0
// Files that the tests of this folder read.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inflight {

// A folder of its own that goes, with all in it, at the end of the test.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

void write_file(const std::string& path, std::string_view bytes);
std::string read_file(const std::string& path);
// Keeps the first `fraction` of a file.
void cut_file(const std::string& path, double fraction);

// A binary PPM of one colour.
void write_ppm(const std::string& path, int width, int height, std::uint8_t red, std::uint8_t green,
               std::uint8_t blue);

struct TestVideo {
  const char* codec = "mpeg4";  // an encoder of FFmpeg's own
  int width = 64;
  int height = 48;
  int frames = 20;
  int fps_num = 25;
  int fps_den = 1;
  bool index_first = false;  // mp4: the index before the frames, as files for streaming have it
  int color_space = 2;       // AVCOL_SPC_*; 2 is unspecified
  int chroma = 128;          // of both colour planes; 128 is grey
  int b_frames = 0;
  bool gradient = false;  // the grey grows to the right and downwards
  std::optional<std::array<std::int32_t, 9>> display_matrix;
};

// A picture of 60x40 pixels, a gradient with noise, coded by one of FFmpeg's encoders, for example "png" in
// "rgb24"; `option` is one of the encoder's own, as in "compression_algo=lzw". Empty: this FFmpeg has no such
// encoder.
std::string encode_picture(const char* encoder, const char* pixel_format, const char* option = "");

// The grey of every pixel in frame `index` (where chroma is 128); neighbours differ by 7.
int test_grey(int index);
// Encodes a video (or a GIF, APNG) whose container follows from the file's ending.
void write_video(const std::string& path, const TestVideo& video);

}  // namespace inflight
