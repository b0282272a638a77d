// SPDX-License-Identifier: Apache-2.0
// What a network becomes for the GPU: tensors, and steps in the order in which they run. Plain values: no
// device is needed to make, print or test one.
//
//   ov::Model --lower()--> GpuGraph --> one CUDA graph a slot and width
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "inflight/tensor.h"

namespace inflight::cuda {

using Extents = std::vector<std::int64_t>;
using TensorId = int;
inline constexpr TensorId kNoTensor = -1;

enum class Storage : std::uint8_t {
  kInput,     // of the program: written by the copy in
  kOutput,    // of the program: read by the copy out
  kConstant,  // one for all slots
  kScratch,   // of the slot; shares memory with others that live at other times
};

// Elements in the order of `extents` (as the network counts them) lie `strides` apart, in elements. Every
// element of [0, span) has at most one index, except that an extent may have stride 0: the same for all of it.
// A view of another tensor (a transposed matrix, one of several heads) is a tensor of its own in kScratch
// whose offset lies inside of the other's memory: such an offset is aligned to 16, or to an element where the
// other's rows are no longer multiples of 16.
struct GpuTensor {
  std::string name;  // of the node that makes it
  DType dtype = DType::kF16;
  Extents extents;
  Extents strides;
  Storage storage = Storage::kScratch;
  std::size_t offset = 0;                // kScratch: in the slot's arena; aligned to 256 unless it is a view
  std::vector<std::byte> constant = {};  // kConstant: its bytes, in the order of the strides
  std::size_t bytes() const;             // from the first to the last element; at least one element
};

enum class Activation : std::uint8_t { kNone, kRelu, kRelu6, kSigmoid, kTanh, kSilu, kGelu };

// One kernel, in the common part of CUDA C++ and C++ that kernel_source.h describes. Its parameters are the
// addresses of `reads`, then of `writes`, in that order.
struct KernelStep {
  std::string label;   // the nodes that it computes, for messages and profiles
  std::string source;  // one function `extern "C" KERNEL void run(...)`; the same source is compiled once
  std::vector<TensorId> reads;
  std::vector<TensorId> writes;
  std::int64_t blocks = 1;
  int threads = 128;  // a block
};

// y = activation(convolution(x, w) + bias + residual). x, y and residual lie [N,C,H,W] with channels last; w is
// [K,C/groups,R,S] with channels last; bias is [1,K,1,1]. A 1-D convolution has H = 1. Where groups is 1, C and
// K are multiples of 8 (of 4 in f32): the lowering pads them with zeros.
struct ConvolutionStep {
  std::string label;
  TensorId x = kNoTensor, w = kNoTensor, bias = kNoTensor, residual = kNoTensor, y = kNoTensor;
  Extents strides, dilations, pads_begin, pads_end;  // of H and W
  int groups = 1;
  Activation activation = Activation::kNone;
};

// c = activation(alpha * op(a) op(b) + bias + residual), batches first. The strides of the tensors say which of
// a and b is transposed: the distance between rows is the larger of the last two. bias is [N], added to each
// row.
struct MatmulStep {
  std::string label;
  TensorId a = kNoTensor, b = kNoTensor, bias = kNoTensor, residual = kNoTensor, c = kNoTensor;
  std::int64_t batch = 1, m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;  // a is [k,m]; b is [n,k]
  std::int64_t batch_stride_a = 0, batch_stride_b = 0,
               batch_stride_c = 0;  // in elements; 0: the same for all
  double alpha = 1;
  Activation activation = Activation::kNone;
};

// out = softmax(scale * q k^T + mask) v, for each batch and head, in one pass: the scores are not stored. q is [B,H,M,D],
// k [B,H,N,D], v [B,H,N,E] and out [B,H,M,E]; mask, if any, is [1 or B, 1 or H, 1 or M, N]. Elements of the last
// extent are neighbours; the distances of the others in q, k, v and out are multiples of 8, and so are D and E. For
// values of 16 bits.
struct AttentionStep {
  std::string label;
  TensorId q = kNoTensor, k = kNoTensor, v = kNoTensor, mask = kNoTensor, out = kNoTensor;
  double scale = 1;
};

using Step = std::variant<KernelStep, ConvolutionStep, MatmulStep, AttentionStep>;

// Steps run one after another: scratch tensors share memory on that ground, so two steps may run at the same time only
// if neither writes memory that the other uses.
struct GpuGraph {
  const GpuTensor& tensor(TensorId id) const { return tensors[static_cast<std::size_t>(id)]; }

  std::vector<GpuTensor> tensors;
  std::vector<Step> steps;
  std::vector<TensorId> inputs;   // in the order of the network's parameters, dense and row-major
  std::vector<TensorId> outputs;  // in the order of its results, dense and row-major
  std::size_t scratch_bytes = 0;  // of one slot
};

// What a step reads and writes, in the order of its fields, without those that it does not have.
std::vector<TensorId> reads_of(const Step& step);
std::vector<TensorId> writes_of(const Step& step);
const std::string& label_of(const Step& step);

// "4 kernels, 53 convolutions, 1 matmul; 51.2 MB of constants, 3.1 MB of scratch", in one line.
std::string summary(const GpuGraph& graph);
// One line a step: what it is, its label, what it reads and writes with extents and strides.
std::string listing(const GpuGraph& graph);

}  // namespace inflight::cuda
