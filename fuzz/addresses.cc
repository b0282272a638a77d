// SPDX-License-Identifier: Apache-2.0
// Any text as an address, and any user, password and parameter in one: they are in no name and no message.
#include "media/address.h"

#include "media/ffmpeg.h"
#include "media/open_source.h"
#include "support.h"

namespace {

using namespace inflight;

constexpr std::string_view kSecret = "S3cretWord";

void check_hidden(std::string_view shown, std::string_view address) {
  fuzz::must(shown.find(kSecret) == std::string_view::npos, "no secret is shown", shown);
  static_cast<void>(address);
}

// Text that a user may write as a password, around what must not be shown. Digits and then one of "/?#" would be a
// port to anybody.
std::string secret(fuzz::Bytes& bytes) {
  std::string before = bytes.text();
  const std::size_t other = before.find_first_not_of("0123456789");
  if (other != std::string::npos && std::string_view("/?# ").find(before[other]) != std::string_view::npos)
    before = "x" + before;
  return before + std::string(kSecret) + bytes.text();
}

std::string user(fuzz::Bytes& bytes) {
  std::string name = bytes.text();
  std::erase_if(name, [](char c) { return std::string_view("/?# :[").find(c) != std::string_view::npos; });
  return name;
}

std::string make_address(fuzz::Bytes& bytes) {
  constexpr const char* kSchemes[] = {"rtsp", "http", "https", "RTSP", "rtmp", "udp", "srt", "x+y"};
  constexpr const char* kHosts[] = {"host", "127.0.0.1:1", "[::1]:8554", "h:80"};
  constexpr const char* kKeys[] = {"pwd", "password", "token", "Auth", "key", "X-Signature", "user"};
  std::string address = std::string(kSchemes[bytes.below(8)]) + "://";
  const int form = bytes.below(4);  // 2: neither
  if (form < 2) address += user(bytes) + ":";
  if (form < 2) address += secret(bytes) + "@";
  address += kHosts[bytes.below(4)];
  std::string path = bytes.text('@');
  std::replace(path.begin(), path.end(), 'S', 's');  // or the fuzzer would write the secret there
  address += "/" + path;
  if (form == 3) {
    std::string value = secret(bytes);
    // What ends a parameter is written as %XX in it.
    std::erase_if(value, [](char c) { return c == '&' || c == ';' || c == '#'; });
    std::erase_if(address, [](char c) { return c == '#' || c == '?' || c == '@'; });
    address += "?a=b&" + std::string(kKeys[bytes.below(7)]) + "=" + value;
  }
  std::erase(address, '\0');
  return address;
}

void check_text(const std::string& text) {
  const bool address = is_address(text);
  static_cast<void>(camera_of_index(text));
  if (const std::optional<std::string> file = file_of_address(text))
    fuzz::must(address && file->size() <= text.size(), "a file's address is an address");
  const std::string shown = ffmpeg::without_credentials(text);
  const bool nested = text.find("://") != text.rfind("://");
  fuzz::must(nested || ffmpeg::without_credentials(shown) == shown, "what is shown has nothing more to hide",
             shown);
  if (!address) return;
  const Result<MediaAddress> parsed = parse_address(text, std::chrono::seconds(5));
  if (!parsed.ok()) return fuzz::check_failure(parsed.status(), {StatusCode::kUnsupported});
  fuzz::must(parsed->url == text, "FFmpeg gets the address as it is written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  if (bytes.below(2) == 0) {
    const auto rest = bytes.rest();
    check_text({reinterpret_cast<const char*>(rest.data()), rest.size()});
    return 0;
  }
  const std::string address = make_address(bytes);
  const Result<MediaAddress> parsed = parse_address(address, std::chrono::seconds(5));
  if (parsed.ok()) {
    check_hidden(parsed->text, address);
    check_hidden(parsed->name(), address);
  } else {
    check_hidden(parsed.status().message(), address);
  }
  static_cast<void>(is_live(address));
  return 0;
}
