// SPDX-License-Identifier: Apache-2.0
// Makes the steps of a prepared network, node by node in order.
#pragma once

#include <map>
#include <memory>
#include <openvino/core/model.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/fusion.h"
#include "backends/cuda/layout.h"
#include "backends/cuda/lowering.h"
#include "backends/cuda/tensor_table.h"

namespace inflight::cuda {

// What a network becomes, before its steps are made.
struct Division {
  Fusion fusion;
  std::set<Value> stored;         // values that kernels compute and store
  std::set<Value> channels_last;  // values that lie so
};

class StepBuilder {
 public:
  //   real   the type of floating-point values between input and output
  //   concat_in_place   LoweringOptions
  StepBuilder(const ov::Model& network, const Division& division, const KernelMaker& maker, DType real,
              bool concat_in_place);

  Result<GpuGraph> build();

 private:
  // A matrix of a MatmulStep: a tensor [.., rows, columns], and how far apart its batches are.
  struct Matrix {
    TensorId tensor = kNoTensor;  // whose memory it is
    Strided elements;             // batches as the operand has them, then rows and columns of op(a)
    bool transposed = false;      // rows are contiguous, not columns
  };
  // The part of a Concat that a convolution is.
  struct Joined {
    Value whole;
    std::int64_t channel = 0;  // the first of its own
  };
  struct Batches {
    std::int64_t count = 1;
    std::int64_t stride_a = 0, stride_b = 0, stride_c = 0;
    std::int64_t rows = 0;              // of op(a), batches that were merged into them included
    std::int64_t row_a = 0, row_c = 0;  // between rows, where they are not transposed
  };

  // Storage.
  Result<DType> storage_type(const Value& value) const;
  Result<TensorId> add_parameter(const Value& value);
  bool keeps(const Value& value) const { return tensor_of_.count(value) != 0; }
  void keep(const Value& value, TensorId tensor, Extents strides);
  // The place in the results that `value` becomes, if it is not taken yet.
  std::optional<std::size_t> free_result(const Value& value) const;
  // The same where only reshapes lie between and nothing else reads it.
  std::optional<std::size_t> sole_result(const Value& value) const;
  TensorId add_output(std::size_t result);
  Status finish_results();

  // Kernels.
  Status store(const Value& value);
  Status add_kernel(const Value& value, TensorId to, const Extents& strides, const std::string& label);
  Status place_constants(const Value& value, std::set<Value>& seen);
  Result<TensorId> constant_tensor(const Value& value);
  std::int64_t padded(std::int64_t channels) const;
  Extents kernel_strides(const Value& value) const;

  // Convolutions.
  void find_joined_convolutions();
  TensorId convolution_result(const FusedStep& step, const Extents& extents, Extents& strides);
  Status add_convolution(const FusedStep& step);
  Result<TensorId> convolution_operand(const Value& value, std::int64_t channels);
  Result<TensorId> convolution_weights(const FusedStep& step, std::int64_t inputs, std::int64_t outputs);
  TensorId bias_tensor(const FusedStep& step, DType dtype, std::int64_t outputs, bool is_convolution);
  std::optional<TensorId> kept_with_channels(const Value& value, std::int64_t channels);

  // Matmuls.
  Status add_matmul(const FusedStep& step);
  Result<Matrix> matmul_operand(const Value& value, bool transpose, bool dense);
  std::optional<Strided> strided(const Value& value, TensorId& tensor) const;
  Extents matmul_strides(const FusedStep& step) const;
  static std::optional<Batches> joined_batches(const Matrix& a, const Matrix& b, const Strided& c);
  Result<TensorId> constant_matrix(const Value& value);
  TensorId matrix_view(const Matrix& matrix, std::int64_t batches, std::int64_t batch_stride,
                       std::int64_t rows, std::int64_t distance);
  TensorId matmul_result(const FusedStep& step, Strided& c);
  Result<TensorId> dense_copy(const Value& value);

  // Attention.
  Status add_attention(const FusedStep& step);
  Result<TensorId> attention_operand(const Value& value);
  Result<TensorId> attention_mask(const Value& value, const Extents& scores);

  const ov::Model& network_;
  const Division& division_;
  const KernelMaker& maker_;
  const DType real_;
  GpuGraph graph_;
  TensorTable tensors_{graph_};
  Placement placement_;                  // of what is kept, and of constants that kernels may read
  std::map<Value, TensorId> tensor_of_;  // of what is kept
  std::map<Value, TensorId> constants_;  // that kernels read
  std::map<std::pair<Value, std::int64_t>, TensorId> with_channels_;  // copies that convolutions read
  std::map<Value, TensorId> dense_;                                   // copies that matmuls read
  std::map<Value, std::int64_t> wanted_channels_;  // of what convolutions read, where kernels compute it
  std::map<Value, Joined> joined_in_;
  std::vector<NodePtr> added_;  // nodes that are not of the network: kept, they are keys
};

}  // namespace inflight::cuda
