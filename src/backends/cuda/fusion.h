// SPDX-License-Identifier: Apache-2.0
// Convolutions and matmuls, each with the bias, residual and activation behind it that its step computes too; and
// attention, whose two matmuls and softmax are one step.
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

// What an AttentionStep reads, each of rank 2 to 4 with the same leading extents.
struct AttentionOperands {
  Value q;                    // [.., M, D]
  Value k;                    // [.., N, D], or [.., D, N]
  Value v;                    // [.., N, E]
  std::optional<Value> mask;  // added to the scores [.., M, N], which it broadcasts to
  bool k_is_transposed = false;
};

struct FusedStep {
  ov::Node* core = nullptr;                // the convolution or matmul; of attention the last one
  Value value;                             // what the step computes: of the last node that it takes in
  std::optional<std::vector<float>> bias;  // one for each output channel
  std::optional<Value> residual;           // of the shape of `value`
  double alpha = 1;                        // matmul and attention only
  Activation activation = Activation::kNone;
  bool is_convolution = false;
  std::optional<AttentionOperands> attention;

  // The values that it reads, without weights that the step has in another form.
  std::vector<Value> operands() const;
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
//   attention    whether attention becomes one step; it has none for values in f32
Fusion fuse_steps(const ov::Model& network, const std::function<bool(const ov::Node&)>& has_kernel,
                  bool attention);

}  // namespace inflight::cuda
