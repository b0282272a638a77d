// SPDX-License-Identifier: Apache-2.0
// Rewrites of a network, node by node, and what they ask of it. Each takes one node and returns whether it replaced it. The
// network is a clone that nobody else sees, and of static shapes.
#pragma once

#include <cstdint>
#include <memory>
#include <openvino/core/model.hpp>
#include <openvino/core/node.hpp>
#include <openvino/op/constant.hpp>
#include <optional>
#include <span>
#include <vector>

namespace inflight::internal {

using Value = ov::Output<ov::Node>;
using NodePtr = std::shared_ptr<ov::Node>;
using Ints = std::vector<std::int64_t>;

std::shared_ptr<ov::op::v0::Constant> constant_of(const Value& value);
// The value of a floating-point constant whose elements are all the same.
std::optional<double> scalar_of(const Value& value);
bool is_float(const Value& value);
// Whether one input of one node reads it.
bool has_one_reader(const Value& value);
// The node's output, as a constant where all of its inputs are constants.
Value folded(const NodePtr& node);
Value ints(const Ints& values);
// A constant operand of a binary node whose other operand has the node's own shape and type.
struct ConstantOperand {
  Value other;
  Value constant;
};
std::optional<ConstantOperand> constant_operand(const ov::Node& node);
// The elements of a constant that is added to or multiplied with a value of `shape`, if it changes along `axis`
// only: shape[axis] of them.
std::optional<std::vector<float>> values_along(const Value& constant, const ov::Shape& shape,
                                               std::size_t axis);
// Like `like` in type: a constant of this shape.
Value constant_like(const Value& like, const ov::Shape& shape, const std::vector<float>& values);

// The first output whose shape is open.
std::optional<Value> open_output(const ov::Model& network);

using Rewrite = bool (*)(const NodePtr& node);

// Offers each node but inputs, outputs and constants to these, until one of them replaces it. Whether any was replaced: a chain
// of n nodes takes at most n times.
bool rewrite_once(const ov::Model& network, std::span<const Rewrite> rewrites);
// How often it is worth trying.
inline constexpr int kRewritesMax = 64;

// What computes nothing: a Reshape to the same shape, a Convert to the same type, a Pad of zero.
bool remove_identity(const NodePtr& node);
// Convert of a constant, which readers mark as not to be folded where weights are stored in f16.
bool fold_constant(const NodePtr& node);

// Batch norm, scales and offsets end in the weights and one Add behind a convolution or matmul.
bool split_batch_norm(const NodePtr& node);  // of constants: to Multiply and Add
bool normalise_affine(const NodePtr& node);  // Subtract and Divide by constants; chains of Add or Multiply
bool fold_scale(const NodePtr& node);        // Multiply behind a convolution or matmul of constant weights
bool raise_scale(const NodePtr& node);       // a scalar on an operand of a matmul: behind the matmul

}  // namespace inflight::internal
