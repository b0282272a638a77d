// SPDX-License-Identifier: Apache-2.0
// Runs generated kernels on the host: for tests, which have no GPU.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "inflight/status.h"

namespace inflight::cuda {

// Kernels that the compiler of the host made into one shared object. It is loaded until the end of the process.
class HostKernels {
 public:
  // Compiles all sources (BuiltKernel::source) at once, which takes about 20 ms for each. The same source is
  // compiled once.
  //   errors   kDeviceError: there is no compiler `c++`, or it refuses a source, with its first message
  static Result<HostKernels> compile(const std::vector<std::string>& sources);

  // Runs sources[kernel] with these addresses: of what it reads, then of what it writes. `blocks` blocks of one
  // thread share the work, one after the other. Not from two threads at once.
  void run(std::size_t kernel, std::span<void* const> addresses, std::int64_t blocks = 1) const;

 private:
  using Entry = void (*)(void* const* addresses, unsigned blocks);
  std::vector<Entry> entries_;
};

}  // namespace inflight::cuda
