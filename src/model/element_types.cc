// SPDX-License-Identifier: Apache-2.0
#include "model/element_types.h"

#include <array>
#include <utility>

#include "base/check.h"

namespace inflight {
namespace {

using ElementType = ov::element::Type_t;

constexpr std::array<std::pair<ElementType, DType>, kDTypes> kTypes{{
    {ElementType::boolean, DType::kBool},
    {ElementType::u8, DType::kU8},
    {ElementType::i8, DType::kI8},
    {ElementType::u16, DType::kU16},
    {ElementType::i16, DType::kI16},
    {ElementType::u32, DType::kU32},
    {ElementType::i32, DType::kI32},
    {ElementType::u64, DType::kU64},
    {ElementType::i64, DType::kI64},
    {ElementType::f16, DType::kF16},
    {ElementType::bf16, DType::kBF16},
    {ElementType::f32, DType::kF32},
    {ElementType::f64, DType::kF64},
}};

}  // namespace

std::optional<DType> dtype_of_element(const ov::element::Type& type) {
  for (const auto& [element, dtype] : kTypes) {
    if (type == element) return dtype;
  }
  return std::nullopt;
}

ov::element::Type element_type(DType dtype) {
  for (const auto& [element, ours] : kTypes) {
    if (ours == dtype) return element;
  }
  internal::check_failed("a DType of the enum", __FILE__, __LINE__);
}

}  // namespace inflight
