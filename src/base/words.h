// SPDX-License-Identifier: Apache-2.0
// The words of an enum, in one table: from a value to its word and back.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/check.h"
#include "inflight/status.h"

namespace inflight::internal {

template <typename Value>
struct Word {
  Value value;
  std::string_view word;
};

// Requires that the value is in the table.
template <typename Value>
std::string_view word_of(Value value, std::span<const Word<Value>> table) {
  for (const Word<Value>& row : table) {
    if (row.value == value) return row.word;
  }
  check_failed("a value of the enum", __FILE__, __LINE__);
}

//   what     what has the value, for the message
//   errors   kInvalidArgument: `width: got broad, want wide or narrow`
template <typename Value>
Result<Value> parse_word(std::string_view what, std::string_view text, std::span<const Word<Value>> table) {
  std::string want;
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (table[i].word == text) return table[i].value;
    if (i > 0) want += i + 1 == table.size() ? " or " : ", ";
    want += table[i].word;
  }
  return Status(StatusCode::kInvalidArgument,
                fmt::format("{}: got {}, want {}", what, text.empty() ? "nothing" : text, want));
}

}  // namespace inflight::internal
