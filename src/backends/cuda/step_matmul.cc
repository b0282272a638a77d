// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <openvino/op/ops.hpp>
#include <openvino/op/util/op_types.hpp>

#include "backends/cuda/step_builder.h"
#include "base/check.h"

namespace inflight::cuda {
namespace {

namespace op = ov::op;

constexpr std::int64_t kViewAlignmentBytes = 16;

// One batch dimension, or the rows, with the strides of a, b and c.
struct Run {
  std::int64_t extent, a, b, c;
};

// One run that walks the same elements; nothing if they are not evenly spaced.
std::optional<Run> joined(const std::vector<Run>& runs) {
  std::optional<Run> all;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    if (run->extent == 1) continue;
    if (!all) {
      all = *run;
      continue;
    }
    if (run->a != all->a * all->extent || run->b != all->b * all->extent || run->c != all->c * all->extent)
      return std::nullopt;
    all->extent *= run->extent;
  }
  return all ? all : Run{1, 0, 0, 0};
}

// The strides of the batch dimensions, aligned to those of the result: 0 where all share one.
Extents batch_strides(const Strided& matrix, std::size_t batches) {
  Extents strides(batches, 0);
  const std::size_t own = matrix.extents.size() - 2;
  for (std::size_t i = 0; i < own; ++i) {
    if (matrix.extents[i] != 1) strides[batches - own + i] = matrix.strides[i];
  }
  return strides;
}

// Whether rows or columns are contiguous, and lie as a library's kernels like it.
//   returns   whether it is columns that go fastest (false) or rows (true); nothing where neither does
std::optional<bool> direction(const Strided& matrix, std::size_t width) {
  const std::size_t rank = matrix.extents.size();
  const std::int64_t rows = matrix.extents[rank - 2];
  const std::int64_t columns = matrix.extents[rank - 1];
  const std::int64_t row_stride = matrix.strides[rank - 2];
  const std::int64_t column_stride = matrix.strides[rank - 1];
  const auto aligned = [width](std::int64_t elements) {
    return elements * static_cast<std::int64_t>(width) % kViewAlignmentBytes == 0;
  };
  if (!aligned(matrix.offset)) return std::nullopt;
  for (std::size_t i = 0; i + 2 < rank; ++i) {
    if (matrix.extents[i] != 1 && !aligned(matrix.strides[i])) return std::nullopt;
  }
  if ((column_stride == 1 || columns == 1) && (rows == 1 || (row_stride >= columns && aligned(row_stride))))
    return false;
  if ((row_stride == 1 || rows == 1) && (columns == 1 || (column_stride >= rows && aligned(column_stride))))
    return true;
  return std::nullopt;
}

Strided with_last_swapped(Strided matrix) {
  const std::size_t rank = matrix.extents.size();
  std::swap(matrix.extents[rank - 2], matrix.extents[rank - 1]);
  std::swap(matrix.strides[rank - 2], matrix.strides[rank - 1]);
  return matrix;
}

}  // namespace

std::optional<Strided> StepBuilder::strided(const Value& value, TensorId& tensor) const {
  const auto own = tensor_of_.find(value);
  const Value base = own != tensor_of_.end() ? value : view_base(value);
  const auto found = tensor_of_.find(base);
  if (found == tensor_of_.end()) return std::nullopt;
  tensor = found->second;
  const Strided whole{extents_of(base), placement_.at(base).strides, 0};
  return base == value ? std::optional(whole) : view_of(value, whole);
}

Result<TensorId> StepBuilder::constant_matrix(const Value& value) {
  const auto key = dense_.find(value);
  if (key != dense_.end()) return key->second;
  const Extents extents = extents_of(value);
  const TensorId id =
      tensors_.add_constant(value.get_node()->get_friendly_name(), real_, extents, row_major(extents),
                            encoded(constant_of(value)->cast_vector<float>(), real_));
  dense_.emplace(value, id);
  return id;
}

