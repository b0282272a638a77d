// SPDX-License-Identifier: Apache-2.0
#include "errors.h"

#include <array>
#include <string_view>

namespace inflight::python {
namespace {

// The classes of inflight/errors.py, which live as long as the interpreter.
std::array<PyObject*, kStatusCodes> classes{};
PyObject* invalid_type = nullptr;

std::string string_of(const nb::object& bytes) {
  return {PyBytes_AsString(bytes.ptr()), static_cast<std::size_t>(PyBytes_Size(bytes.ptr()))};
}

[[noreturn]] void raise_object(const nb::object& exception) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw nb::python_error();
}

}  // namespace

nb::object to_exception(const Status& status) {
  return nb::handle(classes[static_cast<std::size_t>(status.code())])(text_of(status.message()));
}

void raise(const Status& status) { raise_object(to_exception(status)); }

void raise_overloaded(const Status& status, Duration retry_after) {
  nb::object exception = to_exception(status);
  if (status.code() == StatusCode::kOverloaded) {
    exception.attr("retry_after") = std::chrono::duration<double>(retry_after).count();
  }
  raise_object(exception);
}

void raise_type(const std::string& what, nb::handle found, const std::string& wanted) {
  const std::string type =
      found.is_none() ? "None" : nb::cast<std::string>(nb::str(nb::handle(found.type()).attr("__name__")));
  raise_object(nb::handle(invalid_type)(text_of(what + ": found " + type + ", want " + wanted)));
}

void raise_invalid(const std::string& message) { raise(Status(StatusCode::kInvalidArgument, message)); }

nb::str text_of(std::string_view string) {
  PyObject* const text =
      PyUnicode_DecodeUTF8(string.data(), static_cast<Py_ssize_t>(string.size()), "surrogateescape");
  if (text == nullptr) throw nb::python_error();
  return nb::steal<nb::str>(text);
}

std::string string_from(nb::handle text) {
  const nb::object bytes = nb::steal(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogateescape"));
  if (!bytes.is_valid()) throw nb::python_error();
  return string_of(bytes);
}

std::string path_from(nb::handle path, const char* what) {
  if (PyUnicode_Check(path.ptr()) == 0 && !nb::hasattr(path, "__fspath__"))
    raise_type(what, path, "a string or an os.PathLike");
  PyObject* encoded = nullptr;
  if (PyUnicode_FSConverter(path.ptr(), &encoded) == 0) throw nb::python_error();
  return string_of(nb::steal(encoded));
}

double number_from(nb::handle number, const char* what) {
  const double value = PyFloat_AsDouble(number.ptr());
  if (value != -1 || PyErr_Occurred() == nullptr) return value;
  if (PyErr_ExceptionMatches(PyExc_OverflowError) == 0) throw nb::python_error();
  PyErr_Clear();
  raise_invalid(std::string(what) +
                ": found an integer that is too large for a float, want one below 1.8e308");
}

Status status_of(nb::python_error& thrown) {
  // A failure of ours keeps its code.
  for (int i = 1; i < kStatusCodes; ++i) {
    if (PyErr_GivenExceptionMatches(thrown.value().ptr(), classes[static_cast<std::size_t>(i)]) == 0)
      continue;
    return {static_cast<StatusCode>(i), string_from(nb::str(thrown.value()))};
  }
  std::string message = nb::cast<std::string>(nb::str(thrown.type().attr("__name__")));
  try {
    const std::string said = string_from(nb::str(thrown.value()));
    if (!said.empty()) message += ": " + said;
  } catch (...) {  // its __str__ raises
    PyErr_Clear();
  }
  return Status::exception(message);
}

Status status_of_exception() {
  nb::python_error thrown;
  return status_of(thrown);
}

void bind_errors(nb::module_& module) {
  const nb::module_ errors = nb::module_::import_("inflight.errors");
  const nb::object by_code = errors.attr("_BY_CODE");
  nb::dict kinds;
  for (int i = 1; i < kStatusCodes; ++i) {
    const StatusCodeRow& row = status_code_row(static_cast<StatusCode>(i));
    kinds[text_of(row.name)] = text_of(row.python_exception);
    classes[static_cast<std::size_t>(i)] = nb::object(by_code[text_of(row.name)]).release().ptr();
  }
  invalid_type = nb::object(errors.attr("InvalidTypeError")).release().ptr();
  // The built-in exception of each code, as the one table of C++ has it; for the tests.
  module.def(
      "_builtin_exceptions", [kinds] { return kinds; },
      nb::sig("def _builtin_exceptions() -> dict[str, str]"));
}

}  // namespace inflight::python
