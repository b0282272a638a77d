// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/testing/graph_interpreter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <openvino/core/type/bfloat16.hpp>
#include <openvino/core/type/float16.hpp>

#include "base/check.h"

namespace inflight::cuda::testing {
namespace {

// Calls `function` with a value of the C++ type of the elements.
template <typename Function>
void with_type(DType dtype, Function function) {
  switch (dtype) {
    case DType::kBool:
    case DType::kU8:
      return function(std::uint8_t{});
    case DType::kI8:
      return function(std::int8_t{});
    case DType::kU16:
      return function(std::uint16_t{});
    case DType::kI16:
      return function(std::int16_t{});
    case DType::kU32:
      return function(std::uint32_t{});
    case DType::kI32:
      return function(std::int32_t{});
    case DType::kU64:
      return function(std::uint64_t{});
    case DType::kI64:
      return function(std::int64_t{});
    case DType::kF16:
      return function(ov::float16{});
    case DType::kBF16:
      return function(ov::bfloat16{});
    case DType::kF32:
      return function(float{});
    case DType::kF64:
      return function(double{});
  }
}

// The offset of each element, in row-major order.
template <typename Function>
void for_each_offset(const GpuTensor& tensor, Function function) {
  std::size_t count = 1;
  for (const std::int64_t extent : tensor.extents) count *= static_cast<std::size_t>(extent);
  Extents at(tensor.extents.size(), 0);
  for (std::size_t i = 0; i < count; ++i) {
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < at.size(); ++axis) offset += at[axis] * tensor.strides[axis];
    function(i, static_cast<std::size_t>(offset));
    for (std::size_t axis = at.size(); axis > 0 && ++at[axis - 1] == tensor.extents[axis - 1]; --axis)
      at[axis - 1] = 0;
  }
}

float activated(float x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return std::max(x, 0.0F);
    case Activation::kRelu6:
      return std::min(std::max(x, 0.0F), 6.0F);
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return 0.5F * x * (1 + std::erf(x * std::sqrt(0.5F)));
  }
  return x;
}

std::vector<float> narrowed(const std::vector<double>& values) { return {values.begin(), values.end()}; }

class Interpreter {
 public:
  Interpreter(const GpuGraph& graph, const std::vector<std::vector<std::byte>>& inputs)
      : graph_(graph), scratch_(graph.scratch_bytes + 1, std::byte{0xFF}), own_(graph.tensors.size()) {
    for (std::size_t i = 0; i < graph.tensors.size(); ++i) {
      const GpuTensor& tensor = graph.tensors[i];
      if (tensor.storage == Storage::kConstant) own_[i] = tensor.constant;
      if (tensor.storage == Storage::kOutput) own_[i].resize(tensor.bytes(), std::byte{0xFF});
    }
    for (std::size_t i = 0; i < inputs.size(); ++i)
      own_[static_cast<std::size_t>(graph.inputs[i])] = inputs[i];
  }

  std::byte* memory(TensorId id) {
    const GpuTensor& tensor = graph_.tensor(id);
    if (tensor.storage != Storage::kScratch) return own_[static_cast<std::size_t>(id)].data();
    INFLIGHT_CHECK(tensor.offset + tensor.bytes() <= graph_.scratch_bytes);
    return scratch_.data() + tensor.offset;
  }

  const std::vector<std::byte>& bytes(TensorId id) const { return own_[static_cast<std::size_t>(id)]; }

  Status run(const Step& step, const KernelRunner& run_kernel) {
    if (const auto* convolution = std::get_if<ConvolutionStep>(&step)) return run(*convolution);
    if (const auto* matmul = std::get_if<MatmulStep>(&step)) return run(*matmul);
    if (const auto* attention = std::get_if<AttentionStep>(&step)) return run(*attention);
    const auto& kernel = std::get<KernelStep>(step);
    std::vector<std::byte*> parameters;
    for (const TensorId id : kernel.reads) parameters.push_back(memory(id));
    for (const TensorId id : kernel.writes) parameters.push_back(memory(id));
    return run_kernel(kernel, parameters);
  }

 private:
  const GpuTensor& tensor(TensorId id) const { return graph_.tensor(id); }
  std::vector<float> values(TensorId id) {
    return id == kNoTensor ? std::vector<float>() : narrowed(load(tensor(id), memory(id)));
  }

