// SPDX-License-Identifier: Apache-2.0
// DiskCache: what took long to make, kept as files from one run to the next.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "inflight/status.h"

namespace inflight::cuda {

// A folder of entries. An entry holds its whole key, so that no other key finds it, and a check of its value, so
// that a damaged file is as good as none. Files are written beside their place and then renamed: several
// processes may use one folder. Failures to read or write cost time and nothing else.
//   thread   any
class DiskCache {
 public:
  // $XDG_CACHE_HOME/inflight/cuda, or ~/.cache/inflight/cuda; with neither, a cache that keeps nothing.
  static DiskCache of_user();
  // "" keeps nothing.
  explicit DiskCache(std::string folder) : folder_(std::move(folder)) {}

  // The value last put under this kind and key; nothing if there is none, or it is damaged.
  std::optional<std::string> get(std::string_view kind, std::string_view key) const;
  //   kind     the start of the file's name: "kernels", "tuning"
  //   errors   kIoError: the folder or the file cannot be written
  Status put(std::string_view kind, std::string_view key, std::string_view value) const;
  // Where an entry is, whether or not it exists.
  std::string path(std::string_view kind, std::string_view key) const;
  const std::string& folder() const noexcept { return folder_; }

 private:
  std::string folder_;
};

// FNV-1a, 64 bits.
std::uint64_t hash_text(std::string_view text) noexcept;

}  // namespace inflight::cuda
