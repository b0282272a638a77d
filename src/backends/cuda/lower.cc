// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/lowering.h"

#include <array>
#include <string>

#include "backends/coverage_counter.h"

namespace inflight::cuda {
namespace {

KernelMaker own_kernels() {
  return {kernel_kind, [](const ov::Output<ov::Node>& value, const Placed& to, const Placement& placed) {
            return build_kernel(value, to, placed);
          }};
}

constexpr std::array<std::string_view, 3> kSteps{"opset1::Convolution", "opset1::GroupConvolution",
                                                 "opset1::MatMul"};
constexpr std::array<std::string_view, 7> kReplaced{
    "opset1::BatchNormInference",         "opset1::ShapeOf",   "opset12::GroupNormalization",
    "opset13::ScaledDotProductAttention", "opset16::Identity", "opset3::ShapeOf",
    "opset5::BatchNormInference"};

}  // namespace

std::span<const std::string_view> step_operators() { return kSteps; }
std::span<const std::string_view> replaced_operators() { return kReplaced; }

Coverage known_operators() {
  CoverageCounter counter;
  const auto add = [&counter](std::string_view name) {
    const std::size_t at = name.find("::");
    counter.add_known(std::string(name.substr(at + 2)), std::string(name.substr(0, at)));
  };
  for (const std::string& name : covered_operators()) add(name);
  for (const std::string_view name : kSteps) add(name);
  for (const std::string_view name : kReplaced) add(name);
  return counter.take();
}

Result<GpuGraph> lower(const std::shared_ptr<const ov::Model>& network, const LoweringOptions& options) {
  return lower_with(network, options, own_kernels());
}

Result<Coverage> coverage(const std::shared_ptr<const ov::Model>& network) {
  return coverage_with(network, own_kernels());
}

}  // namespace inflight::cuda
