// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/gpu_graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string_view>

namespace inflight::cuda {
namespace {

constexpr std::array<std::string_view, 4> kStepNames{"kernel", "convolution", "matmul", "attention"};

std::vector<TensorId> present(std::initializer_list<TensorId> ids) {
  std::vector<TensorId> found;
  for (const TensorId id : ids) {
    if (id != kNoTensor) found.push_back(id);
  }
  return found;
}

std::string counted(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string tensor_text(const GpuGraph& graph, TensorId id) {
  const GpuTensor& tensor = graph.tensor(id);
  constexpr std::array<std::string_view, 4> kStorages{"in", "out", "const", ""};
  return fmt::format("{}{}#{} {}[{}] by [{}]", kStorages[static_cast<std::size_t>(tensor.storage)],
                     tensor.storage == Storage::kScratch ? fmt::format("@{} ", tensor.offset) : " ", id,
                     dtype_name(tensor.dtype), fmt::join(tensor.extents, ","),
                     fmt::join(tensor.strides, ","));
}

}  // namespace

std::size_t GpuTensor::bytes() const {
  std::int64_t last = 0;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    if (extents[i] == 0) return dtype_bytes(dtype);
    last += (extents[i] - 1) * strides[i];
  }
  return static_cast<std::size_t>(last + 1) * dtype_bytes(dtype);
}

std::vector<TensorId> reads_of(const Step& step) {
  if (const auto* kernel = std::get_if<KernelStep>(&step)) return kernel->reads;
  if (const auto* conv = std::get_if<ConvolutionStep>(&step))
    return present({conv->x, conv->w, conv->bias, conv->residual});
  if (const auto* matmul = std::get_if<MatmulStep>(&step))
    return present({matmul->a, matmul->b, matmul->bias, matmul->residual});
  const auto& attention = std::get<AttentionStep>(step);
  return present({attention.q, attention.k, attention.v, attention.mask});
}

std::vector<TensorId> writes_of(const Step& step) {
  if (const auto* kernel = std::get_if<KernelStep>(&step)) return kernel->writes;
  if (const auto* conv = std::get_if<ConvolutionStep>(&step)) return {conv->y};
  if (const auto* matmul = std::get_if<MatmulStep>(&step)) return {matmul->c};
  return {std::get<AttentionStep>(step).out};
}

const std::string& label_of(const Step& step) {
  return std::visit([](const auto& each) -> const std::string& { return each.label; }, step);
}

std::string summary(const GpuGraph& graph) {
  std::array<std::size_t, 4> counts{};
  for (const Step& step : graph.steps) ++counts[step.index()];
  std::size_t constants = 0;
  for (const GpuTensor& tensor : graph.tensors) constants += tensor.constant.size();
  const std::string attentions = counts[3] == 0 ? "" : ", " + counted(counts[3], kStepNames[3]);
  return fmt::format("{}, {}, {}{}; {:.1f} MB of constants, {:.1f} MB of scratch",
                     counted(counts[0], kStepNames[0]), counted(counts[1], kStepNames[1]),
                     counted(counts[2], kStepNames[2]), attentions, static_cast<double>(constants) / 1e6,
                     static_cast<double>(graph.scratch_bytes) / 1e6);
}

std::string listing(const GpuGraph& graph) {
  std::string text;
  for (const Step& step : graph.steps) {
    text += fmt::format("{} \"{}\"\n", kStepNames[step.index()], label_of(step));
    for (const TensorId id : reads_of(step)) text += "    reads  " + tensor_text(graph, id) + "\n";
    for (const TensorId id : writes_of(step)) text += "    writes " + tensor_text(graph, id) + "\n";
  }
  return text;
}

}  // namespace inflight::cuda
