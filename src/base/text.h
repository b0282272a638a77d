// SPDX-License-Identifier: Apache-2.0
// Pieces of text.
#pragma once

#include <string_view>

namespace inflight::internal {

// The text without the white space at its ends.
inline std::string_view trimmed(std::string_view text, std::string_view space = " \t\r\n\v\f") {
  const std::size_t first = text.find_first_not_of(space);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(space) - first + 1);
}

}  // namespace inflight::internal
