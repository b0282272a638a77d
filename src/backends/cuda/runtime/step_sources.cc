// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/runtime/step_sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/check.h"

namespace inflight::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kBlocksMax = 1 << 16;

const char* c_type(DType dtype) {
  INFLIGHT_CHECK(dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF32);
  return dtype == DType::kF32 ? "float" : "unsigned short";
}

std::string load(DType dtype, const std::string& place) {
  if (dtype == DType::kF32) return place;
  return fmt::format("{}(&{})", dtype == DType::kF16 ? "load_f16" : "load_bf16", place);
}

std::string store(DType dtype, const std::string& place, const std::string& value) {
  if (dtype == DType::kF32) return fmt::format("{} = {};", place, value);
  return fmt::format("{}(&{}, {});", dtype == DType::kF16 ? "store_f16" : "store_bf16", place, value);
}

std::int64_t product(const Extents& extents) {
  std::int64_t all = 1;
  for (const std::int64_t extent : extents) all *= extent;
  return all;
}

StepSource finished(std::string source, std::int64_t work) {
  return {std::move(source), std::clamp<std::int64_t>((work + kThreads - 1) / kThreads, 1, kBlocksMax),
          kThreads, 0};
}

std::string head(const std::string& parameters, std::int64_t work) {
  return fmt::format(
      "extern \"C\" KERNEL void BOUNDS({0}) run({1}) {{\n"
      "  for (long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x; at < {2}ll;\n"
      "       at += (long long)gridDim.x * blockDim.x) {{\n    long long rest = at;\n",
      kThreads, parameters, work);
}

// Takes `extents` off `rest`, the last one first: i0, i1, ...
std::string indices(const Extents& extents) {
  std::string text;
  for (std::size_t d = extents.size(); d-- > 0;)
    text += fmt::format("    const long long i{} = rest % {}ll; rest /= {}ll;\n", d, extents[d], extents[d]);
  return text;
}

std::string offset(const Extents& strides, std::int64_t last_factor = 1) {
  std::string text = "0";
  for (std::size_t d = 0; d < strides.size(); ++d) {
    const std::int64_t stride = d + 1 == strides.size() ? strides[d] * last_factor : strides[d];
    if (stride != 0) text += fmt::format(" + i{} * {}ll", d, stride);
  }
  return text;
}

// How many elements of the last dimension one thread takes, as one load of at most 16 bytes.
std::int64_t vector_width(const EpilogueShape& shape) {
  const auto width = static_cast<std::int64_t>(16 / dtype_bytes(shape.dtype));
  const auto fits = [&](const Extents& strides) {
    for (std::size_t d = 0; d + 1 < strides.size(); ++d) {
      if (strides[d] % width != 0) return false;
    }
    return strides.back() == 1;
  };
  if (shape.extents.empty() || shape.extents.back() % width != 0 || !fits(shape.strides)) return 1;
  if (shape.has_residual && !fits(shape.residual_strides)) return 1;
  return width;
}

std::string parameter(DType dtype, const char* name, bool constant = true) {
  return fmt::format("{}{}* RESTRICT {}", constant ? "const " : "", c_type(dtype), name);
}

// The start of a kernel that computes a whole step, one element of the result a turn: its parameters are the two
// operands, then bias and residual where they are, then the result; `sum` is 0.
struct NamedTensor {
  const char* name;
  const GpuTensor& tensor;
};
template <typename AnyStep>
std::string sum_head(const GpuGraph& graph, const AnyStep& step, const std::array<NamedTensor, 3>& of,
                     const Extents& order) {
  std::string parameters = parameter(of[0].tensor.dtype, of[0].name);
  parameters += ", " + parameter(of[1].tensor.dtype, of[1].name);
  if (step.bias != kNoTensor) parameters += ", " + parameter(graph.tensor(step.bias).dtype, "bias");
  if (step.residual != kNoTensor)
    parameters += ", " + parameter(graph.tensor(step.residual).dtype, "residual");
  parameters += ", " + parameter(of[2].tensor.dtype, of[2].name, false);
  return head(parameters, product(order)) + indices(order) + "    float sum = 0.0f;\n";
}

}  // namespace

