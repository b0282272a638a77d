// SPDX-License-Identifier: Apache-2.0
#include "cli/classify.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string_view>

#include "base/check.h"

namespace inflight::cli {
namespace {

bool is_floating(DType dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32 || dtype == DType::kF64;
}

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

// NaN must have a place too, or the order is none.
double rank(const TensorView& view, std::size_t index) {
  const double score = element(view, index);
  return std::isnan(score) ? -std::numeric_limits<double>::infinity() : score;
}

}  // namespace

std::vector<std::string> parse_labels(const std::string& text) {
  std::vector<std::string> labels;
  if (text.starts_with('[')) {
    const nlohmann::json list = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!list.is_array()) return {};
    for (const auto& label : list) {
      if (!label.is_string()) return {};
      labels.push_back(label.get<std::string>());
    }
    return labels;
  }
  const char separator = text.find('\n') != std::string::npos ? '\n' : ',';
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find(separator), rest.size());
    std::string_view label = rest.substr(0, end);
    const std::size_t first = std::min(label.find_first_not_of(" \t\r"), label.size());
    label.remove_prefix(first);
    label = label.substr(0, label.find_last_not_of(" \t\r") + 1);
    labels.emplace_back(label);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return labels;
}

bool are_scores(const TensorView& view) {
  if (!is_floating(view.dtype)) return false;
  const Shape& shape = view.shape;
  switch (shape.rank()) {
    case 1:
      return shape[0] >= 2;
    case 2:
      return shape[0] == 1 && shape[1] >= 2;
    case 4:
      return shape[0] == 1 && shape[1] >= 2 && shape[2] == 1 && shape[3] == 1;
    default:
      return false;
  }
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

std::size_t best_class(const TensorView& view) {
  INFLIGHT_CHECK(are_scores(view));
  std::size_t best = 0;
  for (std::size_t i = 1; i < view.shape.elements(); ++i) {
    if (rank(view, i) > rank(view, best)) best = i;
  }
  return best;
}

void best_classes(const TensorView& view, std::size_t count, std::vector<std::size_t>& classes) {
  INFLIGHT_CHECK(are_scores(view));
  classes.resize(view.shape.elements());
  std::iota(classes.begin(), classes.end(), std::size_t{0});
  count = std::min(count, classes.size());
  std::partial_sort(classes.begin(), classes.begin() + static_cast<std::ptrdiff_t>(count), classes.end(),
                    [&](std::size_t a, std::size_t b) {
                      const double rank_a = rank(view, a);
                      const double rank_b = rank(view, b);
                      return rank_a != rank_b ? rank_a > rank_b : a < b;
                    });
  classes.resize(count);
}

}  // namespace inflight::cli
