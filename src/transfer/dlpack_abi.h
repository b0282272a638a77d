// SPDX-License-Identifier: Apache-2.0
// What DLPack 1 lays out in memory. Its header is not asked for: the layout is the contract.
// source: DLPack, include/dlpack/dlpack.h
#pragma once

#include <cstdint>

namespace inflight::internal::dlpack {

// Device types.
inline constexpr std::int32_t kCpu = 1;
inline constexpr std::int32_t kCuda = 2;
inline constexpr std::int32_t kCudaHost = 3;
inline constexpr std::int32_t kRocmHost = 11;
inline constexpr std::int32_t kExtension = 12;  // here: the null device
inline constexpr std::int32_t kCudaManaged = 13;

// Codes of element types.
inline constexpr std::uint8_t kInt = 0;
inline constexpr std::uint8_t kUInt = 1;
inline constexpr std::uint8_t kFloat = 2;
inline constexpr std::uint8_t kBfloat = 4;
inline constexpr std::uint8_t kBool = 6;

struct Place {
  std::int32_t type;
  std::int32_t id;
};
struct Element {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct Tensor {
  void* data;
  Place device;
  std::int32_t rank;
  Element dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: dense
  std::uint64_t byte_offset;
};
struct Managed {
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
struct Versioned {
  std::uint32_t major;
  std::uint32_t minor;
  void* context;
  void (*deleter)(Versioned*);
  std::uint64_t flags;
  Tensor tensor;
};
inline constexpr std::uint64_t kReadOnly = 1;

}  // namespace inflight::internal::dlpack
