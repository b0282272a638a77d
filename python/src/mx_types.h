// SPDX-License-Identifier: Apache-2.0
// What the classes of inflight.mx hold, and how results become objects of them.
#pragma once

#include <nanobind/nanobind.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "errors.h"
#include "inflight/mx/mx.h"
#include "lifetime.h"
#include "types.h"

namespace inflight::python {

// The C++ side of inflight.mx.nd.NDArray, which inherits it.
struct MxArray : Kept<mx::NDArray> {
  using Kept::Kept;
};

// Likewise of inflight.mx.sym.Symbol. It has no lock and no thread.
struct MxSymbol {
  mx::Symbol value;
};

// Likewise of inflight.mx.executor.Executor.
struct MxExecutor : Kept<mx::Executor> {
  using Kept::Kept;
};

namespace detail {
extern bool mx_engine_listed;
}
// Before the engine of arrays is used. At the first call it is started, and listed among what ends before the
// interpreter does.
//   errors   ShuttingDownError: this is the child of a fork, or the interpreter ends; as mx::engine()
void start_mx();
inline void check_mx() {
  check_usable();
  if (!detail::mx_engine_listed) start_mx();
}

// Objects of the Python classes.
nb::object mx_object(mx::NDArray array);
nb::object mx_object(mx::Symbol symbol);
nb::object mx_object(mx::Executor executor);
template <typename T>
nb::list mx_list(std::vector<T> values) {
  nb::list list;
  for (T& value : values) list.append(mx_object(std::move(value)));
  return list;
}
nb::dict mx_dict(const mx::Executor::Named& arrays);

// What objects hold.
//   errors   InvalidTypeError: an object of another class
const mx::NDArray& mx_array(nb::handle object, const char* what);
const mx::Symbol& mx_symbol(nb::handle object, const char* what);
std::vector<mx::NDArray> mx_arrays(nb::handle sequence, const char* what);
std::map<std::string, mx::NDArray> mx_named_arrays(nb::handle dict, const char* what);
mx::Attributes mx_attributes(nb::handle dict);
std::map<std::string, Shape> mx_shapes(nb::handle dict, const char* what);
// None, or integers and Nones.
mx::NDArray::OptionalInts mx_optional_ints(nb::handle sequence, const char* what);
std::string mx_text(nb::handle object, const char* what);

// Element types by the names that NumPy and MXNet have for them.
DType mx_dtype(const std::string& numpy_name);
const char* mx_dtype_name(DType dtype);

void bind_mx_classes(nb::module_& module);
void bind_mx_arrays(nb::module_& module);
void bind_mx_operators(nb::module_& module);
void bind_mx_symbols(nb::module_& module);
void bind_mx_executors(nb::module_& module);
// Lets go of the Python classes. At exit.
void end_mx() noexcept;

}  // namespace inflight::python
