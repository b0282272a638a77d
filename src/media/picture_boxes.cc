// SPDX-License-Identifier: Apache-2.0
#include "media/picture_boxes.h"

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace inflight {
namespace {

using Bytes = std::span<const std::uint8_t>;

// Reads big-endian numbers one after another. Past the end it answers 0 and is not ok().
class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}
  std::uint64_t number(std::size_t count) {
    if (count > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
      return 0;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value << 8 | bytes_[i];
    bytes_ = bytes_.subspan(count);
    return value;
  }
  Bytes rest() const { return bytes_; }
  bool ok() const { return ok_; }

 private:
  Bytes bytes_;
  bool ok_ = true;
};

struct Box {
  std::string_view type;
  Bytes body;
};

// The box that `bytes` begin with, which then begin after it. Nothing: no whole one.
std::optional<Box> next_box(Bytes& bytes) {
  Reader reader(bytes);
  std::uint64_t size = reader.number(4);
  reader.number(4);
  std::size_t header = 8;
  if (size == 1) {
    size = reader.number(8);
    header = 16;
  } else if (size == 0) {
    size = bytes.size();
  }
  if (!reader.ok() || size < header || size > bytes.size()) return std::nullopt;
  const Box box{{reinterpret_cast<const char*>(bytes.data()) + 4, 4}, bytes.subspan(header, size - header)};
  bytes = bytes.subspan(size);
  return box;
}

// The body of the first box of this type; empty: there is none.
Bytes find_box(Bytes bytes, std::string_view type) {
  while (const std::optional<Box> box = next_box(bytes)) {
    if (box->type == type) return box->body;
  }
  return {};
}

// The properties of an item, by their numbers in `ipco` (from 1), in the order in which they apply.
std::vector<std::size_t> properties_of(std::uint64_t item, Bytes associations) {
  Reader reader(associations);
  const std::uint64_t version = reader.number(1);
  const bool wide = (reader.number(3) & 1) != 0;
  const std::uint64_t items = reader.number(4);
  for (std::uint64_t i = 0; i < items && reader.ok(); ++i) {
    const bool ours = reader.number(version < 1 ? 2 : 4) == item;
    const std::uint64_t count = reader.number(1);
    std::vector<std::size_t> properties;
    for (std::uint64_t k = 0; k < count && reader.ok(); ++k) {
      // The highest bit says that the property is essential.
      properties.push_back(wide ? reader.number(2) & 0x7FFF : reader.number(1) & 0x7F);
    }
    if (ours && reader.ok()) return properties;
  }
  return {};
}

}  // namespace

Orientation boxes_orientation(std::span<const std::uint8_t> file) {
  constexpr std::size_t kVersionBytes = 4;
  Bytes meta = find_box(file, "meta");
  if (meta.size() < kVersionBytes) return {};
  meta = meta.subspan(kVersionBytes);
  Reader primary(find_box(meta, "pitm"));
  const std::uint64_t version = primary.number(1);
  primary.number(3);
  const std::uint64_t item = primary.number(version < 1 ? 2 : 4);
  if (!primary.ok()) return {};
  const Bytes properties = find_box(meta, "iprp");
  std::vector<Box> described;
  for (Bytes rest = find_box(properties, "ipco"); const std::optional<Box> box = next_box(rest);) {
    described.push_back(*box);
  }
  Orientation orientation;
  for (const std::size_t number : properties_of(item, find_box(properties, "ipma"))) {
    if (number < 1 || number > described.size()) continue;
    const Box& box = described[number - 1];
    if (box.body.empty()) continue;
    if (box.type == "irot") {
      for (int quarter = 0; quarter < (box.body[0] & 3); ++quarter) {
        // Anticlockwise: a transposition, which swaps the flips before it, then top and bottom.
        orientation.transpose = !orientation.transpose;
        std::swap(orientation.flip_x, orientation.flip_y);
        orientation.flip_y = !orientation.flip_y;
      }
    } else if (box.type == "imir") {
      bool& flip = (box.body[0] & 1) != 0 ? orientation.flip_x : orientation.flip_y;
      flip = !flip;
    }
  }
  return orientation;
}

std::size_t whole_boxes_bytes(std::span<const std::uint8_t> file) {
  Bytes rest = file;
  while (next_box(rest)) continue;
  return file.size() - rest.size();
}

}  // namespace inflight
