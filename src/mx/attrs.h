// SPDX-License-Identifier: Apache-2.0
// Attributes of operators: how MXNet writes them as text, and what they mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/mx/operator.h"
#include "inflight/status.h"
#include "inflight/tensor.h"

namespace inflight::mx::detail {

enum class AttrKind : std::uint8_t {
  kInt,     // "3"; "None" where the fallback is "None"
  kFloat,   // "1e-5"; likewise
  kBool,    // "True", "1"; likewise
  kString,  // anything
  kEnum,    // one of AttrSpec::choices; "None" where the fallback is "None"
  kDType,   // "float32"; "None" where the fallback is "None"
  kInts,    // "(2, 2)", "[2,2]", "2"; elements may be "None"; all of it may be where the fallback is "None"
  kFloats,  // "(0.1, 0.2)"
};

// One attribute of an operator.
struct AttrSpec {
  std::string_view name;
  AttrKind kind = AttrKind::kInt;
  const char* fallback = nullptr;  // null: must be given
  std::string_view choices = {};   // of kEnum: "max|avg|sum"
  bool may_be_none = false;        // "None" is a value, though not the fallback
};

struct AttrValue {
  bool none = false;
  std::int64_t integer = 0;  // kInt, kBool, and kDType as DType
  double number = 0;
  std::string text;                               // kString, kEnum
  std::vector<std::optional<std::int64_t>> ints;  // kInts
  std::vector<double> floats;
};

// The attributes of one node, read and with the fallbacks filled in. Immutable.
class Params {
 public:
  // Reads them.
  //   op       what messages call the operator
  //   errors   kInvalidArgument: an unknown one, one that is missing, or a value that cannot be read; the
  //            message names operator and attribute, what was found and what was wanted
  static Result<Params> read(std::string_view op, const std::vector<AttrSpec>& specs,
                             const Attributes& given);

  // Each requires an attribute of that name and kind, and where it is "None" one that is not.
  bool none(std::string_view name) const { return at(name).none; }
  std::int64_t integer(std::string_view name) const { return at(name).integer; }
  double number(std::string_view name) const { return at(name).number; }
  bool flag(std::string_view name) const { return at(name).integer != 0; }
  const std::string& text(std::string_view name) const { return at(name).text; }
  DType dtype(std::string_view name) const { return static_cast<DType>(at(name).integer); }
  // Elements that are "None" are `none_is`.
  std::vector<std::int64_t> ints(std::string_view name, std::int64_t none_is = 0) const;
  const std::vector<std::optional<std::int64_t>>& optional_ints(std::string_view name) const {
    return at(name).ints;
  }
  const std::vector<double>& floats(std::string_view name) const { return at(name).floats; }
  bool has(std::string_view name) const;

  // The same text for the same meaning: what identifies programs.
  const std::string& canonical() const noexcept { return canonical_; }

 private:
  const AttrValue& at(std::string_view name) const;
  const std::vector<AttrSpec>* specs_ = nullptr;  // of the operator table, which lives as long as the process
  std::vector<AttrValue> values_;                 // as many
  std::string canonical_;
};

// "int or None", "{max, avg, sum}".
std::string attr_type_text(const AttrSpec& spec);

// MXNet's name of an element type ("float32") and back.
//   errors   kInvalidArgument: another word
std::string_view mxnet_dtype_name(DType dtype);
Result<DType> parse_mxnet_dtype(std::string_view text);
// MXNet's number of an element type, as files have it; nothing where it has none.
std::optional<int> mxnet_dtype_flag(DType dtype);
std::optional<DType> dtype_of_mxnet_flag(std::int64_t flag);

// Reads "(2, 2)" and the like; every element a number.
//   errors   kInvalidArgument: anything else. The message says what was found, without a name.
Result<Shape> parse_shape(std::string_view text);

}  // namespace inflight::mx::detail
