// SPDX-License-Identifier: Apache-2.0
// Small pieces of text: one-line messages, JSON strings and numbers. console.h prints them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace inflight::cli {

// `text` on one line: each run of white space and control characters becomes one space.
std::string one_line(std::string_view text);

// A word of the command line as a message shows it: its first 100 bytes and "..." where it is longer.
std::string clipped(std::string_view word);

// `text` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD, so the line stays JSON.
std::string json_string(std::string_view text);

// 1234567 -> "1,234,567"
std::string with_commas(std::uint64_t number);

// Nanoseconds as microseconds for people: three significant digits at least, "12.3" or "1,234".
std::string microseconds(std::int64_t ns);

}  // namespace inflight::cli