  Status run(const ConvolutionStep& step) {
    const std::vector<float> x = values(step.x);
    const std::vector<float> w = values(step.w);
    const std::vector<float> bias = values(step.bias);
    const std::vector<float> residual = values(step.residual);
    const Extents in = tensor(step.x).extents;
    const Extents window = tensor(step.w).extents;
    const Extents out = tensor(step.y).extents;
    INFLIGHT_CHECK(in[1] == window[1] * step.groups && out[1] == window[0]);
    std::vector<double> y(static_cast<std::size_t>(out[0] * out[1] * out[2] * out[3]));
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(y.size()); ++i) {
      const std::int64_t column = i % out[3];
      const std::int64_t row = i / out[3] % out[2];
      const std::int64_t k = i / (out[3] * out[2]) % out[1];
      const std::int64_t image = i / (out[3] * out[2] * out[1]);
      const std::int64_t first = k / (out[1] / step.groups) * window[1];
      float sum = 0;
      for (std::int64_t r = 0; r < window[2]; ++r) {
        const std::int64_t h = row * step.strides[0] + r * step.dilations[0] - step.pads_begin[0];
        if (h < 0 || h >= in[2]) continue;
        for (std::int64_t s = 0; s < window[3]; ++s) {
          const std::int64_t v = column * step.strides[1] + s * step.dilations[1] - step.pads_begin[1];
          if (v < 0 || v >= in[3]) continue;
          const float* from = &x[static_cast<std::size_t>(((image * in[1] + first) * in[2] + h) * in[3] + v)];
          const float* weight = &w[static_cast<std::size_t>((k * window[1] * window[2] + r) * window[3] + s)];
          for (std::int64_t c = 0; c < window[1]; ++c)
            sum += from[c * in[2] * in[3]] * weight[c * window[2] * window[3]];
        }
      }
      if (!bias.empty()) sum += bias[static_cast<std::size_t>(k)];
      if (!residual.empty()) sum += residual[static_cast<std::size_t>(i)];
      y[static_cast<std::size_t>(i)] = activated(sum, step.activation);
    }
    store(tensor(step.y), y, memory(step.y));
    return {};
  }

  // As a library sees its matrices: an address, the distance between rows and that between batches.
  struct Matrix {
    std::vector<float> values;  // of the whole span
    std::int64_t row = 0, column = 0, batch = 0;
    float at(std::int64_t b, std::int64_t i, std::int64_t j) const {
      return values[static_cast<std::size_t>(b * batch + i * row + j * column)];
    }
  };

  Matrix matrix(TensorId id, bool transposed, std::int64_t batch_stride) {
    const GpuTensor& own = tensor(id);
    const std::size_t rank = own.strides.size();
    const std::int64_t distance = std::max(own.strides[rank - 1], own.strides[rank - 2]);
    GpuTensor span = own;
    span.extents = {static_cast<std::int64_t>(own.bytes() / dtype_bytes(own.dtype))};
    span.strides = {1};
    return {narrowed(load(span, memory(id))), transposed ? 1 : distance, transposed ? distance : 1,
            batch_stride};
  }

  Status run(const MatmulStep& step) {
    const Matrix a = matrix(step.a, step.transpose_a, step.batch_stride_a);
    const Matrix b = matrix(step.b, step.transpose_b, step.batch_stride_b);
    const std::vector<float> bias = values(step.bias);
    Matrix residual;
    if (step.residual != kNoTensor) residual = matrix(step.residual, false, step.batch_stride_c);
    Matrix c = matrix(step.c, false, step.batch_stride_c);
    GpuTensor element = tensor(step.c);
    element.extents = {1};
    element.strides = {1};
    std::byte* to = memory(step.c);
    for (std::int64_t batch = 0; batch < step.batch; ++batch) {
      for (std::int64_t i = 0; i < step.m; ++i) {
        for (std::int64_t j = 0; j < step.n; ++j) {
          float sum = 0;
          for (std::int64_t k = 0; k < step.k; ++k) sum += a.at(batch, i, k) * b.at(batch, k, j);
          sum *= static_cast<float>(step.alpha);
          if (!bias.empty()) sum += bias[static_cast<std::size_t>(j)];
          if (step.residual != kNoTensor) sum += residual.at(batch, i, j);
          const std::int64_t offset = batch * c.batch + i * c.row + j;
          store(element, {activated(sum, step.activation)},
                to + static_cast<std::size_t>(offset) * dtype_bytes(element.dtype));
        }
      }
    }
    return {};
  }

  // The rows of one head of an operand [B,H,rows,columns], in order.
  static const float* row_of(const std::vector<float>& values, const Extents& extents, std::int64_t b,
                             std::int64_t h, std::int64_t i) {
    const auto at = [&](std::size_t axis, std::int64_t index) { return extents[axis] == 1 ? 0 : index; };
    return &values[static_cast<std::size_t>(((at(0, b) * extents[1] + at(1, h)) * extents[2] + at(2, i)) *
                                            extents[3])];
  }

  Status run(const AttentionStep& step) {
    const std::vector<float> q = values(step.q), k = values(step.k), v = values(step.v),
                             mask = values(step.mask);
    const Extents of_q = tensor(step.q).extents, of_k = tensor(step.k).extents, of_v = tensor(step.v).extents;
    const Extents out = tensor(step.out).extents;
    INFLIGHT_CHECK(of_q[3] == of_k[3] && of_k[2] == of_v[2] && out[2] == of_q[2] && out[3] == of_v[3]);
    std::vector<double> y;
    std::vector<float> weights(static_cast<std::size_t>(of_k[2]));
    for (std::int64_t row = 0; row < out[0] * out[1] * out[2]; ++row) {
      const std::int64_t i = row % out[2], h = row / out[2] % out[1], b = row / out[2] / out[1];
      const float* query = row_of(q, of_q, b, h, i);
      float largest = -std::numeric_limits<float>::infinity();
      for (std::int64_t j = 0; j < of_k[2]; ++j) {
        const float* key = row_of(k, of_k, b, h, j);
        float score = std::inner_product(query, query + of_q[3], key, 0.0F) * static_cast<float>(step.scale);
        if (!mask.empty()) score += row_of(mask, tensor(step.mask).extents, b, h, i)[j];
        weights[static_cast<std::size_t>(j)] = score;
        largest = std::max(largest, score);
      }
      float sum = 0;
      for (float& weight : weights) sum += weight = std::exp(weight - largest);
      for (std::int64_t e = 0; e < out[3]; ++e) {
        float value = 0;
        for (std::int64_t j = 0; j < of_k[2]; ++j)
          value += weights[static_cast<std::size_t>(j)] * row_of(v, of_v, b, h, j)[e];
        y.push_back(value / sum);
      }
    }
    store(tensor(step.out), y, memory(step.out));
    return {};
  }

  const GpuGraph& graph_;
  std::vector<std::byte> scratch_;
  std::vector<std::vector<std::byte>> own_;  // of each tensor that is not in scratch_
};

}  // namespace

