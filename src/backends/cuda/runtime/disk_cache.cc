// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/disk_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

namespace inflight::cuda {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "inflight cuda cache 1\n";

// Magic, then length and text of the key, then length, hash and text of the value.
std::string encode(std::string_view key, std::string_view value) {
  return fmt::format("{}{}\n{}\n{} {:016x}\n{}", kMagic, key.size(), key, value.size(), hash_text(value),
                     value);
}

// Takes what `encode` put before the value off the text, if it is that; the rest must be the value.
std::optional<std::string> decode(std::string_view key, std::string text) {
  const std::string start = fmt::format("{}{}\n{}\n", kMagic, key.size(), key);
  if (!text.starts_with(start)) return std::nullopt;
  const std::size_t end = text.find('\n', start.size());
  if (end == std::string::npos) return std::nullopt;
  const std::string check = text.substr(start.size(), end - start.size());
  text.erase(0, end + 1);
  if (check != fmt::format("{} {:016x}", text.size(), hash_text(text))) return std::nullopt;
  return text;
}

}  // namespace

DiskCache DiskCache::of_user() {
  const char* folder = std::getenv("XDG_CACHE_HOME");  // NOLINT(concurrency-mt-unsafe)
  if (folder != nullptr && *folder == '/') return DiskCache(std::string(folder) + "/inflight/cuda");
  const char* home = std::getenv("HOME");  // NOLINT(concurrency-mt-unsafe)
  if (home != nullptr && *home == '/') return DiskCache(std::string(home) + "/.cache/inflight/cuda");
  return DiskCache("");
}

std::string DiskCache::path(std::string_view kind, std::string_view key) const {
  return fmt::format("{}/{}-{:016x}", folder_, kind, hash_text(key));
}

std::optional<std::string> DiskCache::get(std::string_view kind, std::string_view key) const {
  if (folder_.empty()) return std::nullopt;
  std::ifstream file(path(kind, key), std::ios::binary);
  if (!file) return std::nullopt;
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) return std::nullopt;
  return decode(key, std::move(text));
}

Status DiskCache::put(std::string_view kind, std::string_view key, std::string_view value) const {
  if (folder_.empty()) return Status();
  std::error_code error;
  fs::create_directories(folder_, error);
  const std::string place = path(kind, key);
  static std::atomic<unsigned> writes{0};
  const std::string beside = fmt::format("{}.{}.{}", place, getpid(), writes.fetch_add(1));
  {
    std::ofstream file(beside, std::ios::binary | std::ios::trunc);
    file << encode(key, value);
    file.close();
    if (!file) {
      Status failed(StatusCode::kIoError, fmt::format("{} cannot be written", beside));
      fs::remove(beside, error);
      return failed;
    }
  }
  fs::rename(beside, place, error);
  if (!error) return Status();
  Status failed(StatusCode::kIoError, fmt::format("{} cannot be written: {}", place, error.message()));
  fs::remove(beside, error);
  return failed;
}

std::uint64_t hash_text(std::string_view text) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

}  // namespace inflight::cuda
