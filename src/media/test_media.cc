// SPDX-License-Identifier: Apache-2.0
#include "media/test_media.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
}

#include "base/check.h"

namespace inflight {

TempFolder::TempFolder() {
  path_ = testing::TempDir() + "inflight_media_XXXXXX";
  INFLIGHT_CHECK(mkdtemp(path_.data()) != nullptr);
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  INFLIGHT_CHECK(file.good());
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void cut_file(const std::string& path, double fraction) {
  const auto bytes = static_cast<double>(std::filesystem::file_size(path));
  std::filesystem::resize_file(path, static_cast<std::uintmax_t>(bytes * fraction));
}

void write_ppm(const std::string& path, int width, int height, std::uint8_t red, std::uint8_t green,
               std::uint8_t blue) {
  std::string bytes = fmt::format("P6\n{} {}\n255\n", width, height);
  for (int i = 0; i < width * height; ++i) {
    for (const std::uint8_t channel : {red, green, blue}) bytes += static_cast<char>(channel);
  }
  write_file(path, bytes);
}

int test_grey(int index) { return 40 + index * 7 % 160; }

namespace {

// Sends one frame (null: the end) and writes the packets that come out.
void encode(AVFormatContext* format, AVCodecContext* codec, const AVFrame* frame) {
  INFLIGHT_CHECK(avcodec_send_frame(codec, frame) >= 0);
  AVPacket* packet = av_packet_alloc();
  while (avcodec_receive_packet(codec, packet) >= 0) {
    av_packet_rescale_ts(packet, codec->time_base, format->streams[0]->time_base);
    INFLIGHT_CHECK(av_interleaved_write_frame(format, packet) >= 0);
  }
  av_packet_free(&packet);
}

AVPixelFormat pixel_format_of(std::string_view codec) {
  if (codec == "mjpeg") return AV_PIX_FMT_YUVJ420P;
  return codec == "gif" || codec == "apng" ? AV_PIX_FMT_GRAY8 : AV_PIX_FMT_YUV420P;
}

// A gradient with noise; of floats, numbers between 0 and 1.
void paint(AVFrame* frame) {
  const AVPixFmtDescriptor* const format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame->format));
  const bool floats = (format->flags & AV_PIX_FMT_FLAG_FLOAT) != 0;
  const bool palette = (format->flags & AV_PIX_FMT_FLAG_PAL) != 0;
  unsigned noise = 1;
  for (int plane = 0; plane < 4 && frame->data[plane] != nullptr; ++plane) {
    const bool chroma = plane == 1 || plane == 2;
    const int rows = chroma ? frame->height >> format->log2_chroma_h : frame->height;
    if (palette && plane == 1) {
      for (unsigned i = 0; i < 256; ++i) {
        const unsigned color = 0xFF000000U | i * 0x00010307U;
        std::memcpy(frame->data[1] + i * 4, &color, 4);
      }
      continue;
    }
    for (int y = 0; y < rows; ++y) {
      std::uint8_t* const row = frame->data[plane] + static_cast<std::ptrdiff_t>(y) * frame->linesize[plane];
      for (int x = 0; x < frame->linesize[plane]; ++x) {
        noise = noise * 1664525U + 1013904223U;
        const unsigned value = (static_cast<unsigned>(x * 3 + y * 5) & 0x7FU) + (noise >> 27);
        row[x] = static_cast<std::uint8_t>(!floats      ? value
                                           : x % 4 == 3 ? 0x3EU
                                           : x % 4 == 2 ? value & 0x7FU
                                                        : 0U);
      }
    }
  }
}

}  // namespace

