// SPDX-License-Identifier: Apache-2.0
#include "inflight/dlpack.h"

#include <fmt/format.h>

#include <array>
#include <memory>
#include <span>
#include <utility>

#include "base/user_code.h"
#include "inflight/device_arrays.h"
#include "transfer/dlpack_abi.h"

namespace inflight {
namespace {

namespace dlpack = internal::dlpack;

dlpack::Element element_of(DType dtype) {
  std::uint8_t code = dlpack::kFloat;
  const std::string_view name = dtype_name(dtype);
  if (name[0] == 'i') code = dlpack::kInt;
  if (name[0] == 'u') code = dlpack::kUInt;
  if (dtype == DType::kBF16) code = dlpack::kBfloat;
  if (dtype == DType::kBool) code = dlpack::kBool;
  return {code, static_cast<std::uint8_t>(8 * dtype_bytes(dtype)), 1};
}

Result<DType> dtype_from(dlpack::Element element) {
  for (int i = 0; i < kDTypes; ++i) {
    const auto dtype = static_cast<DType>(i);
    const dlpack::Element own = element_of(dtype);
    if (element.code == own.code && element.bits == own.bits && element.lanes == own.lanes) return dtype;
  }
  return Status(
      StatusCode::kInvalidArgument,
      fmt::format("from_dlpack: got elements of code {}, {} bits, {} lanes, want bool, u8 to u64, i8 to i64, "
                  "f16, bf16, f32 or f64",
                  element.code, element.bits, element.lanes));
}

Result<Device> device_from(dlpack::Place place) {
  switch (place.type) {
    case dlpack::kCpu:
    case dlpack::kCudaHost:
    case dlpack::kRocmHost:
      return Device::cpu();
    case dlpack::kCuda:
    case dlpack::kCudaManaged:
      return Device::make("cuda", place.id);
    case dlpack::kExtension:
      return Device::make("null", place.id);
    default:
      return Status(
          StatusCode::kUnsupported,
          fmt::format("from_dlpack: got memory of device type {}, want 1 (cpu) or 2 (cuda)", place.type));
  }
}

Result<dlpack::Place> place_of(Device device) {
  if (device.is_host()) return dlpack::Place{dlpack::kCpu, 0};
  if (device.name() == "cuda") return dlpack::Place{dlpack::kCuda, device.index()};
  if (device.name() == "null") return dlpack::Place{dlpack::kExtension, device.index()};
  return Status(StatusCode::kUnsupported,
                fmt::format("to_dlpack: got memory of {}, which DLPack has no name for", device.to_string()));
}

Status check_dense(const dlpack::Tensor& tensor, const Shape& shape) {
  if (tensor.strides == nullptr || shape.elements() == 0) return Status();
  std::int64_t stride = 1;
  for (std::size_t axis = shape.rank(); axis-- > 0; stride *= shape[axis]) {
    if (shape[axis] == 1 || tensor.strides[axis] == stride) continue;
    return Status(
        StatusCode::kInvalidArgument,
        fmt::format("from_dlpack: axis {} of {} has a stride of {} elements, want {}: a dense tensor", axis,
                    shape.to_string(), tensor.strides[axis], stride));
  }
  return Status();
}

template <typename Managed>
Result<NDArray> take(Managed* managed) {
  const dlpack::Tensor& tensor = managed->tensor;
  INFLIGHT_TRY_ASSIGN(const DType dtype, dtype_from(tensor.dtype));
  INFLIGHT_TRY_ASSIGN(const Device device, device_from(tensor.device));
  INFLIGHT_TRY_ASSIGN(const Shape shape, Shape::make(std::span<const std::int64_t>(
                                             tensor.shape, static_cast<std::size_t>(tensor.rank))));
  if (!shape.is_static())
    return Status(StatusCode::kInvalidArgument,
                  fmt::format("from_dlpack: got the shape {}", shape.to_string()));
  INFLIGHT_TRY(check_dense(tensor, shape));
  DeviceArrays there;
  if (!device.is_host()) {
    INFLIGHT_TRY_ASSIGN(there, DeviceArrays::open(device));
  }
  // Until the array is there, nothing gives the tensor back.
  const auto owned = std::make_shared<bool>(false);
  const auto release = [managed, owned] {
    if (*owned && managed->deleter != nullptr) managed->deleter(managed);
  };
  const std::size_t bytes = shape.elements() * dtype_bytes(dtype);
  auto* const data = static_cast<std::byte*>(tensor.data) + (bytes == 0 ? 0 : tensor.byte_offset);
  INFLIGHT_TRY_ASSIGN(Buffer buffer, Buffer::wrap(data, bytes, release, device));
  INFLIGHT_TRY_ASSIGN(NDArray array, there ? there.take(std::move(buffer), dtype, shape)
                                           : NDArray::from_buffer(std::move(buffer), dtype, shape));
  *owned = true;
  return array;
}

Status no_tensor() { return Status(StatusCode::kInvalidArgument, "from_dlpack: got null"); }

// What a tensor of ours points to.
struct Given {
  dlpack::Versioned managed{};
  NDArray array;
  DeviceArrays there;  // empty: nothing to wait for at the end
  std::uintptr_t stream = 0;
  std::array<std::int64_t, Shape::kRankMax> shape{};
  std::array<std::int64_t, Shape::kRankMax> strides{};

