// SPDX-License-Identifier: Apache-2.0
// Operations that make versions of arrays.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "inflight/engine.h"
#include "inflight/ndarray.h"
#include "inflight/status.h"
#include "mx/pieces.h"
#include "mx/program.h"

namespace inflight::mx::detail {

// What an operation reads: a version of an array, or a part of it without gaps.
struct Operand {
  inflight::NDArray array;
  std::size_t offset = 0;  // bytes
  Shape shape;
};

struct OutputSpec {
  DType dtype = DType::kF32;
  Shape shape;
};

// Fills the outputs. It may add views to `reads`, which is its own.
using Compute =
    UniqueFunction<Status(std::vector<TensorView>& reads, std::span<const MutableTensorView> outputs)>;

// Whether an operation must wait for it, or inherit its failure.
bool must_name(const inflight::NDArray& array);

// Orders an operation that makes one version of all `outputs`, in memory of the host.
//   network   what has to be compiled first, or null; lives until then by `compute`
//   pieces    what `compute` runs, for those who wait to help with; or null
//   returns   the arrays, still to come
//   errors    as Engine::push
Result<std::vector<inflight::NDArray>> push_task(Environment& environment,
                                                 std::span<const OutputSpec> outputs,
                                                 std::vector<Operand> reads, const CompiledNetwork* network,
                                                 Compute compute, std::shared_ptr<Pieces> pieces = nullptr);
// The pieces in which a version is computed; null: there are none.
std::shared_ptr<Pieces> pieces_of(const inflight::NDArray& version);

// Orders an operation that changes a part of an array: `compute` finds the old elements in its one output.
// The new version has the old one's memory where nobody else can see that when it runs.
//   newest   the name of the array, which the caller guards; it moves on to the new version
//   errors   as Engine::push; the name is as it was then
Status push_update(Environment& environment, inflight::NDArray& newest, std::vector<Operand> reads,
                   Compute compute);

// A version with the elements of a part of another one, without copying them. Ready at once where that is.
Result<inflight::NDArray> alias(Environment& environment, const Operand& operand);

}  // namespace inflight::mx::detail
