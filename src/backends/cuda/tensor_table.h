// SPDX-License-Identifier: Apache-2.0
// The tensors of a GPU graph while it is made, and the memory that they share.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/layout.h"
#include "inflight/status.h"
#include "model/element_types.h"

namespace inflight::cuda {

// Values as elements of a floating-point type, rounded to the nearest.
std::vector<std::byte> encoded(const std::vector<float>& values, DType dtype);

class TensorTable {
 public:
  explicit TensorTable(GpuGraph& graph) : graph_(graph) {}

  // A tensor in a buffer of its own, which views may share.
  TensorId add(const std::string& name, DType dtype, Storage storage, Extents extents, Extents strides);
  TensorId add_constant(const std::string& name, DType dtype, Extents extents, Extents strides,
                        std::vector<std::byte> bytes);
  // Other extents and strides of the memory of a tensor in kScratch.
  TensorId add_view(TensorId of, const Strided& view);

  const GpuTensor& operator[](TensorId id) const { return graph_.tensor(id); }

  // Sets the offsets of all tensors in kScratch, and scratch_bytes, once all steps are there: buffers that are
  // in use at the same time do not overlap.
  void plan_memory();

 private:
  GpuGraph& graph_;
  std::vector<TensorId> owner_;  // of each tensor: itself, or what it is a view of
};

}  // namespace inflight::cuda
