// SPDX-License-Identifier: Apache-2.0
#include "engine/op_pool.h"

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) static_cast<void>(address)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) static_cast<void>(address)
#endif

namespace inflight::internal {

void OpPool::Bundle::add(void* piece) noexcept {
  if (list_ == nullptr) {
    list_ = new (piece) List;
    return;
  }
  list_->others[list_->count++] = piece;
  ASAN_POISON_MEMORY_REGION(piece, sizeof(Op));
}

void* OpPool::take() {
  if (free_ == nullptr) free_ = returned_.exchange(nullptr, std::memory_order_acquire);
  if (free_ == nullptr) {
    if (used_ == kPiecesPerSlab) {
      slabs_.push_back(std::make_unique_for_overwrite<Piece[]>(kPiecesPerSlab));
      used_ = 0;
    }
    return slabs_.back()[used_++].bytes;
  }
  if (free_->count == 0) return std::exchange(free_, free_->next);
  void* const piece = free_->others[--free_->count];
  if (free_->count >= kAhead) prefetch_op(free_->others[free_->count - kAhead]);
  ASAN_UNPOISON_MEMORY_REGION(piece, sizeof(Op));
  return piece;
}

void OpPool::give_back(Bundle& bundle) noexcept {
  Bundle::List* const list = std::exchange(bundle.list_, nullptr);
  if (list == nullptr) return;
  list->next = returned_.load(std::memory_order_relaxed);
  while (!returned_.compare_exchange_weak(list->next, list, std::memory_order_release,
                                          std::memory_order_relaxed)) {
  }
}

}  // namespace inflight::internal
