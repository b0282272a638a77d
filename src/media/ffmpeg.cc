// SPDX-License-Identifier: Apache-2.0
#include "media/ffmpeg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <string_view>
#include <utility>

extern "C" {
#include <libavutil/log.h>
}

namespace inflight::ffmpeg {
namespace {

// What FFmpeg last complained about on this thread: its error codes alone say "invalid data" for nearly
// everything, and the reason ("moov atom not found") goes to the log only.
thread_local std::array<char, 200> last_complaint;

void keep_complaint(void* where, int level, const char* format, va_list args) {
  if (level > AV_LOG_ERROR) return;
  int print_prefix = 0;
  av_log_format_line2(where, level, format, args, last_complaint.data(),
                      static_cast<int>(last_complaint.size()), &print_prefix);
}

}  // namespace

void quiet_log() {
  static const bool done = [] {
    av_log_set_callback(keep_complaint);
    return true;
  }();
  static_cast<void>(done);
}

void forget_complaint() { last_complaint[0] = '\0'; }

std::string complaint() {
  std::string_view reason = last_complaint.data();
  while (!reason.empty() && reason.back() == '\n') reason.remove_suffix(1);
  return std::string(reason);
}

std::string error_text(int error) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(error, text.data(), text.size());
  std::string result = text.data();
  const std::string reason = complaint();
  if (!reason.empty()) result += fmt::format(" ({})", reason);
  return without_credentials(std::move(result));
}

// The user's part of an address ends with the last @ before its path, and has no space in it.
std::string without_credentials(std::string text) {
  std::size_t from = 0;
  while ((from = text.find("://", from)) != std::string::npos) {
    from += 3;
    const std::size_t end = std::min(text.find_first_of("/?# \t\n\"'", from), text.size());
    const std::size_t at = text.rfind('@', end);
    if (at != std::string::npos && at >= from && at < end) text.replace(from, at - from, "***");
  }
  return text;
}

}  // namespace inflight::ffmpeg
