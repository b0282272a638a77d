// SPDX-License-Identifier: Apache-2.0
// Rewrites of a network before it is divided into steps, beside those of model/rewrite.h.
#pragma once

#include "model/rewrite.h"

namespace inflight::cuda {

using internal::constant_like;
using internal::constant_of;
using internal::constant_operand;
using internal::ConstantOperand;
using internal::folded;
using internal::has_one_reader;
using internal::ints;
using internal::Ints;
using internal::is_float;
using internal::NodePtr;
using internal::Rewrite;
using internal::scalar_of;
using internal::Value;
using internal::values_along;

// What exporters decompose, or what has a shorter form here.
bool fuse_swish(const NodePtr& node);
bool fuse_clamp(const NodePtr& node);  // Minimum and Maximum with a scalar each, as exporters write Clip
bool fuse_gelu(const NodePtr& node);
bool fuse_layer_norm(const NodePtr& node);
bool split_attention(const NodePtr& node);
bool split_group_norm(const NodePtr& node);
bool normalise_group_convolution(const NodePtr& node);
bool pad_explicitly(const NodePtr& node);       // convolutions of asymmetric or negative padding
bool widen_vector_matmul(const NodePtr& node);  // MatMul of vectors: to matrices

// What only renames elements.
bool straighten_transpose(const NodePtr& node);  // a Transpose that moves extents of 1 only: a Reshape
bool join_reshapes(const NodePtr& node);         // a Reshape of a Reshape: one
bool lower_reshape(
    const NodePtr& node);  // Reshape of a matmul, then Add: the Add first, as the matmul's residual
bool cut_patches(const NodePtr& node);  // a convolution of a picture in patches side by side: a matmul

}  // namespace inflight::cuda
