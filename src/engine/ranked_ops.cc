// SPDX-License-Identifier: Apache-2.0
#include "engine/ranked_ops.h"

#include <utility>

namespace inflight::internal {
namespace {

bool before(const Op* a, const Op* b) noexcept {
  return a->priority() != b->priority() ? a->priority() > b->priority()
                                        : a->extras->sequence < b->extras->sequence;
}

// Two heaps into one; either may be null.
Op* meld(Op* a, Op* b) noexcept {
  if (a == nullptr) return b;
  if (b == nullptr) return a;
  if (before(b, a)) std::swap(a, b);
  b->extras->sibling = a->extras->child;
  a->extras->child = b;
  return a;
}

}  // namespace

void RankedOps::push(Op* op) noexcept {
  op->extras->sequence = sequence_++;
  op->extras->child = nullptr;
  op->extras->sibling = nullptr;
  root_ = meld(root_, op);
}

Op* RankedOps::pop() noexcept {
  Op* const first = root_;
  // From the left, in pairs; then the pairs, from the right. No recursion: there may be a million children.
  Op* pairs = nullptr;
  for (Op* child = first->extras->child; child != nullptr;) {
    Op* const a = child;
    Op* const b = a->extras->sibling;
    child = b == nullptr ? nullptr : b->extras->sibling;
    a->extras->sibling = nullptr;
    if (b != nullptr) b->extras->sibling = nullptr;
    Op* const pair = meld(a, b);
    pair->extras->sibling = pairs;
    pairs = pair;
  }
  root_ = nullptr;
  while (pairs != nullptr) {
    Op* const pair = pairs;
    pairs = pair->extras->sibling;
    pair->extras->sibling = nullptr;
    root_ = meld(root_, pair);
  }
  return first;
}

}  // namespace inflight::internal
