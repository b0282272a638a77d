// SPDX-License-Identifier: Apache-2.0
#include "vision/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "base/text.h"

namespace inflight::vision {
namespace {

using internal::trimmed;
using Json = nlohmann::json;

Status invalid(std::string message) { return {StatusCode::kInvalidArgument, std::move(message)}; }

// A number of a class, all of the text.
std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// Whether the bytes are UTF-8 without control characters other than white space.
bool is_text(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != '\v') return false;
  }
  // The library's writer checks the encoding; it has no function for that alone.
  const std::string dumped = Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::ignore);
  const std::string with_marks = Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
  return dumped == with_marks;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
    lines.push_back(trimmed(text.substr(0, end)));
    const bool pair = end + 1 < text.size() && text[end] == '\r' && text[end + 1] == '\n';
    text.remove_prefix(std::min(end + (pair ? 2 : 1), text.size()));
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

// `17 cat`, `17: cat`, `17, cat` or `17<tab>cat`.
std::optional<std::pair<std::int64_t, std::string_view>> numbered(std::string_view line) {
  const std::size_t end = line.find_first_not_of("0123456789");
  if (end == 0 || end == std::string_view::npos) return std::nullopt;
  const std::optional<std::int64_t> number = parse_number(line.substr(0, end));
  if (!number) return std::nullopt;
  std::string_view rest = line.substr(end);
  const bool separated = rest[0] == ':' || rest[0] == ',' || rest[0] == ' ' || rest[0] == '\t';
  if (!separated) return std::nullopt;
  if (rest[0] == ':' || rest[0] == ',') rest.remove_prefix(1);
  rest = trimmed(rest);
  if (rest.empty()) return std::nullopt;
  return std::pair(*number, rest);
}

// A map as Python prints it, {0: 'cat', 1: "dog's"}: the pairs, or nothing where it is none.
std::optional<std::vector<std::pair<std::int64_t, std::string>>> python_map(std::string_view text) {
  std::vector<std::pair<std::int64_t, std::string>> pairs;
  std::size_t at = 1;  // after the brace
  const auto skip = [&] { at = std::min(text.find_first_not_of(" \t\r\n", at), text.size()); };
  for (skip(); at < text.size() && text[at] != '}'; skip()) {
    const std::size_t colon = text.find(':', at);
    if (colon == std::string_view::npos) return std::nullopt;
    const std::optional<std::int64_t> number = parse_number(trimmed(text.substr(at, colon - at)));
    at = colon + 1;
    skip();
    if (!number || at >= text.size() || (text[at] != '\'' && text[at] != '"')) return std::nullopt;
    const char quote = text[at++];
    std::string name;
    for (; at < text.size() && text[at] != quote; ++at) {
      if (text[at] == '\\' && at + 1 < text.size()) ++at;
      name.push_back(text[at]);
    }
    if (at++ >= text.size()) return std::nullopt;
    pairs.emplace_back(*number, std::move(name));
    skip();
    if (at < text.size() && text[at] == ',')
      ++at;
    else if (at >= text.size() || text[at] != '}')
      return std::nullopt;
  }
  if (at >= text.size() || !trimmed(text.substr(at + 1)).empty()) return std::nullopt;
  return pairs;
}

// A list of names, or a map from numbers to names. Deep nesting is no recursion of ours: the parser has a
// stack on the heap, and only the first level is kept.
Result<std::vector<std::pair<std::int64_t, std::string>>> json_pairs(std::string_view text) {
  bool nested = false;
  const Json value = Json::parse(
      text,
      [&nested](int depth, Json::parse_event_t event, Json&) {
        const bool opens =
            event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
        nested = nested || (opens && depth > 0);
        return !nested;
      },
      /*allow_exceptions=*/false);
  if (nested) return invalid("is neither a list of names nor a map from numbers to names");
  std::vector<std::pair<std::int64_t, std::string>> pairs;
  if (value.is_array()) {
    for (const Json& name : value) {
      if (!name.is_string()) return invalid(fmt::format("entry {} is no name", pairs.size()));
      pairs.emplace_back(static_cast<std::int64_t>(pairs.size()), name.get<std::string>());
    }
    return pairs;
  }
  if (!value.is_object()) return invalid("is neither a list of names nor a map from numbers to names");
  for (const auto& [key, name] : value.items()) {
    const std::optional<std::int64_t> number = parse_number(key);
    if (!number || !name.is_string()) return invalid("the map is not one from numbers to names");
    pairs.emplace_back(*number, name.get<std::string>());
  }
  return pairs;
}

}  // namespace

