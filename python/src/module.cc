// SPDX-License-Identifier: Apache-2.0
// The extension inflight._inflight: what it refuses, and how it ends.
#include <nanobind/nanobind.h>

#include "errors.h"
#include "inflight/version.h"
#include "lifetime.h"
#include "media/synthetic.h"
#include "mx_types.h"
#include "release.h"
#include "types.h"

namespace inflight::python {
namespace {

// The last of it, while the interpreter still runs: everything that has threads ends, in the order in which
// one needs the other.
void at_exit() {
  if (forked()) return;
  close_all();
  stop_callbacks();
  end_mx();
  drain_releases();
}

void in_child() {
  set_forked();
  nb::set_leak_warnings(false);  // what threads of the parent hold is never given up here
}

void bind_lifetime() {
  const nb::object exit_function = nb::cpp_function(&at_exit);
  nb::module_::import_("atexit").attr("register")(exit_function);
  nb::module_::import_("os").attr("register_at_fork")(nb::arg("after_in_child") =
                                                          nb::cpp_function(&in_child));
  // What threads let go of goes at the latest when the garbage collector runs.
  nb::module_::import_("gc")
      .attr("callbacks")
      .attr("append")(nb::cpp_function([](nb::handle, nb::handle) { drain_releases(); }, nb::arg("phase"),
                                       nb::arg("info")));
}

}  // namespace
}  // namespace inflight::python

NB_MODULE(_inflight, module) {
  using namespace inflight::python;
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError,
                    "inflight can be imported in the main interpreter only, not in a sub-interpreter");
    throw nb::python_error();
  }
  nb::set_leak_warnings(true);
  module.def("_version", [] { return INFLIGHT_VERSION; });
  nb::list shapes;
  for (const std::string_view name : inflight::kShapeNames) shapes.append(nb::str(name.data(), name.size()));
  module.def(
      "_shape_names", [names = nb::tuple(shapes)] { return names; },
      nb::sig("def _shape_names() -> tuple[str, ...]"));
  bind_errors(module);
  bind_devices(module);
  bind_arrays(module);
  bind_models(module);
  bind_predictors(module);
  bind_queues(module);
  bind_engines(module);
  bind_sources(module);
  bind_mx_classes(module);
  bind_mx_arrays(module);
  bind_mx_operators(module);
  bind_mx_symbols(module);
  bind_mx_executors(module);
  bind_lifetime();
}
