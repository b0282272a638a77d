// SPDX-License-Identifier: Apache-2.0
// The few functions of FFmpeg's that addresses ask, so that their harnesses need no FFmpeg: it has two hundred libraries
// behind it.
#include <cstdarg>
#include <cstdio>
#include <iterator>

extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/log.h>

const char* avio_enum_protocols(void** state, int output) {
  static constexpr const char* kNames[] = {"file", "http", "https", "rtmp", "udp", "srt", "async", "x+y"};
  auto& index = *reinterpret_cast<std::size_t*>(state);
  return output != 0 || index == std::size(kNames) ? nullptr : kNames[index++];
}
int avformat_network_init() { return 0; }
void av_log_set_callback(void (*)(void*, int, const char*, va_list)) {}
int av_log_format_line2(void*, int, const char* format, va_list args, char* line, int bytes, int*) {
  return std::vsnprintf(line, static_cast<std::size_t>(bytes), format, args);
}
int av_strerror(int error, char* text, std::size_t bytes) {
  std::snprintf(text, bytes, "error %d", error);
  return 0;
}
}
