// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/vendor.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

// Folders between colons, by CMake: those of the toolkit or the wheels that this was built with.
#ifndef INFLIGHT_CUDA_BUILD_FOLDERS
#define INFLIGHT_CUDA_BUILD_FOLDERS ""
#endif

#define INFLIGHT_NAME_(name) #name
#define INFLIGHT_NAME(name) INFLIGHT_NAME_(name)

namespace inflight::cuda {
namespace {

namespace fs = std::filesystem;

void add_split(std::vector<std::string>& folders, const char* text) {
  if (text == nullptr) return;
  std::string_view rest(text);
  while (!rest.empty()) {
    const std::size_t colon = rest.find(':');
    const std::string_view one = rest.substr(0, colon);
    if (!one.empty()) folders.emplace_back(one);
    rest = colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
  }
}

void add_toolkit(std::vector<std::string>& folders, const char* root) {
  if (root == nullptr || *root == '\0') return;
  for (const char* below : {"/lib64", "/lib", "/targets/x86_64-linux/lib"})
    folders.push_back(std::string(root) + below);
}

void add_wheels(std::vector<std::string>& folders, const std::string& packages) {
  for (std::string& folder : wheel_folders(packages)) folders.push_back(std::move(folder));
}

// ROOT/lib/python3*/{site,dist}-packages
void add_python(std::vector<std::string>& folders, const char* root) {
  if (root == nullptr || *root == '\0') return;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fs::path(root) / "lib", error)) {
    if (!entry.path().filename().string().starts_with("python3")) continue;
    for (const char* packages : {"site-packages", "dist-packages"})
      add_wheels(folders, (entry.path() / packages).string());
  }
}

const char* environment(const char* name) { return std::getenv(name); }  // NOLINT(concurrency-mt-unsafe)

