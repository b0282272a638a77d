// SPDX-License-Identifier: Apache-2.0
// From statuses to exceptions.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>
#include <string_view>
#include <utility>

#include "inflight/clock.h"
#include "inflight/status.h"

namespace nb = nanobind;

namespace inflight::python {

// The exception of inflight.errors that stands for this failure. With the GIL, as all here. Requires a
// failure.
nb::object to_exception(const Status& status);
// Raises it.
[[noreturn]] void raise(const Status& status);
// Raises OverloadedError with `retry_after`.
[[noreturn]] void raise_overloaded(const Status& status, Duration retry_after);
// Raises InvalidTypeError, which is a TypeError, too: "WHAT: found TYPE, want WANTED".
[[noreturn]] void raise_type(const std::string& what, nb::handle found, const std::string& wanted);
[[noreturn]] void raise_invalid(const std::string& message);

// A string of C++'s, which need not be UTF-8 (a name out of a file, or the file's own), and back. Bytes that
// are not UTF-8 are lone surrogates in Python, as os.fsdecode() has them.
nb::str text_of(std::string_view string);
std::string string_from(nb::handle text);
// A file's path, in the bytes that the system has for it: os.fsdecode() and os.listdir() give strings with
// lone surrogates for names that are not UTF-8.
//   errors   InvalidTypeError: neither a string nor an os.PathLike; ValueError: it has a null character
std::string path_from(nb::handle path, const char* what);
// A number as a float.
//   errors   InvalidArgumentError: an integer that is too large for one; TypeError: it is none
double number_from(nb::handle number, const char* what);

inline void check(const Status& status) {
  if (!status.ok()) raise(status);
}
template <typename T>
T take(Result<T> result) {
  if (!result.ok()) raise(result.status());
  return std::move(result).value();
}

// The status of an operation whose Python code raised: kException with the exception's type and text. Takes
// the exception that is set.
Status status_of_exception();
Status status_of(nb::python_error& thrown);

void bind_errors(nb::module_& module);

}  // namespace inflight::python
