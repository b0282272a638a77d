// SPDX-License-Identifier: Apache-2.0
// Plain tensor values: element types, shapes, devices, and views of memory that another object owns. All are
// values without locks: any number of threads may read one, and none may change it meanwhile. No call blocks.
//
//   const Shape shape = {1, 3, 224, 224};                         // one image: 3 planes of 224 x 224
//   const TensorSpec spec = {"image", DType::kF32, shape};        // f32[1,3,224,224], 602,112 bytes
//   const TensorView view = {pixels, DType::kU8, {480, 640, 3}};  // a frame u8[H,W,3] of the caller
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

// The type of an element, in the host's byte order. kBool takes one byte. kF16 is IEEE binary16; kBF16 is the
// upper half of an f32.
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
// How many there are.
inline constexpr int kDTypes = 13;

// "f32", "u8", "bf16", "bool". Requires a DType of the enum: any other value stops the process.
std::string_view dtype_name(DType dtype);
// Bytes of one element, 1 to 8. Requires a DType of the enum.
std::size_t dtype_bytes(DType dtype);

// The element type of a C++ type. Other types, and kF16 and kBF16, which have no C++ type here, do not
// compile.
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

// The extents of a tensor, outermost first: an image batch f32[N,C,H,W] has {N, C, H, W}. Extents are counts
// of elements, not bytes. Holds up to kRankMax extents in place: copying never allocates.
class Shape {
 public:
  static constexpr std::size_t kRankMax = 8;
  // An extent that is not known until run time.
  static constexpr std::int64_t kDynamic = -1;
  // More than any memory holds, and few enough that no count of bytes wraps around.
  static constexpr std::int64_t kElementsMax = std::int64_t{1} << 48;

  constexpr Shape() = default;  // rank 0: a scalar
  // Requires at most kRankMax extents, each at least kDynamic: for shapes that the code itself writes down.
  // More extents stop the process.
  Shape(std::initializer_list<std::int64_t> dims);
  // Checks extents that come from outside.
  //   dims     each at least 0, or kDynamic
  //   errors   kUnsupported: more than kRankMax extents or kElementsMax elements;
  //            kInvalidArgument: an extent below kDynamic
  static Result<Shape> make(std::span<const std::int64_t> dims);
  // The shape of which nothing is known before run time, not even the rank: not static, without extents,
  // "[...]".
  static Shape of_open_rank() noexcept;

  // Whether even the rank is not known before run time.
  bool has_open_rank() const noexcept { return open_rank_; }
  // How many extents, 0 to kRankMax; 0 where the rank is open.
  std::size_t rank() const noexcept { return rank_; }
  // Requires axis < rank(). Not checked.
  std::int64_t operator[](std::size_t axis) const noexcept { return dims_[axis]; }
  // All extents; valid as long as this shape.
  std::span<const std::int64_t> dims() const noexcept { return {dims_.data(), rank_}; }
  // Whether no extent is kDynamic.
  bool is_static() const noexcept;
  // Whether `actual`, which is static, is what this shape stands for: the same where that is known.
  bool allows(const Shape& actual) const noexcept;
  // Number of elements; 1 for a scalar. Requires is_static(), and at most kElementsMax.
  std::size_t elements() const noexcept;
  // "[1,3,224,224]", with ? for kDynamic; "[]" for a scalar.
  std::string to_string() const;

  // Equal: the same rank and the same extents. kDynamic equals kDynamic only.
  friend bool operator==(const Shape& a, const Shape& b) noexcept;

 private:
  std::array<std::int64_t, kRankMax> dims_{};  // the first rank_ of them
  std::uint8_t rank_ = 0;
  bool open_rank_ = false;
};

// Where something is computed, or where memory is: a kind of device by name, and which one of that kind. A
// new kind needs no change here: load_backend() finds its backend by name. A plain value of 20 bytes.
class Device {
 public:
  static constexpr std::size_t kNameMax = 15;  // characters

