// SPDX-License-Identifier: Apache-2.0
// inflight.NDArray: a handle to one version of an array, and its views.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <array>
#include <new>
#include <string>
#include <vector>

#include "devices.h"
#include "errors.h"
#include "tensors.h"
#include "types.h"
#include "waiting.h"

namespace inflight::python {
namespace {

// The elements, or the reason why not as an exception.
TensorView read(const NDArray& array) { return take(array.read()); }

// What a Py_buffer points to while it is out.
struct Exported {
  std::array<std::int64_t, Shape::kRankMax> shape{};
  std::array<std::int64_t, Shape::kRankMax> strides{};
};
static_assert(sizeof(Py_ssize_t) == sizeof(std::int64_t));

// Where data may not be null though there is none.
std::byte no_elements;

int get_buffer(PyObject* self, Py_buffer* view, int flags) noexcept {
  try {
    const TensorView elements = read(nb::inst_ptr<Array>(nb::handle(self))->value);
    const char* format = format_of(elements.dtype);
    if (format == nullptr) {
      PyErr_SetString(PyExc_BufferError, "the buffer protocol and NumPy have no bf16: use __dlpack__()");
      return -1;
    }
    if ((flags & PyBUF_WRITABLE) != 0) {
      PyErr_SetString(PyExc_BufferError, "a version of an array is read-only: copy it to write to it");
      return -1;
    }
    auto* exported = new Exported;
    for (std::size_t axis = 0; axis < elements.shape.rank(); ++axis) {
      exported->shape.at(axis) = elements.shape[axis];
    }
    exported->strides = dense_strides(elements, static_cast<std::int64_t>(dtype_bytes(elements.dtype)));
    view->buf = elements.data != nullptr ? const_cast<void*>(elements.data) : &no_elements;
    view->len = static_cast<Py_ssize_t>(elements.bytes());
    view->readonly = 1;
    view->itemsize = static_cast<Py_ssize_t>(dtype_bytes(elements.dtype));
    view->format = (flags & PyBUF_FORMAT) != 0 ? const_cast<char*>(format) : nullptr;
    view->ndim = static_cast<int>(elements.shape.rank());
    view->shape = (flags & PyBUF_ND) != 0 ? reinterpret_cast<Py_ssize_t*>(exported->shape.data()) : nullptr;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES
                        ? reinterpret_cast<Py_ssize_t*>(exported->strides.data())
                        : nullptr;
    view->suboffsets = nullptr;
    view->internal = exported;
    view->obj = Py_NewRef(self);
    return 0;
  } catch (nb::python_error& failed) {
    failed.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  view->obj = nullptr;
  return -1;
}

void release_buffer(PyObject*, Py_buffer* view) noexcept { delete static_cast<Exported*>(view->internal); }

const std::array<PyType_Slot, 3> kBufferSlots = {{
    {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
    {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
    {0, nullptr},
}};

nb::object numpy_asarray(nb::handle object) { return nb::module_::import_("numpy").attr("asarray")(object); }

nb::object array_protocol(nb::handle self, nb::handle dtype, std::optional<bool> copy) {
  nb::object view = numpy_view(self);
  const bool converts =
      !dtype.is_none() && !view.attr("dtype").equal(nb::module_::import_("numpy").attr("dtype")(dtype));
  if (copy == false && converts) raise_invalid("another dtype needs a copy, and copy is False");
  if (copy == true || converts) {
    return view.attr("astype")(dtype.is_none() ? nb::object(view.attr("dtype")) : nb::borrow(dtype));
  }
  return view;
}

std::string describe(const Array& array) {
  const NDArray& value = array.value;
  std::string text =
      "<inflight.NDArray " + std::string(dtype_name(value.dtype())) + value.shape().to_string();
  if (!value.can_read()) return text + " pending>";
  return text + (value.status().ok() ? ">" : " failed: " + value.status().to_string() + ">");
}

}  // namespace

nb::object numpy_view(nb::handle array) {
  const TensorView view = read(nb::inst_ptr<Array>(array)->value);
  if (format_of(view.dtype) == nullptr) {
    raise(Status(StatusCode::kUnsupported, "NumPy has no bf16: use __dlpack__(), as torch.from_dlpack does"));
  }
  return numpy_asarray(array);
}

void bind_arrays(nb::module_& module) {
  module.def(
      "from_dlpack",
      [](nb::handle tensor) {
        check_startable();
        drain_releases();
        return Array(array_from_dlpack(tensor, "tensor"));
      },
      nb::arg("tensor").none(), nb::sig("def from_dlpack(tensor: object) -> NDArray"),
      "An array over the memory of a tensor (PyTorch, CuPy, NumPy and others), never copied: nobody writes "
      "to it\n"
      "while the array or what was made of it lives. On a CUDA device it is ready, without anybody waiting, "
      "once "
      "the\n"
      "device has done what the tensor's library had put into its current stream.\n\n"
      "As NDArray(tensor, copy=False), but where the tensor offers the buffer protocol, too, DLPack comes "
      "first.");
  nb::class_<Array>(
      module, "NDArray", nb::is_weak_referenceable(), nb::type_slots(kBufferSlots.data()),
      "A handle to one version of an array: computed, failed, or still to come. It never shows\n"
      "another version, whoever writes what, and its memory is not reused while the handle, a\n"
      "NumPy view or a DLPack tensor of it lives. Any thread may use it.\n\n"
      "It offers the buffer protocol, __array__ and __dlpack__, all read-only and without a copy.")
      .def(
          "__init__",
          [](Array* self, nb::handle data, std::optional<bool> copy) {
            check_usable();
            drain_releases();
            new (self) Array(array_from(data, "data", copy));
          },
          nb::arg("data").none(), nb::kw_only(), nb::arg("copy") = nb::none(),
          nb::sig("def __init__(self, data: object, *, copy: bool | None = None) -> None"),
          "An array that can be read at once; of a tensor on a device, once the device has done what the "
          "tensor's\n"
          "library had given it.\n\n"
          "data  a NumPy array, a DLPack tensor in memory of the host or on a CUDA device (PyTorch, CuPy), "
          "an "
          "object\n"
          "      with the buffer protocol, or what numpy.asarray takes by itself; of rank 8 at most\n"
          "copy  None: copied, unless nobody can write to it (bytes, a read-only array and its like) or it "
          "is "
          "on a\n"
          "      device; False: never copied, and the caller does not write to it while this array or what "
          "was "
          "made\n"
          "      of it lives; True: always copied\n\n"
          "InvalidTypeError: not an array, or an array of Python objects. InvalidArgumentError: other "
          "elements\n"
          "than bool, u8-u64, i8-i64, f16, bf16, f32, f64; another machine's byte order; copy=False where "
          "one\n"
          "is needed. UnsupportedError: memory of another device, more than 8 axes.")
      .def_prop_ro(
          "dtype", [](const Array& a) { return std::string(dtype_name(a.value.dtype())); },
          "The element type: \"f32\", \"u8\", \"bf16\", \"bool\" and so on.")
      .def_prop_ro(
          "shape", [](const Array& a) { return shape_tuple(a.value.shape()); },
          nb::sig("def shape(self) -> tuple[int | None, ...]"),
          "The extents, outermost first; None for one that is not known until can_read().")
      .def_prop_ro(
          "device", [](const Array& a) { return a.value.device().to_string(); },
          "Where the memory is or will be: \"cpu\", \"cuda:1\".")
      .def_prop_ro(
          "nbytes",
          [](const Array& a) {
            check_usable();
            return take(a.value.view()).bytes();
          },
          "Bytes of all elements. NotReadyError before can_read().")
      .def(
          "can_read", [](const Array& a) noexcept { return a.value.can_read(); },
          "True: computed, or failed. Never blocks, never raises, never goes back to False: one load.")
      .def(
          "status",
          [](const Array& a) -> nb::object {
            const Status status = a.value.status();
            return status.ok() ? nb::none() : to_exception(status);
          },
          nb::sig("def status(self) -> inflight.errors.Error | None"),
          "How the version came about: None where it is fine, else the exception that says why it failed, "
          "not\n"
          "raised; NotReadyError before can_read().")
      .def(
          "wait",
          [](const Array& a, std::optional<double> timeout) {
            check_usable();
            if (!a.value.can_read()) {
              const bool done = wait_in_slices(end_of(timeout), [&](TimePoint until) {
                static_cast<void>(a.value.wait_until(until));
                return a.value.can_read();
              });
              if (!done) raise(Status(StatusCode::kDeadlineExceeded, "the array was not ready in time"));
            }
            check(a.value.status());
          },
          nb::arg("timeout") = nb::none(),
          "Waits until can_read(), without the GIL; Ctrl-C ends it.\n\n"
          "timeout  seconds; None: for ever\n\n"
          "Raises why the version failed, or DeadlineExceededError (a TimeoutError).")
      .def(
          "numpy",
          [](nb::handle self) {
            check_usable();
            return numpy_view(self);
          },
          nb::sig("def numpy(self) -> inflight._types.Array"),
          "A read-only NumPy view of the elements, without a copy; it keeps the version alive. Never waits:\n"
          "NotReadyError before can_read(), the version's own failure, UnsupportedError: memory of another\n"
          "device, or bf16.")
      .def("__array__", array_protocol, nb::arg("dtype") = nb::none(), nb::arg("copy") = nb::none(),
           nb::sig("def __array__(self, dtype: inflight._types.DTypeLike | None = None, copy: bool | None = "
                   "None) -> "
                   "inflight._types.Array"))
      .def("__dlpack__", dlpack_capsule, nb::kw_only(), nb::arg("stream") = nb::none(),
           nb::arg("max_version") = nb::none(), nb::arg("dl_device") = nb::none(),
           nb::arg("copy") = nb::none(),
           nb::sig("def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = "
                   "None, "
                   "dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> "
                   "typing_extensions.CapsuleType"),
           "A DLPack capsule, read-only, without a copy, that keeps the version alive. One who asks without\n"
           "max_version, from before DLPack 1.0, gets a copy of memory of the host, as nothing would say "
           "that it "
           "is\n"
           "read-only; and of a device the memory itself, which must not be written to.\n\n"
           "stream       where the consumer uses memory of a CUDA device: None or 1: the legacy default "
           "stream; "
           "2: the\n"
           "             per-thread one; else a stream's number; -1: it gives the capsule back only when the "
           "device is\n"
           "             done. Nothing has to be waited for, as what can be read has been computed; but the "
           "memory "
           "is not\n"
           "             used again before the device has done what was in that stream when the capsule is "
           "given "
           "back.\n"
           "dl_device    (1, 0): a copy in memory of the host, which is waited for")
      .def(
          "__dlpack_device__",
          [](const Array& a) {
            const nb::dlpack::device device = dlpack_device_of(a.value.device());
            return nb::make_tuple(device.device_type, device.device_id);
          },
          nb::sig("def __dlpack_device__(self) -> tuple[int, int]"))
      .def(
          "copy_to",
          [](const Array& a, nb::handle device) {
            check_startable();
            const std::vector<Device> to = devices_from(device);
            if (to.size() != 1)
              raise_invalid("device: got " + std::to_string(to.size()) + " devices, want 1");
            Result<NDArray> copy = [&] {
              const WithoutGil release;
              return a.value.copy_to(to[0]);
            }();
            return Array(take(std::move(copy)));
          },
          nb::arg("device"), nb::sig("def copy_to(self, device: Device | str) -> NDArray"),
          "The same elements in the memory of a device, or of the host (\"cpu\"): an array that is still to "
          "come,\n"
          "or this one, where they are there already. Never waits, but for the first call for a device, "
          "which\n"
          "opens it.\n\n"
          "NoSuchDeviceError: there is none; OutOfMemoryError. What fails later is the status of the copy.")
      .def(
          "on_ready",
          [](nb::handle self, nb::object fn, nb::object executor) {
            call_when_ready(self, std::move(fn), std::move(executor));
          },
          nb::arg("fn"), nb::kw_only(), nb::arg("executor") = nb::none(),
          nb::sig("def on_ready(self, fn: collections.abc.Callable[[NDArray], object], *, executor: "
                  "concurrent.futures.Executor | None = None) -> None"),
          "Calls fn(self) once, when can_read() is true, on a thread of this package that runs all such\n"
          "callbacks one after the other; or by executor.submit(fn, self) from there. What fn raises goes "
          "to\n"
          "sys.unraisablehook.")
      .def(
          "__await__", [](nb::object self) { return asyncio_helper("await_ready")(self); },
          nb::sig("def __await__(self) -> collections.abc.Generator[typing.Any, None, NDArray]"),
          "Waits in an asyncio task, over one descriptor a loop and no thread; gives this array, or raises "
          "why\n"
          "it failed.")
      .def("__repr__", describe)
      .def(
          "__eq__",
          [](const Array& a, nb::handle b) {
            const auto* other = as<Array>(b);
            return other != nullptr && a.value == other->value;
          },
          nb::arg("other").none(), nb::sig("def __eq__(self, other: object) -> bool"),
          "Whether both are handles to the same array of the same version.")
      .def("__hash__", [](const Array& a) {
        return reinterpret_cast<std::uintptr_t>(&a.value.version()) / 64 + a.value.index();
      });
}

}  // namespace inflight::python
