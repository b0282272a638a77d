// SPDX-License-Identifier: Apache-2.0
// inflight.NDArray.__dlpack__: arrays for other libraries, in memory of the host or of a device.
#include <nanobind/stl/optional.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "errors.h"
#include "inflight/device_arrays.h"
#include "tensors.h"
#include "types.h"
#include "waiting.h"

namespace inflight::python {

namespace {

// What a DLPack tensor of ours points to. It holds a handle, so letting go of it needs no GIL.
template <typename Managed>
struct Tensor {
  Managed managed{};
  NDArray array;
  DeviceArrays there;         // empty: nothing to wait for at the end
  std::uintptr_t stream = 0;  // of the consumer, there
  std::array<std::int64_t, Shape::kRankMax> shape{};
  std::array<std::int64_t, Shape::kRankMax> strides{};

  static void end(Managed* managed) {
    auto* tensor = static_cast<Tensor*>(managed->context);
    if (forked()) return;
    if (tensor->there) tensor->there.release_after_use(std::move(tensor->array), tensor->stream);
    delete tensor;
  }
};

// Where the consumer of a tensor uses it.
struct Consumer {
  DeviceArrays there;
  std::uintptr_t stream = 0;
};

// An unused capsule gives its tensor back; a used one has another name.
template <typename Managed>
void end_capsule(PyObject* capsule) {
  const char* name = PyCapsule_GetName(capsule);
  if (name == nullptr || std::strncmp(name, "used", 4) == 0) return;
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  if (managed != nullptr) managed->deleter(managed);
}

template <typename Managed>
nb::object make_capsule(const NDArray& array, const char* name, const Consumer& consumer) {
  const TensorView view = take(array.view());
  auto tensor = std::make_unique<Tensor<Managed>>();
  tensor->array = array;
  tensor->there = consumer.there;
  tensor->stream = consumer.stream;
  for (std::size_t axis = 0; axis < view.shape.rank(); ++axis) tensor->shape.at(axis) = view.shape[axis];
  tensor->strides = dense_strides(view, 1);
  nb::dlpack::dltensor& described = tensor->managed.tensor;
  described.data = const_cast<void*>(view.data);
  described.device = dlpack_device_of(view.device);
  described.ndim = static_cast<std::int32_t>(view.shape.rank());
  described.dtype = dlpack_of(view.dtype);
  described.shape = tensor->shape.data();
  described.strides = tensor->strides.data();
  tensor->managed.context = tensor.get();
  tensor->managed.deleter = Tensor<Managed>::end;
  if constexpr (std::is_same_v<Managed, ManagedVersioned>) {
    tensor->managed.major = 1;
    tensor->managed.minor = 0;
    tensor->managed.flags = kReadOnly;
  }
  PyObject* capsule = PyCapsule_New(&tensor->managed, name, end_capsule<Managed>);
  if (capsule == nullptr) throw nb::python_error();
  static_cast<void>(tensor.release());
  return nb::steal(capsule);
}

nb::object capsule_of(const NDArray& array, bool versioned, const Consumer& consumer = {}) {
  return versioned ? make_capsule<ManagedVersioned>(array, kVersionedName, consumer)
                   : make_capsule<ManagedUnversioned>(array, kUnversionedName, consumer);
}

// Waits for a copy that the device makes, as no capsule can be pending.
NDArray awaited(NDArray copy) {
  static_cast<void>(wait_in_slices(TimePoint::max(), [&](TimePoint until) {
    static_cast<void>(copy.wait_until(until));
    return copy.can_read();
  }));
  check(copy.status());
  return copy;
}

[[noreturn]] void raise_buffer_error(const std::string& text) {
  PyErr_SetString(PyExc_BufferError, text.c_str());
  throw nb::python_error();
}

// The stream that the array API names: None is 1.
Consumer consumer_of(const DeviceArrays& there, nb::handle stream) {
  std::intptr_t value = 1;
  if (!stream.is_none() && !nb::try_cast(stream, value)) raise_type("stream", stream, "an integer or None");
  if (value == -1) return {};
  if (value == 0) {
    raise_invalid(
        "stream: got 0, which may mean either default stream; want None or 1 (the legacy one), 2 (the "
        "per-thread "
        "one), a stream's number, or -1");
  }
  return {there, take(there.remember_stream(value))};
}

// What has been computed needs no wait, so the consumer's stream has nothing to wait for. It is remembered for the end:
// what the consumer has put into it by then comes before the memory is used again.
nb::object device_dlpack(const NDArray& array, nb::handle stream, bool versioned,
                         std::optional<std::pair<int, int>> wanted, std::optional<bool> copy) {
  const nb::dlpack::device here = dlpack_device_of(array.device());
  static_cast<void>(take(array.view()));
  const DeviceArrays there = take(DeviceArrays::open(array.device()));
  if (!wanted || (wanted->first == here.device_type && wanted->second == here.device_id)) {
    const Consumer consumer = consumer_of(there, stream);
    return capsule_of(copy == true ? awaited(take(there.to_device(array))) : array, versioned, consumer);
  }
  if (*wanted != std::pair(1, 0))
    raise_buffer_error("dl_device: want that of the array, or (1, 0), the host");
  if (copy == false) raise_buffer_error("dl_device: memory of the host needs a copy, and copy is False");
  return capsule_of(awaited(take(there.to_host(array))), versioned);
}

}  // namespace

nb::object dlpack_capsule(const Array& array, nb::handle stream, nb::handle max_version, nb::handle dl_device,
                          std::optional<bool> copy) {
  check_usable();
  const bool versioned = !max_version.is_none() && nb::cast<int>(nb::int_(nb::object(max_version[0]))) >= 1;
  std::optional<std::pair<int, int>> wanted;
  if (!dl_device.is_none()) {
    wanted.emplace(nb::cast<int>(nb::int_(nb::object(dl_device[0]))),
                   nb::cast<int>(nb::int_(nb::object(dl_device[1]))));
  }
  if (!array.value.device().is_host()) return device_dlpack(array.value, stream, versioned, wanted, copy);
  if (!stream.is_none()) raise_invalid("stream: memory of the host has none, want None");
  if (wanted && *wanted != std::pair(1, 0))
    raise_buffer_error("dl_device: want (1, 0), the host: copy_to() moves it to a device");
  NDArray given = array.value;
  if (copy == true || !versioned) {
    // Before DLPack 1.0 nothing says that a tensor is read-only, so who asks that way gets one of its own.
    if (copy == false) raise_buffer_error("a read-only array needs DLPack 1.0 (max_version), or a copy");
    given = take(NDArray::copy_of(take(array.value.read())));
  }
  return capsule_of(given, versioned);
}

}  // namespace inflight::python