// The first that opens: by the linker's own search, then in each folder.
//   why   of the last failure of a file that exists
void* open_library(const std::string& name, std::string& why) {
  if (void* found = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return found;
  for (const std::string& folder : library_folders()) {
    const std::string path = (fs::path(folder) / name).string();
    std::error_code error;
    if (!fs::exists(path, error)) continue;
    if (void* found = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return found;
    if (const char* text = dlerror()) why = text;  // NOLINT(concurrency-mt-unsafe)
  }
  return nullptr;
}

Result<void*> need_library(const std::string& name, std::string_view what) {
  std::string why;
  if (void* found = open_library(name, why)) return found;
  if (!why.empty()) {
    return Status(StatusCode::kNoSuchDevice, fmt::format("{} cannot be opened: {}", name, why));
  }
  return Status(StatusCode::kNoSuchDevice,
                fmt::format("{} ({}) is not found; ./dev setup cuda installs it, or name its folder in "
                            "INFLIGHT_CUDA_LIBRARIES",
                            name, what));
}

Status find_function(void* library, const char* name, void** function) {
  *function = dlsym(library, name);
  if (*function != nullptr) return Status();
  return Status(StatusCode::kNoSuchDevice, fmt::format("the library for {} is too old for this build", name));
}

#define INFLIGHT_FIND(name) \
  INFLIGHT_TRY(find_function(library, INFLIGHT_NAME(name), reinterpret_cast<void**>(&api.name)));

Status start(const DriverApi& api) {
  const CUresult started = api.cuInit(0);
  int version = 0;
  api.cuDriverGetVersion(&version);
  if (version / 1000 < CUDA_VERSION / 1000) {
    return Status(StatusCode::kNoSuchDevice,
                  fmt::format("the driver is for CUDA {}, want {} or later: install a newer driver",
                              cuda_version_text(version), CUDA_VERSION / 1000));
  }
  if (started == CUDA_SUCCESS) return Status();
  const Status why = driver_status(started, "cuInit");
  return Status(StatusCode::kNoSuchDevice, fmt::format("the driver finds no device: {}", why.message()));
}

Result<const DriverApi*> load_driver() {
  std::string why;
  void* const library = open_library("libcuda.so.1", why);
  if (library == nullptr) {
    return Status(StatusCode::kNoSuchDevice, "libcuda.so.1 is not found: this machine has no NVIDIA driver");
  }
  static DriverApi api;
  INFLIGHT_DRIVER_FUNCTIONS(INFLIGHT_FIND)
  INFLIGHT_TRY(start(api));
  return &api;
}

Result<const NvrtcApi*> load_nvrtc() {
  INFLIGHT_TRY_ASSIGN(void* const library, need_library("libnvrtc.so.13", "CUDA's run-time compiler"));
  static NvrtcApi api;
  INFLIGHT_NVRTC_FUNCTIONS(INFLIGHT_FIND)
  return &api;
}

Result<const CublasLtApi*> load_cublaslt() {
  INFLIGHT_TRY_ASSIGN(void* const library, need_library("libcublasLt.so.13", "cuBLAS"));
  static CublasLtApi api;
  INFLIGHT_CUBLASLT_FUNCTIONS(INFLIGHT_FIND)
  return &api;
}

// cuDNN opens the other three by name, and finds them only where the linker does, or where they are open already.
Result<void*> load_cudnn() {
  INFLIGHT_TRY(need_library("libcudart.so.13", "the CUDA runtime").status());
  INFLIGHT_TRY(nvrtc_api().status());
  INFLIGHT_TRY(cublaslt_api().status());
  return need_library("libcudnn.so.9", "cuDNN");
}

}  // namespace

std::vector<std::string> wheel_folders(const std::string& packages) {
  std::vector<std::string> folders;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(fs::path(packages) / "nvidia", error)) {
    const fs::path folder = entry.path() / "lib";
    if (fs::is_directory(folder, error)) folders.push_back(folder.string());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::vector<std::string> library_folders() {
  std::vector<std::string> folders;
  add_split(folders, environment("INFLIGHT_CUDA_LIBRARIES"));
  add_split(folders, INFLIGHT_CUDA_BUILD_FOLDERS);
  add_toolkit(folders, environment("CUDA_HOME"));
  add_toolkit(folders, environment("CUDA_PATH"));
  add_toolkit(folders, "/usr/local/cuda");
  Dl_info self{};
  if (dladdr(reinterpret_cast<void*>(&driver_status), &self) != 0 && self.dli_fname != nullptr)
    add_wheels(folders, fs::path(self.dli_fname).parent_path().parent_path().string());
  for (const char* root : {environment("VIRTUAL_ENV"), environment("CONDA_PREFIX"), "/usr/local", "/usr"})
    add_python(folders, root);
  return folders;
}

Result<const DriverApi*> driver_api() {
  static const Result<const DriverApi*> loaded = load_driver();
  return loaded;
}

Result<const NvrtcApi*> nvrtc_api() {
  static const Result<const NvrtcApi*> loaded = load_nvrtc();
  return loaded;
}

Result<const CublasLtApi*> cublaslt_api() {
  static const Result<const CublasLtApi*> loaded = load_cublaslt();
  return loaded;
}

Result<void*> cudnn_library() {
  static const Result<void*> loaded = load_cudnn();
  return loaded;
}

Status driver_status(CUresult result, std::string_view call) {
  if (result == CUDA_SUCCESS) return Status();
  const StatusCode code = result == CUDA_ERROR_OUT_OF_MEMORY ? StatusCode::kOutOfMemory
                          : result == CUDA_ERROR_NO_DEVICE || result == CUDA_ERROR_INVALID_DEVICE
                              ? StatusCode::kNoSuchDevice
                              : StatusCode::kDeviceError;
  const char* name = nullptr;
  const char* words = nullptr;
  // Not through driver_api(): this one reports how that one failed.
  if (void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD)) {
    using Text = CUresult (*)(CUresult, const char**);
    if (const auto get_name = reinterpret_cast<Text>(dlsym(library, "cuGetErrorName")))
      get_name(result, &name);
    if (const auto get_text = reinterpret_cast<Text>(dlsym(library, "cuGetErrorString")))
      get_text(result, &words);
    dlclose(library);
  }
  if (name == nullptr)
    return Status(code, fmt::format("{}: error {} of the driver", call, static_cast<int>(result)));
  return Status(code, fmt::format("{}: {} ({})", call, name, words == nullptr ? "" : words));
}

bool is_sticky(CUresult result) noexcept {
  switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_SYSTEM_NOT_READY:
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_EXTERNAL_DEVICE:
    case CUDA_ERROR_DEINITIALIZED:
      return true;
    default:
      return false;
  }
}

std::string cuda_version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace inflight::cuda
