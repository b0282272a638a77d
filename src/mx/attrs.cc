// SPDX-License-Identifier: Apache-2.0
#include "mx/attrs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace inflight::mx::detail {
namespace {

std::string_view trimmed(std::string_view text) { return internal::trimmed(text, " \t\n\r"); }

// "3", and "3L" as Python 2 wrote it.
std::optional<std::int64_t> read_integer(std::string_view text) {
  text = trimmed(text);
  if (text.size() > 1 && text.back() == 'L') text.remove_suffix(1);
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<double> read_number(std::string_view text) {
  text = trimmed(text);
  double value = 0;
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || end != text.data() + text.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return std::nullopt;
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::optional<bool> read_flag(std::string_view text) {
  text = trimmed(text);
  if (text == "True" || text == "true" || text == "1") return true;
  if (text == "False" || text == "false" || text == "0") return false;
  return std::nullopt;
}

// The elements of "(2, 2)", "[2,2]", "(2,)", "()" or "2".
std::optional<std::vector<std::string_view>> split_tuple(std::string_view text) {
  text = trimmed(text);
  if (text.empty()) return std::nullopt;
  if (text.front() == '(' || text.front() == '[') {
    const char closing = text.front() == '(' ? ')' : ']';
    if (text.size() < 2 || text.back() != closing) return std::nullopt;
    text = trimmed(text.substr(1, text.size() - 2));
    if (text.empty()) return std::vector<std::string_view>();
    if (text.back() == ',') text.remove_suffix(1);
  }
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    parts.push_back(trimmed(text.substr(0, comma)));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

bool may_be_none(const AttrSpec& spec) {
  return spec.may_be_none || (spec.fallback != nullptr && std::string_view(spec.fallback) == "None");
}

bool is_choice(std::string_view choices, std::string_view word) {
  for (;;) {
    const std::size_t bar = choices.find('|');
    if (choices.substr(0, bar) == word) return true;
    if (bar == std::string_view::npos) return false;
    choices.remove_prefix(bar + 1);
  }
}

bool read_tuple(const AttrSpec& spec, std::string_view text, AttrValue& value) {
  const auto parts = split_tuple(text);
  if (!parts.has_value()) return false;
  for (const std::string_view part : *parts) {
    if (spec.kind == AttrKind::kFloats) {
      const auto number = read_number(part);
      if (!number.has_value()) return false;
      value.floats.push_back(*number);
    } else if (part == "None") {
      value.ints.emplace_back(std::nullopt);
    } else {
      const auto integer = read_integer(part);
      if (!integer.has_value()) return false;
      value.ints.emplace_back(*integer);
    }
  }
  return true;
}

// False: it cannot be read.
bool read_value(const AttrSpec& spec, std::string_view text, AttrValue& value) {
  if (may_be_none(spec) && trimmed(text) == "None") {
    value.none = true;
    return true;
  }
  switch (spec.kind) {
    case AttrKind::kInt: {
      const auto integer = read_integer(text);
      value.integer = integer.value_or(0);
      return integer.has_value();
    }
    case AttrKind::kFloat: {
      const auto number = read_number(text);
      value.number = number.value_or(0);
      return number.has_value();
    }
    case AttrKind::kBool: {
      const auto flag = read_flag(text);
      value.integer = flag.value_or(false) ? 1 : 0;
      return flag.has_value();
    }
    case AttrKind::kString:
      value.text = text;
      return true;
    case AttrKind::kEnum:
      value.text = trimmed(text);
      return is_choice(spec.choices, value.text);
    case AttrKind::kDType: {
      const auto dtype = parse_mxnet_dtype(trimmed(text));
      if (dtype.ok()) value.integer = static_cast<int>(*dtype);
      return dtype.ok();
    }
    case AttrKind::kInts:
    case AttrKind::kFloats:
      return read_tuple(spec, text, value);
  }
  return false;
}

void append_canonical(std::string& out, const AttrValue& value) {
  if (value.none) {
    out += "N;";
    return;
  }
  fmt::format_to(std::back_inserter(out), "{}/{}/{}/", value.integer, value.number, value.text);
  for (const auto& element : value.ints)
    out += element.has_value() ? fmt::format("{},", *element) : std::string("N,");
  for (const double element : value.floats) fmt::format_to(std::back_inserter(out), "{},", element);
  out += ';';
}

struct DTypeWord {
  DType dtype;
  std::string_view word;
  int flag;
};
// mshadow's numbers (3rdparty/mshadow/mshadow/base.h).
constexpr std::array<DTypeWord, 9> kDTypeWords = {{{DType::kF32, "float32", 0},
                                                   {DType::kF64, "float64", 1},
                                                   {DType::kF16, "float16", 2},
                                                   {DType::kU8, "uint8", 3},
                                                   {DType::kI32, "int32", 4},
                                                   {DType::kI8, "int8", 5},
                                                   {DType::kI64, "int64", 6},
                                                   {DType::kBool, "bool", 7},
                                                   {DType::kBF16, "bfloat16", 12}}};

}  // namespace

std::string attr_type_text(const AttrSpec& spec) {
  std::string text;
  switch (spec.kind) {
    case AttrKind::kInt:
      text = "int";
      break;
    case AttrKind::kFloat:
      text = "float";
      break;
    case AttrKind::kBool:
      text = "bool";
      break;
    case AttrKind::kString:
      text = "string";
      break;
    case AttrKind::kDType:
      text = "dtype";
      break;
    case AttrKind::kInts:
      text = "tuple of ints";
      break;
    case AttrKind::kFloats:
      text = "tuple of floats";
      break;
    case AttrKind::kEnum: {
      text = "{" + std::string(spec.choices) + "}";
      for (std::size_t bar = text.find('|'); bar != std::string::npos; bar = text.find('|', bar))
        text.replace(bar, 1, ", ");
      break;
    }
  }
  if (may_be_none(spec)) text += " or None";
  return text;
}

Result<Params> Params::read(std::string_view op, const std::vector<AttrSpec>& specs,
                            const Attributes& given) {
  Params params;
  params.specs_ = &specs;
  params.values_.resize(specs.size());
  std::size_t used = 0;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const AttrSpec& spec = specs[i];
    const auto found = given.find(std::string(spec.name));
    const bool is_given = found != given.end();
    used += is_given ? 1 : 0;
    if (!is_given && spec.fallback == nullptr) {
      return Status(StatusCode::kInvalidArgument, fmt::format("operator {}: attribute {} is missing, want {}",
                                                              op, spec.name, attr_type_text(spec)));
    }
    const std::string_view text = is_given ? std::string_view(found->second) : spec.fallback;
    if (!read_value(spec, text, params.values_[i])) {
      return Status(StatusCode::kInvalidArgument,
                    fmt::format("operator {}: attribute {}: got \"{}\", want {}", op, spec.name, text,
                                attr_type_text(spec)));
    }
    append_canonical(params.canonical_, params.values_[i]);
  }
  if (used == given.size()) return params;
  for (const auto& [name, text] : given) {
    if (params.has(name)) continue;
    std::vector<std::string_view> names;
    for (const AttrSpec& spec : specs) names.push_back(spec.name);
    return Status(
        StatusCode::kInvalidArgument,
        fmt::format("operator {}: got an attribute {} = \"{}\", which it does not have; it has {}", op, name,
                    text, names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
  }
  return params;
}

std::vector<std::int64_t> Params::ints(std::string_view name, std::int64_t none_is) const {
  std::vector<std::int64_t> values;
  for (const auto& element : at(name).ints) values.push_back(element.value_or(none_is));
  return values;
}

bool Params::has(std::string_view name) const {
  return std::any_of(specs_->begin(), specs_->end(), [&](const AttrSpec& spec) { return spec.name == name; });
}

const AttrValue& Params::at(std::string_view name) const {
  for (std::size_t i = 0; i < specs_->size(); ++i) {
    if ((*specs_)[i].name == name) return values_[i];
  }
  INFLIGHT_CHECK(!"an attribute that the operator does not have");
  return values_[0];
}

std::string_view mxnet_dtype_name(DType dtype) {
  for (const DTypeWord& row : kDTypeWords) {
    if (row.dtype == dtype) return row.word;
  }
  return dtype_name(dtype);
}

Result<DType> parse_mxnet_dtype(std::string_view text) {
  for (const DTypeWord& row : kDTypeWords) {
    if (row.word == text) return row.dtype;
  }
  // Some files have the number.
  const auto flag = read_integer(text);
  if (flag.has_value()) {
    if (const auto dtype = dtype_of_mxnet_flag(*flag)) return *dtype;
  }
  return Status(
      StatusCode::kInvalidArgument,
      fmt::format("dtype: got \"{}\", want float32, float64, float16, bfloat16, uint8, int8, int32, int64 "
                  "or bool",
                  text));
}

std::optional<int> mxnet_dtype_flag(DType dtype) {
  for (const DTypeWord& row : kDTypeWords) {
    if (row.dtype == dtype) return row.flag;
  }
  return std::nullopt;
}

std::optional<DType> dtype_of_mxnet_flag(std::int64_t flag) {
  for (const DTypeWord& row : kDTypeWords) {
    if (row.flag == flag) return row.dtype;
  }
  return std::nullopt;
}

Result<Shape> parse_shape(std::string_view text) {
  AttrValue value;
  const AttrSpec spec{"shape", AttrKind::kInts, "()"};
  std::vector<std::int64_t> dims;
  if (read_tuple(spec, text, value)) {
    for (const auto& element : value.ints) dims.push_back(element.value_or(0));
    return Shape::make(dims);
  }
  return Status(StatusCode::kInvalidArgument, fmt::format("shape: got \"{}\", want a tuple of ints", text));
}

}  // namespace inflight::mx::detail