std::vector<double> load(const GpuTensor& tensor, const std::byte* memory) {
  std::vector<double> values;
  with_type(tensor.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_offset(tensor, [&](std::size_t, std::size_t offset) {
      T value{};
      std::memcpy(&value, memory + offset * sizeof(T), sizeof(T));
      values.push_back(
          static_cast<double>(static_cast<std::conditional_t<std::is_integral_v<T>, T, double>>(value)));
    });
  });
  return values;
}

void store(const GpuTensor& tensor, const std::vector<double>& values, std::byte* memory) {
  with_type(tensor.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_each_offset(tensor, [&](std::size_t i, std::size_t offset) {
      T value{};
      if constexpr (std::is_integral_v<T> || std::is_same_v<T, double>)
        value = static_cast<T>(values[i]);
      else
        value = T(static_cast<float>(values[i]));
      std::memcpy(memory + offset * sizeof(T), &value, sizeof(T));
    });
  });
}

Result<std::vector<std::vector<std::byte>>> interpret(const GpuGraph& graph,
                                                      const std::vector<std::vector<std::byte>>& inputs,
                                                      const KernelRunner& run_kernel) {
  INFLIGHT_CHECK(inputs.size() == graph.inputs.size());
  Interpreter interpreter(graph, inputs);
  for (const Step& step : graph.steps) {
    const Status status = interpreter.run(step, run_kernel);
    if (!status.ok()) return status.with_context(label_of(step));
  }
  std::vector<std::vector<std::byte>> outputs;
  for (const TensorId id : graph.outputs) outputs.push_back(interpreter.bytes(id));
  return outputs;
}

}  // namespace inflight::cuda::testing