// An operand as op(a) [.., rows, columns].
//   dense   a copy of its own, in row-major order, unless it is that already
Result<StepBuilder::Matrix> StepBuilder::matmul_operand(const Value& value, bool transpose, bool dense) {
  const auto matrix = [transpose](TensorId tensor, const Strided& elements, bool swapped) {
    return Matrix{tensor, transpose ? with_last_swapped(elements) : elements, swapped != transpose};
  };
  const Extents extents = extents_of(value);
  const Strided plain{extents, row_major(extents), 0};
  if (constant_of(value) != nullptr) {
    INFLIGHT_TRY_ASSIGN(const TensorId id, constant_matrix(value));
    return matrix(id, plain, false);
  }
  TensorId base = kNoTensor;
  if (const auto view = strided(value, base); view && tensors_[base].dtype == real_) {
    if (same_order(extents, view->strides, plain.strides) &&
        (keeps(value) ||
         (tensors_[base].storage == Storage::kScratch && direction(*view, dtype_bytes(real_)))))
      return matrix(base, {extents, plain.strides, view->offset}, false);
    const auto swapped = direction(*view, dtype_bytes(real_));
    if (!dense && swapped && tensors_[base].storage == Storage::kScratch)
      return matrix(base, *view, *swapped);
  }
  INFLIGHT_TRY_ASSIGN(const TensorId copy, dense_copy(value));
  return matrix(copy, plain, false);
}

// A copy of a value of its own, in row-major order.
Result<TensorId> StepBuilder::dense_copy(const Value& value) {
  const auto known = dense_.find(value);
  if (known != dense_.end()) return known->second;
  const Extents extents = extents_of(value);
  const Extents strides = row_major(extents);
  Value computed = value;
  if (keeps(value)) {
    added_.push_back(std::make_shared<op::v0::Convert>(value, value.get_element_type()));
    computed = added_.back()->output(0);
  }
  const std::string& label = value.get_node()->get_friendly_name();
  const TensorId to = tensors_.add(label, real_, Storage::kScratch, extents, strides);
  INFLIGHT_TRY(add_kernel(computed, to, strides, label));
  dense_.emplace(value, to);
  if (!keeps(value)) keep(value, to, strides);
  return to;
}

// Where the only reader transposes the result, it is written so that the reader finds it in order.
Extents StepBuilder::matmul_strides(const FusedStep& step) const {
  const Extents extents = extents_of(step.value);
  Extents plain = row_major(extents);
  if (step.residual || !has_one_reader(step.value)) return plain;
  ov::Node* reader = step.value.get_target_inputs().begin()->get_node();
  if (!ov::is_type<op::v1::Transpose>(reader)) return plain;
  const auto constant = constant_of(reader->input_value(1));
  if (constant == nullptr) return plain;
  const Ints order = constant->cast_vector<std::int64_t>();
  if (order.empty() || order.back() != static_cast<std::int64_t>(extents.size()) - 1) return plain;
  const Extents moved = row_major(extents_of(reader->output(0)));
  Extents strides(extents.size());
  for (std::size_t i = 0; i < order.size(); ++i) strides[static_cast<std::size_t>(order[i])] = moved[i];
  return strides;
}

std::optional<StepBuilder::Batches> StepBuilder::joined_batches(const Matrix& a, const Matrix& b,
                                                                const Strided& c) {
  const std::size_t count = c.extents.size() - 2;
  const Extents of_a = batch_strides(a.elements, count);
  const Extents of_b = batch_strides(b.elements, count);
  std::vector<Run> runs;
  for (std::size_t i = 0; i < count; ++i) runs.push_back({c.extents[i], of_a[i], of_b[i], c.strides[i]});
  const std::size_t a_rank = a.elements.extents.size();
  const std::int64_t rows = a.elements.extents[a_rank - 2];
  // One large matmul where all batches share b.
  if (!a.transposed && std::all_of(of_b.begin(), of_b.end(), [](std::int64_t each) { return each == 0; })) {
    std::vector<Run> with_rows = runs;
    with_rows.push_back({rows, a.elements.strides[a_rank - 2], 0, c.strides[count]});
    if (const auto all = joined(with_rows)) {
      Batches merged{1, 0, 0, 0, all->extent};
      // Of a single row the distance is not known, but of several it is the batches' where each has one row.
      merged.row_a = all->a;
      merged.row_c = all->c;
      return merged;
    }
  }
  const auto all = joined(runs);
  if (!all) return std::nullopt;
  Batches batches{all->extent, all->a, all->b, all->c, rows};
  batches.row_a = a.elements.strides[a_rank - 2];
  batches.row_c = c.strides[count];
  return batches;
}

