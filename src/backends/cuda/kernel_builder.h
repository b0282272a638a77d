// SPDX-License-Identifier: Apache-2.0
// Makes kernels out of nodes of a network: pointwise chains, data movement, windows and reductions. A kernel
// computes one output of a node. What it needs of other nodes it computes on the way, back to the tensors that
// are in memory already: so a chain of nodes becomes one kernel.
#pragma once

#include <map>
#include <openvino/core/node.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/gpu_graph.h"
#include "inflight/status.h"

namespace inflight::cuda {

// Where the value of a node's output lies in memory.
struct Placed {
  DType dtype;
  Extents strides;  // in elements, one for each dimension of the node's output
};
using Placement = std::map<ov::Output<ov::Node>, Placed>;

// What kind of kernel a node needs. kInline: it can be computed an element at a time inside of its reader, which
// costs little more than a load. kWindow: likewise, but each element reads many (pooling, a small reduction), so
// only one reader should compute it. kRows: a kernel of its own, which works a row at a time (softmax, a large
// reduction, top-k). kNone: not covered.
enum class KernelKind { kNone, kInline, kWindow, kRows };
KernelKind kernel_kind(const ov::Node& node);

struct BuiltKernel {
  std::string source;
  std::vector<ov::Output<ov::Node>> reads;  // placed values, in the order of the parameters
  std::int64_t blocks = 1;
  int threads = 128;
};

// The kernel that computes `value` and stores it as `to` says. Everything that it reaches is placed, a scalar
// constant, or of kind kInline or kWindow (and `value`'s own node may be kRows).
//   errors   kUnsupported: a node that is not covered, named with its type, and why
Result<BuiltKernel> build_kernel(const ov::Output<ov::Node>& value, const Placed& to,
                                 const Placement& placed);

}  // namespace inflight::cuda
