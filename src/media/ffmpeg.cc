// SPDX-License-Identifier: Apache-2.0
#include "media/ffmpeg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
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
std::atomic<std::uint64_t> complaint_count{0};

void keep_complaint(void* where, int level, const char* format, va_list args) {
  if (level > AV_LOG_ERROR) return;
  complaint_count.fetch_add(1, std::memory_order_relaxed);
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

std::uint64_t complaints() { return complaint_count.load(std::memory_order_relaxed); }

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

namespace {

constexpr std::string_view kShown = "***";

bool is_secret(std::string_view key) {
  static constexpr std::array<std::string_view, 9> kParts = {"user", "login",  "pass", "pwd",   "token",
                                                             "auth", "secret", "sig",  "apikey"};
  std::string small(key);
  for (char& c : small) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return small == "key" || std::any_of(kParts.begin(), kParts.end(), [&](std::string_view part) {
           return small.find(part) != std::string::npos;
         });
}

// Of the address that begins at `from`, behind its scheme: the end of the user and password before the host; `from`
// where there are none. Users forget to write a password's special characters as %XX, so all up to the last @
// counts where what stands before cannot be a host and port.
std::size_t end_of_user(std::string_view text, std::size_t from, std::size_t end) {
  const std::size_t host_end = std::min(text.find_first_of("/?# ", from), end);
  std::size_t at = text.substr(0, host_end).rfind('@');
  if (at != std::string_view::npos && at >= from) return at;
  const std::string_view host = text.substr(from, host_end - from);
  const std::size_t colon = host.rfind(':');
  if (colon == std::string_view::npos || host.find(']', colon) != std::string_view::npos) return from;
  const std::string_view port = host.substr(colon + 1);
  const bool is_port = port.find_first_not_of("0123456789") == std::string_view::npos && !port.empty();
  at = text.substr(0, end).rfind('@');
  return is_port || at == std::string_view::npos || at < from ? from : at;
}

// Replaces the values of secret parameters behind the first `?` of [from, end).
void hide_parameters(std::string& text, std::size_t from, std::size_t end) {
  std::size_t key = text.find('?', from);
  while (key != std::string::npos && key < end) {
    const std::size_t next = std::min(text.find_first_of("&;#", key + 1), end);
    const std::size_t equals = text.find('=', key);
    std::size_t shift = 0;
    if (equals < next && is_secret(std::string_view(text).substr(key + 1, equals - key - 1))) {
      shift = next - equals - 1;
      text.replace(equals + 1, shift, kShown);
    }
    if (next == end || text[next - shift + (shift > 0 ? kShown.size() : 0)] == '#') return;
    end = end - shift + (shift > 0 ? kShown.size() : 0);
    key = next - shift + (shift > 0 ? kShown.size() : 0);
  }
}

}  // namespace

std::string without_credentials(std::string text) {
  std::size_t from = 0;
  while ((from = text.find("://", from)) != std::string::npos) {
    from += 3;
    // An address ends with a quotation mark or where the next one begins.
    std::size_t end = std::min(text.find_first_of("\"'\n\t", from), text.size());
    if (const std::size_t next = text.find("://", from); next < end)
      end = std::min(end, text.rfind(' ', next));
    const std::size_t user_end = end_of_user(text, from, end);
    text.replace(from, user_end - from, user_end > from ? kShown : std::string_view());
    end = end - (user_end - from) + (user_end > from ? kShown.size() : 0);
    hide_parameters(text, from, end);
  }
  return text;
}

}  // namespace inflight::ffmpeg
