// SPDX-License-Identifier: Apache-2.0
// Looks into protobuf files without knowing their messages, and without reading what it skips.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace inflight::internal {

// Random access to a file's bytes, wherever they lie.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual std::uint64_t size() const = 0;
  // Copies up to `to.size()` bytes from `offset` and returns how many there were.
  virtual std::size_t read(std::uint64_t offset, std::span<char> to) = 0;
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  std::size_t read(std::uint64_t offset, std::span<char> to) override {
    if (offset >= bytes_.size()) return 0;
    const std::size_t count = std::min<std::size_t>(to.size(), bytes_.size() - offset);
    std::memcpy(to.data(), bytes_.data() + offset, count);
    return count;
  }

 private:
  std::span<const std::byte> bytes_;
};

class FileSource final : public ByteSource {
 public:
  FileSource(const std::filesystem::path& path, std::uint64_t size)
      : file_(path, std::ios::binary), size_(size) {}
  bool is_open() const { return file_.is_open(); }
  std::uint64_t size() const override { return size_; }
  std::size_t read(std::uint64_t offset, std::span<char> to) override {
    file_.clear();
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(to.data(), static_cast<std::streamsize>(to.size()));
    return static_cast<std::size_t>(std::max<std::streamsize>(file_.gcount(), 0));
  }

 private:
  std::ifstream file_;
  std::uint64_t size_;
};

// The fields of one protobuf message, in order; nothing inside them is looked at.
//   source   https://protobuf.dev/programming-guides/encoding/
class WireScan {
 public:
  static constexpr std::uint32_t kVarint = 0;
  static constexpr std::uint32_t kFixed64 = 1;
  static constexpr std::uint32_t kLength = 2;
  static constexpr std::uint32_t kFixed32 = 5;

  explicit WireScan(ByteSource& source) : WireScan(source, 0, source.size()) {}
  // Of the message in these bytes of the source.
  WireScan(ByteSource& source, std::uint64_t from, std::uint64_t to)
      : source_(source), offset_(from), end_(to) {}

  std::uint32_t number = 0;  // of the field that next() found
  std::uint32_t type = 0;
  std::uint64_t value = 0;  // of a varint
  std::uint64_t begin = 0;  // of the bytes of a field with a length
  std::uint64_t length = 0;

  // False at the end, or where the bytes are not protobuf: then error() says why.
  bool next() {
    if (offset_ >= end_) return false;
    const std::uint64_t start = offset_;
    std::uint64_t tag = 0;
    if (!varint(tag)) return fail(start, "a field's tag is cut short");
    number = static_cast<std::uint32_t>(tag >> 3);
    type = static_cast<std::uint32_t>(tag & 7);
    if (tag >> 32 != 0 || number == 0) return fail(start, "no field can have this tag");
    length = 0;
    switch (type) {
      case kVarint:
        return varint(value) || fail(start, fmt::format("field {} is cut short", number));
      case kFixed64:
        length = 8;
        break;
      case kFixed32:
        length = 4;
        break;
      case kLength:
        if (!varint(length)) return fail(start, fmt::format("field {} is cut short", number));
        break;
      default:
        return fail(start, "no field can have this tag");
    }
    const std::uint64_t left = offset_ > end_ ? 0 : end_ - offset_;
    if (length > left)
      return fail(start, fmt::format("field {} has {} bytes, and {} are left", number, length, left));
    begin = offset_;
    offset_ += length;
    return true;
  }
  // A message inside the field that next() found.
  WireScan inside() const { return WireScan(source_, begin, begin + length); }
  // Its bytes, up to 4,096 of them.
  std::string text() const {
    std::string bytes(std::min<std::uint64_t>(length, 4096), '\0');
    bytes.resize(source_.read(begin, bytes));
    return bytes;
  }
  const std::string& error() const { return error_; }

 private:
  bool varint(std::uint64_t& to) {
    std::array<char, 10> bytes{};
    const std::size_t count = source_.read(offset_, bytes);
    to = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const auto byte = static_cast<unsigned char>(bytes[i]);
      to |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
      if ((byte & 0x80) == 0) {
        offset_ += i + 1;
        return true;
      }
    }
    return false;
  }
  bool fail(std::uint64_t at, std::string_view what) {
    error_ = fmt::format("at byte {}, {}", at, what);
    return false;
  }

  ByteSource& source_;
  std::uint64_t offset_;
  std::uint64_t end_;
  std::string error_;
};

}  // namespace inflight::internal