  // The host.
  constexpr Device() noexcept : Device("cpu", 0) {}
  static constexpr Device cpu() noexcept { return Device("cpu", 0); }
  // Requires an index of at least 0. Not checked: make() checks one that comes from outside.
  static constexpr Device cuda(int index = 0) noexcept { return Device("cuda", index); }
  // The device that computes nothing, for tests.
  static constexpr Device null() noexcept { return Device("null", 0); }
  // Any device that can be named, whether or not it exists: load_backend() finds that out.
  //   name     1 to kNameMax lower-case letters, digits and '_', a letter first
  //   index    at least 0
  //   errors   kInvalidArgument: anything else
  static Result<Device> make(std::string_view name, int index = 0);
  // Reads "NAME" or "NAME:INDEX", such as "cpu", "cuda" (which is "cuda:0"), "cuda:1".
  //   errors   kInvalidArgument: not of this form
  static Result<Device> parse(std::string_view text);

  // "cpu", "cuda". Valid as long as this device.
  constexpr std::string_view name() const noexcept {
    std::size_t length = 0;
    while (length < kNameMax && name_[length] != '\0') ++length;
    return {name_.data(), length};
  }
  // Which one of its kind, from 0.
  constexpr int index() const noexcept { return index_; }
  // Whether the host can read and write its memory: true for the kind "cpu".
  constexpr bool is_host() const noexcept { return name() == "cpu"; }
  // "cuda:1"; "cpu" and "null" without the index 0, because there is usually one of each. parse() reads it
  // back.
  std::string to_string() const;

  // Equal: the same kind and the same index.
  friend constexpr bool operator==(const Device&, const Device&) = default;

 private:
  constexpr Device(std::string_view name, int index) noexcept : index_(index) {
    for (std::size_t i = 0; i < name.size() && i < kNameMax; ++i) name_[i] = name[i];
  }

  std::array<char, kNameMax + 1> name_{};  // ends with zeros
  int index_;
};

namespace internal {
// Ok if the host can read the memory of this device.
//   errors   kUnsupported: it cannot. Every call that reads memory on the host returns this one status.
Status check_host_memory(Device device);
}  // namespace internal

// The name, element type and shape of one input or output. The shape may have dynamic extents.
struct TensorSpec {
  // As the model file spells it.
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;

  // What one such tensor takes, in bytes. Requires a static shape.
  std::size_t bytes() const noexcept { return dtype_bytes(dtype) * shape.elements(); }
  // "f32[1,3,224,224]": element type and shape, as messages and documents write them.
  std::string type_string() const;

  // Equal: the same name, element type and shape.
  friend bool operator==(const TensorSpec&, const TensorSpec&) = default;
};

// Dense row-major elements that another object owns, for reading: the last axis varies fastest, without gaps.
// A plain value: it keeps nothing alive, so it is valid as long as its owner says (NDArray::read() and
// others).
struct TensorView {
  const void* data = nullptr;  // on `device`; null only if there are no elements
  DType dtype = DType::kF32;
  Shape shape;
  Device device = Device::cpu();

  // Bytes of all elements. Requires a static shape.
  std::size_t bytes() const noexcept { return dtype_bytes(dtype) * shape.elements(); }
  // All elements as T, in memory order. Copies nothing.
  //   returns  shape.elements() values, valid as long as the memory
  //   errors   kInvalidArgument: T is not this view's dtype; kUnsupported: the memory is not the host's
  template <typename T>
  Result<std::span<const T>> as() const {
    INFLIGHT_TRY(internal::check_host_memory(device));
    if (dtype != dtype_of<T>()) return dtype_mismatch(dtype_of<T>());
    return std::span<const T>(static_cast<const T*>(data), shape.elements());
  }

 private:
  // kInvalidArgument, with both types.
  Status dtype_mismatch(DType wanted) const;
};

// The same, for writing. The code that gets one is the only one that uses the memory until it is done.
struct MutableTensorView {
  void* data = nullptr;  // on `device`; null only if there are no elements
  DType dtype = DType::kF32;
  Shape shape;
  Device device = Device::cpu();

  // Bytes of all elements. Requires a static shape.
  std::size_t bytes() const noexcept { return dtype_bytes(dtype) * shape.elements(); }
  // The same memory for reading.
  operator TensorView() const { return {data, dtype, shape, device}; }  // NOLINT: a writer may read
};

}  // namespace inflight
