// SPDX-License-Identifier: Apache-2.0
#include "media/address.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "media/ffmpeg.h"
#include "media/open_source.h"

namespace inflight {
namespace {

constexpr std::array<std::string_view, 12> kLive = {"rtsp",  "rtsps", "rtspt", "rtspu", "rtmp", "rtmps",
                                                    "rtmpt", "udp",   "rtp",   "srt",   "srtp", "mmsh"};
constexpr std::array<std::string_view, 4> kRtsp = {"rtsp", "rtsps", "rtspt", "rtspu"};

constexpr std::string_view noun(MediaKind kind) {
  switch (kind) {
    case MediaKind::kVideo:
      return "video";
    case MediaKind::kStream:
      return "stream";
    case MediaKind::kCamera:
      return "camera";
  }
  return "";
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::string scheme_of(std::string_view text) { return lower(text.substr(0, text.find("://"))); }

// RTSP is a format of FFmpeg's, and not one of its protocols.
bool has_protocol(const std::string& scheme) {
  if (std::find(kRtsp.begin(), kRtsp.end(), scheme) != kRtsp.end()) return true;
  void* state = nullptr;
  while (const char* name = avio_enum_protocols(&state, 0)) {
    if (scheme == name) return true;
  }
  return false;
}

std::string percent_decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = 0;
    const char* const from = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() && std::from_chars(from, from + 2, byte, 16).ptr == from + 2) {
      result += static_cast<char>(byte);
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace

std::string MediaAddress::name() const { return fmt::format("{} \"{}\"", noun(kind), text); }

bool is_address(std::string_view text) {
  const std::size_t end = text.find("://");
  if (end == std::string_view::npos || end == 0 || !is_letter(text[0])) return false;
  return std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char c) { return is_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.'; });
}

std::optional<std::string> file_of_address(std::string_view text) {
  if (!is_address(text) || scheme_of(text) != "file") return std::nullopt;
  std::string_view path = text.substr(std::string_view("file://").size());
  constexpr std::string_view kHere = "localhost/";
  if (path.starts_with(kHere)) path.remove_prefix(kHere.size() - 1);
  struct stat found {};
  std::string written(path);
  if (stat(written.c_str(), &found) == 0) return written;
  return percent_decoded(path);
}

std::optional<std::string> camera_of_index(std::string_view text) {
  if (text.empty() || text.size() > 3 || !std::all_of(text.begin(), text.end(), is_digit))
    return std::nullopt;
  return "/dev/video" + std::string(text);
}

Result<MediaAddress> parse_address(std::string_view text, Duration stall_timeout) {
  MediaAddress address;
  address.url = text;
  address.text = ffmpeg::address_without_credentials(std::string(text));
  address.kind = MediaKind::kStream;
  address.stall_timeout = stall_timeout;
  const std::string scheme = scheme_of(text);
  address.live = std::find(kLive.begin(), kLive.end(), scheme) != kLive.end();
  avformat_network_init();  // counts its calls; the process keeps it
  if (!has_protocol(scheme)) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("{}: this FFmpeg has no protocol {}", address.name(), scheme));
  }
  return address;
}

bool is_live(std::string_view text) {
  if (camera_of_index(text)) return true;
  const std::string path = file_of_address(text).value_or(std::string(text));
  struct stat found {};
  if (stat(path.c_str(), &found) == 0) return S_ISCHR(found.st_mode);
  if (!is_address(path)) return path.starts_with("/dev/");
  const Result<MediaAddress> address = parse_address(path, SourceOptions().stall_timeout);
  return address.ok() && address->live;
}

MediaAddress standard_input() {
  MediaAddress address;
  struct stat found {};
  const bool file = fstat(STDIN_FILENO, &found) == 0 && S_ISREG(found.st_mode);
  address.url = file ? "file:/dev/stdin" : "pipe:0";
  address.text = "-";
  return address;
}

}  // namespace inflight
