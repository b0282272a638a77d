// SPDX-License-Identifier: Apache-2.0
// Where elements lie: strides, views of memory through data movement, and which values lie channels last.
#pragma once

#include <cstdint>
#include <openvino/core/model.hpp>
#include <optional>
#include <set>

#include "backends/cuda/emitter.h"
#include "backends/cuda/fusion.h"
#include "backends/cuda/gpu_graph.h"
#include "backends/cuda/rewrite.h"

namespace inflight::cuda {

Extents row_major(const Extents& extents);
// [N,C,H,W] or [N,C,L] with C fastest.
Extents channels_last(const Extents& extents);
// Whether both walk the elements in the same order: extents of 1 may have any stride.
bool same_order(const Extents& extents, const Extents& a, const Extents& b);

// A part of memory: elements from `offset`, `strides` apart.
struct Strided {
  Extents extents;
  Extents strides;
  std::int64_t offset = 0;
};

// The value that `value` is a view of through nodes that only reorder, cut or rename what is there: itself where
// its node computes something.
Value view_base(const Value& value);
// `value` as a view of its base.
//   base     how view_base(value) lies
//   returns  nothing where its elements are not evenly spaced in it
std::optional<Strided> view_of(const Value& value, const Strided& base);

// The values of three or four axes around convolutions, pooling and resizing: those lie channels last.
std::set<Value> channels_last_values(const ov::Model& network, const Fusion& fusion);

}  // namespace inflight::cuda
