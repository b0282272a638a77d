// SPDX-License-Identifier: Apache-2.0
// Writes small ONNX models for tests. It has the small part of protobuf's wire format and of onnx.proto that
// they need, so the tests depend on neither.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace inflight::testing {

inline std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7F) | 0x80);
  return bytes + static_cast<char>(value);
}
inline std::string field(std::uint32_t number, std::int64_t value) {
  return varint(number << 3) + varint(static_cast<std::uint64_t>(value));
}
inline std::string field(std::uint32_t number, std::string_view bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}

// ONNX's element types.
enum OnnxType : int { kFloat = 1, kUint8 = 2, kInt64 = 7, kString = 8, kFloat16 = 10 };

using OnnxDim = std::variant<std::int64_t, std::string>;  // an extent, or the name of a dynamic one

inline std::string onnx_value(std::string_view name, int type, const std::vector<OnnxDim>& dims) {
  std::string shape;
  for (const OnnxDim& dim : dims) {
    shape += field(1, std::holds_alternative<std::int64_t>(dim) ? field(1, std::get<std::int64_t>(dim))
                                                                : field(2, std::get<std::string>(dim)));
  }
  return field(1, name) + field(2, field(1, field(1, std::int64_t{type}) + field(2, shape)));
}

inline std::string onnx_node(std::string_view op, const std::vector<std::string>& inputs,
                             const std::vector<std::string>& outputs, std::string_view domain = "") {
  std::string node;
  for (const std::string& input : inputs) node += field(1, input);
  for (const std::string& output : outputs) node += field(2, output);
  return node + field(4, op) + (domain.empty() ? "" : field(7, domain));
}

// A constant tensor f32. There may be fewer `values` than `dims` say, to test that.
inline std::string onnx_initializer(std::string_view name, const std::vector<std::int64_t>& dims,
                                    const std::vector<float>& values) {
  std::string tensor;
  for (const std::int64_t dim : dims) tensor += field(1, dim);
  std::string raw(values.size() * sizeof(float), '\0');
  if (!values.empty()) std::memcpy(raw.data(), values.data(), raw.size());
  return tensor + field(2, std::int64_t{kFloat}) + field(8, name) + field(9, raw);
}

struct OnnxModel {
  std::vector<std::string> nodes;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::vector<std::string> initializers = {};
  std::vector<std::pair<std::string, std::string>> metadata = {};
  std::vector<std::string> domains = {};  // besides ONNX's own
  std::int64_t opset = 13;                // 0: none is named

  std::string bytes() const {
    std::string inner;
    for (const std::string& node : nodes) inner += field(1, node);
    inner += field(2, "tests");
    for (const std::string& initializer : initializers) inner += field(5, initializer);
    for (const std::string& input : inputs) inner += field(11, input);
    for (const std::string& output : outputs) inner += field(12, output);
    std::string model = field(1, std::int64_t{8}) + field(2, "tests") + field(7, inner);
    if (opset != 0) model += field(8, field(2, opset));
    for (const std::string& domain : domains) model += field(8, field(1, domain) + field(2, std::int64_t{1}));
    for (const auto& [key, value] : metadata) model += field(14, field(1, key) + field(2, value));
    return model;
  }
};

// y = Relu(x + w), f32[1,4], w = 1, 2, 3, 4
inline OnnxModel small_onnx() {
  return {.nodes = {onnx_node("Add", {"x", "w"}, {"t"}), onnx_node("Relu", {"t"}, {"y"})},
          .inputs = {onnx_value("x", kFloat, {1, 4})},
          .outputs = {onnx_value("y", kFloat, {1, 4})},
          .initializers = {onnx_initializer("w", {4}, {1, 2, 3, 4})}};
}

}  // namespace inflight::testing
