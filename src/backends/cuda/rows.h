// SPDX-License-Identifier: Apache-2.0
// Kernels that work a row at a time: a row is all elements that differ in some axes only, and a block's threads
// share it (or 32 rows, where rows and not their elements are neighbours in memory).
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/emitter.h"

namespace inflight::cuda {

struct Frame {
  Extents domain;                 // rows and their elements
  std::vector<std::size_t> axes;  // along which a row's elements lie, outermost in memory first
  std::vector<std::size_t> rows;  // the other dimensions, likewise
  std::int64_t length = 1;        // of a row
  std::int64_t count = 1;         // of rows
  int lanes = 1;                  // rows that a block works on at a time: 1 or 32
  int threads = 128;
  bool keeps = false;       // threads keep the row's elements in registers
  Indices row;              // the indices of the row; those of the axes are 0
  std::int64_t groups = 0;  // the domain's dimensions 1 and 2 are one of the values, as groups of channels
};

// A frame with `axes` over `domain`. `strides` are those of what is read: they decide the order of the threads.
Frame make_frame(const Extents& domain, const std::vector<std::size_t>& axes, const Extents& strides);

// Opens the loop over rows and sets frame.row; close it with emitter.close().
void open_rows(Emitter& emitter, Frame& frame);
// Opens the loop over the elements of a row and returns the domain's indices; close it with close_elements().
Indices open_elements(Emitter& emitter, const Frame& frame);
void close_elements(Emitter& emitter);
// The indices of a value that has the domain's elements.
Indices value_indices(Emitter& emitter, const Frame& frame, const Indices& at);
// The element of `value`; kept for the loops over the same row that follow.
Result<std::string> emit_kept(Emitter& emitter, Frame& frame, const ov::Output<ov::Node>& value,
                              const Indices& at);
// Declares the arrays in which emit_kept keeps `value`, before the loops.
void declare_kept(Emitter& emitter, const Frame& frame, const ov::Output<ov::Node>& value);

// Reduces `element` (an expression of $0, the element of `value`) over the row with `functor`; `name` gets it.
struct RowReduction {
  std::string functor, type, start, element;
};
Result<std::string> emit_row_reduction(Emitter& emitter, Frame& frame, const ov::Output<ov::Node>& value,
                                       const RowReduction& reduction);

// The axes of an operator that works on rows, and whether a frame holds it; empty domain: it does not.
struct RowTerms {
  Extents domain;
  std::vector<std::size_t> axes;
};
RowTerms row_terms(const ov::Node& node);
// What must be known of a row before emit() answers for the node's elements.
Status emit_row_facts(Emitter& emitter, Frame& frame, const ov::Node& node);

// Operators with a kernel of their own: CumSum and TopK. False: another operator.
bool has_own_kernel(const ov::Node& node);
Result<BuiltKernel> build_own_kernel(const ov::Output<ov::Node>& value, const Placed& to,
                                     const Placement& placed);

// A kernel's source around a body.
BuiltKernel finish_kernel(const Emitter& emitter, const Placed& to, std::int64_t blocks, int threads);

}  // namespace inflight::cuda
