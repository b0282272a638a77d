// SPDX-License-Identifier: Apache-2.0
// Runnable operations with a priority, the next one first.
#pragma once

#include <cstdint>

#include "engine/op.h"

namespace inflight::internal {

// A heap whose links are in the operations, so it allocates nothing. Operations of equal priority come out in
// the order in which they came in.
//   thread   one at a time
//   source   M. Fredman and others, The Pairing Heap (1986), with two passes
class RankedOps {
 public:
  bool empty() const noexcept { return root_ == nullptr; }
  void push(Op* op) noexcept;
  // Requires that it is not empty.
  Op* pop() noexcept;

 private:
  Op* root_ = nullptr;
  std::uint64_t sequence_ = 0;
};

}  // namespace inflight::internal
