// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/lowering.h"

namespace inflight::cuda {
namespace {

KernelMaker own_kernels() {
  return {kernel_kind, [](const ov::Output<ov::Node>& value, const Placed& to, const Placement& placed) {
            return build_kernel(value, to, placed);
          }};
}

}  // namespace

Result<GpuGraph> lower(const std::shared_ptr<const ov::Model>& network, const LoweringOptions& options) {
  return lower_with(network, options, own_kernels());
}

Result<Coverage> coverage(const std::shared_ptr<const ov::Model>& network) {
  return coverage_with(network, own_kernels());
}

}  // namespace inflight::cuda
