// SPDX-License-Identifier: Apache-2.0
// The C++ side of inflight.mx.executor.Executor.
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>

#include "mx_types.h"
#include "tensors.h"

namespace inflight::python {
namespace {

template <typename Call>
auto released(Call&& call) {
  check_mx();
  const WithoutGil release;
  return call();
}

nb::object bind(nb::handle symbol, nb::handle arguments, nb::handle states, const std::string& device) {
  const mx::BindOptions options{.device = take(Device::parse(device))};
  const mx::Symbol network = mx_symbol(symbol, "symbol");
  if (PyDict_Check(arguments.ptr()) == 0) {
    const auto given = mx_arrays(arguments, "args");
    const auto given_states = mx_arrays(states, "aux_states");
    return mx_object(
        take(released([&] { return mx::Executor::bind(network, given, given_states, options); })));
  }
  const auto given = mx_named_arrays(arguments, "args");
  const auto given_states = mx_named_arrays(states, "aux_states");
  return mx_object(take(released([&] { return mx::Executor::bind(network, given, given_states, options); })));
}

nb::object simple_bind(nb::handle symbol, nb::handle shapes, const std::map<std::string, std::string>& types,
                       const std::string& device) {
  const mx::BindOptions options{.device = take(Device::parse(device))};
  const mx::Symbol network = mx_symbol(symbol, "symbol");
  const auto given = mx_shapes(shapes, "simple_bind");
  std::map<std::string, DType> dtypes;
  for (const auto& [name, dtype] : types) dtypes.emplace(name, mx_dtype(dtype));
  return mx_object(
      take(released([&] { return mx::Executor::simple_bind(network, given, dtypes, options); })));
}

nb::list forward(const MxExecutor& self, nb::handle inputs, bool is_train) {
  const auto given = mx_named_arrays(inputs, "forward");
  return mx_list(take(released([&] { return self.value.forward(given, is_train); })));
}

void copy_params_from(const MxExecutor& self, nb::handle arguments, nb::handle states, bool allow_extra) {
  const auto given = mx_named_arrays(arguments, "arg_params");
  const auto given_states = mx_named_arrays(states, "aux_params");
  check(released([&] { return self.value.copy_params_from(given, given_states, allow_extra); }));
}

nb::object reshape(const MxExecutor& self, nb::handle shapes, bool partial_shaping, bool allow_up_sizing) {
  const auto given = mx_shapes(shapes, "reshape");
  return mx_object(
      take(released([&] { return self.value.reshape(given, partial_shaping, allow_up_sizing); })));
}

}  // namespace

void bind_mx_executors(nb::module_& module) {
  nb::class_<MxExecutor>(module, "MxExecutor", nb::is_weak_referenceable(),
                         "What inflight.mx.executor.Executor inherits: a symbol with arrays, which computes.")
      .def("_forward", forward, nb::arg("inputs").none(), nb::arg("is_train"),
           nb::sig("def _forward(self, inputs: dict[str, typing.Any] | None, is_train: bool) -> "
                   "list[typing.Any]"))
      .def_prop_ro(
          "_outputs",
          [](const MxExecutor& e) { return mx_list(take(released([&] { return e.value.outputs(); }))); },
          nb::sig("def _outputs(self) -> list[typing.Any]"))
      .def_prop_ro(
          "_symbol", [](const MxExecutor& e) { return mx_object(e.value.symbol()); },
          nb::sig("def _symbol(self) -> typing.Any"))
      .def_prop_ro(
          "_arguments",
          [](const MxExecutor& e) {
            check_mx();
            return mx_dict(e.value.arg_dict());
          },
          nb::sig("def _arguments(self) -> dict[str, typing.Any]"))
      .def_prop_ro(
          "_states",
          [](const MxExecutor& e) {
            check_mx();
            return mx_dict(e.value.aux_dict());
          },
          nb::sig("def _states(self) -> dict[str, typing.Any]"))
      .def("_copy_params_from", copy_params_from, nb::arg("arguments").none(), nb::arg("states").none(),
           nb::arg("allow_extra"),
           nb::sig(
               "def _copy_params_from(self, arguments: object, states: object, allow_extra: bool) -> None"))
      .def(
          "_rebound", reshape, nb::arg("shapes"), nb::arg("partial_shaping"), nb::arg("allow_up_sizing"),
          nb::sig("def _rebound(self, shapes: dict[str, typing.Any], partial_shaping: bool, allow_up_sizing: "
                  "bool) -> typing.Any"));
  module.def("_mx_bind", bind, nb::arg("symbol"), nb::arg("arguments"), nb::arg("states").none(),
             nb::arg("device"),
             nb::sig("def _mx_bind(symbol: object, arguments: object, states: object, device: str) -> "
                     "typing.Any"));
  module.def("_mx_simple_bind", simple_bind, nb::arg("symbol"), nb::arg("shapes"), nb::arg("types"),
             nb::arg("device"),
             nb::sig("def _mx_simple_bind(symbol: object, shapes: dict[str, typing.Any], types: dict[str, "
                     "str], device: str) -> typing.Any"));
}

}  // namespace inflight::python
