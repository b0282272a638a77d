// SPDX-License-Identifier: Apache-2.0
// inflight.Model, TensorSpec and ModelSummary.
#include "inflight/model.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <string>

#include "cli/default_model.h"
#include "errors.h"
#include "media/synthetic.h"
#include "tensors.h"
#include "types.h"

namespace inflight::python {
namespace {

ModelOptions options_from(nb::handle input_shapes) {
  ModelOptions options;
  if (input_shapes.is_none()) return options;
  if (!nb::hasattr(input_shapes, "items"))
    raise_type("input_shapes", input_shapes, "a mapping from names to shapes");
  for (nb::handle item : nb::list(input_shapes.attr("items")())) {
    const auto name = nb::cast<std::string>(nb::object(item[0]));
    options.input_shapes.emplace(name, shape_from(nb::object(item[1]), "input_shapes[\"" + name + "\"]"));
  }
  return options;
}

Model load(nb::handle path, nb::handle input_shapes) {
  check_usable();
  const std::string text = path_from(path, "path");
  const ModelOptions options = options_from(input_shapes);
  Result<Model> loaded = [&] {
    const WithoutGil release;
    return Model::load(text, options);
  }();
  return take(std::move(loaded));
}

Model load_bytes(const nb::bytes& bytes, const std::string& name, nb::handle input_shapes) {
  check_usable();
  const ModelOptions options = options_from(input_shapes);
  const std::span<const std::byte> data(reinterpret_cast<const std::byte*>(bytes.c_str()), bytes.size());
  Result<Model> loaded = [&] {
    const WithoutGil release;
    return Model::load_bytes(data, name, options);
  }();
  return take(std::move(loaded));
}

Model with_image_input(const Model& model, int height, int width, const std::string& color,
                       const std::vector<float>& mean, const std::vector<float>& scale,
                       const std::string& input) {
  ImageInput image{height, width, ColorOrder::kRgb, mean, scale, input};
  if (color == "bgr") {
    image.color = ColorOrder::kBgr;
  } else if (color != "rgb") {
    raise_invalid("color: got \"" + color + "\", want \"rgb\" or \"bgr\"");
  }
  Result<Model> changed = [&] {
    const WithoutGil release;
    return model.with_image_input(image);
  }();
  return take(std::move(changed));
}

Model default_model(std::optional<int> height, std::optional<int> width) {
  check_usable();
  Result<Model> loaded = [&] {
    const WithoutGil release;
    return Model::load_bytes(default_model_bytes(), "shapes.onnx");
  }();
  Model model = take(std::move(loaded));
  if (!height && !width) return model;
  if (!height || !width) raise_invalid("default_model: want both height and width, or neither");
  return with_image_input(model, *height, *width, kDefaultModelWantsRgb ? "rgb" : "bgr", {kDefaultModelMean},
                          {kDefaultModelScale}, "");
}

std::vector<TensorSpec> specs_of(std::span<const TensorSpec> specs) { return {specs.begin(), specs.end()}; }

void bind_spec(nb::module_& module) {
  nb::class_<TensorSpec>(module, "TensorSpec", "The name, element type and shape of one input or output.")
      .def(
          "__init__",
          [](TensorSpec* self, const std::string& name, const std::string& dtype, nb::handle shape) {
            new (self) TensorSpec{name, dtype_from_name(dtype), shape_from(shape, "shape")};
          },
          nb::arg("name"), nb::arg("dtype"), nb::arg("shape"),
          nb::sig("def __init__(self, name: str, dtype: str, shape: collections.abc.Sequence[int | None]) -> "
                  "None"),
          "dtype  \"bool\", \"u8\", \"f32\" and so on\nshape  extents; None for one that is not known")
      .def_prop_ro("name", [](const TensorSpec& s) { return text_of(s.name); })
      .def_prop_ro("dtype", [](const TensorSpec& s) { return std::string(dtype_name(s.dtype)); })
      .def_prop_ro(
          "shape", [](const TensorSpec& s) { return shape_tuple(s.shape); },
          nb::sig("def shape(self) -> tuple[int | None, ...]"))
      .def(
          "__eq__",
          [](const TensorSpec& a, nb::handle b) {
            const auto* other = as<TensorSpec>(b);
            return other != nullptr && a == *other;
          },
          nb::arg("other").none(), nb::sig("def __eq__(self, other: object) -> bool"))
      .def("__hash__", [](const TensorSpec& s) { return std::hash<std::string>()(s.name + s.type_string()); })
      .def("__repr__",
           [](const TensorSpec& s) { return text_of("<" + s.name + " " + s.type_string() + ">"); });
  nb::class_<ModelSummary>(module, "ModelSummary", "What is in a model.")
      .def_ro("operators", &ModelSummary::operators,
              "How many of each type; inputs, outputs and constants left out.")
      .def_ro("parameters", &ModelSummary::parameters, "Elements of constants.")
      .def_ro("parameter_bytes", &ModelSummary::parameter_bytes);
}

}  // namespace

void bind_models(nb::module_& module) {
  bind_spec(module);
  nb::class_<Model>(
      module, "Model",
      "A network as loaded: its inputs, its outputs and its operators. Immutable; any thread may use it.")
      .def_static(
          "load", load, nb::arg("path").none(), nb::kw_only(), nb::arg("input_shapes") = nb::none(),
          nb::sig("def load(path: str | os.PathLike[str], *, input_shapes: collections.abc.Mapping[str, "
                  "collections.abc.Sequence[int | None]] | None = None) -> Model"),
          "Reads ONNX, TensorFlow SavedModel (a folder), TensorFlow Lite, Paddle or OpenVINO IR, without the "
          "GIL.\n\n"
          "input_shapes  extents for inputs whose own are dynamic, by input name\n\n"
          "NotFoundError: no such file; InvalidModelError: malformed, or an unknown operator;\n"
          "UnsupportedError: another kind of file; InvalidArgumentError: options that do not fit the model.")
      .def_static(
          "load_bytes", load_bytes, nb::arg("data"), nb::arg("name"), nb::kw_only(),
          nb::arg("input_shapes") = nb::none(),
          nb::sig("def load_bytes(data: bytes, name: str, *, input_shapes: collections.abc.Mapping[str, "
                  "collections.abc.Sequence[int | None]] | None = None) -> Model"),
          "The same for an ONNX or TensorFlow Lite model in memory.\n\nname  what messages call it")
      .def_static(
          "opaque",
          [](const std::string& name, std::vector<TensorSpec> inputs, std::vector<TensorSpec> outputs) {
            return take(Model::opaque(name, std::move(inputs), std::move(outputs)));
          },
          nb::arg("name"), nb::arg("inputs"), nb::arg("outputs"),
          nb::sig("def opaque(name: str, inputs: collections.abc.Sequence[TensorSpec], outputs: "
                  "collections.abc.Sequence[TensorSpec]) -> Model"),
          "A model of which only inputs and outputs are known; the device \"null\" runs it.")
      .def("with_image_input", with_image_input, nb::arg("height"), nb::arg("width"), nb::kw_only(),
           nb::arg("color") = "rgb", nb::arg("mean") = std::vector<float>{0.0F},
           nb::arg("scale") = std::vector<float>{1.0F}, nb::arg("input") = "",
           nb::sig("def with_image_input(self, height: int, width: int, *, color: typing.Literal[\"rgb\", "
                   "\"bgr\"] = "
                   "\"rgb\", mean: collections.abc.Sequence[float] = (0.0,), scale: "
                   "collections.abc.Sequence[float] = "
                   "(1.0,), input: str = \"\") -> Model"),
           "This model taking frames u8[height,width,3], RGB, in place of its image input. Inside the "
           "network, in\n"
           "f32: convert, resize (bilinear), colour order, (pixel - mean) / scale.\n\n"
           "color        what the model wants its colours in\n"
           "mean, scale  one value, or one a channel in the model's colour order\n"
           "input        the input's name; \"\" where the model has one image input\n\n"
           "InvalidArgumentError: no such input, several candidates, not an image, or bad mean or scale.")
      .def_prop_ro("name", [](const Model& m) { return text_of(m.name()); })
      .def_prop_ro("inputs", [](const Model& m) { return specs_of(m.inputs()); })
      .def_prop_ro("outputs", [](const Model& m) { return specs_of(m.outputs()); })
      .def("metadata", &Model::metadata, nb::arg("key"),
           "A string that the model file carries under this key (ONNX metadata_props), or None.")
      .def("summary", &Model::summary, "Operators and parameters.")
      .def("__repr__", [](const Model& m) {
        std::string text = "<inflight.Model " + m.name() + " (";
        for (const TensorSpec& spec : m.inputs()) text += " " + spec.name + " " + spec.type_string();
        text += " ) -> (";
        for (const TensorSpec& spec : m.outputs()) text += " " + spec.name + " " + spec.type_string();
        return text_of(text + " )>");
      });
  module.def(
      "default_model", default_model, nb::arg("height") = nb::none(), nb::arg("width") = nb::none(),
      "The classifier that comes with this package and tells the six shapes of the synthetic source apart:\n"
      "`image` f32[1,3,48,64] to `scores` f32[1,6]. With height and width it takes frames\n"
      "u8[height,width,3]. Its metadata(\"labels\") names the classes.");
}

}  // namespace inflight::python
