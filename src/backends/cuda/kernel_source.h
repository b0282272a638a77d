// SPDX-License-Identifier: Apache-2.0
// The language of generated kernels: the common part of CUDA C++ and C++. One prelude defines its words for the
// GPU and one for the host, so that the host can run a kernel and a test can check it without a GPU.
//
//   KERNEL, BOUNDS(threads)   of a kernel: `extern "C" KERNEL void BOUNDS(128) run(...)`
//   ON_DEVICE(gpu, host)      one value on the GPU, another on the host, which runs one thread a block
//   UNROLL, RESTRICT, SHARED  what CUDA calls #pragma unroll, __restrict__ and __shared__
//   load_f16, store_f16, ...  elements in memory: f16 and bf16 are unsigned short there and float in registers
//   Pack<T, N>                N elements that one instruction loads or stores
//   m_exp(x), ...             mathematics over float, double and integers
//   block_reduce(x, Sum())    over the threads of the block; all of them get the result
//   lane_reduce<L>(x, Sum())  over those whose numbers are the same modulo L
//   block_scan(x, total)      the sum over the threads up to this one
//
// A kernel is right for any number of blocks: it strides over its elements or its rows.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace inflight::cuda {

// What comes before the kernels of a source for NVRTC. It includes nothing, so NVRTC needs no folder of headers.
// Compile it with -std=c++17.
std::string_view cuda_prelude();
// The same for the C++ compiler of the host.
std::string_view host_prelude();

// `text` with each `word` replaced.
std::string replaced(std::string text, std::string_view word, std::string_view with);

// One source with many kernels: the function `run` of sources[i] becomes `run_<i>`. `prelude` is one of the above.
std::string join_kernels(std::string_view prelude, const std::vector<std::string>& sources);
// The same for a GPU, each kernel as launch_kernel() wants it: with a last parameter more, `int next_is_early`, whether the
// next kernel may begin before this one has ended, and with a wait at its start for the one ahead. A source that names the
// parameter has both.
std::string cuda_source(const std::vector<std::string>& sources);

}  // namespace inflight::cuda
