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
  std::int64_t elements =
      1;  // of the extents that are known; an empty one may not hide what the others ask for
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

Result<Device> Device::parse(std::string_view text) {
  if (text == "cpu") return Device::cpu();
  if (text == "null") return Device::null();
  if (text == "cuda") return Device::cuda();
  if (text.starts_with("cuda:")) {
    const std::string_view digits = text.substr(5);
    int index = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc() && end == digits.data() + digits.size() && index >= 0)
      return Device::cuda(index);
  }
  return Status(StatusCode::kNoSuchDevice, fmt::format("device: got \"{}\", want cpu or cuda[:N]", text));
}

std::string Device::to_string() const {
  switch (kind) {
    case Kind::kCpu:
      return "cpu";
    case Kind::kCuda:
      return fmt::format("cuda:{}", index);
    case Kind::kNull:
      return "null";
  }
  internal::check_failed("device kind", __FILE__, __LINE__);
}

std::string TensorSpec::type_string() const { return std::string(dtype_name(dtype)) + shape.to_string(); }

Status TensorView::dtype_mismatch(DType wanted) const {
  return Status(StatusCode::kInvalidArgument,
                fmt::format("read as {}, but the tensor is {}{}", dtype_name(wanted), dtype_name(dtype),
                            shape.to_string()));
}

}  // namespace inflight
