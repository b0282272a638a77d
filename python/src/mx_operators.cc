// SPDX-License-Identifier: Apache-2.0
// Operators on arrays, random numbers and files of arrays, for inflight.mx.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <array>
#include <charconv>
#include <cstring>

#include "mx_types.h"
#include "tensors.h"
#include "waiting.h"

namespace inflight::python {
namespace {

// The shortest text that reads back as the same number.
std::string number_text(double value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end.ptr};
}

nb::object results(std::vector<mx::NDArray> arrays, nb::handle out) {
  if (!out.is_none()) return nb::borrow(out);
  if (arrays.size() == 1) return mx_object(std::move(arrays[0]));
  return mx_list(std::move(arrays));
}

nb::object run(std::string_view op, const std::vector<mx::NDArray>& inputs, const mx::Attributes& attributes,
               nb::handle out) {
  check_mx();
  const std::vector<mx::NDArray> to = mx_arrays(out, "out");
  Result<std::vector<mx::NDArray>> arrays = [&] {
    const WithoutGil release;
    return mx::invoke(op, inputs, attributes, to);
  }();
  return results(take(std::move(arrays)), out);
}

nb::object invoke(const std::string& op, nb::handle inputs, nb::handle attributes, nb::handle out) {
  return run(op, mx_arrays(inputs, op.c_str()), mx_attributes(attributes), out);
}

nb::object invoke_scalar(const std::string& op, nb::handle input, nb::handle scalar, nb::handle out) {
  const double number = number_from(scalar, op.c_str());
  return run(op, {mx_array(input, op.c_str())}, {{"scalar", number_text(number)}}, out);
}

nb::object invoke_pair(const std::string& op, nb::handle left, nb::handle right, nb::handle out) {
  return run(op, {mx_array(left, op.c_str()), mx_array(right, op.c_str())}, {}, out);
}

nb::str text(const std::string& string) { return nb::str(string.data(), string.size()); }

nb::list texts(const std::vector<std::string>& strings) {
  nb::list list;
  for (const std::string& string : strings) list.append(text(string));
  return list;
}

// (name, aliases, [(attribute, type, required, default)], inputs, states, variadic)
nb::tuple describe(const mx::OperatorInfo& info) {
  nb::list attributes;
  for (const mx::OperatorAttribute& attribute : info.attributes) {
    attributes.append(nb::make_tuple(text(attribute.name), text(attribute.type), attribute.required,
                                     text(attribute.fallback)));
  }
  return nb::make_tuple(text(info.name), texts(info.aliases), attributes, texts(info.inputs),
                        texts(info.auxiliary), info.variadic);
}

nb::list operators() {
  nb::list list;
  for (const mx::OperatorInfo& info : mx::list_operators()) list.append(describe(info));
  return list;
}

template <typename Draw>
nb::object drawn(nb::handle shape, const std::string& dtype, Draw draw) {
  check_mx();
  const Shape extents = shape_from(shape, "shape");
  const DType type = mx_dtype(dtype);
  Result<mx::NDArray> array = [&] {
    const WithoutGil release;
    return draw(extents, type);
  }();
  return mx_object(take(std::move(array)));
}

void bind_random(nb::module_& module) {
  module.def("_mx_seed", [](std::uint64_t value) {
    check_mx();
    mx::seed(value);
  });
  module.def("_mx_uniform", [](double low, double high, nb::handle shape, const std::string& dtype) {
    return drawn(shape, dtype,
                 [&](const Shape& to, DType type) { return mx::random_uniform(low, high, to, type); });
  });
  module.def("_mx_normal", [](double mean, double scale, nb::handle shape, const std::string& dtype) {
    return drawn(shape, dtype,
                 [&](const Shape& to, DType type) { return mx::random_normal(mean, scale, to, type); });
  });
  module.def(
      "_mx_randint", [](std::int64_t low, std::int64_t high, nb::handle shape, const std::string& dtype) {
        return drawn(shape, dtype,
                     [&](const Shape& to, DType type) { return mx::random_randint(low, high, to, type); });
      });
}

// names: a list of str, or None
mx::ArrayFile file_of(nb::handle arrays, nb::handle names) {
  mx::ArrayFile file;
  file.arrays = mx_arrays(arrays, "data");
  if (!names.is_none()) {
    for (nb::handle name : nb::iter(names)) file.names.push_back(mx_text(name, "data: a name"));
  }
  return file;
}

nb::object pair_of(mx::ArrayFile file) {
  const nb::list names = texts(file.names);
  return nb::make_tuple(names, mx_list(std::move(file.arrays)));
}

void bind_files(nb::module_& module) {
  module.def(
      "_mx_save",
      [](nb::handle file_name, nb::handle arrays, nb::handle names) {
        check_mx();
        const std::string path = path_from(file_name, "fname");
        const mx::ArrayFile file = file_of(arrays, names);
        check([&] {
          const WithoutGil release;
          return mx::save(path, file);
        }());
      },
      nb::arg("path"), nb::arg("arrays"), nb::arg("names").none(),
      nb::sig("def _mx_save(path: str | os.PathLike[str], arrays: object, names: object | None) -> None"));
  module.def(
      "_mx_load",
      [](nb::handle file_name) {
        check_mx();
        const std::string path = path_from(file_name, "fname");
        return pair_of(take([&] {
          const WithoutGil release;
          return mx::load(path);
        }()));
      },
      nb::sig("def _mx_load(path: str | os.PathLike[str]) -> tuple[list[str], list[typing.Any]]"));
  module.def(
      "_mx_load_bytes",
      [](nb::bytes data) {
        check_mx();
        return pair_of(take([&] {
          const std::span<const std::byte> bytes(static_cast<const std::byte*>(data.data()), data.size());
          const WithoutGil release;
          return mx::load_bytes(bytes);
        }()));
      },
      nb::sig("def _mx_load_bytes(data: bytes) -> tuple[list[str], list[typing.Any]]"));
}

// As mx::wait_all(), so that Ctrl-C ends the wait.
void wait_all() {
  check_mx();
  Engine* const engine = take(mx::engine());
  static_cast<void>(wait_in_slices(TimePoint::max(), [&](TimePoint until) {
    while (engine->pending() > 0) {
      if (steady_clock().now() >= until) return false;
      steady_clock().sleep_until(std::min(until, deadline_after(std::chrono::microseconds(200))));
    }
    return true;
  }));
}

}  // namespace

