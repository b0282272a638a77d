// SPDX-License-Identifier: Apache-2.0
#include <openvino/op/ops.hpp>

#include "backends/cuda/step_builder.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

constexpr std::size_t kRank = 4;
constexpr std::int64_t kUnit = 8;  // elements; AttentionStep

// The same elements with four extents: [1,B,M,D] where there are three, [1,1,M,D] where there are two.
Strided with_rank_four(Strided matrix) {
  while (matrix.extents.size() < kRank) {
    matrix.extents.insert(matrix.extents.begin(), 1);
    matrix.strides.insert(matrix.strides.begin(), 0);
  }
  // The distance of an extent of 1 does not matter; libraries like one that could be.
  for (std::size_t i = kRank - 1; i > 0; --i) {
    if (matrix.extents[i - 1] == 1) matrix.strides[i - 1] = matrix.extents[i] * matrix.strides[i];
  }
  return matrix;
}

bool is_aligned(const Strided& matrix) {
  if (matrix.offset % kUnit != 0 || matrix.strides.back() != 1) return false;
  for (std::size_t i = 0; i + 1 < matrix.extents.size(); ++i) {
    if (matrix.extents[i] != 1 && (matrix.strides[i] % kUnit != 0 || matrix.strides[i] == 0)) return false;
  }
  return true;
}

}  // namespace

// [.., rows, columns] as a view of what is there, or of a copy.
Result<TensorId> StepBuilder::attention_operand(const Value& value) {
  TensorId base = kNoTensor;
  if (constant_of(value) == nullptr) {
    if (const auto view = strided(value, base);
        view && tensors_[base].dtype == real_ && tensors_[base].storage == Storage::kScratch) {
      const Strided four = with_rank_four(*view);
      if (is_aligned(four)) return tensors_.add_view(base, four);
    }
    INFLIGHT_TRY_ASSIGN(base, dense_copy(value));
  } else {
    added_.push_back(std::make_shared<op::v0::Convert>(value, value.get_element_type()));
    INFLIGHT_TRY_ASSIGN(base, dense_copy(added_.back()->output(0)));
  }
  const Extents extents = extents_of(value);
  return tensors_.add_view(base, with_rank_four({extents, row_major(extents), 0}));
}

// Of the extents that broadcast to the scores [B,H,M,N].
Result<TensorId> StepBuilder::attention_mask(const Value& value, const Extents& scores) {
  Extents extents = extents_of(value);
  while (extents.size() < scores.size()) extents.insert(extents.begin(), 1);
  const Strided four = with_rank_four({extents, row_major(extents), 0});
  const auto constant = constant_of(value);
  if (constant != nullptr) {
    return tensors_.add_constant(value.get_node()->get_friendly_name(), real_, four.extents, four.strides,
                                 encoded(constant->cast_vector<float>(), real_));
  }
  INFLIGHT_TRY_ASSIGN(const TensorId copy, dense_copy(value));
  return tensors_.add_view(copy, four);
}

Status StepBuilder::add_attention(const FusedStep& step) {
  const AttentionOperands& operands = *step.attention;
  Value k = operands.k;
  if (operands.k_is_transposed) {
    Ints order(k.get_shape().size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
    std::swap(order[order.size() - 2], order[order.size() - 1]);
    added_.push_back(std::make_shared<op::v1::Transpose>(k, ints(order)));
    k = added_.back()->output(0);
  }
  AttentionStep attention;
  attention.label = step.value.get_node()->get_friendly_name();
  attention.scale = step.alpha;
  INFLIGHT_TRY_ASSIGN(attention.q, attention_operand(operands.q));
  INFLIGHT_TRY_ASSIGN(attention.k, attention_operand(k));
  INFLIGHT_TRY_ASSIGN(attention.v, attention_operand(operands.v));
  if (operands.mask) {
    Extents scores = extents_of(operands.q);
    scores.back() = static_cast<std::int64_t>(operands.mask->get_shape().back());
    INFLIGHT_TRY_ASSIGN(attention.mask, attention_mask(*operands.mask, scores));
  }
  const Extents extents = extents_of(step.value);
  const Strided out{extents, matmul_strides(step), 0};
  const TensorId to = tensors_.add(attention.label, real_, Storage::kScratch, extents, out.strides);
  keep(step.value, to, out.strides);
  attention.out = tensors_.add_view(to, with_rank_four(out));
  graph_.steps.emplace_back(std::move(attention));
  return {};
}

}  // namespace inflight::cuda
