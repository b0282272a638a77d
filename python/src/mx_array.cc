// SPDX-License-Identifier: Apache-2.0
// The C++ side of inflight.mx.nd.NDArray: a name whose elements can be written.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "mx_types.h"
#include "tensors.h"
#include "waiting.h"

namespace inflight::python {
namespace {

using Ints = std::vector<std::int64_t>;

// Calls without the GIL.
template <typename Call>
auto released(Call&& call) {
  check_mx();
  const WithoutGil release;
  return call();
}

void wait_for(const NDArray& version, std::optional<double> timeout) {
  bool done = version.can_read();
  if (!done) {
    done = wait_in_slices(end_of(timeout), [&](TimePoint until) {
      if (!timeout.has_value()) mx::help(version);  // it may compute for longer than a short timeout
      static_cast<void>(version.wait_until(until));
      return version.can_read();
    });
  }
  if (!done) raise(Status(StatusCode::kDeadlineExceeded, "the array was not ready in time"));
  check(version.status());
}

void wait(const MxArray& self, std::optional<double> timeout) {
  check_mx();
  if (!self.value.can_read()) {
    // The version that is newest now: others may be ordered meanwhile.
    wait_for(take(self.value.snapshot()), timeout);
    return;
  }
  check(self.value.status());
}

// The newest version, once it can be read.
nb::object read(const MxArray& self) {
  check_mx();
  const NDArray version = take(self.value.snapshot());
  wait_for(version, std::nullopt);
  return nb::cast(Array(version));
}

nb::object snapshot(const MxArray& self) {
  check_mx();
  return nb::cast(Array(take(self.value.snapshot())));
}

nb::object from_version(nb::handle source, std::optional<bool> copy) {
  check_mx();
  return mx_object(take(mx::NDArray::of(array_from(source, "array", copy))));
}

nb::object full(nb::handle shape, nb::handle number, const std::string& dtype) {
  const Shape extents = shape_from(shape, "shape");
  const double value = number_from(number, "value");
  const DType type = mx_dtype(dtype);
  return mx_object(take(released([&] { return mx::NDArray::full(extents, value, type); })));
}

nb::object empty(nb::handle shape, const std::string& dtype) {
  const Shape extents = shape_from(shape, "shape");
  const DType type = mx_dtype(dtype);
  return mx_object(take(released([&] { return mx::NDArray::empty(extents, type); })));
}

nb::object arange(double start, std::optional<double> stop, double step, std::int64_t repeat,
                  const std::string& dtype) {
  const DType type = mx_dtype(dtype);
  return mx_object(take(released([&] { return mx::NDArray::arange(start, stop, step, repeat, type); })));
}

nb::object eye(std::int64_t rows, std::int64_t columns, std::int64_t shift, const std::string& dtype) {
  const DType type = mx_dtype(dtype);
  return mx_object(take(released([&] { return mx::NDArray::eye(rows, columns, shift, type); })));
}

nb::object slice(const MxArray& self, nb::handle begin, nb::handle end, nb::handle step) {
  const auto first = mx_optional_ints(begin, "begin");
  const auto last = mx_optional_ints(end, "end");
  const auto steps = mx_optional_ints(step, "step");
  return mx_object(take(released([&] { return self.value.slice(first, last, steps); })));
}

void assign(const MxArray& self, nb::handle source) {
  const mx::NDArray from = mx_array(source, "source");
  check(released([&] { return self.value.assign(from); }));
}

void assign_slice(const MxArray& self, nb::handle begin, nb::handle end, nb::handle step, nb::handle source) {
  const auto first = mx_optional_ints(begin, "begin");
  const auto last = mx_optional_ints(end, "end");
  const auto steps = mx_optional_ints(step, "step");
  const mx::NDArray from = mx_array(source, "source");
  check(released([&] { return self.value.assign_slice(first, last, steps, from); }));
}

void fill_slice(const MxArray& self, nb::handle begin, nb::handle end, nb::handle step, nb::handle number) {
  const double value = number_from(number, "assign");
  const auto first = mx_optional_ints(begin, "begin");
  const auto last = mx_optional_ints(end, "end");
  const auto steps = mx_optional_ints(step, "step");
  check(released([&] { return self.value.fill_slice(first, last, steps, value); }));
}

void bind_creation(nb::module_& module) {
  module.def("_mx_from", from_version, nb::arg("source").none(), nb::arg("copy") = nb::none(),
             nb::sig("def _mx_from(source: object, copy: bool | None = None) -> typing.Any"));
  module.def("_mx_full", full, nb::arg("shape"), nb::arg("value"), nb::arg("dtype"),
             nb::sig("def _mx_full(shape: object, value: float, dtype: str) -> typing.Any"));
  module.def("_mx_empty", empty, nb::arg("shape"), nb::arg("dtype"),
             nb::sig("def _mx_empty(shape: object, dtype: str) -> typing.Any"));
  module.def("_mx_arange", arange, nb::arg("start"), nb::arg("stop").none(), nb::arg("step"),
             nb::arg("repeat"), nb::arg("dtype"),
             nb::sig("def _mx_arange(start: float, stop: float | None, step: float, repeat: int, dtype: str) "
                     "-> typing.Any"));
  module.def("_mx_eye", eye, nb::arg("rows"), nb::arg("columns"), nb::arg("shift"), nb::arg("dtype"),
             nb::sig("def _mx_eye(rows: int, columns: int, shift: int, dtype: str) -> typing.Any"));
}

}  // namespace

void bind_mx_arrays(nb::module_& module) {
  nb::class_<MxArray>(module, "MxArray", nb::is_weak_referenceable(),
                      "What inflight.mx.nd.NDArray inherits: an array as MXNet has it.")
      .def_prop_ro(
          "shape", [](const MxArray& a) { return shape_tuple(a.value.shape()); },
          nb::sig("def shape(self) -> tuple[int, ...]"), "The extents, outermost first.")
      .def_prop_ro(
          "size", [](const MxArray& a) { return a.value.size(); }, "The number of elements.")
      .def_prop_ro(
          "ndim", [](const MxArray& a) { return a.value.shape().rank(); }, "The number of axes.")
      .def_prop_ro("_dtype_name",
                   [](const MxArray& a) {
                     check_usable();  // takes a lock
                     return mx_dtype_name(a.value.dtype());
                   })
      .def(
          "can_read",
          [](const MxArray& a) {
            check_usable();
            return a.value.can_read();
          },
          "True: the newest version has been computed, or has failed. Never waits for an operation. A later\n"
          "write makes a version that is not there yet; snapshot() pins one.")
      .def(
          "status",
          [](const MxArray& a) -> nb::object {
            check_usable();
            const Status status = a.value.status();
            return status.ok() ? nb::none() : to_exception(status);
          },
          nb::sig("def status(self) -> inflight.errors.Error | None"),
          "How the newest version came about: None where it is fine, else the exception that says why it\n"
          "failed, not raised; NotReadyError before can_read().")
      .def(
          "wait", wait, nb::arg("timeout") = nb::none(),
          "Waits until the version that is newest now has been computed, without the GIL; Ctrl-C ends it.\n\n"
          "timeout  seconds; None: for ever\n\n"
          "Raises why the version failed, or DeadlineExceededError (a TimeoutError).")
      .def("snapshot", snapshot, nb::sig("def snapshot(self) -> NDArray"),
           "The newest version, pinned: an inflight.NDArray that later writes leave as it is.")
      .def(
          "shares_memory_with",
          [](const MxArray& a, nb::handle other) {
            return a.value.shares_memory_with(mx_array(other, "other"));
          },
          nb::sig("def shares_memory_with(self, other: MxArray) -> bool"),
          "Whether a write to one is seen in the other.")
      .def("_read", read, nb::sig("def _read(self) -> NDArray"),
           "The newest version, pinned, once it has been computed; raises why it failed.")
      .def("_reshape", [](const MxArray& a, const Ints& codes,
                          bool reverse) { return mx_object(take(a.value.reshape(codes, reverse))); })
      .def("_rows", [](const MxArray& a, std::int64_t begin,
                       std::int64_t end) { return mx_object(take(a.value.rows(begin, end))); })
      .def("_at", [](const MxArray& a, std::int64_t index) { return mx_object(take(a.value.at(index))); })
      .def("_slice", slice, nb::arg("begin"), nb::arg("end"), nb::arg("step"))
      .def("_copy",
           [](const MxArray& a) { return mx_object(take(released([&] { return a.value.copy(); }))); })
      .def("_astype",
           [](const MxArray& a, const std::string& dtype) {
             const DType type = mx_dtype(dtype);
             return mx_object(take(released([&] { return a.value.astype(type); })));
           })
      .def_prop_ro("_device",
                   [](const MxArray& a) {
                     check_usable();  // takes a lock
                     return a.value.device().to_string();
                   })
      .def(
          "_as_in",
          [](const MxArray& a, const std::string& device) {
            const Device to = take(Device::parse(device));
            return mx_object(take(released([&] { return a.value.as_in(to); })));
          },
          nb::sig("def _as_in(self, device: str) -> typing.Any"))
      .def("_assign", assign)
      .def("_fill",
           [](const MxArray& a, nb::handle number) {
             const double value = number_from(number, "assign");
             check(released([&] { return a.value.fill(value); }));
           })
      .def("_assign_slice", assign_slice)
      .def("_fill_slice", fill_slice);
  bind_creation(module);
}

}  // namespace inflight::python
