// SPDX-License-Identifier: Apache-2.0
// Sources of our own kernels for convolutions and matmuls on tensor cores. Parameters: as of the step's source that runs
// everywhere (step_sources.h), then `next_is_early` (launch_kernel()). The libraries' kernels are made for large products; these are for small ones: a tile
// takes few multiprocessors, so that eight predictions share a device, or the blocks of a cluster share out what one
// tile sums over, so that one prediction fills it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/runtime/step_sources.h"

namespace inflight::cuda {

// c[m,n] = sum over k of a[m,k] b[k,n], in values of 16 bits, as one of the two steps. Of a convolution, m counts the
// places of y, n its channels, and k the channels of x within each place of the window.
struct ProductShape {
  DType dtype = DType::kF16;
  std::int64_t m = 0, n = 0, k = 0;
  // Elements between rows.
  std::int64_t row_a = 0, row_b = 0, row_c = 0, row_residual = 0;
  bool transposed_b = true;  // b is [n,k]
  bool constant_b = false;
  double alpha = 1;
  bool has_bias = false, has_residual = false;
  DType bias_dtype = DType::kF16;
  DType result_dtype = DType::kF16;  // dtype or f32
  Activation activation = Activation::kNone;
  // Of a convolution whose window is more than a place: a is not a matrix, but x, and row m of a is gathered.
  struct Window {
    Extents x, x_strides, y;  // [N,C,H,W]
    Extents kernel, strides, dilations, pads;
  };
  std::optional<Window> window = {};
};
// Nothing: rows that are no multiples of 16 bytes, other types, batches, groups.
std::optional<ProductShape> product_shape(const GpuGraph& graph, const ConvolutionStep& step);
std::optional<ProductShape> product_shape(const GpuGraph& graph, const MatmulStep& step);

// What one block computes, and how.
struct ProductTile {
  int m = 64, n = 64, k = 64;  // k: of a stage
  int warps_m = 2, warps_n = 2;
  int stages = 3;  // that are loaded ahead or in use
  int split = 1;   // blocks of a cluster that share out the sum
};
std::string tile_name(const ProductTile& tile);
// Those that may suit a product on such a device: of compute capability 80 or later; clusters want 90.
std::vector<ProductTile> product_tiles(const ProductShape& shape, int multiprocessors,
                                       int compute_capability);
StepSource product_source(const ProductShape& shape, const ProductTile& tile);

}  // namespace inflight::cuda
