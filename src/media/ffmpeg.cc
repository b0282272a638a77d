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
thread_local std::array<char, 1024> last_complaint;
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
  constexpr std::size_t kBytesMax = 200;
  std::string_view reason = last_complaint.data();
  // The end of an address that is cut off may be what tells its password from the rest.
  if (reason.size() + 1 == last_complaint.size()) reason = reason.substr(0, reason.rfind("://"));
  while (!reason.empty() && reason.back() == '\n') reason.remove_suffix(1);
  std::string text = without_credentials(std::string(reason));
  if (text.size() > kBytesMax) text.resize(kBytesMax);
  return text;
}

std::string error_text(int error) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(error, text.data(), text.size());
  std::string result = text.data();
  const std::string reason = complaint();
  if (!reason.empty()) result += fmt::format(" ({})", reason);
  return result;
}

namespace {

constexpr std::string_view kShown = "***";

bool is_secret(std::string_view key) {
  static constexpr std::array<std::string_view, 10> kParts = {"user", "usr",   "login", "pass",   "pw",
                                                              "cred", "token", "auth",  "secret", "sig"};
  std::string small(key);
  for (char& c : small) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return small.ends_with("key") || std::any_of(kParts.begin(), kParts.end(), [&](std::string_view part) {
           return small.find(part) != std::string::npos;
         });
}

// Of the address that begins at `from`, behind its scheme: the end of the user and password before the host;
// `from` where there are none. Users forget to write a password's special characters as %XX, so all up to the
// last @ counts, unless the address begins with a host, and with its port where it has one.
std::size_t end_of_user(std::string_view text, std::size_t from, std::size_t end) {
  const std::size_t at = text.substr(0, end).rfind('@');
  if (at == std::string_view::npos || at < from) return from;
  const std::string_view host = text.substr(from, std::min(text.find_first_of("/?# ", from), end) - from);
  if (host.find('@') != std::string_view::npos) return at;
  // Behind the brackets of an IPv6 address, which have colons themselves.
  const std::size_t colon = host.find(':', host.starts_with('[') ? std::min(host.find(']'), host.size()) : 0);
  if (colon == std::string_view::npos) return from;
  const std::string_view port = host.substr(colon + 1);
  const bool is_port = port.find_first_not_of("0123456789") == std::string_view::npos && !port.empty();
  return is_port ? from : at;
}

// Replaces the values of secret parameters behind the first `?` of [from, end).
void hide_parameters(std::string& text, std::size_t from, std::size_t end) {
  const std::size_t mark = text.find('?', from);
  if (mark == std::string::npos || mark >= end) return;
  const std::string_view parameters = std::string_view(text).substr(mark + 1, end - mark - 1);
  std::string shown;
  for (std::size_t at = 0; at < parameters.size();) {
    const std::size_t next = std::min(parameters.find_first_of("&;#", at), parameters.size());
    const std::string_view parameter = parameters.substr(at, next - at);
    const std::size_t equals = parameter.find('=');
    const bool secret = equals != std::string_view::npos && is_secret(parameter.substr(0, equals));
    shown += secret ? parameter.substr(0, equals + 1) : parameter;
    if (secret) shown += kShown;
    if (next < parameters.size()) shown += parameters[next];
    at = next + 1;
  }
  text.replace(mark + 1, end - mark - 1, shown);
}

// Hides both in [from, end), which is an address behind its scheme.
void hide_credentials(std::string& text, std::size_t from, std::size_t end) {
  const std::size_t user_end = end_of_user(text, from, end);
  text.replace(from, user_end - from, user_end > from ? kShown : std::string_view());
  end = end - (user_end - from) + (user_end > from ? kShown.size() : 0);
  hide_parameters(text, from, end);
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
    hide_credentials(text, from, end);
  }
  return text;
}

std::string address_without_credentials(std::string address) {
  if (const std::size_t scheme = address.find("://"); scheme != std::string::npos)
    hide_credentials(address, scheme + 3, address.size());
  return without_credentials(std::move(address));  // of others inside it
}

}  // namespace inflight::ffmpeg
