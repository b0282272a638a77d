// SPDX-License-Identifier: Apache-2.0
// Finds and opens the shared library of a kind of device.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "inflight/backend.h"

namespace inflight::internal {

// The folders to search for plugins: those of `first`, then that of the shared libinflight with this code,
// then its subfolder "inflight". Empty if this code is linked into the program itself: a plugin would load a
// second libinflight.
std::vector<std::string> plugin_folders(std::vector<std::string> first);

// The first libinflight_backend_KIND.so of these folders.
std::optional<std::string> find_plugin(std::string_view kind, std::span<const std::string> folders);

// The kinds that have a file in these folders, sorted. Nothing is opened.
std::vector<std::string> plugin_kinds(std::span<const std::string> folders);

// Opens this file and lets it make the backend of `device`. The library stays loaded for the life of the
// process, because its code may run until then.
//   errors   kNoSuchDevice: it cannot be opened, or it is for another libinflight or another kind; what its
//            factory returned or threw
Result<std::shared_ptr<Backend>> open_plugin(const std::string& path, Device device);

// Opens this file and lets it open the memory of `device`.
//   errors   kNoSuchDevice: as open_plugin(), or it offers none; what it returned or threw
Result<std::shared_ptr<DeviceMemory>> plugin_memory(const std::string& path, Device device);

// Opens this file and lets it count its devices.
//   errors   kUnsupported: it does not say; as open_plugin()
Result<int> plugin_device_count(const std::string& path, std::string_view kind);

// Opens this file and lets it say what it can compute, as CoverageFunction.
//   errors   kUnsupported: it does not say; kNoSuchDevice: as open_plugin()
Result<Coverage> plugin_coverage(const std::string& path, std::string_view kind, const Model* model);

}  // namespace inflight::internal