std::string activated(Activation activation, const std::string& v) {
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return fmt::format("m_max({}, 0.0f)", v);
    case Activation::kRelu6:
      return fmt::format("m_min(m_max({}, 0.0f), 6.0f)", v);
    case Activation::kSigmoid:
      return fmt::format("m_sigmoid({})", v);
    case Activation::kTanh:
      return fmt::format("m_tanh({})", v);
    case Activation::kSilu:
      return fmt::format("({0} * m_sigmoid({0}))", v);
    case Activation::kGelu:
      return fmt::format("m_gelu({})", v);
  }
  return v;
}

std::string copy_source() {
  return R"(
typedef unsigned long long u64;
struct Copy { u64 tensor; u64 bytes; };
__device__ __forceinline__ u64 now(const u64* p) {
  u64 value; asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(value) : "l"(p) : "memory"); return value;
}
__device__ __forceinline__ void copy(u64 to, u64 from, u64 bytes) {
  if (to == from) return;
  const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, step = (u64)gridDim.x * blockDim.x;
  u64 done = 0;
  if (((to | from) & 15) == 0) {
    const u64 wide = bytes / 16;
    u64 i = first;
    for (; i + 3 * step < wide; i += 4 * step) {
      uint4 a = ((const uint4*)from)[i], b = ((const uint4*)from)[i + step];
      uint4 c = ((const uint4*)from)[i + 2 * step], d = ((const uint4*)from)[i + 3 * step];
      ((uint4*)to)[i] = a; ((uint4*)to)[i + step] = b;
      ((uint4*)to)[i + 2 * step] = c; ((uint4*)to)[i + 3 * step] = d;
    }
    for (; i < wide; i += step) ((uint4*)to)[i] = ((const uint4*)from)[i];
    done = wide * 16;
  }
  for (u64 i = done + first; i < bytes; i += step) ((unsigned char*)to)[i] = ((const unsigned char*)from)[i];
}
extern "C" __global__ void fetch(const u64* table, u64* fetched, int count) {
  for (int i = threadIdx.x; i < count; i += blockDim.x) fetched[i] = now(table + i);
}
extern "C" __global__ void __launch_bounds__(256) copy_in(const u64* fetched, const Copy* copies) {
  copy(copies[blockIdx.y].tensor, fetched[blockIdx.y], copies[blockIdx.y].bytes);
}
extern "C" __global__ void __launch_bounds__(256)
copy_out(const u64* fetched, const Copy* copies, int count, const u64* generation, u64* word, unsigned* counter) {
  u64 number = 0;
  if (threadIdx.x == 0) number = now(generation);
  if ((int)blockIdx.y < count) copy(fetched[blockIdx.y], copies[blockIdx.y].tensor, copies[blockIdx.y].bytes);
  __threadfence_system();
  __syncthreads();
  if (threadIdx.x != 0) return;
  if (atomicAdd(counter, 1u) != gridDim.x * gridDim.y - 1) return;
  *counter = 0;
  __threadfence_system();
  asm volatile("st.release.sys.global.u64 [%0], %1;" :: "l"(word), "l"(number) : "memory");
}
)";
}

