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
  Extents strides;      // in elements, one for each dimension of the node's output
  bool aligned = true;  // its first element lies on 16 bytes, so that several may be read at once
};
using Placement = std::map<ov::Output<ov::Node>, Placed>;

// What kind of kernel a node needs. kInline: it can be computed an element at a time inside of its reader, which
// costs little more than a load. kWindow: likewise, but each element reads many (pooling, a small reduction), so
// only one reader should compute it. kRows: a kernel of its own, which works a row at a time (softmax, a large
// reduction, top-k). kNone: not covered.
enum class KernelKind { kNone, kInline, kWindow, kRows };
KernelKind kernel_kind(const ov::Node& node);

// The operators that kernel_kind() knows, as "opset version::type", sorted. Some attributes may still be missing.
std::vector<std::string> covered_operators();

struct BuiltKernel {
  std::string source;
  std::vector<ov::Output<ov::Node>> reads;  // placed values, in the order of the parameters
  std::int64_t blocks = 1;
  int threads = 128;
};

struct KernelOptions {
  // A thread computes up to 16 bytes of neighbours (channels, where channels lie last) while so many threads are
  // left. Fewer, larger threads do less work in all; more fill a device that has nothing else to do.
  std::int64_t threads_wanted = 8192;
};

// The kernel that computes `value` and stores it as `to` says. Everything that it reaches is placed, a constant
// whose elements are all the same, or of kind kInline or kWindow. It may also reach nodes of kind kRows (softmax,
// the normalisations, reductions) if all of them have the same rows and `value` has the shape of their input, or of
// their reduced output: a layer norm that is made of several nodes becomes one kernel. Ask by calling: where the
// rows differ, the status says which node needs a place in memory.
//   options  for the tuner; the result is the same
//   errors   kUnsupported: a node that is not covered, named with its type, and why
Result<BuiltKernel> build_kernel(const ov::Output<ov::Node>& value, const Placed& to, const Placement& placed,
                                 const KernelOptions& options = {});

}  // namespace inflight::cuda