void bind_mx_operators(nb::module_& module) {
  module.def("_mx_invoke", invoke, nb::arg("op"), nb::arg("inputs"), nb::arg("attributes"),
             nb::arg("out").none(),
             nb::sig("def _mx_invoke(op: str, inputs: object, attributes: dict[str, str], out: object) -> "
                     "typing.Any"));
  module.def("_mx_invoke_scalar", invoke_scalar, nb::arg("op"), nb::arg("input"), nb::arg("scalar"),
             nb::arg("out").none(),
             nb::sig("def _mx_invoke_scalar(op: str, input: object, scalar: float, out: object) -> "
                     "typing.Any"));
  module.def("_mx_invoke_pair", invoke_pair, nb::arg("op"), nb::arg("left"), nb::arg("right"),
             nb::arg("out").none(),
             nb::sig("def _mx_invoke_pair(op: str, left: object, right: object, out: object) -> typing.Any"));
  module.def("_mx_operators", operators,
             nb::sig("def _mx_operators() -> list[tuple[str, list[str], list[tuple[str, str, bool, str]], "
                     "list[str], list[str], bool]]"));
  // Raises what is wrong with a name; gives nothing.
  module.def("_mx_find_operator", [](const std::string& name) { check(mx::find_operator(name).status()); });
  module.def("_mx_wait_all", wait_all);
  bind_random(module);
  bind_files(module);
}

}  // namespace inflight::python
