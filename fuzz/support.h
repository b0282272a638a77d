// SPDX-License-Identifier: Apache-2.0
// What harnesses share: values from bytes, files of bytes, and what must be true.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/status.h"

namespace inflight::fuzz {

// Stops the process with a line of what is wrong; libFuzzer then keeps the input.
inline void must(bool condition, std::string_view what, std::string_view got = {}) {
  if (condition) return;
  std::fprintf(stderr, "must hold: %.*s%s%.*s\n", static_cast<int>(what.size()), what.data(),
               got.empty() ? "" : "; got ", static_cast<int>(got.size()), got.data());
  std::abort();
}

// Takes values from the input, one after another. Past its end they are 0.
class Bytes {
 public:
  Bytes(const std::uint8_t* bytes, std::size_t count) : at_(bytes), end_(bytes + count) {}
  bool empty() const { return at_ == end_; }
  std::uint8_t byte() { return at_ < end_ ? *at_++ : 0; }
  int below(int bound) { return byte() % bound; }
  template <typename T>
  T number() {
    T value{};
    for (std::size_t i = 0; i < sizeof value; ++i)
      value = static_cast<T>(static_cast<std::uint64_t>(value) | std::uint64_t{byte()} << (8 * i));
    return value;
  }
  void fill(std::vector<std::uint8_t>& memory) {
    for (std::uint8_t& value : memory) value = byte();
  }
  std::span<const std::uint8_t> rest() const { return {at_, end_}; }
  // The bytes before the next `end`, which is taken too; all that are left where there is none.
  std::string text(char end = '\0') {
    const std::uint8_t* const stop = std::find(at_, end_, static_cast<std::uint8_t>(end));
    std::string result(reinterpret_cast<const char*>(at_), static_cast<std::size_t>(stop - at_));
    at_ = stop == end_ ? end_ : stop + 1;
    return result;
  }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

// A folder of this process's own, removed at its end.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("inflight-fuzz-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string write(const std::string& name, std::span<const std::uint8_t> bytes) const {
    const std::string path = path_ / name;
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    must(file.good(), "a file is written", path);
    return path;
  }
  void remove(const std::string& path) const { std::filesystem::remove(path); }
  const std::filesystem::path& path() const { return path_; }

 private:
  const std::filesystem::path path_;
};

// A failure that an input may have: one of these codes, and a message.
inline void check_failure(const Status& status, std::initializer_list<StatusCode> codes) {
  must(!status.ok(), "it is a failure");
  must(!status.message().empty(), "a failure has a message");
  must(std::find(codes.begin(), codes.end(), status.code()) != codes.end(), "the failure is of bad input",
       status.to_string());
}

}  // namespace inflight::fuzz
