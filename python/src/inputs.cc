// SPDX-License-Identifier: Apache-2.0
// Arrays from Python objects: without a copy where nobody can write to them, or where the caller says so.
#include <bit>
#include <cstring>
#include <string>
#include <string_view>

#include "errors.h"
#include "inflight/device_arrays.h"
#include "tensors.h"
#include "types.h"

namespace inflight::python {
namespace {

// Less than this is copied in about a microsecond.
constexpr std::size_t kCopyWithGil = std::size_t{16} * 1024;

// What copies are made into. It lives for ever: copies may outlive every static.
BufferPool& pool() {
  static BufferPool* const made = new BufferPool();
  return *made;
}

struct Source {
  const void* data = nullptr;
  std::size_t bytes = 0;
  DType dtype = DType::kF32;
  Shape shape;
};

// The array over the memory of an object that it holds.
NDArray wrap(const Source& source, HeldPtr held) {
  Buffer buffer;
  if (source.bytes > 0) {
    Held* const raw = held.get();
    Result<Buffer> wrapped =
        Buffer::wrap(const_cast<void*>(source.data), source.bytes, [raw] { raw->let_go(); });
    if (!wrapped.ok()) raise(wrapped.status());
    static_cast<void>(held.release());
    buffer = std::move(wrapped).value();
  }
  return take(NDArray::from_buffer(std::move(buffer), source.dtype, source.shape));
}

NDArray copied(const Source& source) {
  Buffer buffer = take(pool().acquire(source.bytes));
  if (source.bytes > kCopyWithGil) {
    WithoutGil release;
    std::memcpy(buffer.bytes(), source.data, source.bytes);
  } else if (source.bytes > 0) {
    std::memcpy(buffer.bytes(), source.data, source.bytes);
  }
  return take(NDArray::from_buffer(std::move(buffer), source.dtype, source.shape));
}

bool aligned(const Source& source) {
  return reinterpret_cast<std::uintptr_t>(source.data) % dtype_bytes(source.dtype) == 0;
}

// numpy.ndarray; null: nobody has a NumPy array before NumPy is there.
PyTypeObject* numpy_type() {
  static PyTypeObject* type = nullptr;
  if (type == nullptr) {
    const nb::str name("numpy");
    if (PyDict_Contains(PyImport_GetModuleDict(), name.ptr()) != 1) return nullptr;
    type = reinterpret_cast<PyTypeObject*>(
        nb::object(nb::module_::import_("numpy").attr("ndarray")).release().ptr());
  }
  return type;
}

bool is_numpy(nb::handle object) {
  PyTypeObject* const type = numpy_type();
  return type != nullptr && PyObject_TypeCheck(object.ptr(), type) != 0;
}

// Whether the object is of a type, not derived from, whose memory is the host's: no need to ask it.
bool is_of_host(nb::handle object) {
  PyTypeObject* const type = Py_TYPE(object.ptr());
  return type == numpy_type() || type == &PyBytes_Type || type == &PyByteArray_Type ||
         type == &PyMemoryView_Type;
}

// Whether no code can write to the object's memory, as far as can be told: bytes, arrays of ours, and
// read-only views and arrays of such.
bool is_immutable(nb::handle start) {
  nb::object object = nb::borrow(start);
  for (int depth = 0; depth < 16; ++depth) {
    if (PyBytes_CheckExact(object.ptr()) || as<Array>(object) != nullptr) return true;
    if (PyMemoryView_Check(object.ptr())) {
      const Py_buffer* view = PyMemoryView_GET_BUFFER(object.ptr());
      if (view->readonly == 0 || view->obj == nullptr) return false;
      object = nb::borrow(view->obj);
    } else if (is_numpy(object)) {
      if (nb::cast<bool>(object.attr("flags").attr("writeable"))) return false;
      object = object.attr("base");
      if (object.is_none()) return true;  // owns its memory, and was made read-only
    } else {
      return false;
    }
  }
  return false;
}

// NumPy arrays of the package ml_dtypes' bfloat16, for which the buffer protocol has no word.
bool is_bfloat16(nb::handle object) {
  return is_numpy(object) && nb::cast<std::string>(nb::str(object.attr("dtype").attr("name"))) == "bfloat16";
}

[[noreturn]] void refuse_copy(const char* what, const std::string& found) {
  raise_invalid(std::string(what) + ": found " + found +
                ", which needs a copy; want a dense, aligned array, or copy=None");
}

// From the buffer protocol: bytes, bytearray, memoryview, array.array, NumPy arrays and whatever offers it.
NDArray from_buffer_protocol(nb::handle object, const char* what, std::optional<bool> copy) {
  Py_buffer view{};
  if (PyObject_GetBuffer(object.ptr(), &view, PyBUF_STRIDES | PyBUF_FORMAT) != 0) {
    nb::python_error refused;
    if (is_bfloat16(object)) {
      const NDArray bits = from_buffer_protocol(object.attr("view")("uint16"), what, copy);
      return take(NDArray::from_buffer(take(bits.buffer()), DType::kBF16, bits.shape()));
    }
    raise_invalid(std::string(what) +
                  ": its memory cannot be seen: " + nb::cast<std::string>(nb::str(refused.value())));
  }
  struct Release {
    Py_buffer& view;
    bool owned = true;
    ~Release() {
      if (owned) PyBuffer_Release(&view);
    }
  } release{view};

  Source source;
  source.dtype = dtype_from_format(view.format, static_cast<std::size_t>(view.itemsize), what);
  source.shape = take(Shape::make(std::vector<std::int64_t>(view.shape, view.shape + view.ndim)));
  source.data = view.buf;
  source.bytes = static_cast<std::size_t>(view.len);
  if (PyBuffer_IsContiguous(&view, 'C') == 0) {
    if (copy == false) refuse_copy(what, "an array that is not C-contiguous");
    if (is_numpy(object)) {  // NumPy's way is quick, and its result is nobody else's
      const nb::object dense = nb::module_::import_("numpy").attr("ascontiguousarray")(object);
      PyBuffer_Release(&view);
      release.owned = false;
      return from_buffer_protocol(dense, what, false);
    }
    Buffer buffer = take(pool().acquire(source.bytes));
    if (PyBuffer_ToContiguous(buffer.bytes(), &view, view.len, 'C') != 0) throw nb::python_error();
    return take(NDArray::from_buffer(std::move(buffer), source.dtype, source.shape));
  }
  if (copy == false && !aligned(source)) refuse_copy(what, "an array that is not aligned to its elements");
  if (copy == true || !aligned(source) || (!copy && !is_immutable(object))) return copied(source);
  release.owned = false;
  return wrap(source, HeldPtr(new Held(view)));
}

struct Managed {
  const nb::dlpack::dltensor* tensor = nullptr;
  void* managed = nullptr;
  void (*deleter)(void*) = nullptr;
  bool immutable = false;
};

// Takes the tensor out of a capsule, which may be used once.
Managed take_capsule(nb::handle capsule, const char* what) {
  Managed taken;
  if (PyCapsule_IsValid(capsule.ptr(), kVersionedName)) {
    auto* managed = static_cast<ManagedVersioned*>(PyCapsule_GetPointer(capsule.ptr(), kVersionedName));
    if (managed->major != 1) {
      raise(Status(StatusCode::kUnsupported, std::string(what) + ": found DLPack version " +
                                                 std::to_string(managed->major) + ", want 1"));
    }
    PyCapsule_SetName(capsule.ptr(), "used_dltensor_versioned");
    taken = {&managed->tensor, managed,
             [](void* held) {
               auto* tensor = static_cast<ManagedVersioned*>(held);
               if (tensor->deleter != nullptr) tensor->deleter(tensor);
             },
             (managed->flags & (kReadOnly | kIsCopied)) != 0};
  } else if (PyCapsule_IsValid(capsule.ptr(), kUnversionedName)) {
    auto* managed = static_cast<ManagedUnversioned*>(PyCapsule_GetPointer(capsule.ptr(), kUnversionedName));
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
    taken = {&managed->tensor, managed,
             [](void* held) {
               auto* tensor = static_cast<ManagedUnversioned*>(held);
               if (tensor->deleter != nullptr) tensor->deleter(tensor);
             },
             false};
  } else {
    raise_type(what, capsule, "a capsule with a DLPack tensor that nobody has taken yet");
  }
  return taken;
}

bool is_dense(const nb::dlpack::dltensor& tensor) {
  if (tensor.strides == nullptr) return true;
  std::int64_t stride = 1;
  for (int axis = tensor.ndim; axis-- > 0;) {
    if (tensor.shape[axis] == 0) return true;
    if (tensor.shape[axis] > 1 && tensor.strides[axis] != stride) return false;
    stride *= tensor.shape[axis];
  }
  return true;
}

// Row by row: the last axis may have a stride, too.
void copy_strided(const nb::dlpack::dltensor& tensor, const std::byte* from, std::byte*& to, int axis,
                  std::size_t item) {
  if (axis == tensor.ndim) {
    std::memcpy(to, from, item);
    to += item;
    return;
  }
  for (std::int64_t i = 0; i < tensor.shape[axis]; ++i) {
    copy_strided(tensor, from + i * tensor.strides[axis] * static_cast<std::int64_t>(item), to, axis + 1,
                 item);
  }
}

// Over memory of a device, never copied unless that is asked for: nothing here says when it is written to next.
NDArray from_device(const DeviceArrays& there, const Source& source, HeldPtr held, std::optional<bool> copy) {
  Buffer buffer;
  if (source.bytes > 0) {
    Held* const raw = held.get();
    buffer = take(Buffer::wrap(
        const_cast<void*>(source.data), source.bytes, [raw] { raw->let_go(); }, there.device()));
    static_cast<void>(held.release());
  } else {
    buffer = take(there.acquire(0));
  }
  const WithoutGil release;
  NDArray array = take(there.take(std::move(buffer), source.dtype, source.shape));
  return copy == true ? take(there.to_device(array)) : array;
}

// The arrays of a device, which are opened at the first call.
DeviceArrays arrays_on(Device device) {
  return take([&] {
    const WithoutGil release;
    return DeviceArrays::open(device);
  }());
}

//   there   where the exporter says that it is, and its stream has been told; empty: in memory of the host
NDArray from_capsule(nb::handle capsule, const char* what, std::optional<bool> copy,
                     const DeviceArrays& there = {}) {
  const Managed taken = take_capsule(capsule, what);
  HeldPtr held(new Held(taken.managed, taken.deleter));
  const nb::dlpack::dltensor& tensor = *taken.tensor;
  const Device device = device_from_dlpack(tensor.device.device_type, tensor.device.device_id, what);
  if (device != (there ? there.device() : Device::cpu())) {
    raise_invalid(std::string(what) + ": found a capsule with memory of " + device.to_string() +
                  ", want the tensor itself, whose stream is then ordered");
  }
  Source source;
  source.dtype = dtype_from_dlpack(tensor.dtype, what);
  source.shape = take(Shape::make(std::vector<std::int64_t>(tensor.shape, tensor.shape + tensor.ndim)));
  if (!source.shape.is_static()) raise_invalid(std::string(what) + ": found an extent below 0");
  source.bytes = source.shape.elements() * dtype_bytes(source.dtype);
  source.data = static_cast<const std::byte*>(tensor.data) + tensor.byte_offset;
  if (there) {
    if (!is_dense(tensor)) {
      raise_invalid(std::string(what) + ": found a tensor of " + device.to_string() +
                    " that is not C-contiguous, want a dense one: tensor.contiguous()");
    }
    return from_device(there, source, std::move(held), copy);
  }
  if (!is_dense(tensor)) {
    if (copy == false) refuse_copy(what, "a tensor that is not C-contiguous");
    Buffer buffer = take(pool().acquire(source.bytes));
    std::byte* to = buffer.bytes();
    {
      WithoutGil release;
      copy_strided(tensor, static_cast<const std::byte*>(source.data), to, 0, dtype_bytes(source.dtype));
    }
    return take(NDArray::from_buffer(std::move(buffer), source.dtype, source.shape));
  }
  if (copy == false && !aligned(source)) refuse_copy(what, "a tensor that is not aligned to its elements");
  if (copy == true || !aligned(source) || (!copy && !taken.immutable)) return copied(source);
  return wrap(source, std::move(held));
}

// Where an object with __dlpack_device__() says that it is.
Device dlpack_device(nb::handle object, const char* what) {
  const nb::object named = object.attr("__dlpack_device__")();
  return device_from_dlpack(nb::cast<int>(nb::int_(nb::object(named[0]))),
                            nb::cast<int>(nb::int_(nb::object(named[1]))), what);
}

NDArray from_dlpack(nb::handle object, const char* what, std::optional<bool> copy) {
  DeviceArrays there;
  if (nb::hasattr(object, "__dlpack_device__")) {
    const Device device = dlpack_device(object, what);
    if (!device.is_host()) there = arrays_on(device);
  }
  // The exporter lets this stream wait for its work.
  nb::dict options;
  if (there && there.stream() != 0) options["stream"] = nb::int_(there.stream());
  options["max_version"] = nb::make_tuple(1, 1);
  const nb::object exporter = object.attr("__dlpack__");
  nb::object capsule;
  try {
    capsule = exporter(**options);
  } catch (nb::python_error& refused) {
    // One from before DLPack 1.0.
    if (!refused.matches(PyExc_TypeError)) throw;
    nb::del(options["max_version"]);
    capsule = exporter(**options);
  }
  return from_capsule(capsule, what, copy, there);
}

bool offers_dlpack(nb::handle object) { return nb::hasattr(object, "__dlpack__"); }

// Whether the buffer protocol shows the object's memory. CuPy's arrays offer it, too, and refuse every request: memory
// of a device is for DLPack.
bool offers_buffer(nb::handle object, const char* what) {
  if (PyObject_CheckBuffer(object.ptr()) == 0) return false;
  if (is_of_host(object) || !offers_dlpack(object) || !nb::hasattr(object, "__dlpack_device__")) return true;
  return dlpack_device(object, what).is_host();
}

constexpr const char* kWanted = "an array: an inflight.NDArray, a NumPy array, a DLPack tensor or a buffer";

}  // namespace

NDArray array_from(nb::handle object, const char* what, std::optional<bool> copy) {
  if (Array* const array = as<Array>(object); array != nullptr) {
    if (copy != true) return array->value;
    if (!array->value.device().is_host())
      return take(arrays_on(array->value.device()).to_device(array->value));
    return take(NDArray::copy_of(take(array->value.read())));
  }
  if (std::optional<NDArray> array = frame_array(object)) return *std::move(array);
  if (object.is_none()) raise_type(what, object, kWanted);
  if (PyCapsule_CheckExact(object.ptr())) return from_capsule(object, what, copy);
  if (offers_buffer(object, what)) return from_buffer_protocol(object, what, copy);
  if (offers_dlpack(object)) return from_dlpack(object, what, copy);
  if (nb::hasattr(object, "__array_interface__") || nb::hasattr(object, "__array__")) {
    const nb::object array = nb::module_::import_("numpy").attr("asarray")(object);
    if (is_numpy(array)) return from_buffer_protocol(array, what, copy);
  }
  raise_type(what, object, kWanted);
}

NDArray array_from_dlpack(nb::handle object, const char* what) {
  const bool ours = as<Array>(object) != nullptr;
  // NumPy's own: the same memory by the buffer protocol, which has read-only arrays in every version of NumPy.
  if (ours || is_of_host(object) || !offers_dlpack(object)) return array_from(object, what, false);
  return from_dlpack(object, what, false);
}

}  // namespace inflight::python