// A tensor [batches, rows, columns], or with the last two exchanged, as they lie in memory. Rows lie `distance` apart
// unless the matrix is transposed.
TensorId StepBuilder::matrix_view(const Matrix& matrix, std::int64_t batches, std::int64_t batch_stride,
                                  std::int64_t rows, std::int64_t distance) {
  const std::size_t rank = matrix.elements.extents.size();
  const GpuTensor& tensor = tensors_[matrix.tensor];
  if (tensor.storage != Storage::kScratch) return matrix.tensor;
  const std::int64_t columns = matrix.elements.extents[rank - 1];
  const std::int64_t outer = matrix.transposed ? columns : rows;
  const std::int64_t inner = matrix.transposed ? rows : columns;
  if (matrix.transposed) distance = matrix.elements.strides[rank - 1];
  if (outer == 1 || distance < inner) distance = inner;  // of one row only, any distance is right
  const Strided view{{batches, outer, inner}, {batch_stride, distance, 1}, matrix.elements.offset};
  return tensors_.add_view(matrix.tensor, view);
}

// Where the result goes: straight to an output of the network if only reshapes lie between.
TensorId StepBuilder::matmul_result(const FusedStep& step, Strided& c) {
  const std::string& label = step.value.get_node()->get_friendly_name();
  const auto result = sole_result(step.value);
  if (result) {
    const DType dtype = *dtype_of_element(network_.get_results()[*result]->get_output_element_type(0));
    if (dtype == real_ || (dtype == DType::kF32 && !step.residual)) {
      c.strides = row_major(c.extents);
      const TensorId to = add_output(*result);
      const Value last = network_.get_results()[*result]->input_value(0);
      if (last != step.value) keep(last, to, row_major(extents_of(last)));
      return to;
    }
  }
  return tensors_.add(label, real_, Storage::kScratch, c.extents, c.strides);
}

Status StepBuilder::add_matmul(const FusedStep& step) {
  const auto& node = *ov::as_type<const op::v0::MatMul>(step.core);
  Strided c{extents_of(step.value), matmul_strides(step), 0};
  INFLIGHT_TRY_ASSIGN(Matrix a, matmul_operand(node.input_value(0), node.get_transpose_a(), false));
  INFLIGHT_TRY_ASSIGN(Matrix b, matmul_operand(node.input_value(1), node.get_transpose_b(), false));
  auto batches = joined_batches(a, b, c);
  if (!batches) {
    c.strides = row_major(c.extents);
    batches = joined_batches(a, b, c);
  }
  if (!batches) {
    // Copies with all of the batches, one behind the other.
    const auto spread = [this, &c](const Value& value) {
      Ints wanted(c.extents.begin(), c.extents.end());
      const ov::Shape& own = value.get_shape();
      wanted[wanted.size() - 2] = static_cast<std::int64_t>(own[own.size() - 2]);
      wanted[wanted.size() - 1] = static_cast<std::int64_t>(own[own.size() - 1]);
      added_.push_back(std::make_shared<op::v3::Broadcast>(value, ints(wanted)));
      return added_.back()->output(0);
    };
    INFLIGHT_TRY_ASSIGN(a, matmul_operand(spread(node.input_value(0)), node.get_transpose_a(), true));
    INFLIGHT_TRY_ASSIGN(b, matmul_operand(spread(node.input_value(1)), node.get_transpose_b(), true));
    batches = joined_batches(a, b, c);
    INFLIGHT_CHECK(batches.has_value());
  }
  MatmulStep matmul;
  matmul.label = step.value.get_node()->get_friendly_name();
  matmul.batch = batches->count;
  matmul.m = batches->rows;
  matmul.k = a.elements.extents.back();
  matmul.n = c.extents.back();
  matmul.transpose_a = a.transposed;
  matmul.transpose_b = b.transposed;
  matmul.batch_stride_a = batches->stride_a;
  matmul.batch_stride_b = batches->stride_b;
  matmul.batch_stride_c = batches->stride_c;
  matmul.alpha = step.alpha;
  matmul.activation = step.activation;
  matmul.a = matrix_view(a, batches->count, batches->stride_a, batches->rows, batches->row_a);
  matmul.b = matrix_view(b, batches->count, batches->stride_b, matmul.k,
                         b.elements.strides[b.elements.strides.size() - 2]);
  Matrix residual;
  if (step.residual) {
    INFLIGHT_TRY_ASSIGN(residual, matmul_operand(*step.residual, false, true));
    matmul.residual = matrix_view(residual, batches->count, batches->stride_c, batches->rows, batches->row_c);
  }
  const TensorId to = matmul_result(step, c);
  if (step.bias) matmul.bias = bias_tensor(step, tensors_[to].dtype, matmul.n, false);
  keep(step.value, to, c.strides);
  matmul.c = matrix_view({to, c, false}, batches->count, batches->stride_c, batches->rows, batches->row_c);
  graph_.steps.emplace_back(std::move(matmul));
  return {};
}

}  // namespace inflight::cuda
