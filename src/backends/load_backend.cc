// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <new>

#include "backends/openvino/openvino_backend.h"
#include "backends/plugin.h"
#include "inflight/backend.h"

namespace inflight {
namespace {

constexpr std::string_view kBuiltIn = "cpu";

Result<std::shared_ptr<Backend>> load_built_in(Device device) {
  if (device.index() != 0) return Status(StatusCode::kNoSuchDevice, "all processors are one device, \"cpu\"");
  return make_openvino_backend();
}

Status nowhere(std::string_view kind, const std::vector<std::string>& folders) {
  std::vector<std::string> kinds = internal::plugin_kinds(folders);
  kinds.insert(kinds.begin(), std::string(kBuiltIn));
  std::string why = folders.empty()
                        ? "plugins need a program that links libinflight.so"
                        : fmt::format("no libinflight_backend_{}.so in {}", kind, fmt::join(folders, ", "));
  return {StatusCode::kNoSuchDevice, fmt::format("{}; kinds here: {}", why, fmt::join(kinds, ", "))};
}

Result<std::shared_ptr<Backend>> load_plugin(Device device, const LoadOptions& options) {
  const std::vector<std::string> folders = internal::plugin_folders(options.plugin_folders);
  const std::optional<std::string> path = internal::find_plugin(device.name(), folders);
  return path ? internal::open_plugin(*path, device) : nowhere(device.name(), folders);
}

Result<Coverage> coverage_of(const Model* model, Device device, const LoadOptions& options) try {
  auto told = [&]() -> Result<Coverage> {
    if (device.name() == kBuiltIn) return openvino_coverage(model);
    const std::vector<std::string> folders = internal::plugin_folders(options.plugin_folders);
    const std::optional<std::string> path = internal::find_plugin(device.name(), folders);
    return path ? internal::plugin_coverage(*path, device.name(), model) : nowhere(device.name(), folders);
  }();
  if (told.ok()) return told;
  return told.status().with_context(fmt::format("device \"{}\"", device.to_string()));
} catch (const std::bad_alloc&) {
  return Status::out_of_memory("operators");
}

}  // namespace

Result<Coverage> operator_coverage(const Model& model, Device device, const LoadOptions& options) {
  return coverage_of(&model, device, options);
}
Result<Coverage> operator_coverage(Device device, const LoadOptions& options) {
  return coverage_of(nullptr, device, options);
}

Result<std::shared_ptr<Backend>> load_backend(Device device, const LoadOptions& options) try {
  auto backend = device.name() == kBuiltIn ? load_built_in(device) : load_plugin(device, options);
  if (backend.ok()) return backend;
  return backend.status().with_context(fmt::format("device \"{}\"", device.to_string()));
} catch (const std::bad_alloc&) {
  return Status::out_of_memory("backend");
}

Result<std::shared_ptr<DeviceMemory>> load_memory(Device device, const LoadOptions& options) try {
  const auto load = [&]() -> Result<std::shared_ptr<DeviceMemory>> {
    if (device.name() == kBuiltIn) return Status(StatusCode::kNoSuchDevice, "its memory is the host's");
    const std::vector<std::string> folders = internal::plugin_folders(options.plugin_folders);
    const std::optional<std::string> path = internal::find_plugin(device.name(), folders);
    return path ? internal::plugin_memory(*path, device) : nowhere(device.name(), folders);
  };
  auto memory = load();
  if (memory.ok()) return memory;
  return memory.status().with_context(fmt::format("device \"{}\"", device.to_string()));
} catch (const std::bad_alloc&) {
  return Status::out_of_memory("device memory");
}

Result<int> device_count(std::string_view kind, const LoadOptions& options) try {
  const auto count = [&]() -> Result<int> {
    if (kind == kBuiltIn) return 1;
    INFLIGHT_TRY(Device::make(kind).status());
    const std::vector<std::string> folders = internal::plugin_folders(options.plugin_folders);
    const std::optional<std::string> path = internal::find_plugin(kind, folders);
    return path ? internal::plugin_device_count(*path, kind) : nowhere(kind, folders);
  };
  auto counted = count();
  if (counted.ok()) return counted;
  return counted.status().with_context(fmt::format("devices \"{}\"", kind));
} catch (const std::bad_alloc&) {
  return Status::out_of_memory("devices");
}

}  // namespace inflight
