// SPDX-License-Identifier: Apache-2.0
// Labels: the names of a model's classes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/status.h"

namespace inflight::vision {

// Class names by number. The numbers may have gaps. A value.
class Labels {
 public:
  static constexpr std::size_t kBytesMax = 16 << 20;
  static constexpr std::size_t kCountMax = 1 << 20;

  // Reads the text of a label file or of a model's metadata:
  //   * a JSON list of names, ["cat","dog"], or map from numbers to names, {"0":"cat","1":"dog"}
  //   * a map as ultralytics writes it into models, {0: 'cat', 1: 'dog'}
  //   * one name a line, the first for class 0. An empty line is a class without a name; those at the end do
  //     not count. A `#` is part of a name.
  //   * one `number name` or `number: name` a line, where every line is of that form
  // UTF-8, with a byte order mark or without; lines end with LF, CRLF or CR.
  //   errors   kInvalidArgument: empty, not UTF-8 text, above kBytesMax bytes or kCountMax names, a JSON
  //            value of another kind, a number twice
  static Result<Labels> parse(std::string_view text);
  // Names for the classes 0, 1, ...; empty ones are none.
  static Labels of(const std::vector<std::string>& names);
  // As parse(), of a file.
  //   errors   kNotFound: cannot be read, and why; else as parse(), with the path
  static Result<Labels> read(const std::string& path);

  // The name of a class; nothing where it has none.
  std::optional<std::string_view> name(std::int64_t category) const;
  // One above the highest number that has a name.
  std::size_t count() const noexcept {
    return names_.empty() ? 0 : static_cast<std::size_t>(names_.rbegin()->first) + 1;
  }
  // How many names there are.
  std::size_t size() const noexcept { return names_.size(); }
  bool empty() const noexcept { return names_.empty(); }
  // The same names for numbers that are higher by `offset`. Those that would be below 0 are left out.
  Labels shifted(std::int64_t offset) const;

 private:
  Status add(std::int64_t category, std::string name);

  std::map<std::int64_t, std::string> names_;
};

}  // namespace inflight::vision
