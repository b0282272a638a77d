// SPDX-License-Identifier: Apache-2.0
// Convolutions and matmuls, each with the bias, residual and activation behind it that its step computes too.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <openvino/core/model.hpp>
#include <optional>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/rewrite.h"

namespace inflight::cuda {

struct FusedStep {
  ov::Node* core = nullptr;                // the convolution or matmul
  Value value;                             // what the step computes: of the last node that it takes in
  std::optional<std::vector<float>> bias;  // one for each output channel
  std::optional<Value> residual;           // of the shape of `value`
  double alpha = 1;                        // matmul only
  Activation activation = Activation::kNone;
  bool is_convolution = false;
};

// Which nodes a step computes, and which step ends where.
struct Fusion {
  std::vector<FusedStep> steps;
  std::map<const ov::Node*, std::size_t> step_of;  // of all nodes that steps take in

  // The step whose last node it is, or null.
  const FusedStep* ending_at(const ov::Node& node) const;
  bool contains(const ov::Node& node) const { return step_of.count(&node) != 0; }
};

// Whether a ConvolutionStep or MatmulStep can compute a node: floating point, two spatial axes or one, enough
// arithmetic to be worth a library's kernel.
//   has_kernel   whether a generated kernel can compute the node too
bool is_convolution_step(const ov::Node& node, bool has_kernel);
bool is_matmul_step(const ov::Node& node, bool has_kernel);

//   has_kernel   as above
Fusion fuse_steps(const ov::Model& network, const std::function<bool(const ov::Node&)>& has_kernel);

}  // namespace inflight::cuda