Status Labels::add(std::int64_t category, std::string name) {
  constexpr std::int64_t kNumberMax = 1'000'000'000;
  if (category < 0 || category > kNumberMax) {
    return invalid(fmt::format("got the number {}, want 0 to {}", category, kNumberMax));
  }
  if (names_.size() >= kCountMax) return invalid(fmt::format("has more than {} names", kCountMax));
  if (!names_.emplace(category, std::move(name)).second)
    return invalid(fmt::format("number {} stands twice", category));
  return {};
}

Result<Labels> Labels::parse(std::string_view text) {
  if (text.size() > kBytesMax) return invalid(fmt::format("has more than {} bytes", kBytesMax));
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (!is_text(text)) return invalid("is not UTF-8 text");
  text = trimmed(text.substr(0)).empty() ? std::string_view() : text;
  if (text.empty()) return invalid("holds no names");
  Labels labels;
  const std::string_view whole = trimmed(text);
  if (whole[0] == '[' || whole[0] == '{') {
    std::vector<std::pair<std::int64_t, std::string>> pairs;
    auto python = whole[0] == '{' ? python_map(whole) : std::nullopt;
    if (python) {
      pairs = std::move(*python);
    } else {
      INFLIGHT_TRY_ASSIGN(pairs, json_pairs(whole));
    }
    for (auto& [number, name] : pairs) INFLIGHT_TRY(labels.add(number, std::move(name)));
    if (labels.empty()) return invalid("holds no names");
    return labels;
  }
  const std::vector<std::string_view> lines = lines_of(text);
  const bool all_numbered = std::all_of(lines.begin(), lines.end(), [](std::string_view line) {
    return line.empty() || numbered(line).has_value();
  });
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    const auto pair = all_numbered ? *numbered(lines[i]) : std::pair(static_cast<std::int64_t>(i), lines[i]);
    INFLIGHT_TRY(labels.add(pair.first, std::string(pair.second)));
  }
  return labels;
}

Labels Labels::of(const std::vector<std::string>& names) {
  Labels labels;
  for (std::size_t i = 0; i < names.size() && i < kCountMax; ++i) {
    if (!names[i].empty() && is_text(names[i])) labels.names_.emplace(static_cast<std::int64_t>(i), names[i]);
  }
  return labels;
}

Result<Labels> Labels::read(const std::string& path) {
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const auto failed = [&path](int error) {
    return Status(StatusCode::kNotFound,
                  fmt::format("cannot read \"{}\": {}", path, std::generic_category().message(error)));
  };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "rbe"), close);
  if (file == nullptr) return failed(errno);
  std::string text(kBytesMax + 1, '\0');
  errno = 0;
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) return failed(errno);
  Result<Labels> labels = parse(text);
  if (!labels.ok()) return labels.status().with_context(fmt::format("\"{}\"", path));
  return labels;
}

std::optional<std::string_view> Labels::name(std::int64_t category) const {
  const auto found = names_.find(category);
  if (found == names_.end()) return std::nullopt;
  return found->second;
}

Labels Labels::shifted(std::int64_t offset) const {
  Labels result;
  for (const auto& [number, name] : names_) {
    if (number + offset >= 0) result.names_.emplace(number + offset, name);
  }
  return result;
}

}  // namespace inflight::vision
