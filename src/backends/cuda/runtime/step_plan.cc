// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/step_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backends/cuda/runtime/compiler.h"
#include "backends/cuda/runtime/step_sources.h"

namespace inflight::cuda {
namespace {

constexpr int kEarlyCapability = 90;

std::string text_of(const GpuGraph& graph, const char* name, TensorId id) {
  if (id == kNoTensor) return "";
  const GpuTensor& one = graph.tensor(id);
  return fmt::format(" {}={}{}[{}]/[{}]", name, one.storage == Storage::kConstant ? "const " : "",
                     dtype_name(one.dtype), fmt::join(one.extents, ","), fmt::join(one.strides, ","));
}

std::size_t bytes_of(const GpuGraph& graph, TensorId id) {
  return id == kNoTensor ? 0 : graph.tensor(id).bytes();
}

}  // namespace

std::string signature_of(const GpuGraph& graph, const ConvolutionStep& step) {
  return fmt::format("conv{}{}{}{}{} s={} d={} p={}-{} g={} act={}", text_of(graph, "x", step.x),
                     text_of(graph, "w", step.w), text_of(graph, "bias", step.bias),
                     text_of(graph, "residual", step.residual), text_of(graph, "y", step.y),
                     fmt::join(step.strides, ","), fmt::join(step.dilations, ","),
                     fmt::join(step.pads_begin, ","), fmt::join(step.pads_end, ","), step.groups,
                     static_cast<int>(step.activation));
}

std::string signature_of(const GpuGraph& graph, const MatmulStep& step) {
  return fmt::format("matmul{}{}{}{}{} b={} m={} n={} k={} t={}{} bs={},{},{} alpha={} act={}",
                     text_of(graph, "a", step.a), text_of(graph, "b", step.b),
                     text_of(graph, "bias", step.bias), text_of(graph, "residual", step.residual),
                     text_of(graph, "c", step.c), step.batch, step.m, step.n, step.k,
                     step.transpose_a ? "t" : "n", step.transpose_b ? "t" : "n", step.batch_stride_a,
                     step.batch_stride_b, step.batch_stride_c, step.alpha, static_cast<int>(step.activation));
}

std::string signature_of(const GpuGraph& graph, const AttentionStep& step) {
  return fmt::format("attention{}{}{}{}{} scale={}", text_of(graph, "q", step.q), text_of(graph, "k", step.k),
                     text_of(graph, "v", step.v), text_of(graph, "mask", step.mask),
                     text_of(graph, "out", step.out), step.scale);
}

OperandBytes bytes_of(const GpuGraph& graph, const ConvolutionStep& step) {
  return {bytes_of(graph, step.x),    bytes_of(graph, step.w),        0,
          bytes_of(graph, step.bias), bytes_of(graph, step.residual), bytes_of(graph, step.y)};
}

OperandBytes bytes_of(const GpuGraph& graph, const MatmulStep& step) {
  return {bytes_of(graph, step.a),    bytes_of(graph, step.b),        0,
          bytes_of(graph, step.bias), bytes_of(graph, step.residual), bytes_of(graph, step.c)};
}

OperandBytes bytes_of(const GpuGraph& graph, const AttentionStep& step) {
  return {bytes_of(graph, step.q),
          bytes_of(graph, step.k),
          bytes_of(graph, step.v),
          bytes_of(graph, step.mask),
          0,
          bytes_of(graph, step.out)};
}

Status launch_kernel(GpuDevice& device, const KernelLaunch& kernel, CUstream stream,
                     std::vector<CUdeviceptr> addresses, bool next_is_early) {
  int next = next_is_early ? 1 : 0;
  std::vector<void*> parameters;
  parameters.reserve(addresses.size() + 1);
  for (CUdeviceptr& address : addresses) parameters.push_back(&address);
  parameters.push_back(&next);
  CUlaunchAttribute overlap{};
  overlap.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  overlap.value.programmaticStreamSerializationAllowed = 1;
  CUlaunchConfig config{};
  config.gridDimX = static_cast<unsigned>(kernel.blocks);
  config.gridDimY = config.gridDimZ = 1;
  config.blockDimX = static_cast<unsigned>(kernel.threads);
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = static_cast<unsigned>(kernel.shared_bytes);
  config.hStream = stream;
  if (device.compute_capability() >= kEarlyCapability) {
    config.attrs = &overlap;
    config.numAttrs = 1;
  }
  return device.check(device.api().cuLaunchKernelEx(&config, kernel.function, parameters.data(), nullptr),
                      "cuLaunchKernelEx");
}

OwnKernels::OwnKernels(std::shared_ptr<GpuDevice> device, const DiskCache& cache)
    : device_(std::move(device)), cache_(cache) {}

OwnKernels::~OwnKernels() = default;

Status OwnKernels::compile(const StepSource& source, KernelLaunch& compiled) {
  if (compiled.function != nullptr) return Status();
  auto kernels = std::make_unique<Kernels>(device_);
  std::vector<CUfunction> functions;
  INFLIGHT_TRY(kernels->add({source.source}, cache_, functions));
  if (source.shared_bytes != 0) {
    const CUresult allowed = device_->api().cuFuncSetAttribute(
        functions[0], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(source.shared_bytes));
    if (allowed == CUDA_ERROR_INVALID_VALUE)
      return Status(StatusCode::kUnsupported, "the device has too little shared memory");
    INFLIGHT_TRY(device_->check(allowed, "cuFuncSetAttribute"));
  }
  compiled = {functions[0], source.blocks, source.threads, source.shared_bytes};
  kernels_.push_back(std::move(kernels));
  return Status();
}

Status OwnKernels::prepare_epilogue(const EpilogueShape& shape) {
  uses_bias_ = shape.has_bias;
  uses_residual_ = shape.has_residual;
  return compile(epilogue_source(shape), epilogue_);
}

Status OwnKernels::prepare_direct(const StepSource& source) { return compile(source, direct_); }

Status OwnKernels::enqueue_epilogue(CUstream stream, const Operands& operands) const {
  std::vector<CUdeviceptr> addresses{operands.out};
  if (uses_bias_) addresses.push_back(operands.bias);
  if (uses_residual_) addresses.push_back(operands.residual);
  return launch_kernel(*device_, epilogue_, stream, std::move(addresses), operands.next_is_early);
}

Status OwnKernels::enqueue_direct(CUstream stream, const Operands& operands) const {
  std::vector<CUdeviceptr> addresses{operands.a, operands.b};
  if (operands.bias != 0) addresses.push_back(operands.bias);
  if (operands.residual != 0) addresses.push_back(operands.residual);
  addresses.push_back(operands.out);
  return enqueue_direct(stream, std::move(addresses), operands.next_is_early);
}

Status OwnKernels::enqueue_direct(CUstream stream, std::vector<CUdeviceptr> addresses,
                                  bool next_is_early) const {
  return launch_kernel(*device_, direct_, stream, std::move(addresses), next_is_early);
}

}  // namespace inflight::cuda
