// SPDX-License-Identifier: Apache-2.0
#include "model/weight_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "model/protobuf_scan.h"

namespace inflight::internal {
namespace {

namespace fs = std::filesystem;

// The files by name, and how many bytes of each are used.
using Needs = std::map<std::string, std::uint64_t>;

constexpr std::uint64_t kBytesMax = std::numeric_limits<std::uint64_t>::max();

// One that is too large is the largest.
std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc::result_out_of_range ? kBytesMax : value;
}

std::uint64_t sum(std::uint64_t a, std::uint64_t b) { return b > kBytesMax - a ? kBytesMax : a + b; }

// The fields of onnx.proto that lead to tensors, and those of TensorProto that say where its values lie.
constexpr std::uint32_t kModelGraph = 7;
constexpr std::uint32_t kGraphNode = 1;
constexpr std::uint32_t kGraphInitializer = 5;
constexpr std::uint32_t kNodeAttribute = 5;
constexpr std::uint32_t kAttributeTensor = 5;
constexpr std::uint32_t kAttributeGraph = 6;
constexpr std::uint32_t kTensorExternalData = 13;
constexpr std::uint32_t kTensorDataLocation = 14;
constexpr int kDepthMax = 16;  // of graphs in graphs

void add_tensor(WireScan tensor, Needs& needs) {
  std::string location;
  std::uint64_t end = 0;
  bool external = false;
  while (tensor.next()) {
    if (tensor.number == kTensorDataLocation) external = tensor.value == 1;
    if (tensor.number != kTensorExternalData || tensor.type != WireScan::kLength) continue;
    std::string key;
    std::string value;
    for (WireScan entry = tensor.inside(); entry.next();) {
      if (entry.number == 1) key = entry.text();
      if (entry.number == 2) value = entry.text();
    }
    if (key == "location") location = value;
    if (key == "offset" || key == "length") end = sum(end, number(value));
  }
  if (!external || location.empty()) return;
  std::uint64_t& bytes = needs[location];
  bytes = std::max(bytes, end);
}

void add_graph(WireScan graph, Needs& needs, int depth) {
  if (depth > kDepthMax) return;
  while (graph.next()) {
    if (graph.type != WireScan::kLength) continue;
    if (graph.number == kGraphInitializer) add_tensor(graph.inside(), needs);
    if (graph.number != kGraphNode) continue;
    for (WireScan node = graph.inside(); node.next();) {
      if (node.number != kNodeAttribute || node.type != WireScan::kLength) continue;
      for (WireScan attribute = node.inside(); attribute.next();) {
        if (attribute.type != WireScan::kLength) continue;
        if (attribute.number == kAttributeTensor) add_tensor(attribute.inside(), needs);
        if (attribute.number == kAttributeGraph) add_graph(attribute.inside(), needs, depth + 1);
      }
    }
  }
}

Needs needs_of_onnx(const fs::path& path) {
  Needs needs;
  std::error_code error;
  FileSource source(path, fs::file_size(path, error));
  for (WireScan model(source); model.next();) {
    if (model.number == kModelGraph && model.type == WireScan::kLength) add_graph(model.inside(), needs, 0);
  }
  return needs;
}

// The number in name="123" inside a tag.
std::optional<std::uint64_t> attribute(std::string_view tag, std::string_view name) {
  const std::size_t at = tag.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  return number(tag.substr(at + name.size()));
}

// OpenVINO IR says of each constant where in the .bin it lies:
// <data element_type="f32" shape="4, 27" offset="0" size="432"/>
Needs needs_of_ir(const fs::path& path) {
  Needs needs;
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::uint64_t bytes = 0;
  constexpr std::string_view kData = "<data ";
  for (std::size_t at = text.find(kData); at != std::string::npos; at = text.find(kData, at + kData.size())) {
    const std::size_t end = std::min(text.find('>', at), text.size());
    const std::string_view tag = std::string_view(text).substr(at, end - at);
    const std::optional<std::uint64_t> offset = attribute(tag, " offset=\"");
    const std::optional<std::uint64_t> size = attribute(tag, " size=\"");
    if (offset && size && tag.find("element_type=") != std::string_view::npos) {
      bytes = std::max(bytes, sum(*offset, *size));
    }
  }
  if (bytes > 0) needs[fs::path(path).replace_extension(".bin").filename().string()] = bytes;
  return needs;
}

Status check(const fs::path& folder, const std::string& name, std::uint64_t bytes) {
  const fs::path file = folder / name;
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (!fs::exists(status))
    return {StatusCode::kInvalidModel, fmt::format("its weights \"{}\": no such file", file.string())};
  if (!fs::is_regular_file(status))
    return {StatusCode::kInvalidModel, fmt::format("its weights \"{}\": not a regular file", file.string())};
  const std::uintmax_t size = fs::file_size(file, error);
  if (!error && size >= bytes) return {};
  return {StatusCode::kInvalidModel, fmt::format("its weights \"{}\": got {} bytes, want at least {}",
                                                 file.string(), error ? 0 : size, bytes)};
}

}  // namespace

Status check_weight_files(const fs::path& path, FileFormat format) {
  Needs needs;
  if (format == FileFormat::kOnnx) needs = needs_of_onnx(path);
  if (format == FileFormat::kOpenVinoIr) needs = needs_of_ir(path);
  for (const auto& [name, bytes] : needs) INFLIGHT_TRY(check(path.parent_path(), name, bytes));
  return {};
}

std::string usual_weights_missing(const fs::path& path, FileFormat format) {
  fs::path usual;
  std::error_code error;
  if (format == FileFormat::kTensorFlow && fs::is_directory(path, error))
    usual = path / "variables" / "variables.index";
  if (format == FileFormat::kPaddle) usual = fs::path(path).replace_extension(".pdiparams");
  return usual.empty() || fs::exists(usual, error) ? std::string() : usual.string();
}

}  // namespace inflight::internal
