// SPDX-License-Identifier: Apache-2.0
// Convolutions, matmuls and attention of every kind, as graphs of one step and as plain loops.
#pragma once

#include "backends/cuda/runtime/cuda_test_support.h"
#include "backends/cuda/runtime/step_plan.h"

namespace inflight::cuda {

struct ConvCase {
  const char* name;
  DType dtype;
  std::int64_t n, c, h, w, k, r, s;
  std::int64_t stride = 1, pad_begin = 0, pad_end = 0, dilation = 1;
  int groups = 1;
  bool bias = true, residual = false;
  Activation activation = Activation::kNone;
};

inline void PrintTo(const ConvCase& one, std::ostream* stream) {
  *stream << one.name << " " << dtype_name(one.dtype);
}

inline std::int64_t out_extent(std::int64_t in, std::int64_t kernel, const ConvCase& one) {
  return (in + one.pad_begin + one.pad_end - ((kernel - 1) * one.dilation + 1)) / one.stride + 1;
}

inline GpuGraph graph_of(const ConvCase& one) {
  Builder builder;
  ConvolutionStep step;
  step.label = one.name;
  const std::int64_t oh = out_extent(one.h, one.r, one);
  const std::int64_t ow = out_extent(one.w, one.s, one);
  step.x = builder.image(Storage::kScratch, one.dtype, one.n, one.c, one.h, one.w);
  step.w = builder.image(Storage::kConstant, one.dtype, one.k, one.c / one.groups, one.r, one.s);
  if (one.bias)
    step.bias = builder.tensor(Storage::kScratch, one.dtype, {1, one.k, 1, 1}, {one.k, 1, one.k, one.k});
  if (one.residual) step.residual = builder.image(Storage::kScratch, one.dtype, one.n, one.k, oh, ow);
  step.y = builder.image(Storage::kScratch, one.dtype, one.n, one.k, oh, ow);
  step.strides = {one.stride, one.stride};
  step.dilations = {one.dilation, one.dilation};
  step.pads_begin = {one.pad_begin, one.pad_begin};
  step.pads_end = {one.pad_end, one.pad_end};
  step.groups = one.groups;
  step.activation = one.activation;
  builder.graph.steps.emplace_back(step);
  return builder.graph;
}

struct HostOperands {
  std::vector<float> a, b, c, bias, residual, want;
};

inline void reference(const ConvCase& one, HostOperands& host) {
  const std::int64_t oh = out_extent(one.h, one.r, one);
  const std::int64_t ow = out_extent(one.w, one.s, one);
  const std::int64_t cg = one.c / one.groups;
  host.want.clear();
  for (std::int64_t n = 0; n < one.n; ++n)
    for (std::int64_t y = 0; y < oh; ++y)
      for (std::int64_t x = 0; x < ow; ++x)
        for (std::int64_t k = 0; k < one.k; ++k) {
          double sum = 0;
          const std::int64_t first = k / (one.k / one.groups) * cg;
          for (std::int64_t r = 0; r < one.r; ++r)
            for (std::int64_t s = 0; s < one.s; ++s) {
              const std::int64_t iy = y * one.stride - one.pad_begin + r * one.dilation;
              const std::int64_t ix = x * one.stride - one.pad_begin + s * one.dilation;
              if (iy < 0 || iy >= one.h || ix < 0 || ix >= one.w) continue;
              for (std::int64_t c = 0; c < cg; ++c) {
                sum += static_cast<double>(host.a[static_cast<std::size_t>(
                           ((n * one.h + iy) * one.w + ix) * one.c + first + c)]) *
                       host.b[static_cast<std::size_t>(((k * one.r + r) * one.s + s) * cg + c)];
              }
            }
          if (one.bias) sum += host.bias[static_cast<std::size_t>(k)];
          if (one.residual) sum += host.residual[host.want.size()];
          host.want.push_back(activate(one.activation, static_cast<float>(sum)));
        }
}

inline std::vector<float> stored(DType dtype, std::size_t bytes, unsigned seed, float size) {
  const std::size_t count = bytes / dtype_bytes(dtype);
  if (count == 0) return {};
  return decode(dtype, encode(dtype, random_values(count, seed, size)));
}

struct MatmulCase {
  const char* name;
  DType dtype;
  std::int64_t batch, m, n, k;
  bool transpose_a = false, transpose_b = false;
  bool bias = false, residual = false;
  Activation activation = Activation::kNone;
  double alpha = 1;
  bool shared_b = false;     // one b for all of the batch
  bool real_result = false;  // c and the bias are f32, as of a classifier whose result leaves the network
};

template <typename Case>
DType result_dtype(const Case& one) {
  return one.dtype;
}
inline DType result_dtype(const MatmulCase& one) { return one.real_result ? DType::kF32 : one.dtype; }

inline void PrintTo(const MatmulCase& one, std::ostream* stream) {
  *stream << one.name << " " << dtype_name(one.dtype);
}

inline GpuGraph graph_of(const MatmulCase& one) {
  Builder builder;
  MatmulStep step;
  step.label = one.name;
  // A classifier's weights are constant; the products of attention have none.
  const Storage weights = one.transpose_b ? Storage::kConstant : Storage::kScratch;
  const auto matrix = [&](std::int64_t rows, std::int64_t columns, bool transposed,
                          Storage storage = Storage::kScratch) {
    const Extents strides =
        transposed ? Extents{rows * columns, 1, rows} : Extents{rows * columns, columns, 1};
    return builder.tensor(storage, one.dtype, {one.batch, rows, columns}, strides);
  };
  step.a = matrix(one.m, one.k, one.transpose_a);
  step.b = one.shared_b ? builder.tensor(Storage::kScratch, one.dtype, {one.k, one.n},
                                         one.transpose_b ? Extents{1, one.k} : Extents{one.n, 1})
                        : matrix(one.k, one.n, one.transpose_b, weights);
  if (one.bias) step.bias = builder.vector(Storage::kScratch, result_dtype(one), one.n);
  if (one.residual) step.residual = matrix(one.m, one.n, false);
  step.c = builder.tensor(Storage::kScratch, result_dtype(one), {one.batch, one.m, one.n},
                          {one.m * one.n, one.n, 1});
  step.batch = one.batch;
  step.m = one.m;
  step.n = one.n;
  step.k = one.k;
  step.transpose_a = one.transpose_a;
  step.transpose_b = one.transpose_b;
  step.batch_stride_a = one.m * one.k;
  step.batch_stride_b = one.shared_b ? 0 : one.k * one.n;
  step.batch_stride_c = one.m * one.n;
  step.alpha = one.alpha;
  step.activation = one.activation;
  builder.graph.steps.emplace_back(step);
  return builder.graph;
}

inline void reference(const MatmulCase& one, HostOperands& host) {
  host.want.clear();
  for (std::int64_t b = 0; b < one.batch; ++b)
    for (std::int64_t i = 0; i < one.m; ++i)
      for (std::int64_t j = 0; j < one.n; ++j) {
        double sum = 0;
        for (std::int64_t k = 0; k < one.k; ++k) {
          const std::int64_t at_a = b * one.m * one.k + (one.transpose_a ? k * one.m + i : i * one.k + k);
          const std::int64_t at_b =
              (one.shared_b ? 0 : b * one.k * one.n) + (one.transpose_b ? j * one.k + k : k * one.n + j);
          sum += static_cast<double>(host.a[static_cast<std::size_t>(at_a)]) *
                 host.b[static_cast<std::size_t>(at_b)];
        }
        sum *= one.alpha;
        if (one.bias) sum += host.bias[static_cast<std::size_t>(j)];
        if (one.residual) sum += host.residual[host.want.size()];
        host.want.push_back(activate(one.activation, static_cast<float>(sum)));
      }
}

// q, k and v are parts of one product, as a projection makes them: rows of all heads' q, then k, then v.
struct AttentionCase {
  const char* name;
  DType dtype;
  std::int64_t batches, heads, rows, keys, depth, width;
  double scale = 0.125;
  bool mask = false, mask_of_heads = false;
};

inline void PrintTo(const AttentionCase& one, std::ostream* stream) {
  *stream << one.name << " " << dtype_name(one.dtype);
}

inline GpuGraph graph_of(const AttentionCase& one) {
  Builder builder;
  AttentionStep step;
  step.label = one.name;
  const auto heads = [&](std::int64_t rows, std::int64_t width, std::int64_t parts) {
    const std::int64_t row = one.heads * width * parts;
    return builder.tensor(Storage::kScratch, one.dtype, {one.batches, one.heads, rows, width},
                          {rows * row, width, row, 1});
  };
  step.q = heads(one.rows, one.depth, 3);
  step.k = heads(one.keys, one.depth, 3);
  step.v = heads(one.keys, one.width, 2);
  step.out = heads(one.rows, one.width, 1);
  if (one.mask) {
    const std::int64_t repeated = one.mask_of_heads ? one.heads : 1;
    step.mask = builder.tensor(Storage::kScratch, one.dtype, {1, repeated, one.rows, one.keys},
                               {repeated * one.rows * one.keys, one.rows * one.keys, one.keys, 1});
  }
  step.scale = one.scale;
  builder.graph.steps.emplace_back(step);
  return builder.graph;
}

inline void reference(const AttentionCase& one, HostOperands& host) {
  host.want.assign(static_cast<std::size_t>(one.batches * one.heads * one.rows * one.width), 0);
  const auto element = [&](const std::vector<float>& values, std::int64_t b, std::int64_t h, std::int64_t i,
                           std::int64_t d, std::int64_t rows, std::int64_t width, std::int64_t parts) {
    return static_cast<double>(
        values[static_cast<std::size_t>(((b * rows + i) * parts * one.heads + h) * width + d)]);
  };
  std::vector<double> weights(static_cast<std::size_t>(one.keys));
  for (std::int64_t at = 0; at < one.batches * one.heads * one.rows; ++at) {
    const std::int64_t i = at % one.rows, h = at / one.rows % one.heads, b = at / one.rows / one.heads;
    double sum = 0;
    for (std::int64_t j = 0; j < one.keys; ++j) {
      double score = 0;
      for (std::int64_t d = 0; d < one.depth; ++d)
        score += element(host.a, b, h, i, d, one.rows, one.depth, 3) *
                 element(host.b, b, h, j, d, one.keys, one.depth, 3);
      score *= one.scale;
      if (one.mask)
        score +=
            host.bias[static_cast<std::size_t>(((one.mask_of_heads ? h : 0) * one.rows + i) * one.keys + j)];
      sum += weights[static_cast<std::size_t>(j)] = std::exp(score);
    }
    for (std::int64_t e = 0; e < one.width; ++e) {
      double value = 0;
      for (std::int64_t j = 0; j < one.keys; ++j)
        value +=
            weights[static_cast<std::size_t>(j)] / sum * element(host.c, b, h, j, e, one.keys, one.width, 2);
      host.want[static_cast<std::size_t>(((b * one.rows + i) * one.heads + h) * one.width + e)] =
          static_cast<float>(value);
    }
  }
}

inline constexpr DType kF16 = DType::kF16;
inline constexpr DType kBF16 = DType::kBF16;
inline constexpr DType kF32 = DType::kF32;

inline const std::vector<ConvCase>& conv_cases() {
  static const std::vector<ConvCase> cases{
      ConvCase{"1x1", kF16, 1, 64, 14, 14, 64, 1, 1},
      ConvCase{"1x1 relu", kF16, 1, 64, 14, 14, 256, 1, 1, 1, 0, 0, 1, 1, true, false, Activation::kRelu},
      ConvCase{"1x1 residual relu", kF16, 1, 64, 14, 14, 256, 1, 1, 1, 0, 0, 1, 1, true, true,
               Activation::kRelu},
      ConvCase{"1x1 stride 2 residual relu", kF16, 1, 64, 14, 14, 256, 1, 1, 2, 0, 0, 1, 1, true, true,
               Activation::kRelu},
      ConvCase{"1x1 on 7x7", kF16, 1, 256, 7, 7, 64, 1, 1, 1, 0, 0, 1, 1, true, false, Activation::kRelu},
      ConvCase{"1x1 no bias", kF16, 1, 64, 14, 14, 64, 1, 1, 1, 0, 0, 1, 1, false},
      ConvCase{"3x3 relu", kF16, 1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, true, false, Activation::kRelu},
      ConvCase{"3x3 stride 2 relu6", kF16, 1, 32, 15, 15, 64, 3, 3, 2, 1, 1, 1, 1, true, false,
               Activation::kRelu6},
      ConvCase{"3x3 silu", kF16, 1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, true, false, Activation::kSilu},
      ConvCase{"3x3 gelu", kF16, 1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, true, false, Activation::kGelu},
      ConvCase{"3x3 sigmoid", kF16, 1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, true, false,
               Activation::kSigmoid},
      ConvCase{"3x3 tanh residual", kF16, 1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, true, true,
               Activation::kTanh},
      ConvCase{"3x3 dilation 2", kF16, 1, 64, 14, 14, 64, 3, 3, 1, 2, 2, 2},
      ConvCase{"3x3 pads 0-1 stride 2", kF16, 1, 32, 14, 14, 64, 3, 3, 2, 0, 1},
      ConvCase{"7x7 stem of 8 channels", kF16, 1, 8, 64, 64, 64, 7, 7, 2, 3, 3, 1, 1, true, false,
               Activation::kRelu},
      ConvCase{"7x7 stem of 3 channels", kF16, 1, 3, 64, 64, 64, 7, 7, 2, 3, 3, 1, 1, true, false,
               Activation::kRelu},
      ConvCase{"groups 2", kF16, 1, 64, 13, 13, 64, 3, 3, 1, 1, 1, 1, 2, true, false, Activation::kRelu},
      ConvCase{"groups 32", kF16, 1, 128, 14, 14, 128, 3, 3, 1, 1, 1, 1, 32, true, false, Activation::kRelu},
      ConvCase{"depthwise", kF16, 1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 64, true, false, Activation::kRelu6},
      ConvCase{"batch 8", kF16, 8, 32, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, true, true, Activation::kRelu},
      ConvCase{"1-D, height 1", kF16, 1, 32, 1, 50, 64, 1, 3, 1, 0, 0},
      ConvCase{"1x1 on 1x1", kF16, 1, 512, 1, 1, 64, 1, 1, 1, 0, 0, 1, 1, true, false, Activation::kSigmoid},
      ConvCase{"3x3 relu", kBF16, 1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, true, true, Activation::kRelu},
      ConvCase{"1x1", kBF16, 1, 64, 14, 14, 64, 1, 1},
      ConvCase{"1x1 relu", kF32, 1, 64, 14, 14, 64, 1, 1, 1, 0, 0, 1, 1, true, false, Activation::kRelu},
      ConvCase{"3x3 residual relu", kF32, 1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, true, true,
               Activation::kRelu},
      ConvCase{"3x3 no bias", kF32, 1, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1, false},
      ConvCase{"7x7 stem of 4 channels", kF32, 1, 4, 64, 64, 64, 7, 7, 2, 3, 3, 1, 1, true, false,
               Activation::kRelu},
      ConvCase{"groups 4", kF32, 1, 64, 13, 13, 64, 3, 3, 1, 1, 1, 1, 4}};
  return cases;
}

inline const std::vector<MatmulCase>& matmul_cases() {
  static const std::vector<MatmulCase> cases{
      MatmulCase{"nn", kF16, 1, 50, 64, 96},
      MatmulCase{"nt", kF16, 1, 50, 64, 96, false, true},
      MatmulCase{"tn", kF16, 1, 56, 64, 96, true, false},
      MatmulCase{"tt", kF16, 1, 56, 64, 96, true, true},
      MatmulCase{"one row, bias", kF16, 1, 1, 1000, 512, false, true, true},
      MatmulCase{"one row, f32 result", kF16, 1, 1, 1000, 512, false, true, true, false, Activation::kNone, 1,
                 false, true},
      MatmulCase{"f32 result relu", kBF16, 1, 50, 64, 96, false, false, true, false, Activation::kRelu, 1,
                 false, true},
      MatmulCase{"odd extents", kF16, 1, 7, 13, 11, false, false, true},
      MatmulCase{"bias relu", kF16, 1, 50, 64, 96, false, true, true, false, Activation::kRelu},
      MatmulCase{"bias gelu", kF16, 1, 50, 64, 96, false, true, true, false, Activation::kGelu},
      MatmulCase{"bias residual", kF16, 1, 50, 64, 96, false, true, true, true},
      MatmulCase{"bias silu", kF16, 1, 50, 64, 96, false, true, true, false, Activation::kSilu},
      MatmulCase{"residual relu6", kF16, 1, 50, 64, 96, false, true, false, true, Activation::kRelu6},
      MatmulCase{"batch 12, scaled", kF16, 12, 49, 56, 64, false, true, false, false, Activation::kNone,
                 0.125},
      MatmulCase{"batch 12", kF16, 12, 49, 64, 56},
      MatmulCase{"batch 4, one b", kF16, 4, 32, 64, 40, false, false, true, false, Activation::kRelu, 1,
                 true},
      MatmulCase{"bias gelu", kBF16, 1, 50, 64, 96, false, true, true, false, Activation::kGelu},
      MatmulCase{"bias relu", kF32, 1, 50, 64, 96, false, true, true, false, Activation::kRelu},
      MatmulCase{"bias gelu", kF32, 1, 50, 64, 96, false, true, true, false, Activation::kGelu},
      MatmulCase{"batch 3, tn", kF32, 3, 20, 30, 40, true, false, false, true}};
  return cases;
}

inline const std::vector<AttentionCase>& attention_cases() {
  static const std::vector<AttentionCase> cases{
      AttentionCase{"12 heads of 64, 197 rows", kF16, 1, 12, 197, 197, 64, 64},
      AttentionCase{"batch 2, one row", kF16, 2, 3, 1, 77, 64, 64},
      AttentionCase{"few keys", kF16, 1, 2, 20, 13, 32, 32},
      AttentionCase{"more keys than a chunk", kF16, 1, 2, 18, 1500, 64, 64},
      AttentionCase{"128 wide", kF16, 1, 2, 70, 130, 128, 128},
      AttentionCase{"32 and 96 wide", kF16, 1, 2, 33, 65, 32, 96, 0.2},
      AttentionCase{"40 wide", kF16, 1, 4, 50, 60, 40, 40, 0.2},
      AttentionCase{"mask", kF16, 2, 2, 50, 64, 64, 64, 0.125, true},
      AttentionCase{"mask of each head, odd keys", kF16, 1, 3, 50, 61, 64, 64, 0.125, true, true},
      AttentionCase{"12 heads of 64", kBF16, 1, 12, 50, 197, 64, 64},
      AttentionCase{"mask", kBF16, 1, 2, 50, 61, 64, 64, 0.125, true}};
  return cases;
}

template <typename Case>
HostOperands operands_of(const Case& one, const OperandBytes& bytes, float fan_in) {
  HostOperands host;
  host.a = stored(one.dtype, bytes.a, 1, 1);
  host.b = stored(one.dtype, bytes.b, 2, 2.0F / std::sqrt(fan_in));
  host.c = stored(one.dtype, bytes.c, 5, 1);
  host.bias = stored(result_dtype(one), bytes.bias, 3, 1);
  host.residual = stored(one.dtype, bytes.residual, 4, 1);
  reference(one, host);
  return host;
}
inline HostOperands operands_of(const ConvCase& one, const OperandBytes& bytes) {
  return operands_of(one, bytes, static_cast<float>(one.c / one.groups * one.r * one.s));
}
inline HostOperands operands_of(const MatmulCase& one, const OperandBytes& bytes) {
  return operands_of(one, bytes, static_cast<float>(one.k));
}
inline HostOperands operands_of(const AttentionCase& one, const OperandBytes& bytes) {
  return operands_of(one, bytes, 1);
}

}  // namespace inflight::cuda
