// SPDX-License-Identifier: Apache-2.0
// The format of src/ndarray/ndarray.cc (NDArray::Save, NDArray::Load, LegacyLoad) in MXNet 1.9.
#include "inflight/mx/params.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

#include "mx/attrs.h"

namespace inflight::mx {
namespace {

constexpr std::uint64_t kListMagic = 0x112;
constexpr std::uint32_t kV1Magic = 0xF993fac8;  // dims of 64 bits
constexpr std::uint32_t kV2Magic = 0xF993fac9;  // and a storage type
constexpr std::uint32_t kV3Magic = 0xF993faca;  // and NumPy's meaning of shapes
constexpr std::int32_t kDense = 0;
constexpr std::int32_t kCpu = 1;

Status bad(std::string message) { return {StatusCode::kInvalidModel, "array file: " + std::move(message)}; }

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t left() const noexcept { return bytes_.size() - at_; }
  template <typename T>
  Status read(T& value, std::string_view what) {
    if (left() < sizeof value) return cut(what, sizeof value);
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return {};
  }
  Result<std::span<const std::byte>> take(std::size_t count, std::string_view what) {
    if (left() < count) return cut(what, count);
    const auto part = bytes_.subspan(at_, count);
    at_ += count;
    return part;
  }

 private:
  Status cut(std::string_view what, std::size_t wanted) const {
    return bad(
        fmt::format("it is cut short: {} at byte {} wants {} bytes, {} are left", what, at_, wanted, left()));
  }
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

template <typename Extent>
Result<Shape> read_extents(Reader& reader, std::uint32_t count) {
  if (count > Shape::kRankMax)
    return Status(
        StatusCode::kUnsupported,
        fmt::format("array file: got an array of {} axes, want at most {}", count, Shape::kRankMax));
  std::vector<std::int64_t> extents;
  for (std::uint32_t i = 0; i < count; ++i) {
    Extent extent = 0;
    INFLIGHT_TRY(reader.read(extent, "a shape"));
    if (extent < Extent{0} ||
        static_cast<std::uint64_t>(extent) > static_cast<std::uint64_t>(Shape::kElementsMax))
      return bad(fmt::format("got an extent of {}", extent));
    extents.push_back(static_cast<std::int64_t>(extent));
  }
  Result<Shape> shape = Shape::make(extents);
  if (!shape.ok()) return bad(std::string(shape.status().message()));
  return shape;
}

Result<Shape> read_shape(Reader& reader, std::uint32_t magic) {
  // The first versions wrote the number of axes where the magic number stands now.
  if (magic != kV1Magic && magic != kV2Magic && magic != kV3Magic)
    return read_extents<std::uint32_t>(reader, magic);
  std::int32_t axes = 0;
  INFLIGHT_TRY(reader.read(axes, "a number of axes"));
  if (axes < 0) return Shape({0});  // none: nothing follows
  return read_extents<std::int64_t>(reader, static_cast<std::uint32_t>(axes));
}

// An array; empty where the file has none at this place.
Result<NDArray> read_array(Reader& reader) {
  std::uint32_t magic = 0;
  INFLIGHT_TRY(reader.read(magic, "an array"));
  if (magic == kV2Magic || magic == kV3Magic) {
    std::int32_t storage = 0;
    INFLIGHT_TRY(reader.read(storage, "a storage type"));
    if (storage != kDense) {
      return Status(
          StatusCode::kUnsupported,
          fmt::format("array file: got a sparse array (storage type {}), want dense ones", storage));
    }
  }
  INFLIGHT_TRY_ASSIGN(const Shape shape, read_shape(reader, magic));
  const bool none = magic == kV3Magic ? shape == Shape({0}) : shape.rank() == 0 || shape == Shape({0});
  if (none) return NDArray();
  std::int32_t device = 0;
  std::int32_t device_index = 0;
  std::int32_t flag = 0;
  INFLIGHT_TRY(reader.read(device, "a device"));
  INFLIGHT_TRY(reader.read(device_index, "a device"));
  INFLIGHT_TRY(reader.read(flag, "an element type"));
  const auto dtype = detail::dtype_of_mxnet_flag(flag);
  if (!dtype.has_value())
    return Status(StatusCode::kUnsupported,
                  fmt::format("array file: got element type {}, which is not offered", flag));
  INFLIGHT_TRY_ASSIGN(const auto data, reader.take(dtype_bytes(*dtype) * shape.elements(), "elements"));
  if (data.empty()) return bad(fmt::format("got an array of no elements, {}", shape.to_string()));
  return NDArray::copy_of({data.data(), *dtype, shape});
}

Result<std::vector<std::string>> read_names(Reader& reader) {
  std::uint64_t count = 0;
  INFLIGHT_TRY(reader.read(count, "a number of names"));
  std::vector<std::string> names;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t length = 0;
    INFLIGHT_TRY(reader.read(length, "a name"));
    if (length > reader.left()) return bad(fmt::format("it is cut short: a name wants {} bytes", length));
    INFLIGHT_TRY_ASSIGN(const auto text, reader.take(static_cast<std::size_t>(length), "a name"));
    names.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
  }
  return names;
}

template <typename T>
void append(std::vector<std::byte>& out, T value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
}

Status append_array(std::vector<std::byte>& out, const NDArray& array) {
  if (!array) return {StatusCode::kInvalidArgument, "save: got an empty array"};
  const auto flag = detail::mxnet_dtype_flag(array.dtype());
  if (!flag.has_value()) {
    return {StatusCode::kInvalidArgument,
            fmt::format("save: got {}, which MXNet's files do not have", dtype_name(array.dtype()))};
  }
  INFLIGHT_TRY_ASSIGN(const NDArray here, array.as_in(Device::cpu()));
  INFLIGHT_TRY_ASSIGN(const inflight::NDArray version, here.snapshot());
  INFLIGHT_TRY(version.wait());
  INFLIGHT_TRY_ASSIGN(const TensorView view, version.read());
  // A shape without axes has a meaning in the third version only.
  append(out, view.shape.rank() == 0 ? kV3Magic : kV2Magic);
  append(out, kDense);
  append(out, static_cast<std::int32_t>(view.shape.rank()));
  for (const std::int64_t extent : view.shape.dims()) append(out, extent);
  append(out, kCpu);
  append(out, std::int32_t{0});
  append(out, static_cast<std::int32_t>(*flag));
  const auto* data = static_cast<const std::byte*>(view.data);
  out.insert(out.end(), data, data + view.bytes());
  return {};
}

std::string reason(int error) { return std::generic_category().message(error); }

}  // namespace

