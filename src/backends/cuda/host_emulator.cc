// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/host_emulator.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "backends/cuda/kernel_source.h"

namespace inflight::cuda {
namespace {

// A function with plain parameters for each kernel: `run_<i>` takes as many pointers as its source declares.
constexpr std::string_view kEntryHelp = R"(
namespace { struct Address { void* at; template <class T> operator T*() const { return (T*)at; } }; }
)";

std::size_t parameter_count(const std::string& source) {
  const std::size_t end = source.find('{');
  return static_cast<std::size_t>(
      std::count(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(end), '*'));
}

std::string entry(std::size_t i, std::size_t parameters) {
  std::string call;
  for (std::size_t k = 0; k < parameters; ++k)
    call += fmt::format("{}Address{{a[{}]}}", k == 0 ? "" : ", ", k);
  return fmt::format(
      "extern \"C\" void entry_{0}(void* const* a, unsigned blocks) {{\n"
      "  gridDim.x = blocks;\n  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) run_{0}({1});\n}}\n",
      i, call);
}

std::string first_error(const std::string& log_file) {
  std::ifstream log(log_file);
  std::string line, first;
  while (std::getline(log, line)) {
    if (first.empty()) first = line;
    if (line.find("error") != std::string::npos) return line;
  }
  return first;
}

}  // namespace

Result<HostKernels> HostKernels::compile(const std::vector<std::string>& sources) {
  std::map<std::string, std::size_t> numbers;
  std::vector<std::string> unique;
  std::vector<std::size_t> number_of;
  for (const std::string& source : sources) {
    const auto [found, is_new] = numbers.emplace(source, unique.size());
    if (is_new) unique.push_back(source);
    number_of.push_back(found->second);
  }
  std::string text = join_kernels(host_prelude(), unique);
  text += kEntryHelp;
  for (std::size_t i = 0; i < unique.size(); ++i) text += entry(i, parameter_count(unique[i]));

  std::string folder = (std::filesystem::temp_directory_path() / "inflight_kernels_XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr)
    return Status(StatusCode::kIoError, "no temporary folder can be made");
  const std::string base = folder + "/kernels";
  std::ofstream(base + ".cc") << text;
  // No contraction: the GPU's is tested within tolerances, and the host's results do not depend on its processor.
  const std::string command =
      fmt::format("c++ -std=c++17 -O1 -w -ffp-contract=off -shared -fPIC -o {0}.so {0}.cc 2>{0}.log", base);
  const int code = std::system(command.c_str());  // NOLINT(concurrency-mt-unsafe)
  Status status;
  void* library = nullptr;
  if (code != 0)
    status = Status(StatusCode::kDeviceError,
                    fmt::format("c++ refuses the kernels: {}", first_error(base + ".log")));
  else if (library = dlopen((base + ".so").c_str(), RTLD_NOW | RTLD_LOCAL); library == nullptr)
    status = Status(StatusCode::kDeviceError, fmt::format("the kernels cannot be loaded: {}",
                                                          dlerror()));  // NOLINT(concurrency-mt-unsafe)
  const bool keep = std::getenv("INFLIGHT_KEEP_KERNELS") != nullptr;    // NOLINT(concurrency-mt-unsafe)
  if (status.ok() || !keep) std::filesystem::remove_all(folder);
  if (!status.ok()) return status;
  HostKernels kernels;
  for (const std::size_t i : number_of)
    kernels.entries_.push_back(reinterpret_cast<Entry>(dlsym(library, fmt::format("entry_{}", i).c_str())));
  return kernels;
}

void HostKernels::run(std::size_t kernel, std::span<void* const> addresses, std::int64_t blocks) const {
  entries_[kernel](addresses.data(), static_cast<unsigned>(blocks));
}

}  // namespace inflight::cuda
