// SPDX-License-Identifier: Apache-2.0
#include "model/openvino_error.h"

#include <algorithm>

#include "base/text.h"

namespace inflight::internal {
namespace {

constexpr std::size_t kLengthMax = 400;

std::string_view trim(std::string_view text) { return trimmed(text, " \t\r\n\v\f-"); }

// The line without the source file that it names ("src/a.cpp:84:"), and without the check that failed there.
std::string_view without_source(std::string_view line) {
  for (const std::string_view ending : {".cpp:", ".hpp:", ".h:", ".cc:"}) {
    const std::size_t at = line.find(ending);
    if (at == std::string_view::npos) continue;
    const std::size_t after = line.find_first_not_of("0123456789: ", at + ending.size());
    if (after != std::string_view::npos) return trim(line.substr(after));
    const std::size_t check = line.find("Check '");
    return check == std::string_view::npos ? std::string_view() : trim(line.substr(0, check));
  }
  return line;
}

std::string shortened(std::string text) {
  while (!text.empty() && (text.back() == ':' || text.back() == '.' || text.back() == ' ')) text.pop_back();
  if (text.size() <= kLengthMax) return text;
  std::size_t end = kLengthMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;  // not inside a UTF-8 character
  return text.substr(0, end) + "...";
}

}  // namespace

std::string distil_openvino_error(std::string_view what) {
  std::string kept;
  while (!what.empty()) {
    const std::size_t end = std::min(what.find('\n'), what.size());
    const std::string_view line = without_source(trim(what.substr(0, end)));
    what.remove_prefix(std::min(end + 1, what.size()));
    // Pages to read are no reason, and what introduces the next line is of use where it names something.
    if (line.empty() || line.find("://") != std::string_view::npos ||
        (line.back() == ':' && line.find('\'') == std::string_view::npos))
      continue;
    if (!kept.empty()) kept += kept.back() == ':' ? " " : "; ";
    kept += line.substr(0, line.find_last_not_of('.') + 1);
  }
  kept = shortened(std::move(kept));
  return kept.empty() ? "no reason given" : kept;
}

}  // namespace inflight::internal