StepSource epilogue_source(const EpilogueShape& shape) {
  const std::int64_t width = vector_width(shape);
  Extents extents = shape.extents;
  extents.back() /= width;
  const std::int64_t work = product(extents);
  std::string parameters = parameter(shape.dtype, "y", false);
  if (shape.has_bias) parameters += ", " + parameter(shape.bias_dtype, "bias");
  if (shape.has_residual) parameters += ", " + parameter(shape.dtype, "residual");
  std::string text = head(parameters, work) + indices(extents);
  const bool inner = shape.channel + 1 == extents.size();
  text += fmt::format("    const long long to = {};\n", offset(shape.strides, width));
  if (shape.has_residual)
    text += fmt::format("    const long long add = {};\n", offset(shape.residual_strides, width));
  const std::string pack = fmt::format("Pack<{}, {}>", c_type(shape.dtype), width);
  text += fmt::format("    {0} v = *({0}*)(y + to);\n", pack);
  if (shape.has_residual) text += fmt::format("    const {0} r = *(const {0}*)(residual + add);\n", pack);
  std::string sum = load(shape.dtype, "v.at[k]");
  if (shape.has_bias) {
    const std::string channel =
        inner ? fmt::format("i{} * {} + k", shape.channel, width) : fmt::format("i{}", shape.channel);
    sum += " + " + load(shape.bias_dtype, fmt::format("bias[{}]", channel));
  }
  if (shape.has_residual) sum += " + " + load(shape.dtype, "r.at[k]");
  text +=
      fmt::format("    UNROLL for (int k = 0; k < {}; ++k) {{\n      const float s = {};\n      {}\n    }}\n",
                  width, sum, store(shape.dtype, "v.at[k]", activated(shape.activation, "s")));
  text += fmt::format("    *({}*)(y + to) = v;\n  }}\n}}\n", pack);
  return finished(std::move(text), work);
}

StepSource convolution_source(const GpuGraph& graph, const ConvolutionStep& step) {
  const GpuTensor& x = graph.tensor(step.x);
  const GpuTensor& w = graph.tensor(step.w);
  const GpuTensor& y = graph.tensor(step.y);
  // In the order of memory: i0 = n, i1 = h, i2 = w, i3 = k.
  const Extents order{y.extents[0], y.extents[2], y.extents[3], y.extents[1]};
  const auto permuted = [](const Extents& s) { return Extents{s[0], s[2], s[3], s[1]}; };
  const std::int64_t per_group = w.extents[1];
  std::string text = sum_head(graph, step, {{{"x", x}, {"w", w}, {"y", y}}}, order);
  text += fmt::format("    const long long first = i3 / {}ll * {}ll;\n",
                      std::max<std::int64_t>(1, y.extents[1] / step.groups), per_group);
  text += fmt::format(
      "    for (long long r = 0; r < {}; ++r) {{\n      const long long h = i1 * {} - {} + r * {};\n"
      "      if (h < 0 || h >= {}) continue;\n"
      "      for (long long s = 0; s < {}; ++s) {{\n        const long long q = i2 * {} - {} + s * {};\n"
      "        if (q < 0 || q >= {}) continue;\n",
      w.extents[2], step.strides[0], step.pads_begin[0], step.dilations[0], x.extents[2], w.extents[3],
      step.strides[1], step.pads_begin[1], step.dilations[1], x.extents[3]);
  text += fmt::format("        for (long long c = 0; c < {}; ++c) sum += ", per_group);
  text += load(x.dtype, fmt::format("x[i0 * {}ll + (first + c) * {}ll + h * {}ll + q * {}ll]", x.strides[0],
                                    x.strides[1], x.strides[2], x.strides[3]));
  text += " * " + load(w.dtype, fmt::format("w[i3 * {}ll + c * {}ll + r * {}ll + s * {}ll]", w.strides[0],
                                            w.strides[1], w.strides[2], w.strides[3]));
  text += ";\n      }\n    }\n";
  if (step.bias != kNoTensor) text += "    sum += " + load(graph.tensor(step.bias).dtype, "bias[i3]") + ";\n";
  if (step.residual != kNoTensor) {
    const GpuTensor& residual = graph.tensor(step.residual);
    text += "    sum += " +
            load(residual.dtype, fmt::format("residual[{}]", offset(permuted(residual.strides)))) + ";\n";
  }
  text += "    " + store(y.dtype, fmt::format("y[{}]", offset(permuted(y.strides))),
                         activated(step.activation, "sum"));
  text += "\n  }\n}\n";
  return finished(std::move(text), product(order));
}

