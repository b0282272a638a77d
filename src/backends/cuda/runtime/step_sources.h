// SPDX-License-Identifier: Apache-2.0
// Sources of the runtime's own kernels: copies in and out, and what stands in where a library lacks a pattern.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backends/cuda/gpu_graph.h"

namespace inflight::cuda {

// A kernel of the dialect (kernel_source.h), function `run`.
struct StepSource {
  std::string source;
  std::int64_t blocks = 1;
  int threads = 128;
  std::size_t shared_bytes = 0;  // beside what the source declares
};

// The expression for an activation of `v`.
std::string activated(Activation activation, const std::string& v);

// Functions `fetch`, `copy_in` and `copy_out` for NVRTC, without a prelude.
//
//   fetch(table, fetched, count)                 fetched[i] = table[i]. One block: reads of host memory at the same place
//                                                come one after another, at about 1 us each, so no other block reads it
//   copy_in(fetched, copies)                     copies[i].bytes bytes from fetched[i] to copies[i].tensor
//   copy_out(fetched, copies, count, generation, word, counter)
//                                                from copies[i].tensor to fetched[i]; then the last block stores
//                                                *generation to *word, after all of them, for the host to see
//
// blockIdx.y is i. `table` is in host memory and read when the kernel runs, so a launch changes it without a change to
// its graph.
std::string copy_source();
// An entry of `copies`, in device memory.
struct CopyEntry {
  std::uint64_t tensor = 0;  // address in the slot
  std::uint64_t bytes = 0;
};

// y = activation(y + bias + residual), in place. Parameters: y, then bias and residual where they are.
//   bias       its dimension is `channel`
//   extents, strides   of y, and the strides of the residual, in elements
struct EpilogueShape {
  DType dtype = DType::kF16;
  Extents extents;  // any order; the last one should be dense
  Extents strides;
  std::size_t channel = 0;
  bool has_bias = false;
  DType bias_dtype = DType::kF16;
  bool has_residual = false;
  Extents residual_strides;
  Activation activation = Activation::kNone;
};
StepSource epilogue_source(const EpilogueShape& shape);

// A whole convolution or matmul, one thread an element of the result: for shapes that neither library takes, and
// the oracle of both. Parameters: x, w (a, b), then bias and residual where they are, then y (c).
StepSource convolution_source(const GpuGraph& graph, const ConvolutionStep& step);
StepSource matmul_source(const GpuGraph& graph, const MatmulStep& step);

// The epilogue of a convolution or matmul whose y (c) holds the bare product.
EpilogueShape epilogue_of(const GpuGraph& graph, const ConvolutionStep& step);
EpilogueShape epilogue_of(const GpuGraph& graph, const MatmulStep& step);

// Elements between rows of a matrix operand: the larger of its last two strides.
std::int64_t row_stride(const GpuTensor& tensor);

}  // namespace inflight::cuda