Result<std::vector<std::byte>> save_bytes(const ArrayFile& file) {
  if (!file.names.empty() && file.names.size() != file.arrays.size()) {
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("save: got {} names for {} arrays", file.names.size(), file.arrays.size()));
  }
  try {
    std::vector<std::byte> out;
    append(out, kListMagic);
    append(out, std::uint64_t{0});
    append(out, static_cast<std::uint64_t>(file.arrays.size()));
    for (const NDArray& array : file.arrays) INFLIGHT_TRY(append_array(out, array));
    append(out, static_cast<std::uint64_t>(file.names.size()));
    for (const std::string& name : file.names) {
      append(out, static_cast<std::uint64_t>(name.size()));
      const auto* text = reinterpret_cast<const std::byte*>(name.data());
      out.insert(out.end(), text, text + name.size());
    }
    return out;
  } catch (const std::bad_alloc&) {
    return Status::out_of_memory("save");
  }
}

Status save(const std::string& path, const ArrayFile& file) {
  INFLIGHT_TRY_ASSIGN(const std::vector<std::byte> bytes, save_bytes(file));
  std::ofstream stream(path, std::ios::binary);
  stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (stream) return {};
  return {StatusCode::kIoError,
          fmt::format("array file \"{}\": it cannot be written: {}", path, reason(errno))};
}

Result<ArrayFile> load_bytes(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  std::uint64_t magic = 0;
  std::uint64_t reserved = 0;
  std::uint64_t count = 0;
  INFLIGHT_TRY(reader.read(magic, "the header"));
  if (magic != kListMagic) return bad(fmt::format("got {:#x} at its start, want {:#x}", magic, kListMagic));
  INFLIGHT_TRY(reader.read(reserved, "the header"));
  INFLIGHT_TRY(reader.read(count, "the header"));
  ArrayFile file;
  // No count is trusted: each array takes bytes of the file.
  for (std::uint64_t i = 0; i < count; ++i) {
    INFLIGHT_TRY_ASSIGN(NDArray array, read_array(reader));
    file.arrays.push_back(std::move(array));
  }
  INFLIGHT_TRY_ASSIGN(file.names, read_names(reader));
  if (!file.names.empty() && file.names.size() != file.arrays.size())
    return bad(fmt::format("got {} names for {} arrays", file.names.size(), file.arrays.size()));
  if (reader.left() != 0) return bad(fmt::format("got {} bytes after its end", reader.left()));
  return file;
}

Result<ArrayFile> load(const std::string& path) {
  std::ifstream stream(path, std::ios::binary | std::ios::ate);
  if (!stream) {
    const int error = errno;
    return Status(error == ENOENT ? StatusCode::kNotFound : StatusCode::kIoError,
                  fmt::format("array file \"{}\": {}", path, reason(error)));
  }
  const std::streamoff size = stream.tellg();
  if (size < 0 || size == std::numeric_limits<std::streamoff>::max())
    return Status(StatusCode::kIoError,
                  fmt::format("array file \"{}\": it is no file that can be read", path));
  INFLIGHT_TRY_ASSIGN(const Buffer memory, Buffer::allocate(static_cast<std::size_t>(size)));
  stream.seekg(0);
  stream.read(reinterpret_cast<char*>(memory.bytes()), size);
  if (!stream) return Status(StatusCode::kIoError, fmt::format("array file \"{}\": it cannot be read", path));
  Result<ArrayFile> file = load_bytes({memory.bytes(), static_cast<std::size_t>(size)});
  if (file.ok()) return file;
  return file.status().with_context(fmt::format("\"{}\"", path));
}

}  // namespace inflight::mx