std::string encode_picture(const char* encoder, const char* pixel_format, const char* option) {
  const AVCodec* const found = avcodec_find_encoder_by_name(encoder);
  if (found == nullptr) return "";
  AVCodecContext* codec = avcodec_alloc_context3(found);
  codec->width = 60;
  codec->height = 40;
  codec->time_base = {1, 25};
  codec->pix_fmt = av_get_pix_fmt(pixel_format);
  const std::string_view text = option;
  const std::size_t equals = text.find('=');
  if (equals != std::string_view::npos) {
    INFLIGHT_CHECK(av_opt_set(codec, std::string(text.substr(0, equals)).c_str(),
                              std::string(text.substr(equals + 1)).c_str(), AV_OPT_SEARCH_CHILDREN) >= 0);
  }
  INFLIGHT_CHECK(avcodec_open2(codec, found, nullptr) >= 0);
  AVFrame* frame = av_frame_alloc();
  frame->format = codec->pix_fmt;
  frame->width = codec->width;
  frame->height = codec->height;
  frame->pts = 0;
  INFLIGHT_CHECK(av_frame_get_buffer(frame, 0) >= 0);
  paint(frame);
  AVPacket* packet = av_packet_alloc();
  INFLIGHT_CHECK(avcodec_send_frame(codec, frame) >= 0);
  if (avcodec_receive_packet(codec, packet) < 0) {
    avcodec_send_frame(codec, nullptr);
    INFLIGHT_CHECK(avcodec_receive_packet(codec, packet) >= 0);
  }
  std::string bytes(reinterpret_cast<const char*>(packet->data), static_cast<std::size_t>(packet->size));
  av_packet_free(&packet);
  av_frame_free(&frame);
  avcodec_free_context(&codec);
  return bytes;
}

void write_video(const std::string& path, const TestVideo& video) {
  AVFormatContext* format = nullptr;
  INFLIGHT_CHECK(avformat_alloc_output_context2(&format, nullptr, nullptr, path.c_str()) >= 0);
  const AVCodec* encoder = avcodec_find_encoder_by_name(video.codec);
  INFLIGHT_CHECK(encoder != nullptr);
  AVCodecContext* codec = avcodec_alloc_context3(encoder);
  codec->width = video.width;
  codec->height = video.height;
  codec->time_base = {video.fps_den, video.fps_num};
  codec->framerate = {video.fps_num, video.fps_den};
  codec->pix_fmt = pixel_format_of(video.codec);
  codec->colorspace = static_cast<AVColorSpace>(video.color_space);
  codec->flags |= AV_CODEC_FLAG_QSCALE;
  codec->global_quality = 2 * FF_QP2LAMBDA;
  if ((format->oformat->flags & AVFMT_GLOBALHEADER) != 0) codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  AVStream* stream = avformat_new_stream(format, nullptr);
  stream->time_base = codec->time_base;
  stream->avg_frame_rate = codec->framerate;
  INFLIGHT_CHECK(avcodec_open2(codec, encoder, nullptr) >= 0);
  INFLIGHT_CHECK(avcodec_parameters_from_context(stream->codecpar, codec) >= 0);
  INFLIGHT_CHECK(avio_open(&format->pb, path.c_str(), AVIO_FLAG_WRITE) >= 0);
  AVDictionary* options = nullptr;
  if (video.index_first) av_dict_set(&options, "movflags", "faststart", 0);
  INFLIGHT_CHECK(avformat_write_header(format, &options) >= 0);
  av_dict_free(&options);
  AVFrame* frame = av_frame_alloc();
  frame->format = codec->pix_fmt;
  frame->width = video.width;
  frame->height = video.height;
  frame->quality = codec->global_quality;
  INFLIGHT_CHECK(av_frame_get_buffer(frame, 0) >= 0);
  for (int i = 0; i < video.frames; ++i) {
    INFLIGHT_CHECK(av_frame_make_writable(frame) >= 0);
    // Limited range holds a grey g as 16 + g * 219 / 255; full range as it is.
    const int luma = codec->pix_fmt != AV_PIX_FMT_YUV420P ? test_grey(i) : 16 + test_grey(i) * 219 / 255;
    std::memset(frame->data[0], luma,
                static_cast<std::size_t>(frame->linesize[0]) * static_cast<std::size_t>(video.height));
    for (const int plane : {1, 2}) {
      if (codec->pix_fmt == AV_PIX_FMT_GRAY8) break;
      std::memset(frame->data[plane], video.chroma,
                  static_cast<std::size_t>(frame->linesize[plane]) *
                      static_cast<std::size_t>((video.height + 1) / 2));
    }
    frame->pts = i;
    encode(format, codec, frame);
  }
  encode(format, codec, nullptr);
  INFLIGHT_CHECK(av_write_trailer(format) >= 0);
  av_frame_free(&frame);
  avcodec_free_context(&codec);
  avio_closep(&format->pb);
  avformat_free_context(format);
}

}  // namespace inflight