  static void end(dlpack::Versioned* managed) {
    const std::unique_ptr<Given> given(static_cast<Given*>(managed->context));
    if (given->there) given->there.release_after_use(std::move(given->array), given->stream);
  }
};

}  // namespace

Result<NDArray> from_dlpack(DLManagedTensorVersioned* tensor) {
  auto* const managed = reinterpret_cast<dlpack::Versioned*>(tensor);
  if (managed == nullptr) return no_tensor();
  if (managed->major != 1) {
    return Status(StatusCode::kUnsupported, fmt::format("from_dlpack: got DLPack version {}.{}, want 1",
                                                        managed->major, managed->minor));
  }
  return internal::call_user([&] { return take(managed); });
}

Result<NDArray> from_dlpack(DLManagedTensor* tensor) {
  auto* const managed = reinterpret_cast<dlpack::Managed*>(tensor);
  if (managed == nullptr) return no_tensor();
  return internal::call_user([&] { return take(managed); });
}

Result<DLManagedTensorVersioned*> to_dlpack(const NDArray& array, std::intptr_t stream) {
  if (!array) return Status(StatusCode::kInvalidArgument, "to_dlpack: got an empty array");
  return internal::call_user([&]() -> Result<DLManagedTensorVersioned*> {
    INFLIGHT_TRY_ASSIGN(const TensorView view, array.view());
    INFLIGHT_TRY_ASSIGN(const dlpack::Place place, place_of(view.device));
    auto given = std::make_unique<Given>();
    given->array = array;
    if (!view.device.is_host() && stream != -1) {
      INFLIGHT_TRY_ASSIGN(given->there, DeviceArrays::open(view.device));
      INFLIGHT_TRY_ASSIGN(given->stream, given->there.remember_stream(stream));
    }
    std::int64_t stride = 1;
    for (std::size_t axis = view.shape.rank(); axis-- > 0; stride *= view.shape[axis]) {
      given->shape.at(axis) = view.shape[axis];
      given->strides.at(axis) = stride;
    }
    given->managed = {1, 0, given.get(), Given::end, dlpack::kReadOnly, {}};
    given->managed.tensor = {const_cast<void*>(view.data),
                             place,
                             static_cast<std::int32_t>(view.shape.rank()),
                             element_of(view.dtype),
                             given->shape.data(),
                             given->strides.data(),
                             0};
    return reinterpret_cast<DLManagedTensorVersioned*>(&given.release()->managed);
  });
}

Result<std::uintptr_t> dlpack_stream(Device device) {
  if (device.is_host()) return std::uintptr_t{0};
  INFLIGHT_TRY_ASSIGN(const DeviceArrays there, DeviceArrays::open(device));
  return there.stream();
}

}  // namespace inflight
