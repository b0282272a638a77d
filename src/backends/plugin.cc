// SPDX-License-Identifier: Apache-2.0
#include "backends/plugin.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/user_code.h"
#include "inflight/plugin.h"

namespace inflight::internal {
namespace {

constexpr std::string_view kPrefix = "libinflight_backend_";
constexpr std::string_view kSuffix = ".so";
constexpr const char* kEntry = "inflight_backend_plugin";

Status refused(const std::string& what) { return {StatusCode::kNoSuchDevice, what}; }

// "0.1" of "0.1.0": before 1.0 every minor version may change the interface; from 1.0 on every major version
// may.
std::string_view compatible_part(std::string_view version) {
  const std::size_t dot = version.find('.');
  return version.substr(0, dot == version.npos ? dot : version.find('.', dot + 1));
}

Result<const PluginInfo*> read_info(const std::string& path, std::string_view kind) {
  // The handle is never closed.
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  // glibc keeps a message for each thread.
  if (library == nullptr)
    return refused(fmt::format("plugin {}", dlerror()));  // NOLINT(concurrency-mt-unsafe)
  using Entry = const PluginInfo* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, kEntry));
  if (entry == nullptr) return refused(fmt::format("plugin {}: has no {}()", path, kEntry));
  const PluginInfo* const info = entry();
  if (compatible_part(info->version) != compatible_part(INFLIGHT_VERSION)) {
    return refused(
        fmt::format("plugin {} is for inflight {}, this is {}", path, info->version, INFLIGHT_VERSION));
  }
  if (std::string_view(info->abi) != INFLIGHT_PLUGIN_ABI) {
    return refused(
        fmt::format("plugin {} is compiled for {}, this for {}", path, info->abi, INFLIGHT_PLUGIN_ABI));
  }
  if (info->kind != kind) return refused(fmt::format("plugin {} is for devices \"{}\"", path, info->kind));
  return info;
}

}  // namespace

std::vector<std::string> plugin_folders(std::vector<std::string> first) {
  Dl_info place{};
  link_map* map = nullptr;
  static const char here = 0;  // any address in this library
  if (dladdr1(&here, &place, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0) return {};
  const std::string_view file = map->l_name;
  if (file.empty()) return {};  // the program
  const std::size_t slash = file.rfind('/');
  std::string folder(slash == file.npos ? std::string_view(".") : file.substr(0, slash));
  first.push_back(folder);
  first.push_back(folder + "/inflight");
  return first;
}

std::optional<std::string> find_plugin(std::string_view kind, std::span<const std::string> folders) {
  for (const std::string& folder : folders) {
    std::string path = fmt::format("{}/{}{}{}", folder, kPrefix, kind, kSuffix);
    if (access(path.c_str(), F_OK) == 0) return path;
  }
  return std::nullopt;
}

std::vector<std::string> plugin_kinds(std::span<const std::string> folders) {
  std::vector<std::string> kinds;
  for (const std::string& folder : folders) {
    std::error_code error;
    for (std::filesystem::directory_iterator file(folder, error), end; !error && file != end;
         file.increment(error)) {
      const std::string name = file->path().filename();
      if (name.size() > kPrefix.size() + kSuffix.size() && name.starts_with(kPrefix) &&
          name.ends_with(kSuffix)) {
        kinds.push_back(name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size()));
      }
    }
  }
  std::sort(kinds.begin(), kinds.end());
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  return kinds;
}

Result<std::shared_ptr<Backend>> open_plugin(const std::string& path, Device device) {
  INFLIGHT_TRY_ASSIGN(const PluginInfo* const info, read_info(path, device.name()));
  std::optional<Result<std::shared_ptr<Backend>>> made;
  INFLIGHT_TRY(call_user([&] { made.emplace(info->factory(device)); }).with_context("plugin " + path));
  if (!made->ok()) return made->status();
  if (**made == nullptr) return Status(StatusCode::kInternal, fmt::format("plugin {} made no backend", path));
  return std::move(*made);
}

Result<Coverage> plugin_coverage(const std::string& path, std::string_view kind, const Model* model) {
  INFLIGHT_TRY_ASSIGN(const PluginInfo* const info, read_info(path, kind));
  if (info->coverage == nullptr) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("plugin {} does not say which operators it can compute", path));
  }
  std::optional<Result<Coverage>> told;
  INFLIGHT_TRY(call_user([&] { told.emplace(info->coverage(model)); }).with_context("plugin " + path));
  return std::move(*told);
}

Result<std::shared_ptr<DeviceMemory>> plugin_memory(const std::string& path, Device device) {
  INFLIGHT_TRY_ASSIGN(const PluginInfo* const info, read_info(path, device.name()));
  if (info->memory == nullptr) return refused(fmt::format("plugin {} offers no memory for arrays", path));
  std::optional<Result<std::shared_ptr<DeviceMemory>>> made;
  INFLIGHT_TRY(call_user([&] { made.emplace(info->memory(device)); }).with_context("plugin " + path));
  if (!made->ok()) return made->status();
  if (**made == nullptr) return Status(StatusCode::kInternal, fmt::format("plugin {} made no memory", path));
  return std::move(*made);
}

Result<int> plugin_device_count(const std::string& path, std::string_view kind) {
  INFLIGHT_TRY_ASSIGN(const PluginInfo* const info, read_info(path, kind));
  if (info->count == nullptr)
    return Status(StatusCode::kUnsupported, fmt::format("plugin {} does not count its devices", path));
  std::optional<Result<int>> told;
  INFLIGHT_TRY(call_user([&] { told.emplace(info->count()); }).with_context("plugin " + path));
  return std::move(*told);
}

}  // namespace inflight::internal
