// SPDX-License-Identifier: Apache-2.0
#include "model/openvino_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

namespace inflight::internal {
namespace {

constexpr std::size_t kLengthMax = 400;

std::string_view trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (const std::string_view line = trim(text.substr(0, end)); !line.empty()) lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// "my.domain.FooBar" or "FooBar-13" (the standard domain, with its operator set) as words.
std::string operator_in_words(std::string_view id) {
  std::string_view domain;
  if (const std::size_t dash = id.rfind('-');
      dash != std::string_view::npos && dash + 1 < id.size() &&
      std::all_of(id.begin() + static_cast<std::ptrdiff_t>(dash) + 1, id.end(),
                  [](unsigned char c) { return std::isdigit(c) != 0; })) {
    id = id.substr(0, dash);
  }
  if (const std::size_t dot = id.rfind('.'); dot != std::string_view::npos) {
    domain = id.substr(0, dot);
    id = id.substr(dot + 1);
  }
  return fmt::format("operator \"{}\" (domain \"{}\")", id, domain);
}

// The operators that the readers had no rule for, in words; "" where that is not what went wrong.
std::string unknown_operators(std::string_view line) {
  constexpr std::string_view kMarker = "No conversion rule found for operations:";
  const std::size_t at = line.find(kMarker);
  if (at == std::string_view::npos) return "";
  std::string_view list = line.substr(at + kMarker.size());
  std::string words;
  std::size_t count = 0;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(','), list.size());
    if (const std::string_view id = trim(list.substr(0, end)); !id.empty()) {
      words += (words.empty() ? "" : ", ") + operator_in_words(id);
      ++count;
    }
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  if (count == 0) return "";
  return words + (count == 1 ? " is not known to any reader" : " are not known to any reader");
}

bool is_noise(std::string_view line) {
  for (const std::string_view start :
       {"Exception from ", "FrontEnd API failed with", "Summary:", "-- Conversion is failed for",
        "To facilitate", "While validating node", "Model wasn't fully converted", "[ NOT_IMPLEMENTED ]",
        "Please check "}) {
    if (line.starts_with(start)) return true;
  }
  if (line.starts_with("-- ") && line.ends_with(" with a message:")) return true;
  return line.starts_with("Check '") && line.find("' failed at ") != std::string_view::npos;
}

// The line without "Check '...' failed at file:line:" in its middle.
std::string without_check(std::string_view line) {
  const std::size_t check = line.find("Check '");
  const std::size_t failed = line.find("' failed at ");
  if (check == std::string_view::npos || failed == std::string_view::npos || failed < check)
    return std::string(line);
  return std::string(trim(line.substr(0, check)));
}

// "While validating ONNX node '<Node(Add): t>': why" as "operator "Add" ("t"): why".
std::string with_node_in_words(std::string_view line) {
  constexpr std::string_view kStart = "While validating ONNX node '<Node(";
  const std::size_t type_end = line.find("): ", kStart.size());
  const std::size_t name_end = line.find(">':", kStart.size());
  if (!line.starts_with(kStart) || type_end == std::string_view::npos || name_end == std::string_view::npos ||
      name_end < type_end + 3) {
    return std::string(line);
  }
  return fmt::format("operator \"{}\" (\"{}\"){}", line.substr(kStart.size(), type_end - kStart.size()),
                     line.substr(type_end + 3, name_end - type_end - 3), line.substr(name_end + 2));
}

std::string shortened(std::string text) {
  while (!text.empty() && (text.back() == ':' || text.back() == '.')) text.pop_back();
  if (text.size() <= kLengthMax) return text;
  std::size_t end = kLengthMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;  // not inside a UTF-8 character
  return text.substr(0, end) + "...";
}

}  // namespace

std::string distil_openvino_error(std::string_view what) {
  const std::vector<std::string_view> lines = lines_of(what);
  std::string kept;
  for (const std::string_view line : lines) {
    if (std::string unknown = unknown_operators(line); !unknown.empty()) return shortened(std::move(unknown));
    constexpr std::string_view kMissing = " node not found in graph cache";
    if (const std::size_t at = line.find(kMissing); at != std::string_view::npos) {
      return shortened(
          fmt::format("tensor \"{}\" is used and nothing makes it: an initializer or an operator is missing, "
                      "or depends on itself",
                      line.substr(0, at)));
    }
    if (is_noise(line)) continue;
    std::string rest = with_node_in_words(without_check(line));
    if (rest.empty()) continue;
    const bool opens = kept.empty() || kept.back() == ':';
    kept += (kept.empty() ? "" : opens ? " " : "; ") + rest;
  }
  if (kept.empty()) kept = lines.empty() ? "no reason given" : std::string(lines.back());
  return shortened(std::move(kept));
}

}  // namespace inflight::internal
