// SPDX-License-Identifier: Apache-2.0
// Element types, shapes and memory in the words of the buffer protocol and of DLPack.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "inflight/tensor.h"

namespace nb = nanobind;

namespace inflight::python {

// The DLPack ABI (dlpack.h), of which nanobind has the tensor itself.
struct ManagedUnversioned {
  nb::dlpack::dltensor tensor;
  void* context;
  void (*deleter)(ManagedUnversioned*);
};
struct ManagedVersioned {
  std::uint32_t major;
  std::uint32_t minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  std::uint64_t flags;
  nb::dlpack::dltensor tensor;
};
inline constexpr std::uint64_t kReadOnly = 1;
inline constexpr std::uint64_t kIsCopied = 2;
inline constexpr const char* kUnversionedName = "dltensor";
inline constexpr const char* kVersionedName = "dltensor_versioned";

//   errors   InvalidArgumentError, InvalidTypeError: what was found and what was wanted
DType dtype_from_format(const char* format, std::size_t item_bytes, const char* what);
DType dtype_from_dlpack(nb::dlpack::dtype dtype, const char* what);
//   errors   UnsupportedError: neither memory of the host nor of a device that arrays can be on
Device device_from_dlpack(int type, int id, const char* what);
// (type, id) as DLPack has them.
//   errors   UnsupportedError: DLPack has no name for it
nb::dlpack::device dlpack_device_of(Device device);

// Of dense elements; in units of `unit`.
std::array<std::int64_t, Shape::kRankMax> dense_strides(const TensorView& view, std::int64_t unit);

// The format of the buffer protocol; null: it has none (bf16).
const char* format_of(DType dtype);
nb::dlpack::dtype dlpack_of(DType dtype);
// "f32", as TensorSpec.dtype has it.
//   errors   InvalidArgumentError: another word
DType dtype_from_name(const std::string& name);

// A tuple with None for an extent that is not known.
nb::tuple shape_tuple(const Shape& shape);
// From a sequence of integers; None, or -1, for an extent that is not known.
Shape shape_from(nb::handle sequence, const std::string& what);

}  // namespace inflight::python
