// SPDX-License-Identifier: Apache-2.0
// From graphs of the operator table to networks: element types, shapes, and nodes.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "inflight/buffer.h"
#include "inflight/model.h"
#include "inflight/status.h"
#include "inflight/tensor.h"
#include "mx/node.h"

namespace inflight::mx::detail {

// Of each node, the number of its first output among the outputs of all nodes in order.
std::vector<std::size_t> first_entry(const Graph& graph);

// Element types of all outputs of all nodes. A variable of which nothing tells the type is f32.
//   variables   what is known of them, in order
//   errors      kInvalidArgument: types that do not fit an operator
Result<DTypes> infer_dtypes(const Graph& graph, const DTypes& variables);

struct Inferred {
  bool complete = false;
  Shapes variables;  // in order
  Shapes outputs;    // of the heads
};
// Shapes of everything that follows from what is known.
//   types    of infer_dtypes()
//   errors   kInvalidArgument, kUnsupported: what does not fit an operator, which the message names
Result<Inferred> infer_shapes(const Graph& graph, const Shapes& variables, const DTypes& types);

// A variable of a network that is made: an input of it, or memory that is part of it for good.
struct Binding {
  TensorSpec spec;
  Buffer constant = {};  // empty: an input. Kept by the network.
};

// A network of a graph. Its inputs are the variables that are no constants, in order; where there are none,
// one f32[1] that nothing takes. Its outputs are the heads.
//   errors   as infer_shapes()
Result<Model> lower_graph(const Graph& graph, std::span<const Binding> variables);

// A network of one operator.
//   scalar   the attribute "scalar" is an input of rank 0 after all others, of the first one's type
Result<Model> lower_operator(const OpRow& row, const Params& params, std::span<const TensorSpec> inputs,
                             bool scalar);

}  // namespace inflight::mx::detail
