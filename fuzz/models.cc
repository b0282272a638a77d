// SPDX-License-Identifier: Apache-2.0
// Any bytes as a model file, up to where OpenVINO would read it: a format or a status, the same from memory and from a
// file, and the files of weights that it names. The last byte chooses the file's ending.
#include "model/file_format.h"

#include "model/openvino_error.h"
#include "model/weight_files.h"
#include "support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace inflight;
  using namespace inflight::internal;
  static const fuzz::Folder folder;
  constexpr const char* kEndings[] = {"", ".onnx", ".xml", ".tflite", ".pb", ".pdmodel", ".ONNX", ".bin"};
  const std::size_t ending = size == 0 ? 0 : data[--size] % std::size(kEndings);
  const std::vector<std::uint8_t> exact(data, data + size);  // sanitizers see where it ends
  const auto bytes = std::as_bytes(std::span(exact));
  const Result<FileFormat> in_memory = detect_format(bytes);
  const std::string path = folder.write(std::string("model") + kEndings[ending], exact);
  const Result<FileFormat> in_file = detect_format(std::filesystem::path(path));
  for (const Result<FileFormat>* format : {&in_memory, &in_file}) {
    if (!format->ok())
      fuzz::check_failure(format->status(), {StatusCode::kInvalidModel, StatusCode::kUnsupported});
  }
  if (ending == 0) fuzz::must(in_memory.ok() == in_file.ok(), "memory and file are the same");
  for (const FileFormat format : {FileFormat::kOnnx, FileFormat::kOpenVinoIr, FileFormat::kPaddle}) {
    const Status weights = check_weight_files(path, format);
    if (!weights.ok()) fuzz::check_failure(weights, {StatusCode::kInvalidModel});
    static_cast<void>(usual_weights_missing(path, format));
  }
  const std::string distilled =
      distil_openvino_error({reinterpret_cast<const char*>(exact.data()), exact.size()});
  fuzz::must(!distilled.empty() && distilled.size() <= 410, "a reason is short", distilled);
  fuzz::must(distilled.find('\n') == std::string::npos, "a reason is one line", distilled);
  folder.remove(path);
  return 0;
}
