// SPDX-License-Identifier: Apache-2.0
#include "tensors.h"

#include <array>
#include <bit>

#include "errors.h"

namespace inflight::python {
namespace {

// DLPack's device types.
constexpr int kDlpackCpu = 1;
constexpr int kDlpackCuda = 2;
constexpr int kDlpackCudaHost = 3;
constexpr int kDlpackRocmHost = 11;
constexpr int kDlpackExtension = 12;  // here: the null device
constexpr int kDlpackCudaManaged = 13;

constexpr const char* kWantedDTypes = "bool, u8 to u64, i8 to i64, f16, bf16, f32 or f64";

enum class Kind : std::uint8_t { kBool, kSigned, kUnsigned, kFloat, kNone };

Kind kind_of(char letter) {
  switch (letter) {
    case '?':
      return Kind::kBool;
    case 'b':
    case 'h':
    case 'i':
    case 'l':
    case 'q':
    case 'n':
      return Kind::kSigned;
    case 'B':
    case 'H':
    case 'I':
    case 'L':
    case 'Q':
    case 'N':
      return Kind::kUnsigned;
    case 'e':
    case 'f':
    case 'd':
      return Kind::kFloat;
    default:
      return Kind::kNone;
  }
}

DType dtype_of_kind(Kind kind, std::size_t bytes) {
  const int size = std::countr_zero(bytes);  // 0 to 3
  constexpr std::array<DType, 4> kSignedOnes = {DType::kI8, DType::kI16, DType::kI32, DType::kI64};
  constexpr std::array<DType, 4> kUnsignedOnes = {DType::kU8, DType::kU16, DType::kU32, DType::kU64};
  constexpr std::array<DType, 4> kFloats = {DType::kF16, DType::kF16, DType::kF32, DType::kF64};
  const auto index = static_cast<std::size_t>(size);
  switch (kind) {
    case Kind::kSigned:
      return kSignedOnes.at(index);
    case Kind::kUnsigned:
      return kUnsignedOnes.at(index);
    case Kind::kFloat:
      return kFloats.at(index);
    default:
      return DType::kBool;
  }
}

bool has_dtype(Kind kind, std::size_t bytes) {
  if (kind == Kind::kNone || !std::has_single_bit(bytes) || bytes > 8) return false;
  return (kind != Kind::kBool || bytes == 1) && (kind != Kind::kFloat || bytes >= 2);
}

}  // namespace

DType dtype_from_format(const char* format, std::size_t item_bytes, const char* what) {
  const std::string_view whole = format == nullptr ? "B" : format;
  std::string_view text = whole;
  const bool little = std::endian::native == std::endian::little;
  bool foreign = false;
  if (!text.empty() && std::string_view("@=<>!").find(text[0]) != std::string_view::npos) {
    foreign = text[0] == '<' ? !little : (text[0] == '>' || text[0] == '!') && little;
    text.remove_prefix(1);
  }
  if (text == "O") {
    raise_type(what, nb::module_::import_("builtins").attr("object")(),
               std::string("an array of numbers (") + kWantedDTypes + "); its elements are Python objects");
  }
  const Kind kind = text.size() == 1 ? kind_of(text[0]) : Kind::kNone;
  if (!has_dtype(kind, item_bytes)) {
    raise_invalid(std::string(what) + ": found elements of the format '" + std::string(whole) + "' (" +
                  std::to_string(item_bytes) + " bytes), want " + kWantedDTypes);
  }
  const DType dtype = dtype_of_kind(kind, item_bytes);
  if (foreign && item_bytes > 1) {
    raise_invalid(std::string(what) + ": found " + std::string(dtype_name(dtype)) +
                  " in the byte order of other machines ('" + std::string(whole) +
                  "'), want this machine's: array.astype(array.dtype.newbyteorder(\"=\"))");
  }
  return dtype;
}

DType dtype_from_dlpack(nb::dlpack::dtype dtype, const char* what) {
  using Code = nb::dlpack::dtype_code;
  const std::size_t bytes = dtype.bits / 8U;
  if (dtype.lanes == 1 && dtype.bits % 8 == 0) {
    if (dtype.code == static_cast<std::uint8_t>(Code::Bfloat) && bytes == 2) return DType::kBF16;
    Kind kind = Kind::kNone;
    if (dtype.code == static_cast<std::uint8_t>(Code::Int)) kind = Kind::kSigned;
    if (dtype.code == static_cast<std::uint8_t>(Code::UInt)) kind = Kind::kUnsigned;
    if (dtype.code == static_cast<std::uint8_t>(Code::Float)) kind = Kind::kFloat;
    if (dtype.code == static_cast<std::uint8_t>(Code::Bool)) kind = Kind::kBool;
    if (has_dtype(kind, bytes)) return dtype_of_kind(kind, bytes);
  }
  raise_invalid(std::string(what) + ": found DLPack elements of code " + std::to_string(dtype.code) + ", " +
                std::to_string(dtype.bits) + " bits, " + std::to_string(dtype.lanes) + " lanes, want " +
                kWantedDTypes);
}

Device device_from_dlpack(int type, int id, const char* what) {
  switch (type) {
    case kDlpackCpu:
    case kDlpackCudaHost:
    case kDlpackRocmHost:
      return Device::cpu();
    case kDlpackCuda:
    case kDlpackCudaManaged:
      return take(Device::make("cuda", id));
    case kDlpackExtension:
      return take(Device::make("null", id));
    default:
      break;
  }
  const char* name = "device type ";
  switch (type) {
    case 4:
      name = "opencl";
      break;
    case 7:
      name = "vulkan";
      break;
    case 8:
      name = "metal";
      break;
    case 10:
      name = "rocm";
      break;
    case 14:
      name = "oneapi";
      break;
    default:
      break;
  }
  std::string found = name;
  if (found.back() == ' ') found += std::to_string(type);
  raise(Status(StatusCode::kUnsupported, std::string(what) + ": found memory of " + found + ":" +
                                             std::to_string(id) + ", want the host's (cpu) or cuda's"));
}

nb::dlpack::device dlpack_device_of(Device device) {
  if (device.is_host()) return {kDlpackCpu, 0};
  if (device.name() == "cuda") return {kDlpackCuda, device.index()};
  if (device.name() == "null") return {kDlpackExtension, device.index()};
  raise(Status(StatusCode::kUnsupported,
               "DLPack: found memory of " + device.to_string() + ", which it has no name for"));
}

std::array<std::int64_t, Shape::kRankMax> dense_strides(const TensorView& view, std::int64_t unit) {
  std::array<std::int64_t, Shape::kRankMax> strides{};
  for (std::size_t axis = view.shape.rank(); axis-- > 0;) {
    strides.at(axis) = unit;
    unit *= view.shape[axis];
  }
  return strides;
}

const char* format_of(DType dtype) {
  constexpr std::array<const char*, kDTypes> kFormats = {"?", "B", "b", "H",     "h", "I", "i",
                                                         "Q", "q", "e", nullptr, "f", "d"};
  return kFormats.at(static_cast<std::size_t>(dtype));
}

nb::dlpack::dtype dlpack_of(DType dtype) {
  using Code = nb::dlpack::dtype_code;
  Code code = Code::Float;
  switch (dtype) {
    case DType::kBool:
      code = Code::Bool;
      break;
    case DType::kU8:
    case DType::kU16:
    case DType::kU32:
    case DType::kU64:
      code = Code::UInt;
      break;
    case DType::kI8:
    case DType::kI16:
    case DType::kI32:
    case DType::kI64:
      code = Code::Int;
      break;
    case DType::kBF16:
      code = Code::Bfloat;
      break;
    case DType::kF16:
    case DType::kF32:
    case DType::kF64:
      break;
  }
  return {static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(8 * dtype_bytes(dtype)), 1};
}

DType dtype_from_name(const std::string& name) {
  std::string known;
  for (int i = 0; i < kDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (name == dtype_name(dtype)) return dtype;
    known += (i == 0 ? "" : ", ") + std::string(dtype_name(dtype));
  }
  raise_invalid("dtype: got \"" + name + "\", want one of " + known);
}

nb::tuple shape_tuple(const Shape& shape) {
  nb::list extents;
  for (const std::int64_t extent : shape.dims()) {
    if (extent == Shape::kDynamic) {
      extents.append(nb::none());
    } else {
      extents.append(nb::int_(extent));
    }
  }
  return nb::tuple(extents);
}

Shape shape_from(nb::handle sequence, const std::string& what) {
  std::vector<std::int64_t> dims;
  if (PySequence_Check(sequence.ptr()) == 0 || PyUnicode_Check(sequence.ptr()) != 0) {
    raise_type(what, sequence, "a sequence of extents");
  }
  for (nb::handle extent : nb::iter(sequence)) {
    if (extent.is_none()) {
      dims.push_back(Shape::kDynamic);
    } else if (PyIndex_Check(extent.ptr()) != 0) {
      const nb::object index = nb::steal(PyNumber_Index(extent.ptr()));
      dims.push_back(nb::cast<std::int64_t>(index));
    } else {
      raise_type(what, extent, "integers, or None for an extent that is not known");
    }
  }
  return take(Shape::make(dims));
}

}  // namespace inflight::python