StepSource matmul_source(const GpuGraph& graph, const MatmulStep& step) {
  const GpuTensor& a = graph.tensor(step.a);
  const GpuTensor& b = graph.tensor(step.b);
  const GpuTensor& c = graph.tensor(step.c);
  const Extents order{step.batch, step.m, step.n};
  const std::string row_a = std::to_string(row_stride(a));
  const std::string row_b = std::to_string(row_stride(b));
  std::string text = sum_head(graph, step, {{{"a", a}, {"b", b}, {"c", c}}}, order);
  text += fmt::format("    for (long long k = 0; k < {}; ++k) sum += ", step.k);
  text +=
      load(a.dtype, fmt::format("a[i0 * {}ll + {}]", step.batch_stride_a,
                                step.transpose_a ? "k * " + row_a + "ll + i1" : "i1 * " + row_a + "ll + k"));
  text += " * " + load(b.dtype, fmt::format("b[i0 * {}ll + {}]", step.batch_stride_b,
                                            step.transpose_b ? "i2 * " + row_b + "ll + k"
                                                             : "k * " + row_b + "ll + i2"));
  text += fmt::format(";\n    sum *= {:.9e}f;\n", step.alpha);
  if (step.bias != kNoTensor) text += "    sum += " + load(graph.tensor(step.bias).dtype, "bias[i2]") + ";\n";
  const std::string to = fmt::format("i0 * {}ll + i1 * {}ll + i2", step.batch_stride_c, row_stride(c));
  if (step.residual != kNoTensor) {
    const GpuTensor& residual = graph.tensor(step.residual);
    text += "    sum += " +
            load(residual.dtype, fmt::format("residual[i0 * {}ll + i1 * {}ll + i2]", step.batch_stride_c,
                                             row_stride(residual))) +
            ";\n";
  }
  text += "    " + store(c.dtype, "c[" + to + "]", activated(step.activation, "sum")) + "\n  }\n}\n";
  return finished(std::move(text), product(order));
}

EpilogueShape epilogue_of(const GpuGraph& graph, const ConvolutionStep& step) {
  const GpuTensor& y = graph.tensor(step.y);
  EpilogueShape shape;
  shape.dtype = y.dtype;
  shape.extents = {y.extents[0], y.extents[2], y.extents[3], y.extents[1]};
  shape.strides = {y.strides[0], y.strides[2], y.strides[3], y.strides[1]};
  shape.channel = 3;
  shape.activation = step.activation;
  if (step.bias != kNoTensor) {
    shape.has_bias = true;
    shape.bias_dtype = graph.tensor(step.bias).dtype;
  }
  if (step.residual != kNoTensor) {
    const Extents& strides = graph.tensor(step.residual).strides;
    shape.has_residual = true;
    shape.residual_strides = {strides[0], strides[2], strides[3], strides[1]};
  }
  return shape;
}

EpilogueShape epilogue_of(const GpuGraph& graph, const MatmulStep& step) {
  const GpuTensor& c = graph.tensor(step.c);
  EpilogueShape shape;
  shape.dtype = c.dtype;
  shape.extents = {step.batch, step.m, step.n};
  shape.strides = {step.batch_stride_c, row_stride(c), 1};
  shape.channel = 2;
  shape.activation = step.activation;
  if (step.bias != kNoTensor) {
    shape.has_bias = true;
    shape.bias_dtype = graph.tensor(step.bias).dtype;
  }
  if (step.residual != kNoTensor) {
    shape.has_residual = true;
    shape.residual_strides = {step.batch_stride_c, row_stride(graph.tensor(step.residual)), 1};
  }
  return shape;
}

std::int64_t row_stride(const GpuTensor& tensor) {
  const std::size_t rank = tensor.strides.size();
  if (rank < 2) return rank == 0 ? 1 : std::max<std::int64_t>(tensor.strides[0], tensor.extents[0]);
  return std::max(tensor.strides[rank - 1], tensor.strides[rank - 2]);
}

}  // namespace inflight::cuda
