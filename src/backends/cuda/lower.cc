// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/lowering.h"

namespace inflight::cuda {

Result<GpuGraph> lower(const std::shared_ptr<const ov::Model>& network, const LoweringOptions& options) {
  return lower_with(network, options, {kernel_kind, build_kernel});
}

Result<Coverage> coverage(const std::shared_ptr<const ov::Model>& network) {
  return coverage_with(network, {kernel_kind, build_kernel});
}

}  // namespace inflight::cuda
