// SPDX-License-Identifier: Apache-2.0
#include "vision/values.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/check.h"

namespace inflight::vision {
namespace {

// IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits.
double from_f16(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F;
  const int fraction = bits & 0x3FF;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 0x1F) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 0x400, exponent - 25);
}

// The upper half of a binary32.
double from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

template <typename T>
T at(const TensorView& view, std::size_t index) {
  return static_cast<const T*>(view.data)[index];
}

}  // namespace

bool is_floating(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32 || dtype == DType::kF64;
}

double element(const TensorView& view, std::size_t index) {
  switch (view.dtype) {
    case DType::kBool:
    case DType::kU8:
      return at<std::uint8_t>(view, index);
    case DType::kI8:
      return at<std::int8_t>(view, index);
    case DType::kU16:
      return at<std::uint16_t>(view, index);
    case DType::kI16:
      return at<std::int16_t>(view, index);
    case DType::kU32:
      return at<std::uint32_t>(view, index);
    case DType::kI32:
      return at<std::int32_t>(view, index);
    case DType::kU64:
      return static_cast<double>(at<std::uint64_t>(view, index));
    case DType::kI64:
      return static_cast<double>(at<std::int64_t>(view, index));
    case DType::kF16:
      return from_f16(at<std::uint16_t>(view, index));
    case DType::kBF16:
      return from_bf16(at<std::uint16_t>(view, index));
    case DType::kF32:
      return at<float>(view, index);
    case DType::kF64:
      return at<double>(view, index);
  }
  internal::check_failed("dtype", __FILE__, __LINE__);
}

std::span<const float> as_floats(const TensorView& view, std::vector<float>& memory) {
  const std::size_t count = view.shape.elements();
  if (view.dtype == DType::kF32) return {static_cast<const float*>(view.data), count};
  memory.resize(count);
  for (std::size_t i = 0; i < count; ++i) memory[i] = static_cast<float>(element(view, i));
  return memory;
}

}  // namespace inflight::vision
