// SPDX-License-Identifier: Apache-2.0
// Plain tensor values: element types, shapes, devices, and views of memory that somebody else owns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "inflight/status.h"

namespace inflight {

enum class DType : std::uint8_t {
  kBool,
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kU64,
  kI64,
  kF16,
  kBF16,
  kF32,
  kF64
};
inline constexpr int kDTypes = 13;

// "f32", "u8", "bf16", "bool".
std::string_view dtype_name(DType dtype);
// Bytes of one element, 1 to 8.
std::size_t dtype_bytes(DType dtype);

// The element type of a C++ type.
template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, bool>)
    return DType::kBool;
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return DType::kU8;
  else if constexpr (std::is_same_v<T, std::int8_t>)
    return DType::kI8;
  else if constexpr (std::is_same_v<T, std::uint16_t>)
    return DType::kU16;
  else if constexpr (std::is_same_v<T, std::int16_t>)
    return DType::kI16;
  else if constexpr (std::is_same_v<T, std::uint32_t>)
    return DType::kU32;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return DType::kI32;
  else if constexpr (std::is_same_v<T, std::uint64_t>)
    return DType::kU64;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return DType::kI64;
  else if constexpr (std::is_same_v<T, float>)
    return DType::kF32;
  else {
    static_assert(std::is_same_v<T, double>, "no DType for this C++ type");
    return DType::kF64;
  }
}

// The extents of a tensor, outermost first. kDynamic stands for an extent that is not known until run time.
// Holds up to kRankMax extents in place: copying never allocates.
class Shape {
 public:
  static constexpr std::size_t kRankMax = 8;
  static constexpr std::int64_t kDynamic = -1;
  // More than any memory holds, and few enough that no count of bytes wraps around.
  static constexpr std::int64_t kElementsMax = std::int64_t{1} << 48;

  constexpr Shape() = default;  // rank 0: a scalar
  // Requires at most kRankMax extents; Shape::make() checks values that come from outside.
  Shape(std::initializer_list<std::int64_t> dims);
  //   errors   kUnsupported: more than kRankMax extents or kElementsMax elements;
  //            kInvalidArgument: an extent below kDynamic
  static Result<Shape> make(std::span<const std::int64_t> dims);

  std::size_t rank() const noexcept { return rank_; }
  std::int64_t operator[](std::size_t axis) const noexcept { return dims_[axis]; }
  std::span<const std::int64_t> dims() const noexcept { return {dims_.data(), rank_}; }
  bool is_static() const noexcept;
  // Number of elements; 1 for a scalar. Requires is_static(), and at most kElementsMax.
  std::size_t elements() const noexcept;
  // "[1,3,224,224]", with ? for kDynamic.
  std::string to_string() const;

  friend bool operator==(const Shape& a, const Shape& b) noexcept;

 private:
  std::array<std::int64_t, kRankMax> dims_{};
  std::uint8_t rank_ = 0;
};

// Where something is computed.
struct Device {
  enum class Kind : std::uint8_t { kCpu, kCuda, kNull };
  Kind kind = Kind::kCpu;
  int index = 0;

  static constexpr Device cpu() { return {Kind::kCpu, 0}; }
  static constexpr Device cuda(int index = 0) { return {Kind::kCuda, index}; }
  static constexpr Device null() { return {Kind::kNull, 0}; }
  // Reads "cpu", "cuda", "cuda:1" or "null".
  //   errors   kNoSuchDevice: anything else
  static Result<Device> parse(std::string_view text);
  std::string to_string() const;

  friend bool operator==(const Device&, const Device&) = default;
};

// The name, element type and shape of one input or output.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;

  // Requires a static shape.
  std::size_t bytes() const noexcept { return dtype_bytes(dtype) * shape.elements(); }
  // "f32[1,3,224,224]"
  std::string type_string() const;

  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

// Dense row-major elements that somebody else owns, for reading.
struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;

  std::size_t bytes() const noexcept { return dtype_bytes(dtype) * shape.elements(); }
  // The elements as T.
  //   errors   kInvalidArgument: T is not this view's dtype
  template <typename T>
  Result<std::span<const T>> as() const {
    if (dtype != dtype_of<T>()) return dtype_mismatch(dtype_of<T>());
    return std::span<const T>(static_cast<const T*>(data), shape.elements());
  }

 private:
  Status dtype_mismatch(DType wanted) const;
};

// The same, for writing.
struct MutableTensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;

  std::size_t bytes() const noexcept { return dtype_bytes(dtype) * shape.elements(); }
  operator TensorView() const { return {data, dtype, shape}; }  // NOLINT: a writer may read
};

}  // namespace inflight
