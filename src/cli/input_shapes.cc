// SPDX-License-Identifier: Apache-2.0
#include "cli/input_shapes.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <string_view>

#include "cli/text.h"

namespace inflight::cli {
namespace {

constexpr std::int64_t kExtentMax = std::int64_t{1} << 40;

// "1,3,640,640", also in brackets.
Result<Shape> parse_shape(std::string_view text, const Status& error) {
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  std::vector<std::int64_t> dims;
  while (true) {
    const std::size_t comma = std::min(text.find(','), text.size());
    std::int64_t extent = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + comma, extent);
    if (failed != std::errc() || end != text.data() + comma || extent < 1 || extent > kExtentMax)
      return error;
    dims.push_back(extent);
    if (comma == text.size()) break;
    text.remove_prefix(comma + 1);
  }
  Result<Shape> shape = Shape::make(dims);
  if (shape.ok()) return shape;
  return Status(StatusCode::kInvalidArgument, fmt::format("--input-shape: {}", shape.status().message()));
}

}  // namespace

Result<std::map<std::string, Shape>> parse_input_shapes(const std::vector<std::string>& words) {
  std::map<std::string, Shape> shapes;
  for (const std::string& word : words) {
    const Status error(StatusCode::kInvalidArgument,
                       fmt::format("--input-shape: got {}, want extents of at least 1 as in 1,3,640,640 or "
                                   "NAME=1,3,640,640",
                                   word.empty() ? "nothing" : one_line(clipped(word))));
    const std::size_t equals = word.rfind('=');
    const std::string name = equals == std::string::npos ? "" : word.substr(0, equals);
    if (equals == 0) return error;
    INFLIGHT_TRY_ASSIGN(const Shape shape, parse_shape(std::string_view(word).substr(equals + 1), error));
    if (!shapes.emplace(name, shape).second) {
      return Status(StatusCode::kInvalidArgument,
                    name.empty()
                        ? "--input-shape: got two without a name, want NAME=1,3,640,640"
                        : fmt::format("--input-shape: input \"{}\" stands twice", one_line(clipped(name))));
    }
  }
  if (shapes.size() > 1 && shapes.count("") != 0) {
    return Status(StatusCode::kInvalidArgument,
                  "--input-shape: got one without a name beside others, want NAME=1,3,640,640");
  }
  return shapes;
}

}  // namespace inflight::cli
