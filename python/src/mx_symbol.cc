// SPDX-License-Identifier: Apache-2.0
// The C++ side of inflight.mx.sym.Symbol.
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "mx_types.h"
#include "tensors.h"

namespace inflight::python {
namespace {

template <typename Call>
auto released(Call&& call) {
  const WithoutGil release;
  return call();
}

// inputs: a list of (name, symbol); "" where the place says it
nb::object apply(const std::string& op, nb::handle inputs, nb::handle attributes, const std::string& name) {
  std::vector<mx::Symbol::Input> given;
  for (nb::handle pair : nb::iter(inputs)) {
    given.push_back({mx_text(nb::object(pair[0]), "input"), mx_symbol(nb::object(pair[1]), op.c_str())});
  }
  return mx_object(take(mx::Symbol::apply(op, given, mx_attributes(attributes), name)));
}

nb::object variable(const std::string& name, nb::handle shape, std::optional<std::string> dtype,
                    nb::handle attributes) {
  mx::VariableOptions options;
  if (!shape.is_none()) options.shape = shape_from(shape, "shape");
  if (dtype) options.dtype = mx_dtype(*dtype);
  options.attributes = mx_attributes(attributes);
  return mx_object(take(mx::Symbol::variable(name, options)));
}

nb::object group(nb::handle symbols) {
  std::vector<mx::Symbol> given;
  for (nb::handle one : nb::iter(symbols)) given.push_back(mx_symbol(one, "symbols"));
  return mx_object(take(mx::Symbol::group(given)));
}

nb::object compose(const MxSymbol& self, nb::handle variables) {
  std::map<std::string, mx::Symbol> given;
  for (auto [key, value] : nb::borrow<nb::dict>(variables))
    given.emplace(mx_text(key, "name"), mx_symbol(value, mx_text(key, "name").c_str()));
  return mx_object(take(self.value.compose(given)));
}

nb::list shapes(const std::vector<std::optional<Shape>>& found) {
  nb::list list;
  for (const auto& shape : found) list.append(shape ? nb::object(shape_tuple(*shape)) : nb::none());
  return list;
}

// (complete, arguments, outputs, states)
nb::tuple infer_shape(const MxSymbol& self, nb::handle known, bool partial) {
  const auto given = mx_shapes(known, "infer_shape");
  const mx::ShapeInference found = take(released([&] { return self.value.infer_shape(given, partial); }));
  return nb::make_tuple(found.complete, shapes(found.arguments), shapes(found.outputs),
                        shapes(found.auxiliary_states));
}

nb::list names(const std::vector<DType>& dtypes) {
  nb::list list;
  for (const DType dtype : dtypes) list.append(nb::str(mx_dtype_name(dtype)));
  return list;
}

nb::tuple infer_type(const MxSymbol& self, const std::map<std::string, std::string>& known) {
  std::map<std::string, DType> given;
  for (const auto& [name, dtype] : known) given.emplace(name, mx_dtype(dtype));
  const mx::TypeInference found = take(released([&] { return self.value.infer_type(given); }));
  return nb::make_tuple(names(found.arguments), names(found.outputs), names(found.auxiliary_states));
}

void save(const MxSymbol& self, nb::handle file_name) {
  const std::string path = path_from(file_name, "fname");
  check(released([&] { return self.value.save(path); }));
}

nb::object load(nb::handle file_name) {
  const std::string path = path_from(file_name, "fname");
  return mx_object(take(released([&] { return mx::Symbol::load(path); })));
}

nb::object from_json(const std::string& text) {
  return mx_object(take(released([&] { return mx::Symbol::from_json(text); })));
}

}  // namespace

void bind_mx_symbols(nb::module_& module) {
  nb::class_<MxSymbol>(module, "MxSymbol", nb::is_weak_referenceable(),
                       "What inflight.mx.sym.Symbol inherits: a network as MXNet describes it.")
      .def_prop_ro("_name", [](const MxSymbol& s) { return s.value.name(); })
      .def_prop_ro("_outputs", [](const MxSymbol& s) { return s.value.output_count(); })
      .def("_output", [](const MxSymbol& s, std::size_t i) { return mx_object(take(s.value.output(i))); })
      .def("_output_named",
           [](const MxSymbol& s, const std::string& name) {
             return mx_object(take(s.value.output(std::string_view(name))));
           })
      .def("_internals", [](const MxSymbol& s) { return mx_object(s.value.internals()); })
      .def("_children",
           [](const MxSymbol& s) -> nb::object {
             mx::Symbol children = s.value.children();
             return children ? mx_object(std::move(children)) : nb::none();
           })
      .def(
          "list_arguments", [](const MxSymbol& s) { return s.value.list_arguments(); },
          "The names of the variables that are not auxiliary states, in the order in which a walk that goes\n"
          "deep first meets them.")
      .def(
          "list_auxiliary_states", [](const MxSymbol& s) { return s.value.list_auxiliary_states(); },
          "The names of the auxiliary states, such as the moving mean of BatchNorm.")
      .def(
          "list_inputs", [](const MxSymbol& s) { return s.value.list_inputs(); },
          "The names of arguments and auxiliary states, as they come.")
      .def(
          "list_outputs", [](const MxSymbol& s) { return s.value.list_outputs(); },
          "The names of the outputs.")
      .def("_attribute", [](const MxSymbol& s, const std::string& key) { return s.value.attribute(key); })
      .def("_attributes", [](const MxSymbol& s) { return s.value.attributes(); })
      .def("_all_attributes", [](const MxSymbol& s) { return s.value.all_attributes(); })
      .def("_infer_shape", infer_shape, nb::arg("known"), nb::arg("partial"),
           nb::sig(
               "def _infer_shape(self, known: dict[str, typing.Any], partial: bool) -> tuple[bool, "
               "list[tuple[int, ...] | None], list[tuple[int, ...] | None], list[tuple[int, ...] | None]]"))
      .def("_infer_type", infer_type,
           nb::sig("def _infer_type(self, known: dict[str, str]) -> tuple[list[str], list[str], list[str]]"))
      .def("_to_json", [](const MxSymbol& s) { return released([&] { return s.value.to_json(); }); })
      .def("_save", save)
      .def("_compose", compose,
           nb::sig("def _compose(self, variables: dict[str, typing.Any]) -> typing.Any"));
  module.def(
      "_mx_apply", apply, nb::arg("op"), nb::arg("inputs"), nb::arg("attributes"), nb::arg("name"),
      nb::sig("def _mx_apply(op: str, inputs: list[tuple[str, typing.Any]], attributes: dict[str, str], "
              "name: str) -> typing.Any"));
  module.def("_mx_variable", variable, nb::arg("name"), nb::arg("shape").none(), nb::arg("dtype").none(),
             nb::arg("attributes"),
             nb::sig("def _mx_variable(name: str, shape: object, dtype: str | None, attributes: dict[str, "
                     "str]) -> typing.Any"));
  module.def("_mx_group", group, nb::sig("def _mx_group(symbols: object) -> typing.Any"));
  module.def("_mx_load_symbol", load,
             nb::sig("def _mx_load_symbol(path: str | os.PathLike[str]) -> typing.Any"));
  module.def("_mx_symbol_from_json", from_json, nb::sig("def _mx_symbol_from_json(text: str) -> typing.Any"));
}

}  // namespace inflight::python
