// SPDX-License-Identifier: Apache-2.0
#include "model/file_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <system_error>

#include "model/protobuf_scan.h"

namespace inflight::internal {
namespace {

Status invalid(std::string message) { return {StatusCode::kInvalidModel, std::move(message)}; }

// The fields of ONNX's ModelProto (onnx.proto): the wire type of each, or none.
int onnx_wire_type(std::uint32_t field) {
  switch (field) {
    case 1:  // ir_version
    case 5:  // model_version
      return static_cast<int>(WireScan::kVarint);
    case 2:
    case 3:
    case 4:  // producer_name, producer_version, domain
    case 6:
    case 7:
    case 8:  // doc_string, graph, opset_import
    case 14:
    case 20:
    case 25:
    case 26:  // metadata_props, training_info, functions, configuration
      return static_cast<int>(WireScan::kLength);
    default:
      return -1;
  }
}

// Ok: a whole ONNX file. kInvalidModel: one that is not. kNotFound: something else altogether.
Status check_onnx(ByteSource& source) {
  WireScan scan(source);
  bool ir_version = false;
  bool graph = false;
  bool opset = false;
  while (scan.next()) {
    if (onnx_wire_type(scan.number) != static_cast<int>(scan.type))
      return {StatusCode::kNotFound, "not ONNX"};
    ir_version = ir_version || (scan.number == 1 && scan.value >= 1 && scan.value <= 1000);
    graph = graph || scan.number == 7;
    opset = opset || scan.number == 8;
  }
  // The version comes first in every writer's files, and is what a random file is told from ONNX by.
  if (!ir_version && !graph) return {StatusCode::kNotFound, "not ONNX"};
  const auto incomplete = [&](std::string_view why) {
    return invalid(fmt::format("not a complete ONNX file ({} bytes): {}", source.size(), why));
  };
  if (!scan.error().empty()) {
    return incomplete(scan.number == 7 ? "it ends inside its graph: " + scan.error() : scan.error());
  }
  if (!graph) return incomplete("it has no graph");
  if (!opset) return incomplete("it names no operator set");
  return {};
}

// Files that people try and that no reader here knows, by how they begin.
struct Foreign {
  std::size_t offset;
  std::string_view magic;
  std::string_view what;
};
constexpr std::array<Foreign, 7> kForeign = {{
    {0, "PK\x03\x04", "a zip archive (PyTorch or Keras?); export the model to ONNX"},
    {0, "\x89HDF\r\n", "an HDF5 file (Keras?); export the model to ONNX or as a SavedModel"},
    {0, "\x80\x02", "a Python pickle (PyTorch?); export the model to ONNX"},
    {0, "GGUF", "a GGUF file"},
    {0, std::string_view("\x12\x01\0\0\0\0\0\0", 8),
     "an MXNet parameter file; MXNet checkpoints are not read yet"},
    {0, "\xFF\xD8\xFF", "a JPEG image"},
    {0, "\x89PNG", "a PNG image"},
}};

Status check_json(std::string_view head) {
  if (head.find("\"nodes\"") == std::string_view::npos) return invalid("a JSON file that is not a model");
  return {StatusCode::kUnsupported, "it is an MXNet symbol file; MXNet checkpoints are not read yet"};
}

// Ok: begins and ends as OpenVINO IR does.
Status check_xml(ByteSource& source, std::string_view head) {
  const std::size_t net = head.find("<net");
  if (net == std::string_view::npos) return invalid("an XML file that is not OpenVINO IR");
  std::array<char, 64> buffer{};
  const std::uint64_t from = source.size() > buffer.size() ? source.size() - buffer.size() : 0;
  const std::string_view tail(buffer.data(), source.read(from, buffer));
  const std::size_t last = tail.find_last_not_of(" \t\r\n");
  if (head.find("version=", net) != std::string_view::npos && last != std::string_view::npos &&
      tail.substr(0, last + 1).ends_with("</net>")) {
    return {};
  }
  return invalid(fmt::format("not a complete OpenVINO IR file ({} bytes)", source.size()));
}

// Ok where the top level is whole and has `field`.
Status check_protobuf(ByteSource& source, std::string_view what, std::uint32_t field) {
  WireScan scan(source);
  bool found = false;
  while (scan.next()) found = found || (scan.number == field && scan.type == WireScan::kLength);
  if (scan.error().empty() && found) return {};
  return invalid(fmt::format("not a complete {} ({} bytes): {}", what, source.size(),
                             found || !scan.error().empty() ? scan.error() : "it has no graph"));
}

Result<FileFormat> detect(ByteSource& source, std::string_view extension) {
  if (source.size() == 0) return invalid("the file is empty");
  std::array<char, 4096> buffer{};
  const std::string_view head(buffer.data(), source.read(0, buffer));
  for (const Foreign& foreign : kForeign) {
    if (head.substr(std::min(foreign.offset, head.size())).starts_with(foreign.magic)) {
      return Status(StatusCode::kUnsupported, fmt::format("it is {}", foreign.what));
    }
  }
  if (head.size() >= 8 && head.substr(4, 4) == "TFL3") return FileFormat::kTfLite;
  const std::size_t text = head.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  if (text != std::string_view::npos && head[text] == '{') return check_json(head);
  if (text != std::string_view::npos && head[text] == '<') {
    INFLIGHT_TRY(check_xml(source, head));
    return FileFormat::kOpenVinoIr;
  }
  if (extension == ".pdmodel") {
    INFLIGHT_TRY(check_protobuf(source, "Paddle program", 1));
    return FileFormat::kPaddle;
  }
  if (extension == ".pb") {
    INFLIGHT_TRY(check_protobuf(source, "TensorFlow graph", 1));
    return FileFormat::kTensorFlow;
  }
  const Status onnx = check_onnx(source);
  if (onnx.ok()) return FileFormat::kOnnx;
  if (onnx.code() == StatusCode::kInvalidModel) return onnx;
  if (extension == ".onnx" || extension == ".tflite" || extension == ".xml") {
    return invalid(fmt::format("not {} file: its {} bytes do not begin like one",
                               extension == ".onnx"     ? "an ONNX"
                               : extension == ".tflite" ? "a TensorFlow Lite"
                                                        : "an OpenVINO IR",
                               source.size()));
  }
  return invalid(
      fmt::format("not a model that can be read ({} bytes); want ONNX, a TensorFlow SavedModel (its folder), "
                  "TensorFlow Lite, Paddle or OpenVINO IR",
                  source.size()));
}

Result<FileFormat> detect_folder(const std::filesystem::path& path) {
  const std::filesystem::path inner = path / "saved_model.pb";
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(inner, error);
  if (error) return invalid("a folder without saved_model.pb, so not a TensorFlow SavedModel");
  FileSource source(inner, size);
  if (!source.is_open()) return Status(StatusCode::kNotFound, "saved_model.pb cannot be opened");
  INFLIGHT_TRY(check_protobuf(source, "saved_model.pb", 2));
  return FileFormat::kTensorFlow;
}

}  // namespace

Result<FileFormat> detect_format(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return Status(StatusCode::kNotFound, "no such file");
  if (std::filesystem::is_directory(status)) return detect_folder(path);
  if (!std::filesystem::is_regular_file(status)) return invalid("not a regular file");
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  FileSource source(path, error ? 0 : size);
  if (!source.is_open()) {
    return Status(StatusCode::kNotFound, "the file cannot be opened for reading");
  }
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
  return detect(source, extension);
}

Result<FileFormat> detect_format(std::span<const std::byte> bytes) {
  MemorySource source(bytes);
  return detect(source, "");
}

}  // namespace inflight::internal
