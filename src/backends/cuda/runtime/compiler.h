// SPDX-License-Identifier: Apache-2.0
// Compiles the sources of kernels for a device, by NVRTC, and loads them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/runtime/device.h"
#include "backends/cuda/runtime/disk_cache.h"

namespace inflight::cuda {

// How much of the work the disk cache saved.
struct CompileCounts {
  int compiled = 0;  // modules
  int cached = 0;
};

// Compiles one source to a cubin. Needs no device.
//   capability   of the device: 90
//   errors       kInternal: the source is wrong, with the compiler's first error and its line; kNoSuchDevice: no
//                NVRTC; kUnsupported: NVRTC does not know the device
Result<std::string> compile_source(const std::string& source, int compute_capability);

// Loaded kernels; keeps their modules.
class Kernels {
 public:
  Kernels(std::shared_ptr<GpuDevice> device) : device_(std::move(device)) {}  // NOLINT: for make_shared
  ~Kernels();
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;

  // Kernels by index of the sources. Each source has one function `run`; the same source is compiled once, several
  // sources to a module, modules in parallel.
  //   errors   as compile_source(); kDeviceError
  Status add(const std::vector<std::string>& sources, const DiskCache& cache,
             std::vector<CUfunction>& functions);
  // A module with functions of any names.
  Status add_module(const std::string& source, const std::vector<std::string>& names, const DiskCache& cache,
                    std::vector<CUfunction>& functions);
  CompileCounts counts() const noexcept { return counts_; }

 private:
  Status load(const std::string& cubin, CUmodule& module);

  const std::shared_ptr<GpuDevice> device_;
  std::vector<CUmodule> modules_;
  CompileCounts counts_;
};

}  // namespace inflight::cuda
