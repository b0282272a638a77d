// SPDX-License-Identifier: Apache-2.0
// From statuses to exceptions.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>
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
