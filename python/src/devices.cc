// SPDX-License-Identifier: Apache-2.0
// inflight.Device and inflight.Runtime.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "devices.h"
#include "errors.h"
#include "types.h"

namespace inflight::python {

namespace {

Device device_from(nb::handle value) {
  if (PyUnicode_Check(value.ptr()) != 0) return take(Device::parse(nb::cast<std::string>(value)));
  if (Device* const device = as<Device>(value); device != nullptr) return *device;
  raise_type("device", value,
             "an inflight.Device, a string such as \"cpu\", \"cuda:1\" or \"cuda:0,cuda:1\", or a sequence "
             "of these");
}

}  // namespace

std::vector<Device> devices_from(nb::handle value) {
  std::vector<Device> devices;
  if (PyUnicode_Check(value.ptr()) != 0) {
    const auto text = nb::cast<std::string>(value);
    for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
      end = text.find(',', begin);
      devices.push_back(take(Device::parse(std::string_view(text).substr(begin, end - begin))));
    }
  } else if (PyList_Check(value.ptr()) != 0 || PyTuple_Check(value.ptr()) != 0) {
    for (const nb::handle item : nb::borrow<nb::sequence>(value)) devices.push_back(device_from(item));
    if (devices.empty())
      raise_invalid("device: got no device, want 1 to " + std::to_string(Runtime::kDevicesMax));
  } else {
    devices.push_back(device_from(value));
  }
  return devices;
}

void PyRuntime::close() noexcept {
  if (forked()) {
    // Its threads are not here, and would be waited for.
    static_cast<void>(new (std::nothrow) Runtime(std::move(runtime_)));
    return;
  }
  Runtime ending = std::move(runtime_);
  runtime_ = Runtime();
  const WithoutGil release;
  ending = Runtime();
}

const Runtime& PyRuntime::get() const {
  check_usable();
  if (!runtime_) raise(Status(StatusCode::kShuttingDown, "the runtime is closed"));
  return runtime_;
}

void bind_devices(nb::module_& module) {
  module.def("_device_count", [](const std::string& kind) {
    check_usable();
    return take([&] {
      const WithoutGil release;
      return device_count(kind);
    }());
  });
  nb::class_<Device>(module, "Device",
                     "Where something is computed, or where memory is: a kind of device by name, and which "
                     "one of that kind.")
      .def(
          "__init__",
          [](Device* self, const std::string& text) { new (self) Device(take(Device::parse(text))); },
          nb::arg("text") = "cpu",
          "text  \"NAME\" or \"NAME:INDEX\": \"cpu\", \"cuda\", \"cuda:1\"\n\nInvalidArgumentError: not of "
          "this form.")
      .def_prop_ro(
          "name", [](const Device& d) { return std::string(d.name()); }, "The kind, such as \"cuda\".")
      .def_prop_ro("index", &Device::index, "Which one of that kind, from 0.")
      .def_prop_ro("is_host", &Device::is_host, "Whether the host can read and write memory that is there.")
      .def("__str__", &Device::to_string)
      .def("__repr__", [](const Device& d) { return "Device(\"" + d.to_string() + "\")"; })
      .def(
          "__eq__",
          [](const Device& a, nb::handle b) {
            const auto* other = as<Device>(b);
            return other != nullptr && a == *other;
          },
          nb::arg("other").none(), nb::sig("def __eq__(self, other: object) -> bool"))
      .def("__hash__", [](const Device& d) { return std::hash<std::string>()(d.to_string()); });

  nb::class_<PyRuntime>(
      module, "Runtime", nb::is_weak_referenceable(),
      "One device or several with the vendor's objects, the threads that launch and watch predictions, and\n"
      "the budget of what runs at once. Predictors of one runtime share it by weight.")
      .def(
          "__init__",
          [](PyRuntime* self, nb::handle device, int threads,
             const std::vector<std::string>& plugin_folders) {
            check_startable();
            RuntimeOptions options;
            options.threads = threads;
            options.load.plugin_folders = plugin_folders;
            const std::vector<Device> wanted = devices_from(device);
            Result<Runtime> opened = [&] {
              const WithoutGil release;
              return Runtime::open(wanted, std::move(options));
            }();
            new (self) PyRuntime(take(std::move(opened)));
          },
          nb::arg("device") = "cpu", nb::kw_only(), nb::arg("threads") = 0,
          nb::arg("plugin_folders") = std::vector<std::string>(),
          nb::sig(
              "def __init__(self, device: Device | str | list[Device | str] | tuple[Device | str, ...] = "
              "\"cpu\", *, threads: int = 0, plugin_folders: collections.abc.Sequence[str] = ()) -> None"),
          "Opens a device, or several: a predictor has slots on each of them.\n\n"
          "device          \"cpu\", \"cuda:1\"; several as \"cuda:0,cuda:1\" or in a list, the preferred "
          "first\n"
          "threads         CPU threads for inference; 0: as many as the process may use\n"
          "plugin_folders  where to look for a backend that is a plugin, before the package's own folder\n\n"
          "NoSuchDeviceError; DeviceError: it cannot be used; InvalidArgumentError; OutOfMemoryError.")
      .def_prop_ro(
          "device", [](const PyRuntime& r) { return r.get().device(); }, "The first of devices.")
      .def_prop_ro("devices", [](const PyRuntime& r) { return r.get().devices(); })
      .def_prop_ro(
          "device_description", [](const PyRuntime& r) { return r.get().device_description(); },
          "The device in words.")
      .def_prop_ro(
          "capacity", [](const PyRuntime& r) { return r.get().capacity(); },
          "How many narrow predictions run at once, those of all predictors and on all devices together.");
}

}  // namespace inflight::python
