// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/compiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>

#include "backends/cuda/kernel_source.h"
#include "base/in_parallel.h"

namespace inflight::cuda {
namespace {

constexpr std::size_t kSourcesInModule = 8;

struct ProgramCloser {
  const NvrtcApi& api;
  nvrtcProgram program = nullptr;
  ~ProgramCloser() {
    if (program != nullptr) api.nvrtcDestroyProgram(&program);
  }
};

std::string log_of(const NvrtcApi& api, nvrtcProgram program) {
  std::size_t size = 0;
  if (api.nvrtcGetProgramLogSize(program, &size) != NVRTC_SUCCESS || size < 2) return "no log";
  std::string log(size, '\0');
  api.nvrtcGetProgramLog(program, log.data());
  log.resize(size - 1);
  return log;
}

// The line with the first error, and the line of the source that it names, such as "kernels(12): error: ...".
std::string first_error(const std::string& log, const std::string& source) {
  const std::size_t error = log.find("error");
  if (error == std::string::npos) return log;
  const std::size_t start = log.rfind('\n', error) == std::string::npos ? 0 : log.rfind('\n', error) + 1;
  std::string line = log.substr(start, log.find('\n', error) - start);
  const std::size_t open = line.find('(');
  const int number =
      open == std::string::npos ? 0 : std::atoi(line.c_str() + open + 1);  // NOLINT(cert-err34-c)
  std::size_t at = 0;
  for (int i = 1; i < number && at != std::string::npos; ++i) at = source.find('\n', at) + 1;
  if (number > 0 && at < source.size())
    line += fmt::format(" in `{}`", source.substr(at, source.find('\n', at) - at));
  return line;
}

// What else than the source decides what comes out.
std::string cache_key(const std::string& source, int compute_capability) {
  int major = 0;
  int minor = 0;
  if (const auto api = nvrtc_api(); api.ok()) (*api)->nvrtcVersion(&major, &minor);
  return fmt::format("sm_{} nvrtc {}.{}\n{}", compute_capability, major, minor, source);
}

Result<std::string> cubin_of(const std::string& source, int compute_capability, const DiskCache& cache,
                             std::atomic<int>& compiled) {
  const std::string key = cache_key(source, compute_capability);
  if (std::optional<std::string> found = cache.get("kernels", key)) return std::move(*found);
  INFLIGHT_TRY_ASSIGN(std::string cubin, compile_source(source, compute_capability));
  compiled.fetch_add(1);
  cache.put("kernels", key, cubin).ok();  // a cache that cannot be written costs time only
  return cubin;
}

}  // namespace

Result<std::string> compile_source(const std::string& source, int compute_capability) {
  INFLIGHT_TRY_ASSIGN(const NvrtcApi* const api, nvrtc_api());
  ProgramCloser closer{*api};
  if (api->nvrtcCreateProgram(&closer.program, source.c_str(), "kernels", 0, nullptr, nullptr) !=
      NVRTC_SUCCESS)
    return Status(StatusCode::kInternal, "NVRTC takes no source");
  const std::string arch = fmt::format("--gpu-architecture=sm_{}", compute_capability);
  const std::vector<const char*> options{arch.c_str(), "-std=c++17", "-default-device"};
  const nvrtcResult result =
      api->nvrtcCompileProgram(closer.program, static_cast<int>(options.size()), options.data());
  if (result == NVRTC_ERROR_INVALID_OPTION) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("NVRTC does not know devices of compute capability {}.{}",
                              compute_capability / 10, compute_capability % 10));
  }
  if (result != NVRTC_SUCCESS) {
    return Status(StatusCode::kInternal, fmt::format("NVRTC: {}: {}", api->nvrtcGetErrorString(result),
                                                     first_error(log_of(*api, closer.program), source)));
  }
  std::size_t size = 0;
  api->nvrtcGetCUBINSize(closer.program, &size);
  std::string cubin(size, '\0');
  if (size == 0 || api->nvrtcGetCUBIN(closer.program, cubin.data()) != NVRTC_SUCCESS)
    return Status(StatusCode::kInternal, "NVRTC gives no cubin");
  return cubin;
}

Kernels::~Kernels() {
  if (device_->lost() || modules_.empty()) return;
  if (!device_->make_current().ok()) return;
  for (const CUmodule module : modules_) device_->api().cuModuleUnload(module);
}

Status Kernels::load(const std::string& cubin, CUmodule& module) {
  INFLIGHT_TRY(device_->make_current());
  INFLIGHT_TRY(device_->check(device_->api().cuModuleLoadData(&module, cubin.data()), "cuModuleLoadData"));
  modules_.push_back(module);
  return Status();
}

Status Kernels::add(const std::vector<std::string>& sources, const DiskCache& cache,
                    std::vector<CUfunction>& functions) {
  std::map<std::string_view, std::size_t> index_of;
  std::vector<std::string> unique;
  for (const std::string& source : sources) {
    if (index_of.emplace(source, unique.size()).second) unique.push_back(source);
  }
  const std::size_t modules = (unique.size() + kSourcesInModule - 1) / kSourcesInModule;
  std::vector<std::string> cubins(modules);
  std::atomic<int> compiled{0};
  INFLIGHT_TRY(internal::in_parallel(modules, [&](std::size_t i) {
    const auto begin = unique.begin() + static_cast<std::ptrdiff_t>(i * kSourcesInModule);
    const auto end =
        unique.begin() + static_cast<std::ptrdiff_t>(std::min(unique.size(), (i + 1) * kSourcesInModule));
    const std::string joined = cuda_source({begin, end});
    INFLIGHT_TRY_ASSIGN(cubins[i], cubin_of(joined, device_->compute_capability(), cache, compiled));
    return Status();
  }));
  counts_.compiled += compiled.load();
  counts_.cached += static_cast<int>(modules) - compiled.load();
  std::vector<CUfunction> loaded(unique.size());
  for (std::size_t i = 0; i < modules; ++i) {
    CUmodule module = nullptr;
    INFLIGHT_TRY(load(cubins[i], module));
    for (std::size_t k = i * kSourcesInModule; k < std::min(unique.size(), (i + 1) * kSourcesInModule); ++k) {
      const std::string name = fmt::format("run_{}", k % kSourcesInModule);
      INFLIGHT_TRY(
          device_->check(device_->api().cuModuleGetFunction(&loaded[k], module, name.c_str()), name));
    }
  }
  functions.clear();
  for (const std::string& source : sources) functions.push_back(loaded[index_of[source]]);
  return Status();
}

Status Kernels::add_module(const std::string& source, const std::vector<std::string>& names,
                           const DiskCache& cache, std::vector<CUfunction>& functions) {
  std::atomic<int> compiled{0};
  INFLIGHT_TRY_ASSIGN(const std::string cubin,
                      cubin_of(source, device_->compute_capability(), cache, compiled));
  counts_.compiled += compiled.load();
  counts_.cached += 1 - compiled.load();
  CUmodule module = nullptr;
  INFLIGHT_TRY(load(cubin, module));
  functions.assign(names.size(), nullptr);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const CUresult found = device_->api().cuModuleGetFunction(&functions[i], module, names[i].c_str());
    INFLIGHT_TRY(device_->check(found, names[i]));
  }
  return Status();
}

}  // namespace inflight::cuda
