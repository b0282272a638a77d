// SPDX-License-Identifier: Apache-2.0
#include "mx/strided.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace inflight::mx::detail {
namespace {

// Calls visit(offset of the first element of a run in the array) for each run along the last axis, in order.
template <typename Visit>
void for_each_run(const Shape& shape, std::span<const AxisSlice> slices, std::size_t item, Visit visit) {
  const std::size_t axes = shape.rank();
  std::array<std::ptrdiff_t, Shape::kRankMax> stride{};
  auto bytes = static_cast<std::ptrdiff_t>(item);
  std::ptrdiff_t at = 0;
  for (std::size_t axis = axes; axis-- > 0;) {
    at += slices[axis].first * bytes;
    stride[axis] = bytes * slices[axis].step;
    bytes *= shape[axis];
  }
  std::array<std::int64_t, Shape::kRankMax> index{};
  for (;;) {
    visit(at, axes == 0 ? 0 : stride[axes - 1], axes == 0 ? 1 : slices[axes - 1].count);
    std::size_t axis = axes < 2 ? 0 : axes - 1;
    for (; axis > 0; --axis) {
      const std::size_t i = axis - 1;
      at += stride[i];
      if (++index[i] < slices[i].count) break;
      at -= stride[i] * index[i];
      index[i] = 0;
    }
    if (axis == 0) return;
  }
}

template <std::size_t kItem>
void copy_run(const std::byte* from, std::ptrdiff_t from_step, std::byte* to, std::ptrdiff_t to_step,
              std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(to, from, kItem);
    from += from_step;
    to += to_step;
  }
}

void copy_items(const std::byte* from, std::ptrdiff_t from_step, std::byte* to, std::ptrdiff_t to_step,
                std::int64_t count, std::size_t item) {
  const auto size = static_cast<std::ptrdiff_t>(item);
  if (from_step == size && to_step == size) {
    std::memcpy(to, from, item * static_cast<std::size_t>(count));
    return;
  }
  switch (item) {
    case 1:
      return copy_run<1>(from, from_step, to, to_step, count);
    case 2:
      return copy_run<2>(from, from_step, to, to_step, count);
    case 4:
      return copy_run<4>(from, from_step, to, to_step, count);
    default:
      return copy_run<8>(from, from_step, to, to_step, count);
  }
}

// To the nearest, ties to even.
std::uint16_t to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16U & 0x8000U);
  const float size = std::abs(value);
  if (std::isnan(value)) return sign | 0x7e00U;
  if (size >= 65520.0F) return sign | 0x7c00U;
  if (size < 0x1p-14F) return sign | static_cast<std::uint16_t>(std::lrint(size * 0x1p24F));
  std::uint32_t rounded = std::bit_cast<std::uint32_t>(size);
  rounded += 0xfffU + (rounded >> 13U & 1U);
  return sign | static_cast<std::uint16_t>((rounded - (112U << 23U)) >> 13U);
}

std::uint16_t to_bfloat(float value) {
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16U | 0x40U);
  bits += 0x7fffU + (bits >> 16U & 1U);
  return static_cast<std::uint16_t>(bits >> 16U);
}

// What the machine makes of a number that no int64 holds.
std::int64_t to_integer(double value) {
  if (!(value > -9.2e18 && value < 9.2e18)) return std::int64_t{-1} << 63U;
  return static_cast<std::int64_t>(value);
}

template <typename T>
void store(T value, std::byte* to) {
  std::memcpy(to, &value, sizeof value);
}

}  // namespace

void gather_slices(const std::byte* array, const Shape& shape, std::span<const AxisSlice> slices,
                   std::size_t item, std::byte* packed) {
  for_each_run(shape, slices, item, [&](std::ptrdiff_t at, std::ptrdiff_t step, std::int64_t count) {
    copy_items(array + at, step, packed, static_cast<std::ptrdiff_t>(item), count, item);
    packed += static_cast<std::size_t>(count) * item;
  });
}

void scatter_slices(std::byte* array, const Shape& shape, std::span<const AxisSlice> slices, std::size_t item,
                    const std::byte* packed, bool repeat) {
  for_each_run(shape, slices, item, [&](std::ptrdiff_t at, std::ptrdiff_t step, std::int64_t count) {
    copy_items(packed, repeat ? 0 : static_cast<std::ptrdiff_t>(item), array + at, step, count, item);
    if (!repeat) packed += static_cast<std::size_t>(count) * item;
  });
}

void store_element(DType dtype, double value, std::byte* to) {
  switch (dtype) {
    case DType::kBool:
      return store(static_cast<std::uint8_t>(value != 0), to);
    case DType::kU8:
      return store(static_cast<std::uint8_t>(to_integer(value)), to);
    case DType::kI8:
      return store(static_cast<std::int8_t>(to_integer(value)), to);
    case DType::kU16:
      return store(static_cast<std::uint16_t>(to_integer(value)), to);
    case DType::kI16:
      return store(static_cast<std::int16_t>(to_integer(value)), to);
    case DType::kU32:
      return store(static_cast<std::uint32_t>(to_integer(value)), to);
    case DType::kI32:
      return store(static_cast<std::int32_t>(to_integer(value)), to);
    case DType::kU64:
      return store(static_cast<std::uint64_t>(to_integer(value)), to);
    case DType::kI64:
      return store(to_integer(value), to);
    case DType::kF16:
      return store(to_half(static_cast<float>(value)), to);
    case DType::kBF16:
      return store(to_bfloat(static_cast<float>(value)), to);
    case DType::kF32:
      return store(static_cast<float>(value), to);
    case DType::kF64:
      return store(value, to);
  }
}

void fill_elements(const MutableTensorView& out, double value) {
  std::array<std::byte, 8> element{};
  store_element(out.dtype, value, element.data());
  const std::size_t item = dtype_bytes(out.dtype);
  const std::size_t bytes = out.bytes();
  auto* const to = static_cast<std::byte*>(out.data);
  if (bytes == 0) return;
  if (std::all_of(element.begin(), element.end(), [](std::byte b) { return b == std::byte{0}; })) {
    std::memset(to, 0, bytes);
    return;
  }
  std::memcpy(to, element.data(), item);
  // Doubling what is there.
  for (std::size_t done = item; done < bytes;) {
    const std::size_t more = std::min(done, bytes - done);
    std::memcpy(to + done, to, more);
    done += more;
  }
}

}  // namespace inflight::mx::detail
