// SPDX-License-Identifier: Apache-2.0
#include "inflight/tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace inflight {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::size_t bytes;
};

constexpr std::array<DTypeRow, kDTypes> kRows = {{
    {DType::kBool, "bool", 1},
    {DType::kU8, "u8", 1},
    {DType::kI8, "i8", 1},
    {DType::kU16, "u16", 2},
    {DType::kI16, "i16", 2},
    {DType::kU32, "u32", 4},
    {DType::kI32, "i32", 4},
    {DType::kU64, "u64", 8},
    {DType::kI64, "i64", 8},
    {DType::kF16, "f16", 2},
    {DType::kBF16, "bf16", 2},
    {DType::kF32, "f32", 4},
    {DType::kF64, "f64", 8},
}};

const DTypeRow& row(DType dtype) {
  const auto index = static_cast<std::size_t>(dtype);
  INFLIGHT_CHECK(index < kRows.size() && kRows[index].dtype == dtype);
  return kRows[index];
}

}  // namespace

std::string_view dtype_name(DType dtype) { return row(dtype).name; }

std::size_t dtype_bytes(DType dtype) { return row(dtype).bytes; }

Shape::Shape(std::initializer_list<std::int64_t> dims) : rank_(static_cast<std::uint8_t>(dims.size())) {
  INFLIGHT_CHECK(dims.size() <= kRankMax);
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

Result<Shape> Shape::make(std::span<const std::int64_t> dims) {
  if (dims.size() > kRankMax) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("rank: got {}, want at most {}", dims.size(), kRankMax));
  }
  Shape shape;
  // The product of the known extents that are not 0: an extent of 0 must not hide that the others are too
  // large.
  std::int64_t elements = 1;
  shape.rank_ = static_cast<std::uint8_t>(dims.size());
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    if (dims[axis] < kDynamic) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("extent {}: got {}, want at least 0", axis, dims[axis]));
    }
    if (dims[axis] > 0 &&
        (__builtin_mul_overflow(elements, dims[axis], &elements) || elements > kElementsMax)) {
      return Status(StatusCode::kUnsupported, fmt::format("elements: got more than {}", kElementsMax));
    }
    shape.dims_[axis] = dims[axis];
  }
  return shape;
}

bool Shape::is_static() const noexcept {
  return std::none_of(dims().begin(), dims().end(), [](std::int64_t d) { return d == kDynamic; });
}

std::size_t Shape::elements() const noexcept {
  std::int64_t count = 1;
  for (const std::int64_t d : dims()) {
    INFLIGHT_CHECK(d >= 0 && !__builtin_mul_overflow(count, d, &count));
  }
  INFLIGHT_CHECK(count <= kElementsMax);
  return static_cast<std::size_t>(count);
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (std::size_t axis = 0; axis < rank_; ++axis) {
    if (axis != 0) text += ',';
    text += dims_[axis] == kDynamic ? std::string("?") : std::to_string(dims_[axis]);
  }
  return text + ']';
}

bool operator==(const Shape& a, const Shape& b) noexcept { return std::ranges::equal(a.dims(), b.dims()); }

Result<Device> Device::make(std::string_view name, int index) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  if (name.empty() || name.size() > kNameMax || name[0] < 'a' || name[0] > 'z' ||
      !std::ranges::all_of(name, allowed)) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("device: got the name \"{}\", want 1 to {} lower-case letters, digits and '_'",
                              name, kNameMax));
  }
  if (index < 0) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("device \"{}\": got index {}, want at least 0", name, index));
  }
  return Device(name, index);
}

Result<Device> Device::parse(std::string_view text) {
  const std::size_t colon = std::min(text.find(':'), text.size());
  int index = 0;
  if (colon < text.size()) {
    const char* const end = text.data() + text.size();
    const auto [read, error] = std::from_chars(text.data() + colon + 1, end, index);
    if (error != std::errc() || read != end) index = -1;
  }
  if (Result<Device> device = make(text.substr(0, colon), index); device.ok()) return device;
  return Status(StatusCode::kInvalidArgument,
                fmt::format("device: got \"{}\", want NAME or NAME:INDEX, such as cpu or cuda:1", text));
}

std::string Device::to_string() const {
  const bool one_of_a_kind = *this == cpu() || *this == null();
  return one_of_a_kind ? std::string(name()) : fmt::format("{}:{}", name(), index_);
}

Status internal::check_host_memory(Device device) {
  if (device.is_host()) return Status();
  return Status(StatusCode::kUnsupported,
                fmt::format("memory of {} cannot be read by the host; copy it first", device.to_string()));
}

std::string TensorSpec::type_string() const { return std::string(dtype_name(dtype)) + shape.to_string(); }

Status TensorView::dtype_mismatch(DType wanted) const {
  return Status(StatusCode::kInvalidArgument,
                fmt::format("read as {}, but the tensor is {}{}", dtype_name(wanted), dtype_name(dtype),
                            shape.to_string()));
}

}  // namespace inflight
